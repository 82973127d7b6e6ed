/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guard: tc programs at the edge of a tunnel's network namespace, for what no cgroup hook
 * sees: packet sockets, foreign sockets, forwarded frames, the kernel's own answers.
 *
 *   guard_peer_ingress  the underlay's peer, on the host's side. What leaves the namespace comes in
 *                       here, however it was sent, and nothing inside can reach this program.
 *   guard_peer_egress   the same device. What nobody inside asked for goes no further, so that the
 *                       kernel inside has nothing to answer.
 *   guard_inside        egress of the underlay itself. Knows who sent a frame, and in bootstrap
 *                       notes what the VPN sends; whoever has CAP_NET_ADMIN inside can take it
 *                       off, and packet sockets can go round it.
 *   guard_weak          egress of an underlay in the host's own netns, where others live.
 *
 * The peer's two never look at skb->sk: gone or wrong there. Unknown is dropped.
 *
 * A macvlan has no other end, but a parent, which is everybody's:
 *
 *   guard_parent_egress   the parent. Judges what is of a guarded namespace, known by its socket
 *                         or its MAC; all else passes.
 *   guard_parent_ingress  what one macvlan sends to another comes in here; by its MAC alone.
 *   guard_inside_ingress  ingress of the underlay itself, as guard_peer_egress.
 *
 * An ipvlan has its parent's MAC, and takes the socket off on the way: nothing is known there.
 *
 *   guard_alone           egress of the underlay itself, as guard_inside and guard_peer_ingress.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drops.bpf.h"
#include "flows.bpf.h"
#include "frames.bpf.h"
#include "neighbours.bpf.h"
#include "notes.bpf.h"
#include "vmlinux.h"

/* In gate.bpf.c: the kernel does not show a packet's device. clsact, as old as such a kernel
 * is, then gives the slot with the filter. */
extern const volatile bool netns_by_socket;
__u64 netns_of_device(struct __sk_buff *skb);

/* Other tc programs and filters go on behind us: their drops count. */
#define GUARD_PASS TC_ACT_UNSPEC
#define GUARD_DROP TC_ACT_SHOT

/* 0: none. */
static __always_inline __u32 look_up_slot(struct __sk_buff *skb, enum guard_slot_by by, __u64 who)
{
	struct guard_slot_key key = { .who = who, .ifindex = skb->ifindex, .by = by };
	__u32 *slot = bpf_map_lookup_elem(&guard_slots, &key);

	return slot ? *slot : 0;
}

static __always_inline __u32 slot_of(struct __sk_buff *skb)
{
	if (netns_by_socket)
		return skb->tc_classid;
	return look_up_slot(skb, GUARD_SLOT_DEVICE, netns_of_device(skb));
}

static __always_inline __u32 slot_of_mac(struct __sk_buff *skb, const __u8 mac[ETH_ALEN])
{
	__u64 who = 0;

	__builtin_memcpy(&who, mac, ETH_ALEN);
	return look_up_slot(skb, GUARD_SLOT_MAC, who);
}

/* A socket is always of the namespace it was made in, and nobody inside can change that: so a
 * packet socket's frame is known with whatever MAC. bpf_probe_read_kernel() since no kernel up to
 * 6.14 tells it otherwise; 0: no socket. */
static __always_inline __u32 netns_of_socket(struct __sk_buff *skb)
{
	struct sk_buff *packet = (void *)skb; /* to the verifier the context, here the real one */
	struct sock *sk = NULL;
	struct net *net = NULL;
	__u32 ino = 0;

	bpf_core_read(&sk, sizeof(sk), &packet->sk);
	if (!sk)
		return 0;
	bpf_core_read(&net, sizeof(net), &sk->__sk_common.skc_net.net);
	bpf_core_read(&ino, sizeof(ino), &net->ns.inum);
	return ino;
}

/* Another's MAC from a guarded namespace is judged by a record of its own: `spoofed`. */
static __always_inline __u32 slot_of_sender(struct __sk_buff *skb, const __u8 mac[ETH_ALEN])
{
	__u32 by_mac = slot_of_mac(skb, mac), ino = netns_of_socket(skb);
	__u32 by_socket = ino ? look_up_slot(skb, GUARD_SLOT_NETNS, ino) : 0;
	const struct guard *g = bpf_map_lookup_elem(&guards, &by_mac);

	return by_socket && (!g || g->netns_ino != ino) ? by_socket : by_mac;
}

