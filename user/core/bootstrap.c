/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN's own need of the underlay before its tunnel exists: who the VPN is, whether everybody
 * else in the netns is frozen or gone. See edge.h.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/privilege.h"
#include "core/edge_internal.h"
#include "watch/process.h"

#define BOOTSTRAP_NS (3 * NS_PER_SEC) /* so long without a daemon; looked at once a second */

void edge_stop_observing(struct edge *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->observers); i++)
		close_fd(&e->observers[i]);
	memset(e->observers, -1, sizeof(e->observers));
}

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

bool edge_is_leashed(const struct daemon *d, const char *path)
{
	for (size_t i = 0; i < d->n_members; i++)
		if (*d->members[i]->path &&
		    (is_below(path, d->members[i]->path) || is_below(d->members[i]->path, path)))
			return true;
	return false;
}

/* The VPN's cgroup is this one: its sockets may bootstrap, and are watched for endpoints. */
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
	edge_stop_observing(e);
	if (e->vpn.level)
		close_fd(&e->vpn.fd);
	e->vpn = c;
}

/* Only a VPN that says nowhere else where its server is, and only while it looks for it. */
static void observe(struct edge *e)
{
	struct error err;

	if (e->observers[0] >= 0 || !e->vpn.level || e->is_wireguard ||
	    e->tunnel->config.endpoints.n)
		return;
	if (guard_observe(e->guards, e->vpn.fd, e->observers, &err) && may_log(&e->tunnel->log))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
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

static bool is_frozen(const struct daemon *d, const char *path)
{
	char events[PATH_MAX + 32], text[128];
	_cleanup_fd int fd = -1;
	ssize_t n;

	snprintf(events, sizeof(events), "%s/cgroup.events", path + 1);
	fd = openat(d->root.fd, events, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "frozen 1");
}

static int find_awake(const struct netns_process *p, void *arg)
{
	struct edge *e = arg;
	bool leashed = edge_is_leashed(daemon_of(e), p->cgroup);
	char comm[64], cgroup[128];

	if ((e->vpn.level && is_below(p->cgroup, e->vpn.path)) ||
	    is_frozen(daemon_of(e), p->cgroup))
		return 0;
	snprintf(e->why, sizeof(e->why), "process '%s' (%d) in cgroup '%.100s' is not frozen%s",
		 escape(comm, sizeof(comm), p->comm), p->pid,
		 escape(cgroup, sizeof(cgroup), p->cgroup),
		 leashed	? ": set on-failure = freeze, or bootstrap = IP,…"
		 : e->vpn.level ? ": leash it, or set bootstrap = IP,…"
				: " and the VPN's cgroup is not known: set process = NAME, or "
				  "bootstrap = IP,…");
	return 1;
}

static void set_bootstrap(struct edge *e, uint64_t until_ns)
{
	e->open = until_ns;
	for (size_t i = 0; i < e->n; i++)
		guard_bootstrap(e->guards, &e->known[i].spec, until_ns,
				e->vpn.level ? e->vpn.id : 0, e->vpn.level);
}

void edge_shut(struct edge *e)
{
	if (e)
		set_bootstrap(e, 0);
}

void edge_bootstrap(struct edge *e)
{
	e->why[0] = '\0';
	if (e->weak) /* the VPN is free there, as everybody is */
		return;
	edge_find_vpn(e);
	observe(e);
	if (!e->complete) {
		snprintf(e->why, sizeof(e->why), "the guard is not complete");
		return edge_shut(e);
	}
	if (!e->tunnel->config.bootstrap.n && each_process(e, find_awake, e) != 0)
		return edge_shut(e);
	set_bootstrap(e, now_boot_ns() + BOOTSTRAP_NS);
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

	if ((e->vpn.level && is_below(p->cgroup, e->vpn.path)) ||
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
