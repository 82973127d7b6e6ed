/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel types that the programs read, each with the fields that they read and no others. CO-RE
 * finds a field by its name in the running kernel's BTF, wherever it is there; so this file is of
 * no kernel version and no architecture. vmlinux/check looks every field up. See README.md.
 */
#ifndef VPNLEASH_VMLINUX_H
#define VPNLEASH_VMLINUX_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	__u64 net_cookie; /* v5.12: 3d368ab87cf6 ("net: initialize net->net_cookie at netns setup")
			   */
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	unsigned short type; /* ARPHRD_… */
	possible_net_t nd_net;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
};

#pragma clang attribute pop

/*
 * v6.2: fd264ca02094 ("bpf: Add a kfunc to type cast from bpf uapi ctx to kernel ctx"). Where it
 * does not load, the gate compares the cookie that gate_socket stored when the socket was made.
 */
void *bpf_cast_to_kern_ctx(void *obj) __weak __ksym;
/* v6.2 too: a35b9af4ec2c ("bpf: Add a kfunc for generic type cast"). */
void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __weak __ksym;

#endif
