/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where BPF is among the kernel's LSMs: a workload gets no packet socket in the first place. For
 * the host's netns, whose edge can not be guarded.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define AF_PACKET 17
#define AF_XDP	  44
#define DENY	  0
#define ALLOW	  1

/* int socket_create(int family, int type, int protocol, int kern);
 * v6.0: 69fd337a975c ("bpf: per-cgroup lsm flavor") */
SEC("lsm_cgroup/socket_create")
int deny_packet(__u64 *ctx)
{
	int family = (int)ctx[0], kern = (int)ctx[3];

	return !kern && (family == AF_PACKET || family == AF_XDP) ? DENY : ALLOW;
}
