/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet says, as far as a verdict needs it. */
#ifndef VPNLEASH_PACKET_BPF_H
#define VPNLEASH_PACKET_BPF_H

/* One IP packet, as far as a verdict needs it. Addresses as everywhere: ::ffff:a.b.c.d. */
struct packet {
	__u8 source[16], destination[16];
	__be16 source_port, destination_port; /* 0: none, or not in this fragment */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 fragment; /* not the first one */
	__u8 icmp_type, icmp_code;
};

static __always_inline void map_ipv4(__u8 to[16], const __u8 *address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	__builtin_memcpy(&words[3], address, 4);
}

/* The transport header at `at`, of which `length` bytes belong to the IP packet: ports, TCP's
 * flags, ICMP's type. Short: it has none; what lies behind the packet is nobody's header. */
static __always_inline void read_transport(struct __sk_buff *skb, __u32 at, __u32 length,
					   struct packet *p)
{
	__u8 h[4];

	if (p->fragment || length < sizeof(h) || bpf_skb_load_bytes(skb, at, h, sizeof(h)))
		return;
	if (p->protocol == 6 || p->protocol == 17) {
		__builtin_memcpy(&p->source_port, h, 2);
		__builtin_memcpy(&p->destination_port, h + 2, 2);
		if (p->protocol == 6 && length >= 20)
			bpf_skb_load_bytes(skb, at + 13, &p->tcp_flags, 1);
	} else if (p->protocol == 1 || p->protocol == 58) {
		p->icmp_type = h[0];
		p->icmp_code = h[1];
	}
}

/* *p is zeroed. False: shorter than a header, options, or longer than what is there. */
static __always_inline bool read_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	__u8 h[20];
	__u32 length;

	if (bpf_skb_load_bytes(skb, at, h, sizeof(h)) || h[0] != 0x45)
		return false;
	length = (__u32)h[2] << 8 | h[3];
	if (length < 20 || length > skb->len - at)
		return false;
	p->protocol = h[9];
	map_ipv4(p->source, h + 12);
	map_ipv4(p->destination, h + 16);
	p->fragment = (h[6] & 0x1f) | h[7];
	read_transport(skb, at + 20, length - 20, p);
	return true;
}

#endif
