/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the gate is measured against: nothing at all, a bare drop, and the idea of systemd's
 * RestrictNetworkInterfaces= in our own writing (one hash lookup by interface index). Each stands
 * for both hooks, as the gate does.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define DROP 0
#define PASS 1

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32); /* interface index */
	__type(value, __u8);
} interfaces SEC(".maps");

const volatile __u8 is_allow_list = 1;

static __always_inline int listed(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u8 *found = bpf_map_lookup_elem(&interfaces, &ifindex);

	return !!found == !!is_allow_list ? PASS : DROP;
}

SEC("cgroup_skb/egress")
int empty_egress(struct __sk_buff *skb)
{
	(void)skb;
	return PASS;
}

SEC("cgroup_skb/ingress")
int empty_ingress(struct __sk_buff *skb)
{
	(void)skb;
	return PASS;
}

SEC("cgroup_skb/egress")
int bare_egress(struct __sk_buff *skb)
{
	(void)skb;
	return DROP;
}

SEC("cgroup_skb/ingress")
int bare_ingress(struct __sk_buff *skb)
{
	(void)skb;
	return DROP;
}

SEC("cgroup_skb/egress")
int listed_egress(struct __sk_buff *skb)
{
	return listed(skb);
}

SEC("cgroup_skb/ingress")
int listed_ingress(struct __sk_buff *skb)
{
	return listed(skb);
}

/* The floor of a tc program: TC_ACT_UNSPEC. */
SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	(void)skb;
	return -1;
}

SEC("cgroup/connect4")
int empty_connect4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PASS;
}

SEC("cgroup/sendmsg4")
int empty_sendmsg4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return PASS;
}

char _license[] SEC("license") = "GPL";