struct frame {
	struct ethhdr eth;
	bool vlan;
	bool of_endpoint; /* passed as such, which the next of its like may as well */
	struct packet ip;
};

static __always_inline bool read_frame(struct __sk_buff *skb, struct frame *f)
{
	if (!read_bytes(skb, 0, &f->eth, sizeof(f->eth)))
		return false;
	f->vlan = skb->vlan_present;
	return true;
}

/* ------ ARP: for IPv4 over Ethernet and nothing else ------ */

/* In <linux/if_arp.h>, which includes headers that do not compile for BPF. */
#define ARPHRD_ETHER  1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY   2

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

static __always_inline bool read_arp(struct __sk_buff *skb, struct arp *a)
{
	return read_bytes(skb, ETH_HLEN, a, sizeof(*a)) && a->hardware == bpf_htons(ARPHRD_ETHER) &&
	       a->protocol == bpf_htons(ETH_P_IP) && a->hardware_length == ETH_ALEN &&
	       a->protocol_length == sizeof(a->sender) &&
	       (a->operation == bpf_htons(ARPOP_REQUEST) || a->operation == bpf_htons(ARPOP_REPLY));
}

__noinline int is_arp(struct __sk_buff *skb)
{
	struct arp a;

	return read_arp(skb, &a);
}

/* About itself, about a neighbour, and not a byte more than it must have. */
__noinline int own_arp(struct __sk_buff *skb, __u32 slot)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	__u8 sender[16], target[16];
	struct arp a;
	int own;

	if (!g || skb->len != ETH_HLEN + sizeof(a) || !read_arp(skb, &a) ||
	    !same_mac(a.sender_mac, g->mac))
		return false;
	map_ipv4(sender, a.sender);
	map_ipv4(target, a.target);
	own = own_address(slot, sender);
	if (!own || !is_in_network(slot, own, target))
		return false;
	return a.operation == bpf_htons(ARPOP_REPLY) ||
	       !(a.target_mac[0] | a.target_mac[1] | a.target_mac[2] | a.target_mac[3] |
		 a.target_mac[4] | a.target_mac[5]);
}

/* ------ IP ------ */

/* *f is zeroed but for the Ethernet header. */
static __always_inline bool read_packet(struct __sk_buff *skb, struct frame *f)
{
	return is_ipv4(f->eth.h_proto) ? read_ipv4(skb, ETH_HLEN, &f->ip)
				       : read_ipv6(skb, ETH_HLEN, &f->ip);
}

/* The same. A short frame may be padded where it comes in (hardware does that), and never where it
 * leaves: padding can carry something. */
static __always_inline bool read_ip(struct __sk_buff *skb, struct frame *f, bool padding)
{
	__u32 length;

	if (f->eth.h_dest[0] & 1) /* multicast, broadcast */
		return false;
	if (!read_packet(skb, f))
		return false;
	length = ETH_HLEN + f->ip.length;
	return skb->len == length || (padding && length < skb->len && skb->len <= ETH_ZLEN);
}

/* The prelude of each judgement: what is no ARP must be IPv4, or IPv6 if an endpoint is IPv6. */
static __always_inline enum reason judge_ethertype(const struct guard *g, const struct frame *f)
{
	if (is_ipv4(f->eth.h_proto))
		return REASON_PASS;
	if (!is_ipv6(f->eth.h_proto))
		return REASON_ETHERTYPE;
	return g->flags & GUARD_IPV6 ? REASON_PASS : REASON_IPV6;
}

static __always_inline bool is_endpoint(const struct guard *g, const struct packet *p,
					const __u8 address[16], __be16 port)
{
	if (p->fragment)
		return allowed(&endpoints, g->netns_cookie, ADDRESS_HOST, p->protocol, 0, address);
	return port &&
	       allowed(&endpoints, g->netns_cookie, ADDRESS_ENDPOINT, p->protocol, port, address);
}

