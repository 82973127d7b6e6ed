/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPv6's neighbour discovery, as far as an IPv6 endpoint needs it: solicitations (NS) and
 * advertisements (NA) as the kernel writes them, with no byte of the sender's choice but the
 * address that is asked for. A router passes on what is addressed to somewhere else, whatever it
 * is; so what leaves goes to a group that no router forwards, to a link-local address, or to a
 * neighbour that proved to be one: its own NS or NA came in with a hop limit of 255, which no
 * router leaves at that. A prefix alone proves nothing: the namespace chooses it.
 */
#ifndef VPNLEASH_NEIGHBOURS_BPF_H
#define VPNLEASH_NEIGHBOURS_BPF_H

#include "flows.bpf.h"

/* ------ what is the namespace's own ------ */

/* The number from 1 of the address that it is, in addresses[]; 0: it is none. Not static, as others
 * here: see netns_of_device(). */
__noinline int own_number(__u32 slot, __u64 first, __u64 last)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);

	if (!g)
		return 0;
#pragma unroll
	for (__u32 i = 0; i < VPNLEASH_ADDRESSES; i++) {
		const __u8 *own = g->addresses[i].address;

		if (i < g->n_addresses && half(own, 0) == first && half(own, 1) == last)
			return (int)i + 1;
	}
	return 0;
}

static __always_inline int own_address(__u32 slot, const __u8 address[16])
{
	return own_number(slot, half(address, 0), half(address, 1));
}

/* Is it in the network of its own address of that number? */
__noinline int is_in_network_of(__u32 slot, __u32 number, __u64 first, __u64 last)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	__u32 a[4] = { first, first >> 32, last, last >> 32 }, differ = 0;

	number--;
	asm volatile("" : "+r"(number)); /* the bound is to be of what is the index */
	if (!g || number >= VPNLEASH_ADDRESSES)
		return false;

	const struct guard_address *own = &g->addresses[number];
	const __u32 *b = (const __u32 *)own->address;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		int bits = own->prefix - 32 * i;

		if (bits > 0)
			differ |= (a[i] ^ b[i]) & bpf_htonl(bits >= 32 ? ~0U : ~(~0U >> bits));
	}
	return !differ;
}

static __always_inline bool is_in_network(__u32 slot, __u32 number, const __u8 address[16])
{
	return is_in_network_of(slot, number, half(address, 0), half(address, 1));
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		 (a[5] ^ b[5]));
}

/* ------ the messages ------ */

#define ICMP6_NS 135
#define ICMP6_NA 136

#define ND_SOURCE_MAC 1 /* options, RFC 4861 */
#define ND_TARGET_MAC 2
#define ND_NONCE      14 /* RFC 7527: in the kernel's question whether an address is free */

/* IPv6's header, the message, and at most one option of eight bytes. */
struct neighbour {
	struct ipv6hdr ip;
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
	__u8 option, option_length, mac[6];
};
#define ND_SHORT (sizeof(struct neighbour) - 8) /* without the option */

/* n->option is 0 where there is none. */
static __always_inline bool read_neighbour(struct __sk_buff *skb, struct neighbour *n)
{
	__u32 length = skb->len - ETH_HLEN;

	__builtin_memset(n, 0, sizeof(*n));
	if (length == sizeof(*n)) {
		if (!read_bytes(skb, ETH_HLEN, n, sizeof(*n)) || !n->option)
			return false;
	} else if (length != ND_SHORT || !read_bytes(skb, ETH_HLEN, n, ND_SHORT)) {
		return false;
	}
	return n->ip.version == 6 &&
	       n->ip.payload_len == bpf_htons((__u16)(length - sizeof(n->ip))) &&
	       n->ip.nexthdr == IPPROTO_ICMPV6 && n->ip.hop_limit == 255 && !n->code &&
	       (n->type == ICMP6_NS || n->type == ICMP6_NA);
}

/* fe80::/64 */
static __always_inline bool is_link_local(const __u8 address[16])
{
	const __u32 *a = (const __u32 *)address;

	return a[0] == bpf_htonl(0xfe800000) && !a[1];
}

static __always_inline bool is_unspecified(const __u8 address[16])
{
	const __u32 *a = (const __u32 *)address;

	return !(a[0] | a[1] | a[2] | a[3]);
}

