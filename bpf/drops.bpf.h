/* SPDX-License-Identifier: GPL-2.0-only */
/* What was dropped: counted exactly, and now and then told. What passed by `reach`: counted, and
 * its first packet told. */
#ifndef VPNLEASH_DROPS_BPF_H
#define VPNLEASH_DROPS_BPF_H

#include "flows.bpf.h"
#include "maps.bpf.h"
#include "packet.bpf.h"
#include "vpnleash/reasons.h"

struct dropped {
	__u64 cgroup_id;
	__u64 seen_jiffy; /* in which `liveness` has a sign of life, if the packet is one; else 0 */
	enum reason reason;
	__u32 guard;  /* slot, 0: the gate */
	__u32 ip_at;  /* where the IP header begins */
	__u32 row;    /* of its record, 0: none, or it is not known */
	bool ingress; /* on its way in */
	__u8 audit; /* not a bool: it would be the gate's verdict as it is, and the verifier's doubt
		     */
};

static __always_inline void show_ports(struct __sk_buff *skb, __u32 at, struct drop_event *e)
{
	__be16 ports[2];

	if (e->protocol != IPPROTO_TCP && e->protocol != IPPROTO_UDP &&
	    e->protocol != IPPROTO_UDPLITE && e->protocol != IPPROTO_SCTP)
		return;
	if (!read_bytes(skb, at, ports, sizeof(ports)))
		return;
	e->source_port = ports[0];
	e->destination_port = ports[1];
}

/*
 * The packet's headers, for people and logs and never for a verdict: what can not be read stays
 * zero, and an IPv6 extension header is shown as the protocol.
 */
static __always_inline void show_packet(struct __sk_buff *skb, __u32 at, struct drop_event *e)
{
	struct ipv6hdr ip6;
	struct iphdr ip;

	if (is_ipv4(skb->protocol) && read_bytes(skb, at, &ip, sizeof(ip))) {
		e->family = 4;
		e->protocol = ip.protocol;
		__builtin_memcpy(e->source, &ip.saddr, 4);
		__builtin_memcpy(e->destination, &ip.daddr, 4);
		if (!(ip.frag_off & bpf_htons(IP_OFFSET)))
			show_ports(skb, at + ip.ihl * 4, e);
	} else if (is_ipv6(skb->protocol) && read_bytes(skb, at, &ip6, sizeof(ip6))) {
		e->family = 6;
		e->protocol = ip6.nexthdr;
		__builtin_memcpy(e->source, &ip6.saddr, 16);
		__builtin_memcpy(e->destination, &ip6.daddr, 16);
		show_ports(skb, at + sizeof(ip6), e);
	}
}

/* False: the ring is full. */
static __always_inline bool send_event(struct __sk_buff *skb, const struct dropped *d, __u64 now_ns)
{
	struct drop_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__u32 zero = 0;
		struct header *h = bpf_map_lookup_elem(&header, &zero);

		if (h)
			__sync_fetch_and_add(&h->events_lost, 1);
		return false;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = now_ns;
	e->cgroup_id = d->cgroup_id;
	e->reason = d->reason;
	e->guard = d->guard;
	e->ingress = d->ingress;
	e->audit = d->audit;
	e->ifindex = skb->ifindex;
	e->length = skb->len - d->ip_at;
	show_packet(skb, d->ip_at, e);
	bpf_ringbuf_submit(e, 0);
	return true;
}

/* A sample for people: at most one event in VPNLEASH_EVENT_GAP_NS for each workload. The clock is
 * read only when the jiffy has changed, so a flood of drops costs what a bare drop costs. */
static __always_inline void tell(struct __sk_buff *skb, const struct dropped *d, struct counter *c)
{
	struct workload_record *w = bpf_map_lookup_elem(&workloads, &d->cgroup_id);
	__u64 now_ns = bpf_ktime_get_boot_ns(), *last_ns = w ? &w->event_ns : &c->event_ns;

	if (now_ns - *last_ns < VPNLEASH_EVENT_GAP_NS)
		return;
	*last_ns = now_ns;
	send_event(skb, d, now_ns);
}

/* NULL: it has none. */
static __always_inline struct near_counters *near_counters_of(__u32 row, __u64 cgroup_id)
{
	struct near_counters *near = row ? bpf_map_lookup_elem(&near_counters, &row) : 0;

	return near && near->cgroup_id == cgroup_id ? near : 0;
}

static __always_inline void count(struct counter *c, const struct __sk_buff *skb)
{
	c->packets++;
	c->bytes += skb->len;
}

static __always_inline struct counter *counter_of(const struct dropped *d)
{
	struct counter_key key = { d->cgroup_id, d->reason, d->guard };
	struct near_counters *near = near_counters_of(d->row, d->cgroup_id);
	struct counter *c;

	if (near && d->reason < VPNLEASH_NEAR_REASONS) {
		if (d->seen_jiffy)
			near->seen_jiffy = d->seen_jiffy;
		return &near->by_reason[d->reason];
	}
	c = bpf_map_lookup_elem(&counters, &key);
	if (!c) {
		struct counter zero = {};

		bpf_map_update_elem(&counters, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&counters, &key);
	}
	if (!c) { /* the map is full: count it all the same */
		key.cgroup_id = 0;
		c = bpf_map_lookup_elem(&counters, &key);
	}
	return c;
}

static __always_inline void count_drop(struct __sk_buff *skb, const struct dropped *d)
{
	struct counter *c = counter_of(d);
	__u64 jiffy = bpf_jiffies64();

	if (!c)
		return;
	count(c, skb);
	if (c->checked_jiffy != jiffy) {
		c->checked_jiffy = jiffy;
		tell(skb, d, c);
	}
}

/* Several hooks let a packet through; one of them counts it. */
enum counting { COUNT_NOT, COUNT_GUARD, COUNT_GATE };

/* Does it go to, or come from, what `reach` names? `d` says by whom. */
static __always_inline bool passes_by_reach(struct __sk_buff *skb, const struct dropped *d,
					    __u64 netns_cookie, __u32 ifindex,
					    const struct packet *p, enum counting counting)
{
	struct address_value *rule = exception(netns_cookie, ifindex, p, d->ingress, true);

	if (!rule)
		return false;
	if (counting == (rule->by_gate ? COUNT_GATE : COUNT_GUARD))
		__sync_fetch_and_add(d->ingress ? &rule->packets_in : &rule->packets_out, 1);
	if (!rule->told)
		rule->told = send_event(skb, d, bpf_ktime_get_boot_ns());
	return true;
}

#endif
