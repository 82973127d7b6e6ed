/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate: every packet of a workload's sockets, on its way out (gate_egress) and in
 * (gate_ingress). The two differ only in who is local. Both hooks are needed: before v6.6 a
 * SYN-ACK skips the egress hook, so the SYN must not come in.
 *
 * Fails closed: whatever is not known to be good (no record, no lease, no netns, a short header)
 * is a drop. Reasons are looked for only once the packet is lost.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAP /* the maps are defined here */
#include "vmlinux.h"
#include "drops.bpf.h"
#include "flows.bpf.h"

#define DROP 0
#define PASS 1

#define LOOPBACK_IFINDEX 1 /* in every netns: LOOPBACK_IFINDEX of include/net/net_namespace.h */

/* Depth of the workloads' cgroups below the root: one loaded instance for each depth in use. On a
 * slice it is the depth of the slice's children. */
const volatile __u32 level = 1;
/* The kernel can not show the gate a packet's device: `netns_cookies` has the socket's netns. */
const volatile bool netns_by_socket = false;

/* The object's .bss, a map of one element: it is read without a lookup. */
struct near near_records;

/* The first word of struct workload_record, as one number so that it stays in one register. */
#define TAG(word)   ((__u32)(word))
#define SLOT(word)  ((__u32)((word) >> 32 & 0xff))
#define ROW(word)   ((__u32)((word) >> 40 & 0xff))
#define FLAGS(word) ((__u16)((word) >> 48))
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the word's parts");

/* The record of that cgroup as it lies near, in one load; 0: look into the hash. */
static __always_inline __u64 near_word(__u64 cgroup_id)
{
	const struct near_line *near = &near_records.lines[near_line(cgroup_id)];

#pragma unroll
	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++) {
		/* the word before the id: a place is free before it is another's */
		__u64 word = *(const volatile __u64 *)&near->word[i];

		if (TAG(word) == TAG(cgroup_id) &&
		    *(const volatile __u64 *)&near->cgroup_id[i] == cgroup_id)
			return word;
	}
	return 0;
}

/* 0 if there is none, or if the element is another cgroup's by now. Slot 0 never has a lease. */
static __always_inline __u64 workload_of(__u64 cgroup_id)
{
	__u64 word = near_word(cgroup_id);
	const struct workload_record *w;

	if (word)
		return word;
	w = bpf_map_lookup_elem(&workloads, &cgroup_id);
	word = w ? *(const volatile __u64 *)w : 0;
	return TAG(word) == TAG(cgroup_id) ? word : 0;
}

/*
 * What is `__noinline` and not static the verifier walks through once, and not for each state in
 * which it is called, so that is how the rare ways are made. It gets numbers: before v5.12 no
 * pointer could be handed over.
 */

/* Where to follow pointers from. By the cast the verifier does not trust them, each read may fault,
 * and it does not search all of the kernel's types by name for each: 0.7 ms of a load. */
static __always_inline const struct sk_buff *packet_of(struct __sk_buff *skb)
{
	return bpf_rdonly_cast(bpf_cast_to_kern_ctx(skb), bpf_core_type_id_kernel(struct sk_buff));
}

__noinline __u64 netns_of_device(struct __sk_buff *skb)
{
	if (netns_by_socket)
		return 0;
	return packet_of(skb)->dev->nd_net.net->net_cookie;
}

__noinline __u32 link_type_of(struct __sk_buff *skb)
{
	if (netns_by_socket)
		return 0;
	return packet_of(skb)->dev->type;
}

/* The cookie of the packet's netns, 0: not known. */
static __always_inline __u64 netns_of(struct __sk_buff *skb)
{
	if (netns_by_socket) {
		struct bpf_sock *sk = skb->sk;
		__u64 *made_in;

		if (sk)
			sk = bpf_sk_fullsock(sk);
		if (!sk)
			return 0;
		made_in = bpf_sk_storage_get(&netns_cookies, sk, 0, 0);
		return made_in ? *made_in : 0;
	}
	return netns_of_device(skb);
}

