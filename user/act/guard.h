/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard of one underlay: its record, and its tc programs (see bpf/guard.bpf.c). The only
 * writer of `guard_slots`, `guards`, `endpoints` and `exceptions`, and, by way of witness.c, of
 * what the witness expects. Attached programs outlive the daemon, as the gate's do; with its record
 * taken away a program drops everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "act/gate.h"

struct guards;

int guards_open(struct guards **ret, struct gate *gate, struct error *err);
void guards_close(struct guards *g); /* takes nothing off */

/* Where an underlay's guard sits. */
enum guard_kind {
	KIND_VETH,    /* at its other end, which carries nothing else, and inside */
	KIND_MACVLAN, /* on its parent, which others have too, and inside */
	KIND_IPVLAN,  /* inside alone */
	KIND_HOST,    /* the host's netns: no other end, guard_weak alone */
};

/* An underlay, or where it leads: a veth's other end, a macvlan's parent. */
struct device {
	int netns_fd; /* -1: ours; less: it is not to be found */
	uint32_t netns_ino;
	uint64_t netns_cookie;
	uint32_t ifindex;
};

struct guard_spec {
	enum guard_kind kind;
	struct device inside, outside;
	uint8_t mac[6];
	uint32_t levels; /* see struct guard */
	uint32_t flags;	 /* enum guard_flag, but for the kind */
	__be16 listen_port;
	size_t n_addresses;
	struct guard_address addresses[VPNLEASH_ADDRESSES];
};

/* Record and programs, made or brought up to date; bootstrap is left as it is. */
int guard_put(struct guards *g, const struct guard_spec *s, struct error *err);
/* Are all its programs there and first? 0, -ENOLINK, -ENODEV; then *ret_which names the first
 * that is not. */
int guard_check(const struct guards *g, const struct guard_spec *s, const char **ret_which);
/* What its witness has seen. False: it has none. */
bool guard_witnessed(const struct guards *g, const struct guard_spec *s, struct witnessed *ret);
/* How many strays were not told yet: from now on they are. */
uint64_t guard_strays(struct guards *g, const struct guard_spec *s, struct drop_event *ret_last);
/* Its slot, as counters and events have it; 0: none. */
unsigned int guard_slot(const struct guards *g, const struct guard_spec *s);
/* The underlay is no longer there: forgotten if its other end is gone too, else left on: an
 * interface that was only moved out of sight must find the same guard at its other end. A parent
 * outlives its macvlans, and their MACs are given to others: forgotten. */
void guard_lost(struct guards *g, const struct guard_spec *s, bool gone);
/* Forget guards whose devices are gone, and the rules of netns that have no guard and are not known
 * to the caller. A guard that has only lost its program is put anew. */
void guard_sweep(struct guards *g, bool (*is_known)(uint64_t netns_cookie, void *arg), void *arg);
/* Every guard of that netns comes off, by what the records say; devices elsewhere than here too,
 * where they can be found. For detach, with or without a daemon. */
int guard_take_off(const struct pins *p, uint64_t netns_cookie, struct error *err);

/* Until then the VPN (the cgroup) may use the underlay; 0: shut. What began before since_ns is
 * forgotten. One store. */
int guard_bootstrap(struct guards *g, const struct guard_spec *s, uint64_t until_ns,
		    uint64_t since_ns, uint64_t vpn_cgroup, uint32_t vpn_level);

/* One key of a trie and what it may. */
struct address_rule {
	struct address_key key;
	struct address_value value;
};
void address_rule(struct address_rule *ret, uint64_t netns_cookie, enum address_kind kind,
		  uint8_t protocol, uint16_t port, const uint8_t address[16], unsigned int prefix,
		  bool allowed, enum endpoint_source source);
enum address_trie { TRIE_ENDPOINTS, TRIE_EXCEPTIONS };
/* Exactly these are that netns' rules in the trie: what is missing is added, then the rest goes. */
int guard_rules(struct guards *g, enum address_trie trie, uint64_t netns_cookie,
		const struct address_rule *rules, size_t n);

/* What holds for the key, by the longest prefix, as the programs find it. -ENOENT: nothing. */
int guard_rule_read(const struct guards *g, enum address_trie trie, struct address_rule *r);
/* That netns' rules, at most max of them. */
size_t guard_rules_read(struct guards *g, enum address_trie trie, uint64_t netns_cookie,
			struct address_rule *ret, size_t max);

/* Calls f for each flow that was seen, whichever netns it is of. */
void guard_each_flow(struct guards *g,
		     void (*f)(const struct flow_key *key, const struct flow *flow, void *arg),
		     void *arg);
