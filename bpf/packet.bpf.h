/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bounded reading of a packet's headers into an event: for people and logs, never for a verdict.
 * What can not be read stays zero. IPv6 extension headers are shown as the protocol.
 */
#ifndef VPNLEASH_PACKET_BPF_H
#define VPNLEASH_PACKET_BPF_H

#include "vpnleash/abi.h"

static __always_inline void read_ports(struct __sk_buff *skb, __u32 at, struct drop_event *e)
{
	__be16 ports[2];

	if (e->protocol != 6 && e->protocol != 17 && e->protocol != 136 && e->protocol != 132)
		return; /* TCP, UDP, UDP-Lite, SCTP */
	if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
		return;
	e->source_port = ports[0];
	e->destination_port = ports[1];
}

/* at: where the IP header begins. */
static __always_inline void read_packet(struct __sk_buff *skb, __u32 at, struct drop_event *e)
{
	__u8 h[40];

	if (skb->protocol == bpf_htons(ETH_P_IP) && !bpf_skb_load_bytes(skb, at, h, 20)) {
		e->family = 4;
		e->protocol = h[9];
		__builtin_memcpy(e->source, h + 12, 4);
		__builtin_memcpy(e->destination, h + 16, 4);
		if (!((h[6] & 0x1f) | h[7])) /* the first fragment */
			read_ports(skb, at + (h[0] & 0xf) * 4, e);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6) && !bpf_skb_load_bytes(skb, at, h, 40)) {
		e->family = 6;
		e->protocol = h[6];
		__builtin_memcpy(e->source, h + 8, 16);
		__builtin_memcpy(e->destination, h + 24, 16);
		read_ports(skb, at + 40, e);
	}
}

#endif
