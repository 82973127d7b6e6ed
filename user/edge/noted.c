/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the server is of a VPN that says so nowhere: among the flows that were noted while
 * bootstrap was open. An endpoint may be reached by everybody in the netns, and what goes there
 * leaves in clear; so a flow counts only if it was answered, if its socket is open, and if a
 * process holds it that is the VPN: one of the VPN's cgroup in which the tunnel's device ends. The
 * VPN's cgroup has others (a resolver, a proxy), and their servers are none. See edge.h.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "edge/edge_internal.h"
#include "watch/process.h"

#define CANDIDATES 64
#define SEARCH_NS  (NS_PER_SEC / 5) /* at most, for who holds what: leases are to be renewed */
#define RECENT_NS  (5 * NS_PER_SEC) /* the last answer of a server tried before is older */

/* Why a process is taken for the VPN. A better reason, if anybody has it, is the only one. */
enum belief { OF_ITS_CGROUP, HAS_ITS_NAME, HOLDS_THE_TUNNEL };

struct candidate {
	uint64_t socket_cookie, answered_ns;
	uint64_t inode; /* 0: the socket is gone */
	bool held;	/* by a process that is the VPN */
	struct vpn_endpoint to;
};

struct choice {
	struct edge *edge;
	enum belief best;
	uint64_t until_ns;
	size_t n;
	struct candidate flows[CANDIDATES];
};

/* ------ the flows ------ */

static void note_flow(const struct flow_key *key, const struct flow *flow, void *arg)
{
	struct choice *c = arg;
	struct candidate *oldest = c->flows, *to;
	uint16_t port = ntohs(key->remote_port);

	if (key->netns_cookie != c->edge->place->netns_cookie || key->kind != FLOW_OUTBOUND ||
	    !flow->socket_cookie || flow->first_ns < c->edge->bootstrap_since_ns ||
	    !flow->answered_ns || port == 53 || port == 853 ||
	    (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP))
		return;
	for (size_t i = 0; i < c->n; i++)
		if (c->flows[i].answered_ns < oldest->answered_ns)
			oldest = &c->flows[i];
	if (c->n == CANDIDATES && oldest->answered_ns > flow->answered_ns)
		return;
	to = c->n < CANDIDATES ? &c->flows[c->n++] : oldest;
	*to = (struct candidate) { .socket_cookie = flow->socket_cookie,
				   .answered_ns = flow->answered_ns,
				   .to = { .protocol = key->protocol, .port = port } };
	memcpy(to->to.address, key->remote, sizeof(to->to.address));
}

static void note_inode(const struct open_socket *s, void *arg)
{
	struct choice *c = arg;

	for (size_t i = 0; i < c->n; i++) {
		struct candidate *f = &c->flows[i];

		if (f->socket_cookie != s->cookie)
			continue;
		/* a connected one's frames were led elsewhere (DNAT): whoever did it is no VPN */
		if (s->remote_port && (s->remote_port != f->to.port ||
				       memcmp(s->remote, f->to.address, sizeof(s->remote))))
			continue;
		f->inode = s->inode;
	}
}

/* ------ whose they are ------ */

struct holder {
	struct choice *choice;
	bool judging; /* else: marking what it holds */
	enum belief belief;
};

static void note_descriptor(const struct descriptor *d, void *arg)
{
	struct holder *h = arg;
	struct choice *c = h->choice;

	if (h->judging) {
		if (*d->tun && !strcmp(d->tun, c->edge->place->config->interface))
			h->belief = HOLDS_THE_TUNNEL;
		return;
	}
	for (size_t i = 0; d->socket && i < c->n; i++)
		c->flows[i].held |= c->flows[i].inode == d->socket;
}

static int note_process(const struct netns_process *p, void *arg)
{
	struct choice *c = arg;
	struct holder h = { .choice = c, .judging = true, .belief = OF_ITS_CGROUP };
	const char *name = c->edge->place->config->process;
	int r;

	if (now_boot_ns() > c->until_ns)
		return -ETIME;
	if (!cgroup_is_below(p->cgroup, c->edge->vpn_cgroup.path))
		return 0;
	if (*name && !strcmp(p->comm, name))
		h.belief = HAS_ITS_NAME;
	r = descriptors_each(p->pid, note_descriptor, &h);
	if (r || h.belief < c->best)
		return r;
	if (h.belief > c->best)
		for (size_t i = 0; i < c->n; i++)
			c->flows[i].held = false;
	c->best = h.belief;
	h.judging = false;
	return descriptors_each(p->pid, note_descriptor, &h);
}

