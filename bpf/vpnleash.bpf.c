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
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "compat.bpf.h"
#include "maps.bpf.h"
#include "packet.bpf.h"
#include "vpnleash/reasons.h"

#define DROP 0
#define PASS 1

#define LOOPBACK_IFINDEX 1 /* in every netns: LOOPBACK_IFINDEX of include/net/net_namespace.h */

/* Depth of the workloads' cgroups below the root: one loaded instance for each depth in use. */
const volatile __u32 level = 1;
/* The kernel can not show the gate a packet's device: compare the socket's netns (see `sockets`).
 */
const volatile bool netns_by_socket = false;

/* The first word of struct workload, read in one load; see there. */
union workload_word {
	__u64 word;
	struct {
		__u32 cgroup_tag;
		__u16 slot;
		__u16 flags;
	};
};

static __always_inline bool in_netns(struct __sk_buff *skb, const struct lease *lease)
{
	if (netns_by_socket) {
		struct bpf_sock *sk = skb->sk;
		__u64 *made_in;

		if (sk)
			sk = bpf_sk_fullsock(sk);
		if (!sk)
			return false;
		made_in = bpf_sk_storage_get(&sockets, sk, 0, 0);
		return made_in && *made_in == lease->netns_cookie;
	}
	struct sk_buff *packet = bpf_cast_to_kern_ctx(skb);

	return packet->dev->nd_net.net->net_cookie == lease->netns_cookie;
}

/* The index alone can have been given to another device since the lease was granted. */
static __always_inline bool on_interface(struct __sk_buff *skb, const struct lease *lease)
{
	if (netns_by_socket)
		return skb->ifindex == lease->ifindex;
	struct sk_buff *packet = bpf_cast_to_kern_ctx(skb);

	return skb->ifindex == lease->ifindex && packet->dev->type == lease->link_type;
}

static __always_inline bool alive(__u64 expires_ns, __u64 now_ns)
{
	/* the cap: neither a bug nor a tampered map may open the gate for long */
	return now_ns < expires_ns && expires_ns - now_ns <= VPNLEASH_LEASE_CAP_NS;
}

/*
 * Was this very expiry found alive on this CPU in this jiffy? Then so it is still, within a tick;
 * reading the boot clock would be a third of what a passing packet costs. Another expiry is
 * compared anew; none at all is seen on every packet. Jiffies stand still in suspend, so that one
 * tick is also the most that an expiry is late after it.
 */
static __always_inline bool checked_this_jiffy(const struct liveness *life, __u64 expires_ns,
					       bool ingress)
{
	__u64 jiffy = bpf_jiffies64();

	return expires_ns && life->checked_jiffy == jiffy &&
	       life->checked_expires_ns == expires_ns && (!ingress || life->seen_jiffy == jiffy);
}

/* Loopback may carry 127.0.0.0/8, ::1 and packets to oneself, but nothing to Docker's resolver:
 * dockerd would ask the question from the host's side. */
static __always_inline enum reason judge_loopback(struct __sk_buff *skb, __u64 id)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		const __u32 docker = bpf_htonl(0x7f00000b), net127 = bpf_htonl(0x7f000000),
			    mask8 = bpf_htonl(0xff000000);
		__u32 a[2]; /* saddr, daddr */

		if (bpf_skb_load_bytes(skb, 12, a, sizeof(a)))
			return REASON_LOOPBACK;
		if (a[0] == docker || a[1] == docker) {
			struct workload *w = bpf_map_lookup_elem(&workloads, &id);

			return w && w->flags & WORKLOAD_DOCKER_DNS ? REASON_PASS
								   : REASON_DOCKER_DNS;
		}
		if ((a[0] & mask8) == net127 || (a[1] & mask8) == net127 || a[0] == a[1])
			return REASON_PASS;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		__u64 a[4]; /* saddr, daddr; ::1 can only talk to ::1, so "to oneself" covers both
			     */

		if (!bpf_skb_load_bytes(skb, 8, a, sizeof(a)) && a[0] == a[2] && a[1] == a[3])
			return REASON_PASS;
	}
	return REASON_LOOPBACK;
}

