/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel differences and the few kernel types we read, so that a build needs no vmlinux.h: CO-RE
 * finds the fields by name in the running kernel's BTF.
 */
#ifndef VPNLEASH_COMPAT_BPF_H
#define VPNLEASH_COMPAT_BPF_H

struct net {
	__u64 net_cookie; /* v5.12: plain u64 (3d368ab87cf6); older kernels never read it here */
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	unsigned short type; /* ARPHRD_… */
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
} __attribute__((preserve_access_index));

/*
 * v6.2: fd264ca02094 ("bpf: Add a kfunc to type cast from bpf uapi ctx to kernel ctx"). Where it
 * does not load, the gate compares the cookie that gate_socket stored when the socket was made.
 */
void *bpf_cast_to_kern_ctx(void *obj) __weak __ksym;

#endif
