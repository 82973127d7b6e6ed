/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN's own need of the underlay before its tunnel exists: what it sends is noted and
 * passes. See edge.h.
 */
#include <errno.h>

#include "edge/edge_internal.h"
#include "edge/vpn.h"

#define BOOTSTRAP_NS (3 * NS_PER_SEC) /* so long without a daemon; looked at once a second */

static int write_bootstrap(struct edge *e, uint64_t until_ns)
{
	int result = 0;

	e->open = until_ns;
	for (size_t i = 0; i < e->n; i++) {
		int r = guard_bootstrap(e->guards, &e->known[i].spec, until_ns,
					e->bootstrap_since_ns, e->vpn.level ? e->vpn.id : 0,
					e->vpn.level);

		result = r ? r : result;
	}
	return result;
}

int edge_pause(struct edge *e)
{
	return write_bootstrap(e, 0);
}

void edge_shut(struct edge *e)
{
	if (!e)
		return;
	e->bootstrap_since_ns = 0;
	write_bootstrap(e, 0);
}

void edge_leashed(struct edge *e, const char *cgroup)
{
	if (e && e->vpn.level &&
	    (cgroup_is_below(cgroup, e->vpn.path) || cgroup_is_below(e->vpn.path, cgroup)))
		edge_shut(e);
}

/* Why the VPN may not use the underlay now; NULL: it may. */
static const char *obstacle(const struct edge *e)
{
	if (!e->complete)
		return "the guard is not complete";
	if (!e->vpn.level && !e->tunnel->config.bootstrap.n)
		return "the VPN's cgroup is not known (name it: netns = container:NAME, or process "
		       "= NAME; or set bootstrap = IP,…)";
	return NULL;
}

void edge_bootstrap(struct edge *e)
{
	const char *why;

	e->why[0] = '\0';
	if (e->weak) /* the VPN is free there, as everybody is */
		return;
	edge_find_vpn(e);
	if (e->n_learned) { /* the last VPN's server: from here on only what is noted passes */
		e->n_learned = 0;
		edge_write_endpoints(e);
	}
	why = obstacle(e);
	if (why) {
		snprintf(e->why, sizeof(e->why), "%s", why);
		return edge_shut(e);
	}
	if (!e->bootstrap_since_ns)
		e->bootstrap_since_ns = now_boot_ns();
	write_bootstrap(e, now_boot_ns() + BOOTSTRAP_NS);
}

struct confined {
	const struct edge *edge;
	char (*ret)[256];
	size_t n, max;
};

static int note_confined(const struct netns_process *p, void *arg)
{
	struct confined *c = arg;
	const struct edge *e = c->edge;

	if ((e->vpn.level && cgroup_is_below(p->cgroup, e->vpn.path)) ||
	    edge_is_leashed(daemon_of(e), p->cgroup))
		return 0;
	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->ret[i], p->cgroup, sizeof(c->ret[0]) - 1))
			return 0;
	snprintf(c->ret[c->n++], sizeof(c->ret[0]), "%.255s", p->cgroup);
	return c->n == c->max;
}

size_t edge_also_confined(const struct edge *e, char (*ret)[256], size_t max)
{
	struct confined c = { .edge = e, .ret = ret, .max = max };

	each_in_netns(e->tunnel, note_confined, &c);
	return c.n;
}
