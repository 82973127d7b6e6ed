/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN's own need of the underlay before its tunnel exists: who the VPN is, and that what it
 * sends is noted and passes. See edge.h.
 */
#include <errno.h>

#include "base/privilege.h"
#include "core/edge_internal.h"
#include "watch/process.h"

#define BOOTSTRAP_NS (3 * NS_PER_SEC) /* so long without a daemon; looked at once a second */

bool edge_is_leashed(const struct daemon *d, const char *path)
{
	for (size_t i = 0; i < d->n_members; i++)
		if (*d->members[i]->path && (cgroup_is_below(path, d->members[i]->path) ||
					     cgroup_is_below(d->members[i]->path, path)))
			return true;
	return false;
}

/* The VPN's cgroup is this one: what its sockets send may bootstrap. */
static void vpn_is(struct edge *e, const char *path)
{
	struct cgroup_ref c;
	struct error err;

	if (!strcmp(path, "/") || edge_is_leashed(daemon_of(e), path) ||
	    resolve_cgroup(&daemon_of(e)->root, path, &c, &err))
		return;
	if (e->vpn.level && e->vpn.id == c.id) { /* by its id: one may be made anew */
		close_fd(&c.fd);
		return;
	}
	if (e->vpn.level)
		close_fd(&e->vpn.fd);
	e->vpn = c;
}

static int note_vpn(const struct netns_process *p, void *arg)
{
	struct edge *e = arg;

	if (strcmp(p->comm, e->tunnel->config.process))
		return 0;
	e->vpn_pid = p->pid;
	vpn_is(e, p->cgroup);
	return 1;
}

/* All of /proc, however large: not a thing to do in real time. */
static int each_process(const struct edge *e, int (*f)(const struct netns_process *p, void *arg),
			void *arg)
{
	int r;

	privilege_long_work(true);
	r = netns_processes(e->tunnel->netns_ino, f, arg);
	privilege_long_work(false);
	return r;
}

void edge_find_vpn(struct edge *e)
{
	const struct tunnel_config *c = &e->tunnel->config;
	char path[PATH_MAX], end;
	int pid;

	if (*c->process)
		each_process(e, note_vpn, e);
	else if (sscanf(e->tunnel->where, "/proc/%d/ns/ne%c", &pid, &end) == 2 && end == 't' &&
		 !process_cgroup(pid, path)) {
		e->vpn_pid = pid;
		vpn_is(e, path);
	} else if (e->wireguard.pid && !process_cgroup(e->wireguard.pid, path))
		vpn_is(e, path);
}

static void write_bootstrap(struct edge *e, uint64_t until_ns)
{
	e->open = until_ns;
	for (size_t i = 0; i < e->n; i++)
		guard_bootstrap(e->guards, &e->known[i].spec, until_ns, e->bootstrap_since_ns,
				e->vpn.level ? e->vpn.id : 0, e->vpn.level);
}

void edge_pause(struct edge *e)
{
	write_bootstrap(e, 0);
}

void edge_shut(struct edge *e)
{
	if (!e)
		return;
	e->bootstrap_since_ns = 0;
	write_bootstrap(e, 0);
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
	why = obstacle(e);
	if (why) {
		snprintf(e->why, sizeof(e->why), "%s", why);
		return edge_shut(e);
	}
	if (!e->bootstrap_since_ns) { /* from here on only what is noted passes */
		e->bootstrap_since_ns = now_boot_ns();
		e->n_learned = 0;
		edge_write_endpoints(e);
	}
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

	each_process(e, note_confined, &c);
	return c.n;
}