/* By its own addresses' networks. */
static __always_inline bool is_on_link(const struct guard *g, __u32 slot, const __u8 address[16])
{
	for (__u32 i = 0; i < VPNLEASH_ADDRESSES && i < g->n_addresses; i++)
		if (is_in_network(slot, i + 1, address))
			return true;
	return is_link_local(address);
}

static __always_inline void neighbour_key(struct flow_key *key, const struct guard *g,
					  const __u8 address[16])
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns_cookie = g->netns_cookie;
	key->ifindex = g->ifindex;
	key->protocol = IPPROTO_ICMPV6;
	__builtin_memcpy(key->remote, address, 16);
}

/* ff02::1:ffXX:XXXX of the target; to one neighbour: that one itself, and a neighbour. */
static __always_inline bool asks_on_link(const struct guard *g, __u32 slot,
					 const struct neighbour *n)
{
	const __u32 *d = n->ip.daddr.s6_addr32, *t = (const __u32 *)n->target;
	struct flow_key key;

	if (!is_on_link(g, slot, n->target))
		return false;
	if (d[0] == bpf_htonl(0xff020000) && !d[1] && d[2] == bpf_htonl(1) &&
	    d[3] == (t[3] | bpf_htonl(0xff000000)))
		return true;
	if (!same_address(n->ip.daddr.s6_addr, n->target))
		return false;
	if (is_link_local(n->ip.daddr.s6_addr))
		return true;
	neighbour_key(&key, g, n->ip.daddr.s6_addr);
	return flow_goes_on(&key);
}

/* To whom asked, or to all (ff02::1) where nobody could be named. */
static __always_inline bool answers_on_link(const struct guard *g, const struct neighbour *n)
{
	const __u32 *d = n->ip.daddr.s6_addr32;
	struct flow_key key;

	if (is_link_local(n->ip.daddr.s6_addr) ||
	    (d[0] == bpf_htonl(0xff020000) && !(d[1] | d[2]) && d[3] == bpf_htonl(1)))
		return true;
	neighbour_key(&key, g, n->ip.daddr.s6_addr);
	return flow_goes_on(&key);
}

/* It may be left out: the kernel does so where it answers one neighbour. */
static __always_inline bool has_option(const struct neighbour *n, __u8 option, const __u8 mac[6])
{
	return !n->option ||
	       (n->option == option && n->option_length == 1 && same_mac(n->mac, mac));
}

__noinline int own_neighbour_discovery(struct __sk_buff *skb, __u32 slot)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	struct neighbour n;

	if (!g || !read_neighbour(skb, &n) || n.ip.priority ||
	    (n.ip.flow_lbl[0] | n.ip.flow_lbl[1] | n.ip.flow_lbl[2]))
		return false;
	/* R, S and O of an answer, nothing else that is reserved */
	if (n.type == ICMP6_NA)
		return !(n.flags & bpf_htonl(0x1fffffff)) &&
		       own_address(slot, n.ip.saddr.s6_addr) && own_address(slot, n.target) &&
		       has_option(&n, ND_TARGET_MAC, g->mac) && answers_on_link(g, &n);
	if (n.flags || !asks_on_link(g, slot, &n))
		return false;
	if (is_unspecified(n.ip.saddr.s6_addr)) /* is this address free? */
		return !n.option || (n.option == ND_NONCE && n.option_length == 1);
	return own_address(slot, n.ip.saddr.s6_addr) && has_option(&n, ND_SOURCE_MAC, g->mac);
}

/* A neighbour asks, or answers; if it is about us it may be spoken to from now on. */
__noinline int neighbour_comes_in(struct __sk_buff *skb, __u32 slot)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	struct flow_key key;
	struct neighbour n;

	if (!g || !read_neighbour(skb, &n))
		return false;
	if (is_link_local(n.ip.saddr.s6_addr) || !is_on_link(g, slot, n.ip.saddr.s6_addr) ||
	    !own_address(slot, n.type == ICMP6_NS ? n.target : n.ip.daddr.s6_addr))
		return true;
	neighbour_key(&key, g, n.ip.saddr.s6_addr);
	if (!flow_goes_on(&key))
		flow_begins(&key, 0);
	return true;
}

#endif
