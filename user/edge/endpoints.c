/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the VPN's server is: the only place that may be reached beside the tunnel. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "edge/edge_internal.h"

static void add_rule(struct edge *e, enum address_kind kind, uint8_t protocol, uint16_t port,
		     const uint8_t address[16], unsigned int prefix, enum endpoint_source source)
{
	struct address_rule r;

	if (e->n_rules == RULES)
		return;
	address_rule(&r, e->place->netns_cookie, kind, protocol, port, address, prefix, true,
		     source);
	e->endpoints_moved |= memcmp(&e->rules[e->n_rules].key, &r.key, sizeof(r.key)) != 0;
	e->rules[e->n_rules++] = r;
}

static void add_endpoint(struct edge *e, uint8_t protocol, uint16_t port, const uint8_t address[16],
			 unsigned int prefix, enum endpoint_source source)
{
	add_rule(e, ADDRESS_ENDPOINT, protocol, port, address, prefix, source);
	add_rule(e, ADDRESS_HOST, protocol, 0, address, prefix, source);
}

struct all_rules {
	const struct edge *own;
	size_t n;
	struct address_rule *rules; /* NULL: they are counted only */
};

static void add_rules_of(const struct edge *e, void *arg)
{
	struct all_rules *all = arg;

	if (e == all->own)
		return;
	if (all->rules)
		memcpy(all->rules + all->n, e->rules, e->n_rules * sizeof(*e->rules));
	all->n += e->n_rules;
}

/* The rules of a netns are those of all its tunnels: in the host's there may be several. */
static int publish_endpoints(const struct edge *e)
{
	const struct edge_place *p = e->place;
	struct all_rules all = { .own = e };
	int r;

	p->calls->each_edge(p->owner, add_rules_of, &all);
	all.rules = calloc(all.n + e->n_rules + 1, sizeof(*all.rules));
	if (!all.rules)
		return -ENOMEM;
	all.n = 0;
	p->calls->each_edge(p->owner, add_rules_of, &all);
	memcpy(all.rules + all.n, e->rules, e->n_rules * sizeof(*e->rules));
	r = guard_rules(p->guards, TRIE_ENDPOINTS, p->netns_cookie, all.rules, all.n + e->n_rules);
	free(all.rules);
	return r;
}

static void add_endpoints(struct edge *e, const struct vpn_endpoint *p, size_t n,
			  enum endpoint_source source)
{
	for (size_t i = 0; i < n; i++)
		add_endpoint(e, p[i].protocol, p[i].port, p[i].address, 128, source);
}

int edge_write_endpoints(struct edge *e)
{
	const struct tunnel_config *c = e->place->config;
	size_t n_was = e->n_rules;
	int r;

	e->n_rules = 0;
	for (size_t i = 0; i < c->endpoints.n; i++) {
		const struct endpoint_rule *p = &c->endpoints.rule[i];

		add_endpoint(e, p->protocol, p->port, p->to.address, p->to.length, FROM_CONFIG);
	}
	if (!c->endpoints.n)
		add_endpoints(e, e->wireguard.endpoints, e->wireguard.n, FROM_WIREGUARD);
	if (!c->endpoints.n && !e->is_wireguard)
		add_endpoints(e, e->learned, e->n_learned, FROM_FLOW);
	for (size_t i = 0; i < c->bootstrap.n; i++)
		add_rule(e, ADDRESS_BOOTSTRAP, 0, 0, c->bootstrap.host[i].address,
			 c->bootstrap.host[i].length, FROM_CONFIG);
	e->endpoints_moved |= e->n_rules != n_was;
	r = publish_endpoints(e);
	if (r && may_log(e->place->log))
		log_line(LOG_LEVEL_ERR, "tunnel '%s': write its endpoints: %s", c->interface,
			 strerror(-r));
	return r;
}

static struct vpn_endpoint endpoint_of(const struct address_key *key)
{
	struct vpn_endpoint to = { .protocol = key->protocol, .port = ntohs(key->port) };

	memcpy(to.address, key->address, sizeof(to.address));
	return to;
}

/* And what WireGuard told it, until it tells us. */
void edge_adopt_learned(struct edge *e)
{
	struct address_rule rules[2 * LEARNED];
	size_t n = guard_rules_read(e->place->guards, TRIE_ENDPOINTS, e->place->netns_cookie, rules,
				    ARRAY_SIZE(rules));
	bool wireguard = !e->is_wireguard;

	for (size_t i = 0; i < n; i++) {
		enum endpoint_source source = rules[i].value.source;
		struct vpn_endpoint to = endpoint_of(&rules[i].key);

		if (rules[i].key.kind != ADDRESS_ENDPOINT)
			continue;
		if (source == FROM_FLOW && e->n_learned < LEARNED)
			e->learned[e->n_learned++] = to;
		if (source != FROM_WIREGUARD || !wireguard || e->wireguard.n == WIREGUARD_PEERS)
			continue;
		e->wireguard.endpoints[e->wireguard.n++] = to;
		e->is_wireguard = true;
	}
}

void edge_endpoint_text(char ret[ENDPOINT_LEN], const struct vpn_endpoint *to, unsigned int prefix)
{
	bool v4 = is_mapped(to->address);
	char address[INET6_ADDRSTRLEN], length[8] = "";

	inet_ntop(v4 ? AF_INET : AF_INET6, to->address + (v4 ? 12 : 0), address, sizeof(address));
	if (prefix != 128)
		snprintf(length, sizeof(length), "/%u", prefix - (v4 ? 96 : 0));
	snprintf(ret, ENDPOINT_LEN, "%s%s%s%s:%u/%s", v4 ? "" : "[", address, length, v4 ? "" : "]",
		 to->port, to->protocol == IPPROTO_TCP ? "tcp" : "udp");
}

size_t edge_endpoints(const struct edge *e, char (*ret)[ENDPOINT_LEN], size_t max)
{
	size_t n = 0;

	if (e->place->config->endpoint_process && n < max)
		snprintf(ret[n++], ENDPOINT_LEN, EDGE_PROCESS);
	for (size_t i = 0; i < e->n_rules && n < max; i++) {
		const struct address_key *k = &e->rules[i].key;
		struct vpn_endpoint to = endpoint_of(k);

		if (k->kind == ADDRESS_ENDPOINT)
			edge_endpoint_text(ret[n++], &to, k->prefixlen - ADDRESS_KEY_BITS);
	}
	return n;
}