/* The index alone can have been given to another device since the lease was granted. */
static __always_inline bool on_interface(struct __sk_buff *skb, const struct lease *lease)
{
	if (netns_by_socket)
		return skb->ifindex == lease->ifindex;
	return skb->ifindex == lease->ifindex && link_type_of(skb) == lease->link_type;
}

static __always_inline bool in_netns(struct __sk_buff *skb, const struct lease *lease)
{
	__u64 cookie = netns_of(skb);

	return cookie && cookie == lease->netns_cookie;
}

static __always_inline bool alive(__u64 expires_ns, __u64 now_ns)
{
	/* the cap: neither a bug nor a tampered map may open the gate for long */
	return now_ns < expires_ns && expires_ns - now_ns <= VPNLEASH_LEASE_CAP_NS;
}

/* Loopback may carry 127.0.0.0/8, ::1 and packets to oneself, but nothing to Docker's resolver:
 * dockerd would ask the question from the host's side. */
__noinline int judge_loopback(struct __sk_buff *skb, __u64 id)
{
	if (is_ipv4(skb->protocol)) {
		const __be32 docker = bpf_htonl(0x7f00000b), net127 = bpf_htonl(0x7f000000),
			     mask8 = bpf_htonl(0xff000000);
		struct iphdr ip;

		if (!read_bytes(skb, 0, &ip, sizeof(ip)))
			return REASON_LOOPBACK;
		if (ip.saddr == docker || ip.daddr == docker)
			return FLAGS(workload_of(id)) & WORKLOAD_DOCKER_DNS ? REASON_PASS
									    : REASON_DOCKER_DNS;
		if ((ip.saddr & mask8) == net127 || (ip.daddr & mask8) == net127 ||
		    ip.saddr == ip.daddr)
			return REASON_PASS;
	} else if (is_ipv6(skb->protocol)) {
		struct ipv6hdr ip;

		/* ::1 can only talk to ::1, so "to oneself" covers both */
		if (read_bytes(skb, 0, &ip, sizeof(ip)) &&
		    same_address(ip.saddr.s6_addr, ip.daddr.s6_addr))
			return REASON_PASS;
	}
	return REASON_LOOPBACK;
}

/* Is it for port 53? What can not be read may be. */
__noinline int asks_for_a_name(struct __sk_buff *skb)
{
	struct packet p = {};

	if (is_ipv4(skb->protocol)) {
		if (!read_ipv4(skb, 0, &p))
			return true;
	} else {
		const __u32 header = sizeof(struct ipv6hdr);

		if (!read_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &p.protocol, 1))
			return true;
		if (p.protocol != IPPROTO_TCP && p.protocol != IPPROTO_UDP &&
		    p.protocol != IPPROTO_ICMPV6)
			return true; /* behind an extension header */
		read_transport(skb, header, skb->len - header, &p);
	}
	return !p.fragment && p.destination_port == bpf_htons(53);
}

static __always_inline bool is_leased(__u64 id, struct dropped *d)
{
	__u64 word = workload_of(id);
	__u32 slot = SLOT(word);
	struct lease *lease = bpf_map_lookup_elem(&leases, &slot);

	d->audit = !!(FLAGS(word) & WORKLOAD_AUDIT);
	return lease && FLAGS(word) & WORKLOAD_ADMITTED && !(FLAGS(word) & WORKLOAD_HELD) &&
	       alive(*(volatile __u64 *)&lease->expires_ns, bpf_ktime_get_boot_ns());
}

/* Another resolver on loopback is the VPN's, and what that sends may use the underlay while no
 * lease lives: then it is asked nothing. */
static __always_inline enum reason judge_question(struct __sk_buff *skb, __u64 id,
						  struct dropped *d)
{
	return !asks_for_a_name(skb) || is_leased(id, d) ? REASON_PASS : REASON_RESOLVER;
}

/* Does the packet leave with an underlay's address from a port that LAN clients talk to? Into the
 * tunnel it would carry the LAN's address to the VPN's provider. */
