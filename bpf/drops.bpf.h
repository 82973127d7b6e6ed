/* SPDX-License-Identifier: GPL-2.0-only */
/* What was dropped: counted exactly, and now and then told. What passed by `reach`: counted, and
 * its first packet told. */
#ifndef VPNLEASH_DROPS_BPF_H
#define VPNLEASH_DROPS_BPF_H

#include "flows.bpf.h"
#include "maps.bpf.h"
#include "packet.bpf.h"
#include "vpnleash/reasons.h"

/* Several hooks let a packet through by `reach`; one of them counts it. */
enum counting { COUNT_NOT, COUNT_GUARD, COUNT_GATE };

/* Eight bytes: what is not inlined gets numbers, and no pointer before v5.12. */
struct dropped {
	__u8 reason;  /* enum reason */
	__u8 guard;   /* slot, 0: the gate */
	__u8 ip_at;   /* where the IP header begins */
	__u8 row;     /* of its record, 0: none, or it is not known */
	__u8 ingress; /* on its way in */
	__u8 audit;
	__u8 counting; /* enum counting */
	__u8 reach;    /* by that, and not by `allow` */
};
_Static_assert(sizeof(struct dropped) == sizeof(__u64) && VPNLEASH_GUARDS <= 256 &&
		       VPNLEASH_NEAR_COUNTERS <= 256 && VPNLEASH_REASON_MAX <= 256,
	       "all of it is in there");

static __always_inline __u64 word_of(const struct dropped *d)
{
	__u64 word;

	__builtin_memcpy(&word, d, sizeof(word));
	return word;
}

static __always_inline struct dropped dropped_of(__u64 word)
{
	struct dropped d;

	__builtin_memcpy(&d, &word, sizeof(d));
	return d;
}

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
static __always_inline bool send_event(struct __sk_buff *skb, __u64 cgroup_id,
				       const struct dropped *d, __u64 now_ns)
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
	e->cgroup_id = cgroup_id;
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
static __always_inline void tell(struct __sk_buff *skb, __u64 cgroup_id, const struct dropped *d,
				 struct counter *c)
{
	struct workload_record *w = bpf_map_lookup_elem(&workloads, &cgroup_id);
	__u64 now_ns = bpf_ktime_get_boot_ns(), *last_ns = w ? &w->event_ns : &c->event_ns;

	if (now_ns - *last_ns < VPNLEASH_EVENT_GAP_NS)
		return;
	*last_ns = now_ns;
	send_event(skb, cgroup_id, d, now_ns);
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

static __always_inline struct counter *counter_of(__u64 cgroup_id, const struct dropped *d)
{
	struct counter_key key = { cgroup_id, d->reason, d->guard };
	struct near_counters *near = near_counters_of(d->row, cgroup_id);
	struct counter *c;
	__u32 reason = d->reason;

	asm volatile("" : "+r"(reason)); /* the bound is to be of what is the index */
	if (near && reason < VPNLEASH_NEAR_REASONS)
		return &near->by_reason[reason];
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

/* In gate.bpf.c. */
int count_drop(struct __sk_buff *skb, __u64 cgroup_id, __u64 dropped);

/* By `reach`; `d` says which way, and at which hook. */
static __always_inline void note_reached(struct __sk_buff *skb, __u64 cgroup_id,
					 const struct dropped *d, struct address_value *rule)
{
	if (d->counting == (rule->by_gate ? COUNT_GATE : COUNT_GUARD))
		__sync_fetch_and_add(d->ingress ? &rule->packets_in : &rule->packets_out, 1);
	if (!rule->told)
		rule->told = send_event(skb, cgroup_id, d, bpf_ktime_get_boot_ns());
}

/* In gate.bpf.c: does it pass beside the tunnel by `allow` or, if `dropped` says so, by `reach`? */
int passes_beside(struct __sk_buff *skb, __u64 cgroup_id, __u64 dropped, __u64 ends,
		  __u64 transport);

/* The same for what was read already, of IPv4. */
static __always_inline bool is_beside(struct __sk_buff *skb, __u64 cgroup_id, struct dropped d,
				      const struct packet *p, bool reach)
{
	const struct ends e = { ((const __u32 *)p->source)[3], ((const __u32 *)p->destination)[3] };
	const __u8 syn_alone = TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN;
	const struct transport t = { .source_port = p->source_port,
				     .destination_port = p->destination_port,
				     .protocol = p->protocol,
				     .inbound = d.ingress,
				     .begins = p->protocol == IPPROTO_UDP ||
					       (p->tcp_flags & syn_alone) == TCP_SYN };
	__u64 ends, transport;

	if ((p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) || p->fragment)
		return false;
	__builtin_memcpy(&ends, &e, sizeof(ends));
	__builtin_memcpy(&transport, &t, sizeof(transport));
	d.reach = reach;
	return passes_beside(skb, cgroup_id, word_of(&d), ends, transport);
}

#endif