static __always_inline bool in_bootstrap(const struct guard *g)
{
	__u64 until_ns = *(volatile __u64 *)&g->bootstrap_until_ns, now_ns;

	if (!until_ns)
		return false;
	now_ns = bpf_ktime_get_boot_ns();
	return now_ns < until_ns && until_ns - now_ns <= VPNLEASH_LEASE_CAP_NS;
}

/* An answer may come in to what leaves now. WireGuard's port is open by itself. */
static __always_inline void remember(const struct guard *g, const struct packet *p,
				     __u64 socket_cookie)
{
	struct flow_key key;
	struct flow *f;

	if (p->fragment || (g->listen_port && p->source_port == g->listen_port))
		return;
	flow_key(&key, g->netns_cookie, g->ifindex, p, false, FLOW_OUTBOUND);
	if (p->protocol == IPPROTO_ICMP) /* an echo's answer has another type, and no ports */
		key.local_port = key.remote_port = 0;
	f = flow_goes_on(&key);
	if (!f || f->first_ns < g->bootstrap_since_ns)
		flow_begins(&key, socket_cookie);
	else if (socket_cookie)
		f->socket_cookie = socket_cookie;
}

/* Of an endpoint's flow; of another only while the bootstrap lasts in which it began. */
static __always_inline bool is_answer(const struct guard *g, struct frame *frame)
{
	const struct packet *p = &frame->ip;
	struct flow_key key;
	struct flow *f;

	if (p->fragment || (p->protocol == IPPROTO_ICMP && p->icmp_type == ICMP_ECHO))
		return false;
	flow_key(&key, g->netns_cookie, g->ifindex, p, true, FLOW_OUTBOUND);
	f = flow_goes_on(&key);
	if (!f)
		return false;
	frame->of_endpoint = is_endpoint(g, p, p->source, p->source_port);
	if (!frame->of_endpoint && (!in_bootstrap(g) || f->first_ns < g->bootstrap_since_ns))
		return false;
	f->answered_ns = f->last_ns;
	return true;
}

/* Beside the tunnel: by `allow` or by `reach`? */
static __always_inline bool is_exception(struct __sk_buff *skb, const struct frame *f,
					 __u64 cgroup_id, const struct dropped *d)
{
	return is_ipv4(f->eth.h_proto) && (is_beside(skb, cgroup_id, *d, &f->ip, false) ||
					   is_beside(skb, cgroup_id, *d, &f->ip, true));
}

/* A flow of which a frame was noted since, where that is enough. */
static __always_inline bool was_noted(const struct guard *g, const struct packet *p)
{
	struct flow_key key;
	struct flow *f;

	if (!(g->flags & GUARD_PROCESS) || p->fragment)
		return false;
	flow_key(&key, g->netns_cookie, g->ifindex, p, false, FLOW_OUTBOUND);
	f = bpf_map_lookup_elem(&flows, &key);
	return f && f->socket_cookie && f->first_ns >= g->bootstrap_since_ns;
}

/* ------ what leaves ------ */

/* While no lease lives: what the VPN has just sent, or to the hosts of the configuration. */
static __always_inline bool may_bootstrap(struct __sk_buff *skb, const struct guard *g,
					  const struct frame *f, __u64 *ret_socket_cookie)
{
	bool noted;

	if (!is_ipv4(f->eth.h_proto) || !in_bootstrap(g))
		return false;
	if (was_noted(g, &f->ip))
		return true;
	noted = take_note(skb, g, ret_socket_cookie);
	if (g->flags & GUARD_BOOTSTRAP_HOSTS)
		return allowed(&endpoints, g->netns_cookie, ADDRESS_BOOTSTRAP, 0, 0,
			       f->ip.destination);
	return noted;
}

static __always_inline enum reason judge_peer_ingress(struct __sk_buff *skb, const struct guard *g,
						      struct frame *f, const struct dropped *d)
{
	__u64 socket_cookie = 0;
	enum reason reason;