__noinline int is_lan_reply(struct __sk_buff *skb)
{
	struct packet p = {};

	return is_ipv4(skb->protocol) && read_ipv4(skb, 0, &p) &&
	       allowed(&exceptions, netns_of(skb), ADDRESS_OWN, p.protocol, p.source_port,
		       p.source);
}

/* Here for the guard as well, whose slot `dropped` has. */
__noinline int passes_beside(struct __sk_buff *skb, __u64 cgroup_id, __u64 dropped, __u64 ends,
			     __u64 transport)
{
	const struct dropped d = dropped_of(dropped);
	__u64 netns_cookie = 0;
	struct address_value *rule;
	__u32 slot = d.guard, ifindex = skb->ifindex;
	struct transport t;
	struct ends e;

	if (slot) {
		const struct guard *g = bpf_map_lookup_elem(&guards, &slot);

		netns_cookie = g ? g->netns_cookie : 0;
		ifindex = g ? g->ifindex : 0;
	} else {
		netns_cookie = netns_of(skb);
	}
	if (!netns_cookie)
		return false;
	__builtin_memcpy(&e, &ends, sizeof(e));
	__builtin_memcpy(&t, &transport, sizeof(t));
	rule = exception(netns_cookie, ifindex, e, t, d.reach);
	if (rule && d.reach)
		note_reached(skb, cgroup_id, &d, rule);
	return !!rule;
}

/* Beside the tunnel: by `allow` or by `reach`? */
__noinline int is_exception(struct __sk_buff *skb, __u64 id, __u16 flags, bool ingress)
{
	const struct dropped d = { .ingress = ingress, .counting = COUNT_GATE };
	struct packet p = {};

	if (!is_ipv4(skb->protocol) || !read_ipv4(skb, 0, &p))
		return false;
	return (flags & WORKLOAD_ALLOW && is_beside(skb, id, d, &p, false)) ||
	       (flags & WORKLOAD_REACH && is_beside(skb, id, d, &p, true));
}

/* A sign of life, whatever becomes of the packet. Only what was sent to this host: one's own
 * multicast loops back with the tun's ifindex. True: there was one in this jiffy. */
static __always_inline bool note_life(struct __sk_buff *skb, const struct lease *lease, __u32 slot,
				      __u64 jiffy)
{
	struct liveness *life = bpf_map_lookup_elem(&liveness, &slot);

	if (!life || life->seen_jiffy == jiffy)
		return life;
	if (skb->pkt_type != PACKET_HOST || !on_interface(skb, lease) || !in_netns(skb, lease))
		return false;
	life->seen_ns = bpf_ktime_get_boot_ns();
	life->seen_jiffy = jiffy;
	return true;
}

/* The packet's device as an address in the kernel, compared and never followed; 0: not shown. */
static __always_inline __u64 device_of(struct __sk_buff *skb)
{
	if (netns_by_socket)
		return 0;
	return (__u64)packet_of(skb)->dev;
}

/*
 * Did a packet pass under this very expiry, by this very device, in this jiffy? Then so may this
 * one; the boot clock and the device's identity would be half of what a passing packet costs. All
 * else that can shut the gate is looked at: no lease, another expiry, the record's flags. What the
 * jiffy hides is at most a tick late, also after a suspend, in which jiffies stand still.
 */
static __always_inline bool passed_this_jiffy(struct __sk_buff *skb, __u16 flags,
					      const struct lease *lease, __u64 expires_ns,
					      __u64 jiffy, bool ingress)
{
	/* what the workload of an `allow` sends may be an answer to the LAN */
	const __u16 looked_at = WORKLOAD_ADMITTED | WORKLOAD_HELD | (ingress ? 0 : WORKLOAD_ALLOW);

	if ((flags & looked_at) != WORKLOAD_ADMITTED)
		return false;
	if (!is_ipv4(skb->protocol) && !(flags & WORKLOAD_IPV6))
		return false;
	if (expires_ns + jiffy != (ingress ? lease->passed_in : lease->passed_out))
		return false;
	return netns_by_socket ? on_interface(skb, lease) && in_netns(skb, lease)
			       : device_of(skb) == lease->device;
}

