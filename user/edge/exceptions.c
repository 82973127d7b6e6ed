/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who of the LAN may come in, and as whom, and who may be reached: the exceptions of one netns. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "edge/edge_internal.h"

#define EXCEPTIONS 512

struct exceptions {
	const struct edge *edge;
	struct links home; /* of the host */
	bool named;	   /* those who name `host`, or who do not */
	const struct edge *server;
	bool full;
	size_t n;
	struct address_rule rules[EXCEPTIONS];
};

static void except(struct exceptions *x, enum address_kind kind, uint8_t protocol, uint16_t port,
		   const uint8_t address[16], unsigned int prefix, bool allowed)
{
	struct address_rule r;
	size_t i = 0;

	address_rule(&r, x->edge->place->netns_cookie, kind, protocol, port, address, prefix,
		     allowed, FROM_CONFIG);
	r.value.by_gate = kind == ADDRESS_REACH && x->edge->weak;
	while (i < x->n && memcmp(&x->rules[i].key, &r.key, sizeof(r.key)))
		i++;
	if (i == EXCEPTIONS) {
		x->full = true;
		return;
	}
	x->rules[i] = r; /* the later word counts */
	x->n += i == x->n;
}

static bool on_link(const struct underlay *u, const uint8_t address[16])
{
	for (size_t i = 0; i < u->link.n_addresses; i++) {
		const struct guard_address *own = &u->link.addresses[i];
		bool same = is_mapped(own->address) && is_mapped(address);

		for (size_t b = 96; same && b < own->prefix; b++)
			same = !((own->address[b / 8] ^ address[b / 8]) & 0x80 >> b % 8);
		if (same)
			return true;
	}
	return false;
}

/* As which the host, and docker-proxy for whoever comes to the host, appear on an underlay. */
static void except_host(struct exceptions *x, const struct allow_rule *a)
{
	const struct links *home = &x->home;
	const struct edge *e = x->edge;

	for (size_t u = 0; u < e->n; u++) {
		uint32_t gateway = default_gateway(e->rtnl, e->known[u].link.ifindex);
		uint8_t mapped[16] = { [10] = 0xff, 0xff };

		memcpy(mapped + 12, &gateway, 4);
		if (gateway)
			except(x, ADDRESS_REMOTE, a->protocol, a->port, mapped, 128, a->from_host);
		for (size_t i = 0; i < home->n; i++)
			for (size_t k = 0; k < home->links[i].n_addresses; k++)
				if (on_link(&e->known[u], home->links[i].addresses[k].address))
					except(x, ADDRESS_REMOTE, a->protocol, a->port,
					       home->links[i].addresses[k].address, 128,
					       a->from_host);
	}
}

/* The same port at each own address. */
static void except_own(struct exceptions *x, enum address_kind kind, uint8_t protocol,
		       uint16_t port)
{
	const struct edge *e = x->edge;

	for (size_t u = 0; u < e->n; u++)
		for (size_t k = 0; k < e->known[u].link.n_addresses; k++)
			if (is_mapped(e->known[u].link.addresses[k].address))
				except(x, kind, protocol, port,
				       e->known[u].link.addresses[k].address, 128, true);
}

static void add_networks(const struct allow_rules *allow, const struct reach_rules *reach,
			 void *arg)
{
	struct exceptions *x = arg;

	for (size_t i = 0; i < allow->n; i++) {
		const struct allow_rule *a = &allow->rule[i];

		for (size_t k = 0; k < a->n_from; k++)
			except(x, ADDRESS_REMOTE, a->protocol, a->port, a->from[k].address,
			       a->from[k].length, true);
		except_own(x, ADDRESS_OWN, a->protocol, a->port);
	}
	for (size_t i = 0; i < reach->n; i++) {
		const struct endpoint_rule *r = &reach->rule[i];

		except(x, ADDRESS_REACH, r->protocol, r->port, r->to.address, r->to.length, true);
		except_own(x, ADDRESS_REACH_OWN, r->protocol, r->port);
	}
}

/* Taken out of the networks unless one who allows the port names it: all that do not come first. */
static void add_hosts(const struct allow_rules *allow, const struct reach_rules *reach, void *arg)
{
	struct exceptions *x = arg;

	for (size_t i = 0; i < allow->n; i++)
		if (allow->rule[i].from_host == x->named)
			except_host(x, &allow->rule[i]);
}