static __always_inline enum reason judge(struct __sk_buff *skb, __u64 id, bool ingress)
{
	if (skb->ifindex == LOOPBACK_IFINDEX)
		return judge_loopback(skb, id);

	struct workload *w = bpf_map_lookup_elem(&workloads, &id);

	if (!w)
		return REASON_UNKNOWN;

	union workload_word record = { .word = *(volatile __u64 *)w };
	__u32 slot = record.slot;
	struct lease *lease = bpf_map_lookup_elem(&leases, &slot);
	struct liveness *life = bpf_map_lookup_elem(&liveness, &slot);

	if (!lease || !life || record.cgroup_tag != (__u32)id)
		return REASON_UNKNOWN;

	/* expires_ns before the identity: a lease seen alive has its identity in place */
	__u64 expires_ns = *(volatile __u64 *)&lease->expires_ns;
	bool right_ifindex = on_interface(skb, lease);
	bool right_netns = in_netns(skb, lease);
	bool right_family = skb->protocol == bpf_htons(ETH_P_IP) || record.flags & WORKLOAD_IPV6;
	bool leased = checked_this_jiffy(life, expires_ns, ingress);

	if (!leased && (expires_ns || ingress)) { /* without either the clock has nothing to say */
		__u64 now_ns = bpf_ktime_get_boot_ns();

		/* Only what was sent to this host: one's own multicast loops back with the tun's
		 * ifindex. */
		if (ingress && right_ifindex && right_netns && skb->pkt_type == PACKET_HOST) {
			life->seen_ns = now_ns;
			life->seen_jiffy = bpf_jiffies64();
		}
		leased = alive(expires_ns, now_ns);
		if (leased) {
			life->checked_expires_ns = expires_ns;
			life->checked_jiffy = bpf_jiffies64();
		}
	}

	if (record.flags & WORKLOAD_ADMITTED && !(record.flags & WORKLOAD_HELD) && right_family &&
	    right_ifindex && right_netns && leased) {
		if (ingress)
			life->rx_packets++;
		else
			life->tx_packets++;
		return REASON_PASS;
	}

	/* The packet is lost; say why, the most telling first. */
	if (record.flags & WORKLOAD_HELD)
		return REASON_HELD;
	if (!right_family)
		return REASON_IPV6;
	if (!expires_ns)
		return REASON_NO_LEASE;
	if (!leased)
		return REASON_EXPIRED;
	if (!(record.flags & WORKLOAD_ADMITTED))
		return REASON_BARRED;
	return right_netns ? REASON_WRONG_IFINDEX : REASON_WRONG_NETNS;
}

/* A sample for people: at most one event in VPNLEASH_EVENT_GAP_NS for each workload. The clock is
 * read only when the jiffy has changed, so a flood of drops costs what a bare drop costs. */
static __always_inline void tell(struct __sk_buff *skb, __u64 cgroup_id, enum reason reason,
				 bool ingress, struct counter *c)
{
	struct workload *w;
	struct drop_event *e;
	__u64 now_ns, *last_ns;

	w = bpf_map_lookup_elem(&workloads, &cgroup_id);
	last_ns = w ? &w->event_ns : &c->event_ns;
	now_ns = bpf_ktime_get_boot_ns();
	if (now_ns - *last_ns < VPNLEASH_EVENT_GAP_NS)
		return;
	*last_ns = now_ns;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__u32 zero = 0;
		struct header *h = bpf_map_lookup_elem(&header, &zero);

		if (h)
			__sync_fetch_and_add(&h->events_lost, 1);
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = now_ns;
	e->cgroup_id = cgroup_id;
	e->reason = reason;
	e->ingress = ingress;
	e->ifindex = skb->ifindex;
	e->length = skb->len;
	read_packet(skb, e);
	bpf_ringbuf_submit(e, 0);
}

static __always_inline int drop(struct __sk_buff *skb, __u64 cgroup_id, enum reason reason,
				bool ingress)
{
	struct counter_key key = { .cgroup_id = cgroup_id, .reason = reason };
	struct counter *c = bpf_map_lookup_elem(&counters, &key);
	__u64 jiffy = bpf_jiffies64();

	if (!c) {
		struct counter zero = {};

		bpf_map_update_elem(&counters, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&counters, &key);
	}
	if (!c) { /* the map is full: count it all the same */
		key.cgroup_id = 0;
		c = bpf_map_lookup_elem(&counters, &key);
	}
	if (c) {
		c->packets++;
		c->bytes += skb->len;
		if (c->checked_jiffy != jiffy) {
			c->checked_jiffy = jiffy;
			tell(skb, cgroup_id, reason, ingress, c);
		}
	}
	return DROP;
}

static __always_inline int gate(struct __sk_buff *skb, bool ingress)
{
	__u64 cgroup_id = bpf_skb_ancestor_cgroup_id(skb, level);
	enum reason reason = judge(skb, cgroup_id, ingress);

	return reason == REASON_PASS ? PASS : drop(skb, cgroup_id, reason, ingress);
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
	__u64 *made_in = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (made_in)
		*made_in = bpf_get_netns_cookie(sk);
	return PASS;
}

char _license[] SEC("license") = "GPL";
