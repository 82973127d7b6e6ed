/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A frame of an endpoint is like the one before it in all that decides about it: these bytes are
 * remembered for a jiffy, on this CPU, and what is like them passes after a compare.
 */
#ifndef VPNLEASH_FRAMES_BPF_H
#define VPNLEASH_FRAMES_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

/* In gate.bpf.c. */
__u64 device_of_frame(struct __sk_buff *skb);
extern const volatile bool netns_by_socket;
extern struct near near_records;

/* False: the frame is none of the usual shape, and goes the long way. */
static __always_inline bool read_head(struct __sk_buff *skb, struct frame_head *h)
{
	const __u8 *data = (const __u8 *)(long)skb->data, *end = (const __u8 *)(long)skb->data_end;
	const struct iphdr *ip = (const struct iphdr *)(data + ETH_HLEN);
	const __be64 but_tos = bpf_cpu_to_be64(~0xffULL);

	if (data + ETH_HLEN + sizeof(*ip) + sizeof(struct udphdr) > end || skb->vlan_present ||
	    ip->frag_off & bpf_htons(IP_MORE | IP_OFFSET) ||
	    bpf_ntohs(ip->tot_len) + ETH_HLEN != skb->len)
		return false;
	h->words[0] = *(const __u64 *)data;
	h->words[1] = *(const __u64 *)(data + 8) & but_tos;
	h->words[2] = *(const __u64 *)&ip->saddr;
	__builtin_memcpy(h->ports, ip + 1, sizeof(h->ports));
	h->protocol = ip->protocol;
	h->device = netns_by_socket ? skb->tc_classid : device_of_frame(skb);
	return true;
}

static __always_inline struct passed_frame *passed_frame_of(__u32 place, const struct frame_head *h)
{
	__u32 at = place * VPNLEASH_FRAMES +
		   ((h->ports[0] ^ h->ports[1] ^ h->device >> 12) & (VPNLEASH_FRAMES - 1));

	return bpf_map_lookup_elem(&passed_frames, &at);
}

static __always_inline __u64 guard_generation(void)
{
	return *(const volatile __u64 *)&near_records.guard_generation;
}

#define BARRIER() asm volatile("" ::: "memory")

/* Did the like of it pass in this jiffy, and nothing about guards has changed since? `written`:
 * where a softirq can be preempted (PREEMPT_RT) the place may be another frame's half-way. Neither
 * this nor the next is static: the verifier is to walk through them once. */
__noinline int like_has_passed(struct __sk_buff *skb, __u32 place)
{
	struct frame_head h;
	const struct passed_frame *p;
	__u32 written;
	bool same;

	if (!read_head(skb, &h))
		return false;
	p = passed_frame_of(place, &h);
	if (!p)
		return false;
	written = *(const volatile __u32 *)&p->written;
	BARRIER();
	same = p->head.device == h.device && p->head.words[0] == h.words[0] &&
	       p->head.words[1] == h.words[1] && p->head.words[2] == h.words[2] &&
	       p->head.ports[0] == h.ports[0] && p->head.ports[1] == h.ports[1] &&
	       p->head.protocol == h.protocol && p->generation == guard_generation();
	BARRIER();
	return same && *(const volatile __u64 *)&p->jiffy == bpf_jiffies64() &&
	       *(const volatile __u32 *)&p->written == written;
}

/* It passed as an endpoint's; generation and jiffy are from before it was looked at. */
__noinline int remember_frame(struct __sk_buff *skb, __u32 place, __u64 generation, __u64 jiffy)
{
	struct passed_frame *p;
	struct frame_head h;

	if (!read_head(skb, &h))
		return 0;
	p = passed_frame_of(place, &h);
	if (!p)
		return 0;
	__sync_fetch_and_add(&p->writers, 1);
	if (*(const volatile __u32 *)&p->writers == 1) {
		*(volatile __u64 *)&p->jiffy = 0;
		BARRIER();
		p->head = h;
		p->generation = generation;
		BARRIER();
		(*(volatile __u32 *)&p->written)++;
		*(volatile __u64 *)&p->jiffy = jiffy;
	}
	__sync_fetch_and_add(&p->writers, -1);
	return 0;
}

#endif
