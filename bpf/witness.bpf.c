/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The witness: behind guard_peer_ingress at the same place, it drops nothing. It counts what came
 * past the guard, and of that what is a stray: neither to an endpoint nor to the LAN (`allow`,
 * `reach`) or to a host of `bootstrap`, neither ARP nor neighbour discovery. That must stay 0, or
 * the guard does not hold. So it shares neither decisions nor rules with the guard; what it may see
 * is written down for it apart (act/witness.c). It is the coarser one: who spoke first, and what
 * ARP says, is not asked here.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drops.bpf.h"

/* In gate.bpf.c, as for the guard: where this is. */
extern const volatile bool netns_by_socket;
__u64 netns_of_device(struct __sk_buff *skb);

static __always_inline __u32 place_of(struct __sk_buff *skb)
{
	struct guard_slot_key key = { .ifindex = skb->ifindex };
	__u32 *slot;

	if (netns_by_socket)
		return skb->tc_classid;
	key.who = netns_of_device(skb);
	slot = bpf_map_lookup_elem(&guard_slots, &key);
	return slot ? *slot : 0; /* which expects nothing */
}

/* *key has the netns, the protocol and where it goes. */
static __always_inline bool expects(struct address_key *key, enum address_kind kind, __be16 port)
{
	key->prefixlen = 8 * (sizeof(*key) - sizeof(key->prefixlen));
	key->kind = kind;
	key->port = port;
	return bpf_map_lookup_elem(&expected, key);
}

struct ports {
	__be16 source, destination;
};

static __always_inline bool is_expected_at(struct address_key *key, struct __sk_buff *skb, __u32 at)
{
	struct ports p;

	if ((key->protocol != IPPROTO_UDP && key->protocol != IPPROTO_TCP) ||
	    bpf_skb_load_bytes(skb, at, &p, sizeof(p)))
		return false;
	return expects(key, ADDRESS_ENDPOINT, p.destination) ||
	       expects(key, ADDRESS_REACH, p.destination) || expects(key, ADDRESS_REMOTE, p.source);
}

static __always_inline bool is_bootstrap_host(struct address_key *key)
{
	key->protocol = 0;
	return expects(key, ADDRESS_BOOTSTRAP, 0);
}

static __always_inline bool is_expected_ipv4(struct address_key *key, struct __sk_buff *skb)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl != 5)
		return false;
	key->protocol = ip.protocol;
	key->address[10] = key->address[11] = 0xff;
	__builtin_memcpy(key->address + 12, &ip.daddr, 4);
	if (ip.frag_off & bpf_htons(0x1fff)) /* not the first fragment: no ports */
		return expects(key, ADDRESS_HOST, 0) || is_bootstrap_host(key);
	return is_expected_at(key, skb, ETH_HLEN + sizeof(ip)) || is_bootstrap_host(key);
}

static __always_inline bool is_expected_ipv6(struct address_key *key, struct __sk_buff *skb)
{
	struct ipv6hdr ip;
	__u8 type;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return false;
	key->protocol = ip.nexthdr;
	__builtin_memcpy(key->address, &ip.daddr, 16);
	if (ip.nexthdr == IPPROTO_ICMPV6) /* no router lets 255 through: it ends at the neighbour */
		return ip.hop_limit == 255 &&
		       !bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &type, 1) &&
		       (type == 135 || type == 136);
	return is_expected_at(key, skb, ETH_HLEN + sizeof(ip));
}

static __always_inline bool is_expected(struct __sk_buff *skb, __u64 netns_cookie)
{
	struct address_key key = { .netns_cookie = netns_cookie };

	if (skb->vlan_present)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return true;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return is_expected_ipv4(&key, skb);
	return skb->protocol == bpf_htons(ETH_P_IPV6) && is_expected_ipv6(&key, skb);
}

SEC("tc")
int witness_peer(struct __sk_buff *skb)
{
	__u32 slot = place_of(skb);
	const struct witness *w = bpf_map_lookup_elem(&witnesses, &slot);
	struct witnessed *seen = bpf_map_lookup_elem(&witnessed, &slot);
	__u64 now_ns;

	if (!w || !seen)
		return TC_ACT_UNSPEC;
	seen->frames++;
	if (w->netns_cookie && is_expected(skb, w->netns_cookie))
		return TC_ACT_UNSPEC;
	now_ns = bpf_ktime_get_boot_ns();
	if (now_ns < w->excused_until_ns) {
		seen->excused++;
		return TC_ACT_UNSPEC;
	}
	seen->strays++;
	seen->last = (struct drop_event) { .at_ns = now_ns,
					   .guard = slot,
					   .ifindex = skb->ifindex,
					   .length = skb->len - ETH_HLEN };
	show_packet(skb, ETH_HLEN, &seen->last);
	return TC_ACT_UNSPEC;
}
