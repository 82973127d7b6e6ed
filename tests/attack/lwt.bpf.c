/* SPDX-License-Identifier: GPL-2.0-only */
/* Redirects what a route's encapsulation gives it to eth0, whatever that route's device is. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* in every laboratory eth0 is the client's second device */
#define ETH0 2

SEC("xmit")
int lwt_redirect(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_redirect(ETH0, 0);
}

char _license[] SEC("license") = "GPL";
