/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of the LAN that is kept out though somebody listens, and the `allow` that would let it
 * in. See edge.h. */
#include <arpa/inet.h>

#include "base/privilege.h"
#include "edge/edge_internal.h"
#include "watch/process.h"

/* The word of the exceptions in force, as the guard finds it; false: they have none. */
static bool find_exception(const struct edge *e, enum address_kind kind, uint16_t port,
			   const uint8_t address[16], bool *ret_allowed)
{
	const struct edge_place *p = e->place;
	struct address_rule r;

	address_rule(&r, p->netns_cookie, kind, IPPROTO_TCP, port, address, 128, false, 0);
	if (guard_rule_read(p->guards, TRIE_EXCEPTIONS, &r))
		return false;
	*ret_allowed = r.value.allowed;
	return true;
}

static bool is_server(const struct edge *e, const uint8_t address[16])
{
	for (size_t i = 0; i < e->n_rules; i++) {
		const struct address_key *k = &e->rules[i].key;
		struct prefix p = { .length = (uint8_t)(k->prefixlen - ADDRESS_KEY_BITS) };

		memcpy(p.address, k->address, sizeof(p.address));
		if (k->kind == ADDRESS_ENDPOINT && prefix_contains(&p, address))
			return true;
	}
	return false;
}

bool edge_would_allow(const struct edge *e, const struct refused *r, char ret[ALLOW_LEN])
{
	char address[INET_ADDRSTRLEN];
	struct allow_rules try = { 0 };
	bool allowed = false, shared = is_shared(r->client), of_port;

	if ((!shared && !is_private(r->client)) || is_server(e, r->client))
		return false;
	of_port = find_exception(e, ADDRESS_OWN, r->port, r->local, &allowed);
	inet_ntop(AF_INET, r->client + 12, address, sizeof(address));
	if (find_exception(e, ADDRESS_REMOTE, r->port, r->client, &allowed)) {
		if (allowed)
			return false; /* what is wrong is something else */
		snprintf(ret, ALLOW_LEN, "tcp/%u from host", r->port);
	} else if (shared || of_port) {
		snprintf(ret, ALLOW_LEN, "tcp/%u from %s", r->port,
			 shared ? SHARED_NETWORK : address);
	} else {
		snprintf(ret, ALLOW_LEN, "tcp/%u", r->port);
	}
	return !allow_add(&try, ret, NULL); /* some ports are never allowed */
}

struct listener {
	struct refused *of;
	bool there;
};

static void compare_listener(const struct open_socket *s, void *arg)
{
	static const uint8_t any[16], any4[16] = { [10] = 0xff, 0xff };
	struct listener *l = arg;

	if (s->protocol != IPPROTO_TCP || s->remote_port || s->local_port != l->of->port)
		return;
	if (memcmp(s->local, any, 16) && memcmp(s->local, any4, 16) &&
	    memcmp(s->local, l->of->local, 16))
		return;
	l->there = true;
	l->of->listener = s->cgroup_id;
}

bool edge_way_out(const struct edge *e, char ret[ALLOW_LEN])
{
	for (size_t i = 0; i < e->n; i++) {
		struct in_addr gateway = { default_gateway(e->rtnl, e->known[i].link.ifindex) };
		char address[INET_ADDRSTRLEN];

		if (!gateway.s_addr)
			continue;
		snprintf(ret, ALLOW_LEN, "via %s dev %s",
			 inet_ntop(AF_INET, &gateway, address, sizeof(address)),
			 e->known[i].link.name);
		return true;
	}
	return false;
}

bool edge_refused(struct edge *e, const struct drop_event *event, struct refused *ret)
{
	bool in = event->ingress, allowed;
	uint64_t now = now_boot_ns();
	char allow[ALLOW_LEN];
	struct listener l = { .of = ret };

	*ret = (struct refused) { .at_ns = now, .unanswered = event->reason == REASON_LAN_REPLY };
	ret->port = ntohs(in ? event->destination_port : event->source_port);
	if (event->family != 4 || event->protocol != IPPROTO_TCP || in == ret->unanswered ||
	    !ret->port)
		return false;
	ret->client[10] = ret->client[11] = ret->local[10] = ret->local[11] = 0xff;
	memcpy(ret->client + 12, in ? event->source : event->destination, 4);
	memcpy(ret->local + 12, in ? event->destination : event->source, 4);
	if (ret->unanswered)
		return find_exception(e, ADDRESS_REMOTE, ret->port, ret->client, &allowed) &&
		       allowed;
	/* whoever knocks may ask for a look at all sockets: once a second */
	if (!edge_would_allow(e, ret, allow) || now - e->listened_ns < NS_PER_SEC)
		return false;
	e->listened_ns = now;
	privilege_long_work(true);
	sockets_each(e->diag, compare_listener, &l);
	privilege_long_work(false);
	return l.there;
}