	if (f->vlan)
		return REASON_ETHERTYPE;
	if (!same_mac(f->eth.h_source, g->mac))
		return REASON_SPOOFED;
	if (f->eth.h_proto == bpf_htons(ETH_P_ARP))
		return own_arp(skb, d->guard) ? REASON_PASS : REASON_ARP;
	reason = judge_ethertype(g, f);
	if (reason)
		return reason;
	if (is_ipv6(f->eth.h_proto) && own_neighbour_discovery(skb, d->guard))
		return REASON_PASS;
	if (!read_ip(skb, f, false))
		return REASON_HEADER;
	if (!own_address(d->guard, f->ip.source))
		return REASON_SPOOFED;
	if (is_endpoint(g, &f->ip, f->ip.destination, f->ip.destination_port)) {
		remember(g, &f->ip, 0);
		f->of_endpoint = true;
		return REASON_PASS;
	}
	if (is_exception(skb, f, 0, d))
		return REASON_PASS;
	if (may_bootstrap(skb, g, f, &socket_cookie)) {
		remember(g, &f->ip, socket_cookie);
		return REASON_PASS;
	}
	return REASON_NOT_ENDPOINT;
}

/* ------ what comes in ------ */

/* The packet that an ICMP error quotes: was it ours, to an endpoint? */
__noinline int is_about_endpoint(struct __sk_buff *skb, __u32 slot, bool ipv4)
{
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	__u8 source[16], destination[16], protocol;
	struct ipv6hdr ip6;
	struct iphdr ip;

	if (!g)
		return false;
	if (ipv4) {
		if (!read_bytes(skb, ETH_HLEN + sizeof(ip) + ICMP_HLEN, &ip, sizeof(ip)))
			return false;
		map_ipv4(source, ip.saddr);
		map_ipv4(destination, ip.daddr);
		protocol = ip.protocol;
	} else {
		if (!read_bytes(skb, ETH_HLEN + sizeof(ip6) + ICMP_HLEN, &ip6, sizeof(ip6)))
			return false;
		__builtin_memcpy(source, &ip6.saddr, 16);
		__builtin_memcpy(destination, &ip6.daddr, 16);
		protocol = ip6.nexthdr;
	}
	return own_address(slot, source) &&
	       allowed(&endpoints, g->netns_cookie, ADDRESS_HOST, protocol, 0, destination);
}

/* A router says that our packet to an endpoint was too large for it. */
static __always_inline bool is_too_big(struct __sk_buff *skb, __u32 slot, const struct frame *f)
{
	bool ipv4 = is_ipv4(f->eth.h_proto);

	return (ipv4 ? f->ip.protocol == IPPROTO_ICMP && f->ip.icmp_type == ICMP_DEST_UNREACH &&
				f->ip.icmp_code == ICMP_FRAG_NEEDED
		     : f->ip.protocol == IPPROTO_ICMPV6 && f->ip.icmp_type == ICMPV6_PKT_TOOBIG) &&
	       is_about_endpoint(skb, slot, ipv4);
}

static __always_inline enum reason judge_peer_egress(struct __sk_buff *skb, const struct guard *g,
						     struct frame *f, const struct dropped *d)
{
	enum reason reason;

	if (f->vlan)
		return REASON_ETHERTYPE;
	if (f->eth.h_proto == bpf_htons(ETH_P_ARP))
		return is_arp(skb) ? REASON_PASS : REASON_ARP;
	reason = judge_ethertype(g, f);
	if (reason)
		return reason;
	if (is_ipv6(f->eth.h_proto) && neighbour_comes_in(skb, d->guard))
		return REASON_PASS;
	if (!read_ip(skb, f, true))
		return REASON_HEADER;
	if (g->listen_port && f->ip.protocol == IPPROTO_UDP && !f->ip.fragment &&
	    f->ip.destination_port == g->listen_port) {
		/* WireGuard itself knows its peers, wherever they have moved */
		f->of_endpoint = true;
		return REASON_PASS;
	}
	if (f->ip.fragment ? is_endpoint(g, &f->ip, f->ip.source, 0) : is_answer(g, f))
		return REASON_PASS;
	if (is_too_big(skb, d->guard, f))
		return REASON_PASS;
	if (is_exception(skb, f, 0, d))
		return REASON_PASS;
	return REASON_UNSOLICITED;
}

