/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who of the LAN may come in, and as whom: the exceptions of one netns. */
#include <stdlib.h>

#include "edge/edge_internal.h"

#define EXCEPTIONS 512

struct exceptions {
	const struct edge *edge;
	struct links home; /* of the host */
	bool full;
	size_t n;
	struct address_rule rules[EXCEPTIONS];
};

static void except(struct exceptions *x, enum address_kind kind, const struct allow_rule *a,
		   const uint8_t address[16], unsigned int prefix, bool allowed)
{
	struct address_rule r;
	size_t i = 0;

	address_rule(&r, x->edge->place->netns_cookie, kind, a->protocol, a->port, address, prefix,
		     allowed, FROM_CONFIG);
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
			except(x, ADDRESS_REMOTE, a, mapped, 128, a->from_host);
		for (size_t i = 0; i < home->n; i++)
			for (size_t k = 0; k < home->links[i].n_addresses; k++)
				if (on_link(&e->known[u], home->links[i].addresses[k].address))
					except(x, ADDRESS_REMOTE, a,
					       home->links[i].addresses[k].address, 128,
					       a->from_host);
	}
}

static void add_exceptions(const struct allow_rules *allow, void *arg)
{
	struct exceptions *x = arg;
	const struct edge *e = x->edge;

	for (size_t i = 0; i < allow->n; i++) {
		const struct allow_rule *a = &allow->rule[i];

		for (size_t k = 0; k < a->n_from; k++)
			except(x, ADDRESS_REMOTE, a, a->from[k].address, a->from[k].length, true);
		except_host(x, a);
		/* the VPN's server is nobody's LAN client, wherever it is */
		for (size_t k = 0; k < e->n_rules; k++)
			if (e->rules[k].key.kind == ADDRESS_ENDPOINT)
				except(x, ADDRESS_REMOTE, a, e->rules[k].key.address,
				       e->rules[k].key.prefixlen - ADDRESS_KEY_BITS, false);
		for (size_t u = 0; u < e->n; u++)
			for (size_t k = 0; k < e->known[u].link.n_addresses; k++)
				if (is_mapped(e->known[u].link.addresses[k].address))
					except(x, ADDRESS_OWN, a,
					       e->known[u].link.addresses[k].address, 128, true);
	}
}

void edge_exceptions(struct edge *e)
{
	const struct edge_place *p = e->place;
	struct exceptions *x = calloc(1, sizeof(*x));
	struct error err;

	if (!x || links_read(e->home_rtnl, &x->home, &err)) {
		free(x);
		return;
	}
	x->edge = e;
	p->calls->each_allow(p->owner, add_exceptions, x);
	if (x->full) { /* what is missing may be that the VPN's server is no LAN client */
		x->n = 0;
		if (may_log(p->log))
			log_line(LOG_LEVEL_ERR,
				 "allow: more than %d addresses and ports in one namespace: nobody "
				 "of the LAN comes in",
				 EXCEPTIONS);
	}
	guard_rules(p->guards, TRIE_EXCEPTIONS, p->netns_cookie, x->rules, x->n);
	links_free(&x->home);
	free(x);
}