/* The VPN's server is nobody's LAN client, and no host to be reached, wherever it is. */
static void take_back(struct exceptions *x, enum address_kind kind, uint8_t protocol, uint16_t port,
		      const struct prefix *network)
{
	for (size_t k = 0; k < x->server->n_rules; k++) {
		const struct address_key *key = &x->server->rules[k].key;
		struct prefix to = { .length = (uint8_t)(key->prefixlen - ADDRESS_KEY_BITS) };

		if (key->kind != ADDRESS_ENDPOINT)
			continue;
		memcpy(to.address, key->address, sizeof(to.address));
		except(x, kind, protocol, port, to.address, to.length, false);
		if (prefix_contains(&to, network->address) && network->length >= to.length)
			except(x, kind, protocol, port, network->address, network->length, false);
	}
}

static void take_back_all(const struct allow_rules *allow, const struct reach_rules *reach,
			  void *arg)
{
	struct exceptions *x = arg;
	const struct prefix host_alone = { 0 };

	for (size_t i = 0; i < allow->n; i++) {
		const struct allow_rule *a = &allow->rule[i];

		take_back(x, ADDRESS_REMOTE, a->protocol, a->port, &host_alone);
		for (size_t k = 0; k < a->n_from; k++)
			take_back(x, ADDRESS_REMOTE, a->protocol, a->port, &a->from[k]);
	}
	for (size_t i = 0; i < reach->n; i++)
		take_back(x, ADDRESS_REACH, reach->rule[i].protocol, reach->rule[i].port,
			  &reach->rule[i].to);
}

/* In the host's netns there may be several servers. */
static void take_servers_back(const struct edge *e, void *arg)
{
	struct exceptions *x = arg;
	const struct edge_place *p = x->edge->place;

	x->server = e;
	p->calls->each_exception(p->owner, take_back_all, x);
}

void edge_exceptions(struct edge *e)
{
	const struct edge_place *p = e->place;
	struct exceptions *x = calloc(1, sizeof(*x));
	struct error err;

	if (!x || links_read(e->home_rtnl, &x->home, &err)) {
		guard_rules(p->guards, TRIE_EXCEPTIONS, p->netns_cookie, NULL, 0);
		e->endpoints_moved = true; /* again at the next look */
		free(x);
		return;
	}
	x->edge = e;
	p->calls->each_exception(p->owner, add_networks, x);
	p->calls->each_exception(p->owner, add_hosts, x);
	x->named = true;
	p->calls->each_exception(p->owner, add_hosts, x);
	p->calls->each_edge(p->owner, take_servers_back, x);
	e->endpoints_moved = false;
	if (x->full) { /* what is missing may be that the VPN's server is no LAN client */
		x->n = 0;
		if (may_log(p->log))
			log_line(LOG_LEVEL_ERR,
				 "allow, reach: more than %d addresses and ports in one namespace: "
				 "nobody of the LAN comes in, and nobody is reached",
				 EXCEPTIONS);
	}
	guard_rules(p->guards, TRIE_EXCEPTIONS, p->netns_cookie, x->rules, x->n);
	links_free(&x->home);
	free(x);
}

void edge_follow_endpoints(struct edge *e)
{
	if (e->endpoints_moved && e->complete) /* else all is written when it is */
		edge_exceptions(e);
}

size_t edge_reached(const struct edge *e, struct reached *ret, size_t max)
{
	_cleanup_free struct address_rule *rules = calloc(EXCEPTIONS, sizeof(*rules));
	size_t n = 0, n_rules = 0;

	if (rules)
		n_rules = guard_rules_read(e->place->guards, TRIE_EXCEPTIONS,
					   e->place->netns_cookie, rules, EXCEPTIONS);
	for (size_t i = 0; i < n_rules && n < max; i++) {
		const struct address_key *k = &rules[i].key;
		unsigned int length = k->prefixlen - ADDRESS_KEY_BITS;
		char address[INET_ADDRSTRLEN], slash[8] = "";

		if (k->kind != ADDRESS_REACH || !rules[i].value.allowed)
			continue;
		inet_ntop(AF_INET, k->address + 12, address, sizeof(address));
		if (length != 128)
			snprintf(slash, sizeof(slash), "/%u", length - 96);
		snprintf(ret[n].to, sizeof(ret[n].to), "%s/%s%s:%u",
			 k->protocol == IPPROTO_TCP ? "tcp" : "udp", address, slash,
			 ntohs(k->port));
		ret[n].out = rules[i].value.packets_out;
		ret[n++].in = rules[i].value.packets_in;
	}
	return n;
}