/* ------ inside: who sent it ------ */

static __always_inline bool is_vpns(struct __sk_buff *skb, const struct guard *g)
{
	return g->vpn_cgroup && bpf_skb_ancestor_cgroup_id(skb, g->vpn_level) == g->vpn_cgroup;
}

static __always_inline enum reason judge_inside(struct __sk_buff *skb, const struct guard *g,
						struct frame *f, __u64 cgroup_id,
						const struct dropped *d)
{
	enum reason reason;

	if (f->eth.h_proto == bpf_htons(ETH_P_ARP))
		return REASON_PASS; /* its shape is judged outside */
	reason = judge_ethertype(g, f);
	if (reason)
		return reason;
	if (is_ipv6(f->eth.h_proto) && own_neighbour_discovery(skb, d->guard))
		return REASON_PASS;
	if (!read_ip(skb, f, false))
		return REASON_HEADER;
	f->of_endpoint = is_endpoint(g, &f->ip, f->ip.destination, f->ip.destination_port);
	if (f->of_endpoint || is_exception(skb, f, cgroup_id, d))
		return REASON_PASS;
	if (is_ipv4(f->eth.h_proto) && in_bootstrap(g) && is_vpns(skb, g)) {
		if (!was_noted(g, &f->ip))
			note_frame(skb, g);
		return REASON_PASS;
	}
	return REASON_NOT_ENDPOINT;
}

enum place { PEER_INGRESS, PEER_EGRESS, INSIDE, WEAK };

static __always_inline int guard_by(struct __sk_buff *skb, enum place place, __u32 slot)
{
	struct dropped d = { .ingress = place == PEER_EGRESS,
			     .ip_at = ETH_HLEN,
			     .guard = slot,
			     .counting = place == INSIDE ? COUNT_NOT : COUNT_GUARD };
	__u64 generation = guard_generation(), jiffy = bpf_jiffies64();
	__u64 cgroup_id = place == INSIDE ? bpf_skb_cgroup_id(skb) : 0;
	const struct guard *g = bpf_map_lookup_elem(&guards, &slot);
	struct frame f = {};

	if (!g || !g->netns_cookie)
		d.reason = REASON_UNGUARDED;
	else if (!read_frame(skb, &f))
		d.reason = REASON_ETHERTYPE;
	else {
		d.audit = !!(g->flags & GUARD_AUDIT);
		d.reason = place == PEER_INGRESS  ? judge_peer_ingress(skb, g, &f, &d)
			   : place == PEER_EGRESS ? judge_peer_egress(skb, g, &f, &d)
						  : judge_inside(skb, g, &f, cgroup_id, &d);
	}
	if (d.reason == REASON_PASS) {
		if (f.of_endpoint && is_ipv4(f.eth.h_proto))
			remember_frame(skb, place, generation, jiffy);
		return GUARD_PASS;
	}
	count_drop(skb, cgroup_id, word_of(&d));
	if (d.audit)
		return GUARD_PASS;
	return GUARD_DROP;
}

static __always_inline int guard(struct __sk_buff *skb, enum place place)
{
	return like_has_passed(skb, place) ? GUARD_PASS : guard_by(skb, place, slot_of(skb));
}

/* The cgroup of the workload, `levels` of which there are, that sent it; 0: none did. */
__noinline __u64 workload_that_sent(struct __sk_buff *skb, __u32 levels)
{
	for (int level = 1; level < 16; level++) {
		__u64 id = levels & 1U << level ? bpf_skb_ancestor_cgroup_id(skb, level) : 0;

		if (id && bpf_map_lookup_elem(&workloads, &id))
			return id;
	}
	return 0;
}

/* In the host's netns no guard can be exclusive: the underlay is everybody's. What a workload sends
 * by a packet socket is dropped; endpoints first, for a kernel tunnel's outer packet carries the
 * application's socket. */
