/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who spoke first. A LAN exception is an answer to a flow first seen coming in: the port alone, or
 * "has ACK", would be a way out. `reach` is the same turned round, and so is an answer to what was
 * seen leaving.
 */
#ifndef VPNLEASH_FLOWS_BPF_H
#define VPNLEASH_FLOWS_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

/* NULL: it is not allowed. */
static __always_inline struct address_value *rule_of(void *trie, __u64 netns_cookie,
						     enum address_kind kind, __u8 protocol,
						     __be16 port, const __u8 address[16])
{
	struct address_key key = { .prefixlen = ADDRESS_KEY_BITS + 128,
				   .kind = kind,
				   .protocol = protocol,
				   .port = port,
				   .netns_cookie = netns_cookie };
	struct address_value *v;

	__builtin_memcpy(key.address, address, 16);
	v = bpf_map_lookup_elem(trie, &key);
	return v && v->allowed ? v : 0;
}

static __always_inline bool allowed(void *trie, __u64 netns_cookie, enum address_kind kind,
				    __u8 protocol, __be16 port, const __u8 address[16])
{
	return rule_of(trie, netns_cookie, kind, protocol, port, address);
}

/* b if `second`, else a; without a branch, which would be one more way for the verifier to walk. */
static __always_inline __u64 either(__u64 a, __u64 b, bool second)
{
	return a ^ ((a ^ b) & -(__u64)second);
}

static __always_inline void flow_key(struct flow_key *key, __u64 netns_cookie, __u32 ifindex,
				     const struct packet *p, bool inbound, enum flow_kind kind)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns_cookie = netns_cookie;
	key->ifindex = ifindex;
	key->protocol = p->protocol;
	key->kind = kind;
	key->local_port = inbound ? p->destination_port : p->source_port;
	key->remote_port = inbound ? p->source_port : p->destination_port;
	__builtin_memcpy(key->local, inbound ? p->destination : p->source, 16);
	__builtin_memcpy(key->remote, inbound ? p->source : p->destination, 16);
}

/* The flow, if it is not idle for too long: then it goes on. NULL: there is none. */
static __always_inline struct flow *flow_goes_on(const struct flow_key *key)
{
	struct flow *f = bpf_map_lookup_elem(&flows, key);
	__u64 now_ns;

	if (!f)
		return 0;
	now_ns = bpf_ktime_get_boot_ns();
	if (now_ns - f->last_ns > VPNLEASH_FLOW_IDLE_NS)
		return 0;
	f->last_ns = now_ns;
	return f;
}

static __always_inline void flow_begins(const struct flow_key *key, __u64 socket_cookie)
{
	struct flow f = { .socket_cookie = socket_cookie };

	f.first_ns = f.last_ns = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&flows, key, &f, BPF_ANY);
}

static __always_inline bool may_begin(const struct flow_key *flow)
{
	struct flow_source_key key = { .netns_cookie = flow->netns_cookie };
	struct flow_source *s, fresh = { .window_ns = bpf_ktime_get_boot_ns(), .begun = 1 };

	__builtin_memcpy(key.remote, flow->remote, 16);
	s = bpf_map_lookup_elem(&flow_sources, &key);
	if (!s || fresh.window_ns - s->window_ns > VPNLEASH_FLOW_WINDOW_NS) {
		bpf_map_update_elem(&flow_sources, &key, &fresh, BPF_ANY);
		return true;
	}
	return ++s->begun <= VPNLEASH_FLOW_BURST; /* a race lets in one more */
}

/* What decides about an exception, as numbers: of IPv4, and of TCP or UDP. */
struct ends {
	__be32 source, destination;
};
struct transport {
	__be16 source_port, destination_port;
	__u8 protocol;
	bool begins;  /* a SYN and nothing else, or a datagram */
	__u8 inbound; /* on its way in */
	__u8 reserved;
};

/*
 * An exception: between a LAN client and a port of `allow`, or a port of `reach` and the workload,
 * in a flow that began here on this interface. Only who speaks to that port begins one: by a SYN
 * and nothing else, or any UDP datagram. Its rule; NULL: there is none.
 */
static __always_inline struct address_value *exception(__u64 netns_cookie, __u32 ifindex,
						       struct ends e, struct transport t,
						       bool reach)
{
	const bool to_port = t.inbound != reach;
	__be16 port = either(t.source_port, t.destination_port, to_port);
	struct address_value *rule;
	struct flow_key key = { .netns_cookie = netns_cookie,
				.ifindex = ifindex,
				.protocol = t.protocol,
				.kind = either(FLOW_ALLOW, FLOW_REACH, reach) };

	if (!port)
		return 0;
	map_ipv4(key.local, either(e.source, e.destination, t.inbound));
	map_ipv4(key.remote, either(e.destination, e.source, t.inbound));
	key.local_port = either(t.source_port, t.destination_port, t.inbound);
	key.remote_port = either(t.destination_port, t.source_port, t.inbound);
	rule = rule_of(&exceptions, netns_cookie, either(ADDRESS_REMOTE, ADDRESS_REACH, reach),
		       t.protocol, port, key.remote);
	if (!rule || flow_goes_on(&key))
		return rule;
	if (!to_port || !t.begins ||
	    !allowed(&exceptions, netns_cookie, either(ADDRESS_OWN, ADDRESS_REACH_OWN, reach),
		     t.protocol, port, key.local) ||
	    !may_begin(&key))
		return 0;
	flow_begins(&key, 0);
	return rule;
}

#endif