/* The stamp is one word, so that no two CPUs can write half of it each. */
static __always_inline void note_passed(struct __sk_buff *skb, struct lease *lease,
					__u64 expires_ns, __u64 jiffy, bool ingress)
{
	*(volatile __u64 *)&lease->device = device_of(skb);
	*(volatile __u64 *)(ingress ? &lease->passed_in : &lease->passed_out) = expires_ns + jiffy;
}

/*
 * There is no lease. Was one refused for that by the long way in this jiffy, which tells and looks
 * for signs of life? Then this one is but counted. Not who has another reason or an exception.
 */
static __always_inline bool refused_this_jiffy(struct __sk_buff *skb, __u64 id, __u64 word,
					       __u64 jiffy, bool ingress)
{
	const __u16 other = WORKLOAD_HELD | WORKLOAD_AUDIT | WORKLOAD_ALLOW | WORKLOAD_REACH;
	struct near_counters *near;
	struct counter *c;

	if (FLAGS(word) & other || skb->ifindex == LOOPBACK_IFINDEX ||
	    (!is_ipv4(skb->protocol) && !(FLAGS(word) & WORKLOAD_IPV6)))
		return false;
	near = near_counters_of(ROW(word), id);
	if (!near)
		return false;
	c = &near->by_reason[REASON_NO_LEASE];
	if (c->checked_jiffy != jiffy || (ingress && near->seen_jiffy != jiffy))
		return false;
	count(c, skb);
	return true;
}

/* May it pass by its tunnel? If not, why; the most telling first. */
static __always_inline enum reason judge_lease(struct __sk_buff *skb, __u16 flags,
					       const struct lease *lease, __u64 expires_ns)
{
	if (flags & WORKLOAD_HELD)
		return REASON_HELD;
	if (!is_ipv4(skb->protocol) && !(flags & WORKLOAD_IPV6))
		return REASON_IPV6;
	if (!expires_ns)
		return REASON_NO_LEASE;
	if (!alive(expires_ns, bpf_ktime_get_boot_ns()))
		return REASON_EXPIRED;
	if (!(flags & WORKLOAD_ADMITTED))
		return REASON_BARRED;
	if (!in_netns(skb, lease))
		return REASON_WRONG_NETNS;
	return on_interface(skb, lease) ? REASON_PASS : REASON_WRONG_IFINDEX;
}

/* *ret_seen_jiffy: of this jiffy there is a sign of life; 0: there is none. */
static __always_inline enum reason judge(struct __sk_buff *skb, __u64 id, bool ingress,
					 struct dropped *d, __u64 *ret_seen_jiffy)
{
	if (skb->ifindex == LOOPBACK_IFINDEX) {
		enum reason reason = judge_loopback(skb, id);

		return reason || ingress ? reason : judge_question(skb, id, d);
	}

	__u64 jiffy = bpf_jiffies64(); /* before the clock: what is stamped was alive later */
	__u64 word = workload_of(id);
	__u32 slot = SLOT(word);
	__u16 flags = FLAGS(word);
	struct lease *lease = bpf_map_lookup_elem(&leases, &slot);

	if (!word || !lease)
		return REASON_UNKNOWN;
	d->audit = !!(flags & WORKLOAD_AUDIT);
	d->row = ROW(word);

	bool seen = ingress && note_life(skb, lease, slot, jiffy);

	*ret_seen_jiffy = seen ? jiffy : 0;
	/* before the identity: a lease seen alive has its identity in place */
	__u64 expires_ns = *(const volatile __u64 *)&lease->expires_ns;
	enum reason reason = judge_lease(skb, flags, lease, expires_ns);

	if (reason) {
		if (flags & (WORKLOAD_ALLOW | WORKLOAD_REACH) && !on_interface(skb, lease) &&
		    is_exception(skb, id, flags, ingress))
			return REASON_PASS;
		return reason;
	}
	if (!ingress || seen) /* until a sign of life is known, each packet may be one */
		note_passed(skb, lease, expires_ns, jiffy, ingress);
	if (flags & WORKLOAD_ALLOW && !ingress && is_lan_reply(skb))
		return REASON_LAN_REPLY;
	return REASON_PASS;
}

