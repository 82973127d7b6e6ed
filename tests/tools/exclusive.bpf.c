/* SPDX-License-Identifier: GPL-2.0-only */
/* Lets everything pass. Attached without flags it is to be the only one: nothing can be attached to
 * the cgroups below. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int exclusive(struct __sk_buff *skb)
{
	(void)skb;
	return 1;
}

char _license[] SEC("license") = "GPL";
