/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet says, as far as a verdict needs it. All of its bytes are read by read_bytes(). */
#ifndef VPNLEASH_PACKET_BPF_H
#define VPNLEASH_PACKET_BPF_H

#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

/* In <linux/icmp.h>, which includes headers that do not compile for BPF. */
#define ICMP_DEST_UNREACH 3
#define ICMP_FRAG_NEEDED  4
#define ICMP_ECHO	  8
#define ICMP_HLEN	  8 /* ICMPv6's is as long */

#define IP_OFFSET 0x1fff /* of iphdr.frag_off: IP_OFFSET of include/net/ip.h */
#define IP_MORE	  0x2000 /* IP_MF there */

#define TCP_FLAGS_AT 13 /* in struct tcphdr, where they are bit-fields */
#define TCP_FIN	     0x01
#define TCP_SYN	     0x02
#define TCP_RST	     0x04
#define TCP_ACK	     0x10

/* n bytes of the packet from `at` on, all of them or none. False: it ends before. */
static __always_inline bool read_bytes(struct __sk_buff *skb, __u32 at, void *to, __u32 n)
{
	return !bpf_skb_load_bytes(skb, at, to, n);
}

static __always_inline bool is_ipv4(__u32 ethertype)
{
	return ethertype == bpf_htons(ETH_P_IP);
}

static __always_inline bool is_ipv6(__u32 ethertype)
{
	return ethertype == bpf_htons(ETH_P_IPV6);
}

/* One IP packet. Addresses as everywhere: ::ffff:a.b.c.d. */
struct packet {
	/* aligned, or they would be copied byte by byte */
	__u8 source[16] __attribute__((aligned(8))), destination[16] __attribute__((aligned(8)));
	__u32 length;			      /* with its IP header, which says so */
	__be16 source_port, destination_port; /* 0: none, or not in this fragment */
	__u8 protocol;
	__u8 tcp_flags;
	bool fragment; /* not the first one */
	__u8 icmp_type, icmp_code;
};

static __always_inline void map_ipv4(__u8 to[16], __be32 address)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

/* Eight of its bytes as a number, which is handed over more easily. */
static __always_inline __u64 half(const __u8 address[16], int i)
{
	const __u32 *words = (const __u32 *)address;

	return words[2 * i] | (__u64)words[2 * i + 1] << 32;
}

static __always_inline bool same_address(const __u8 a[16], const __u8 b[16])
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

/* The transport header at `at`, of which `length` bytes belong to the IP packet: ports, TCP's
 * flags, ICMP's type. Short: it has none; what lies behind the packet is nobody's header. */
static __always_inline void read_transport(struct __sk_buff *skb, __u32 at, __u32 length,
					   struct packet *p)
{
	union {
		struct udphdr udp; /* TCP's ports lie at the same place */
		struct icmp6hdr icmp;
	} h;
	const __u32 begin = offsetof(struct udphdr, len);

	if (p->fragment || length < begin || !read_bytes(skb, at, &h, begin))
		return;
	if (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP) {
		p->source_port = h.udp.source;
		p->destination_port = h.udp.dest;
		if (p->protocol == IPPROTO_TCP && length >= sizeof(struct tcphdr))
			read_bytes(skb, at + TCP_FLAGS_AT, &p->tcp_flags, 1);
	} else if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) {
		p->icmp_type = h.icmp.icmp6_type;
		p->icmp_code = h.icmp.icmp6_code;
	}
}

/* *p is zeroed. False: shorter than a header, options, or longer than what is there. */
static __always_inline bool read_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct iphdr ip;

	if (!read_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5)
		return false;
	p->length = bpf_ntohs(ip.tot_len);
	if (p->length < sizeof(ip) || p->length > skb->len - at)
		return false;
	p->protocol = ip.protocol;
	map_ipv4(p->source, ip.saddr);
	map_ipv4(p->destination, ip.daddr);
	p->fragment = ip.frag_off & bpf_htons(IP_OFFSET);
	read_transport(skb, at + sizeof(ip), p->length - sizeof(ip), p);
	return true;
}

/* *p is zeroed; an extension header is its protocol. False: shorter than a header. How long it is
 * is what it says, and may be more than what is there. */
static __always_inline bool read_ipv6(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct ipv6hdr ip;
	__u32 payload;

	if (!read_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 6)
		return false;
	payload = bpf_ntohs(ip.payload_len);
	p->length = sizeof(ip) + payload;
	p->protocol = ip.nexthdr;
	__builtin_memcpy(p->source, &ip.saddr, 16);
	__builtin_memcpy(p->destination, &ip.daddr, 16);
	read_transport(skb, at + sizeof(ip), payload, p);
	return true;
}

#endif
