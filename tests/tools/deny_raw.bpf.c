/* SPDX-License-Identifier: GPL-2.0-only */
/* Refuses raw sockets to whoever is in the cgroup: a daemon's probes can not be set up. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define SOCK_RAW 3

SEC("cgroup/sock_create")
int deny_raw(struct bpf_sock *socket)
{
	return socket->type != SOCK_RAW;
}

char _license[] SEC("license") = "GPL";