/* Leaves those that count. */
static void drop_others(struct choice *c)
{
	uint64_t newest = 0;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->flows[i].held && c->flows[i].answered_ns > newest)
			newest = c->flows[i].answered_ns;
	for (size_t i = 0; i < c->n; i++)
		if (c->flows[i].held && newest - c->flows[i].answered_ns <= RECENT_NS)
			c->flows[n++] = c->flows[i];
	c->n = n;
}

/* ------ which of them ------ */

static bool same_endpoint(const struct vpn_endpoint *a, const struct vpn_endpoint *b)
{
	return a->protocol == b->protocol && a->port == b->port &&
	       !memcmp(a->address, b->address, sizeof(a->address));
}

static void add_learned(struct edge *e, const struct vpn_endpoint *to)
{
	for (size_t i = 0; i < e->n_learned; i++)
		if (same_endpoint(&e->learned[i], to))
			return;
	if (e->n_learned < LEARNED)
		e->learned[e->n_learned++] = *to;
}

/* protocol 0: all. */
static size_t learn_those_of(struct choice *c, uint8_t protocol)
{
	c->edge->n_learned = 0;
	for (size_t i = 0; i < c->n; i++)
		if (!protocol || c->flows[i].to.protocol == protocol)
			add_learned(c->edge, &c->flows[i].to);
	return c->edge->n_learned;
}

static bool are_of_one_host(const struct edge *e)
{
	for (size_t i = 1; i < e->n_learned; i++)
		if (memcmp(e->learned[i].address, e->learned[0].address, 16))
			return false;
	return true;
}

/* "A, B", of e->learned. */
static const char *name_learned(const struct edge *e, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < e->n_learned && at < size; i++) {
		char one[ENDPOINT_LEN];

		edge_endpoint_text(one, &e->learned[i], 128);
		at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? ", " : "", one);
	}
	return buf;
}

static int which_is_it(struct edge *e, struct error *err)
{
	char names[sizeof(e->beside)];

	name_learned(e, names, sizeof(names));
	e->n_learned = 0;
	return SAY(err, -ENOTUNIQ, "set endpoint = that of its server", "the VPN talks to %s",
		   names);
}

/* The protocol of the newest answer: the tunnel has just shown a sign of life. */
static uint8_t newest_protocol(const struct choice *c)
{
	const struct candidate *newest = c->flows;

	for (size_t i = 1; i < c->n; i++)
		if (c->flows[i].answered_ns > newest->answered_ns)
			newest = &c->flows[i];
	return newest->to.protocol;
}

/* A VPN has one server: by UDP, on one or several ports of it, or by one TCP connection. */
static int choose_server(struct choice *c, struct error *err)
{
	struct edge *e = c->edge;
	char names[sizeof(e->beside)];

	if (!learn_those_of(c, IPPROTO_UDP)) {
		if (learn_those_of(c, IPPROTO_TCP) == 1 && c->best > OF_ITS_CGROUP)
			return 0;
		return e->n_learned ? which_is_it(e, err) : 0;
	}
	if (!are_of_one_host(e) || newest_protocol(c) != IPPROTO_UDP) {
		learn_those_of(c, 0);
		return which_is_it(e, err);
	}
	/* a resolver by TLS, say; not the way that the tunnel goes */
	if (learn_those_of(c, IPPROTO_TCP) &&
	    strcmp(name_learned(e, names, sizeof(names)), e->beside)) {
		memcpy(e->beside, names, sizeof(names));
		log_line(LOG_LEVEL_NOTICE,
			 "tunnel '%s': its VPN also talks to %s, which is not let through beside "
			 "its server (set endpoint = if it is one)",
			 e->place->config->interface, e->beside);
	}
	learn_those_of(c, IPPROTO_UDP);
	return 0;
}

int edge_learn(struct edge *e, struct error *err)
{
	struct choice c = { .edge = e, .best = OF_ITS_CGROUP };
	int r;

	e->n_learned = 0;
	if (!e->vpn_cgroup.level)
		return 0;
	guard_each_flow(e->place->guards, note_flow, &c);
	if (!c.n)
		return 0;
	r = sockets_each(e->diag, note_inode, &c);
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "look at the VPN's sockets");
	c.until_ns = now_boot_ns() + SEARCH_NS;
	r = netns_processes(e->place->netns_ino, note_process, &c);
	if (r) /* who was not looked at may be the VPN */
		return fail(err, ERROR_OTHER, r, "set endpoint = that of its server",
			    "look through what the VPN's processes hold");
	drop_others(&c);
	return choose_server(&c, err);
}