/* Drops of whom no record knows: under the slice, if it is one. Its children come and go, and
 * counters of each would be left behind. */
static __always_inline __u64 counted_under(struct __sk_buff *skb, __u64 id)
{
	__u64 slice = bpf_skb_ancestor_cgroup_id(skb, level - 1);

	if (bpf_map_lookup_elem(&workloads, &id) || !bpf_map_lookup_elem(&workloads, &slice))
		return id;
	return slice;
}

/* Here for the guard as well. */
__noinline int count_drop(struct __sk_buff *skb, __u64 cgroup_id, __u64 dropped)
{
	const struct dropped d = dropped_of(dropped);
	struct counter *c = counter_of(cgroup_id, &d);
	__u64 jiffy = bpf_jiffies64();

	if (!c)
		return 0;
	count(c, skb);
	if (c->checked_jiffy != jiffy) {
		c->checked_jiffy = jiffy;
		tell(skb, cgroup_id, &d, c);
	}
	return 0;
}

/* Not inlined: the registers are for the packet that passes. */
static __noinline int judge_and_count(struct __sk_buff *skb, __u64 cgroup_id, bool ingress)
{
	struct dropped d = { .ingress = ingress };
	struct near_counters *near;
	__u64 seen_jiffy = 0;

	d.reason = judge(skb, cgroup_id, ingress, &d, &seen_jiffy);
	if (d.reason == REASON_PASS)
		return PASS;
	near = seen_jiffy ? near_counters_of(d.row, cgroup_id) : 0;
	if (near)
		near->seen_jiffy = seen_jiffy;
	if (d.reason == REASON_UNKNOWN || skb->ifindex == LOOPBACK_IFINDEX)
		cgroup_id = counted_under(skb, cgroup_id);
	count_drop(skb, cgroup_id, word_of(&d));
	if (d.audit)
		return PASS;
	return DROP;
}

static __always_inline int gate(struct __sk_buff *skb, bool ingress)
{
	__u64 cgroup_id = bpf_skb_ancestor_cgroup_id(skb, level);

	__u64 word = near_word(cgroup_id);
	__u32 slot = SLOT(word);
	const struct lease *lease = bpf_map_lookup_elem(&leases, &slot);

	if (lease) {
		__u64 jiffy = bpf_jiffies64();
		__u64 expires_ns = *(const volatile __u64 *)&lease->expires_ns;

		if (expires_ns &&
		    passed_this_jiffy(skb, FLAGS(word), lease, expires_ns, jiffy, ingress))
			return PASS;
		if (!expires_ns && refused_this_jiffy(skb, cgroup_id, word, jiffy, ingress))
			return DROP;
	}
	return judge_and_count(skb, cgroup_id, ingress);
}

SEC("cgroup_skb/egress")
int gate_egress(struct __sk_buff *skb)
{
	return gate(skb, false);
}

SEC("cgroup_skb/ingress")
int gate_ingress(struct __sk_buff *skb)
{
	return gate(skb, true);
}

/* Only where netns_by_socket: remembers where a socket was made. Without memory for that the
 * socket exists and the gate drops all it sends. */
SEC("cgroup/sock_create")
int gate_socket(struct bpf_sock *sk)
{
	__u64 *made_in = bpf_sk_storage_get(&netns_cookies, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (made_in)
		*made_in = bpf_get_netns_cookie(sk);
	return PASS;
}

/* For the guard: bpftool of Debian 12 links a kfunc of one object only. */
/* The device, as its distance in the kernel's memory: a pointer may not be returned, a difference
 * of two may. 0: not shown. */
__u64 device_of_frame(struct __sk_buff *skb)
{
	if (netns_by_socket)
		return 0;
	return device_of(skb) - (__u64)&near_records;
}

char _license[] SEC("license") = "GPL";