static __always_inline enum reason judge_weak(struct __sk_buff *skb, const struct guard *g,
					      struct frame *f, const struct dropped *d,
					      __u64 *ret_cgroup_id)
{
	bool ip4 = is_ipv4(f->eth.h_proto);
	bool ip = (ip4 || is_ipv6(f->eth.h_proto)) && read_ip(skb, f, false);
	const struct workload_record *w;

	f->of_endpoint = ip && is_endpoint(g, &f->ip, f->ip.destination, f->ip.destination_port);
	if (f->of_endpoint || (ip && ip4 && is_beside(skb, 0, *d, &f->ip, false)))
		return REASON_PASS;
	*ret_cgroup_id = workload_that_sent(skb, g->levels);
	w = bpf_map_lookup_elem(&workloads, ret_cgroup_id);
	if (!w || (ip && ip4 && w->flags & WORKLOAD_REACH &&
		   is_beside(skb, *ret_cgroup_id, *d, &f->ip, true)))
		return REASON_PASS;
	return REASON_PACKET_SOCKET;
}

SEC("tc")
int guard_weak(struct __sk_buff *skb)
{
	__u64 generation = guard_generation(), jiffy = bpf_jiffies64(), cgroup_id = 0;
	struct dropped d = { .ip_at = ETH_HLEN, .counting = COUNT_NOT };
	const struct guard *g;
	struct frame f = {};
	__u32 slot;

	if (like_has_passed(skb, WEAK))
		return GUARD_PASS;
	slot = slot_of(skb);
	g = bpf_map_lookup_elem(&guards, &slot);
	if (!g || !g->netns_cookie || !read_frame(skb, &f))
		return GUARD_PASS; /* the host's own: nothing to hold back */
	d.guard = slot;
	d.audit = !!(g->flags & GUARD_AUDIT);
	d.reason = judge_weak(skb, g, &f, &d, &cgroup_id);
	if (f.of_endpoint && is_ipv4(f.eth.h_proto))
		remember_frame(skb, WEAK, generation, jiffy);
	if (d.reason == REASON_PASS)
		return GUARD_PASS;
	count_drop(skb, cgroup_id, word_of(&d));
	if (d.audit)
		return GUARD_PASS;
	return GUARD_DROP;
}

SEC("tc")
int guard_peer_ingress(struct __sk_buff *skb)
{
	return guard(skb, PEER_INGRESS);
}

SEC("tc")
int guard_peer_egress(struct __sk_buff *skb)
{
	return guard(skb, PEER_EGRESS);
}

SEC("tc")
int guard_inside(struct __sk_buff *skb)
{
	return guard(skb, INSIDE);
}

SEC("tc")
int guard_inside_ingress(struct __sk_buff *skb)
{
	return guard(skb, PEER_EGRESS);
}

/* Not static: else the verifier walks through the second for each state in which the first ends. */
__noinline int alone_inside(struct __sk_buff *skb, __u32 slot)
{
	return guard_by(skb, INSIDE, slot);
}

__noinline int alone_leaving(struct __sk_buff *skb, __u32 slot)
{
	return guard_by(skb, PEER_INGRESS, slot);
}

SEC("tc")
int guard_alone(struct __sk_buff *skb)
{
	__u32 slot = slot_of(skb);
	int verdict = alone_inside(skb, slot);

	return verdict == GUARD_PASS ? alone_leaving(skb, slot) : verdict;
}

SEC("tc")
int guard_parent_egress(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u32 slot;

	if (!read_bytes(skb, 0, &eth, sizeof(eth)))
		return GUARD_PASS;
	slot = slot_of_sender(skb, eth.h_source);
	return slot ? guard_by(skb, PEER_INGRESS, slot) : GUARD_PASS;
}

/* What comes in from the wire for the parent itself is left alone, whatever MAC it says: whoever
 * gave a macvlan the router's would cut the host off. */
SEC("tc")
int guard_parent_ingress(struct __sk_buff *skb)
{
	struct ethhdr eth;
	__u32 slot;

	if (skb->pkt_type != PACKET_OTHERHOST || !read_bytes(skb, 0, &eth, sizeof(eth)))
		return GUARD_PASS;
	slot = slot_of_mac(skb, eth.h_source);
	return slot ? guard_by(skb, PEER_INGRESS, slot) : GUARD_PASS;
}
