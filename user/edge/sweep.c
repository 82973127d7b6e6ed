/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets that live in a guarded netns and were opened elsewhere: passed in, inherited by socket
 * activation, opened before a process joined its cgroup. They carry their opener's cgroup, so no
 * gate sees them, and the guard holds them back as it does everything. Here they are named, and
 * ended where nobody can be hurt by it. And who sent what the guard dropped. See edge.h.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/privilege.h"
#include "edge/edge_internal.h"
#include "watch/process.h"

#define SWEPT	4096 /* sockets looked at in one sweep */
#define OPENERS 32   /* cgroups that opened them: each costs a look at all of /proc */
#define SENDERS 64   /* processes of a cgroup among which a sender is looked for */

/* ------ the sweep ------ */

struct opener {
	uint64_t cgroup_id;
	bool foreign;
	char path[256];
};

struct sweep {
	struct edge *edge;
	size_t n_openers;
	struct opener openers[OPENERS];
	size_t n_sockets;
	struct open_socket *sockets;
	char own[PATH_MAX]; /* vpnleash's cgroup */
	/* the socket's that is being looked at */
	const char *path;
	bool lives_here;
};

static void note_socket(const struct open_socket *s, void *arg)
{
	struct sweep *w = arg;

	if (w->n_sockets < SWEPT)
		w->sockets[w->n_sockets++] = *s;
}

/* A container or unit is one cgroup or several below one: both directions count. */
static int note_neighbour(const struct netns_process *p, void *arg)
{
	struct sweep *w = arg;

	w->lives_here = cgroup_is_below(p->cgroup, w->path) || cgroup_is_below(w->path, p->cgroup);
	return w->lives_here;
}

static bool is_docker_dns(const struct open_socket *s)
{
	static const uint8_t resolver[16] = { [10] = 0xff, 0xff, 127, 0, 0, 11 };

	return !memcmp(s->local, resolver, sizeof(resolver));
}

static bool was_reported(struct edge *e, uint64_t cookie)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->reported); i++)
		if (e->reported[i] == cookie)
			return true;
	e->reported[e->n_reported++ % ARRAY_SIZE(e->reported)] = cookie;
	return false;
}

/* Of a cgroup with a process in this netns, or of somebody who may have one here: not foreign. */
static bool is_elsewhere(struct sweep *w, uint64_t cgroup_id, char path[PATH_MAX])
{
	const struct edge *e = w->edge;

	if (cgroup_path_of_id(e->place->root, cgroup_id, path)) {
		snprintf(path, PATH_MAX, "(gone)");
		return true;
	}
	if (place_is_leashed(e->place, path) || cgroup_is_below(path, w->own) ||
	    cgroup_is_below(w->own, path) ||
	    (e->vpn_cgroup.level && (cgroup_is_below(path, e->vpn_cgroup.path) ||
				     cgroup_is_below(e->vpn_cgroup.path, path))))
		return false;
	w->path = path;
	w->lives_here = false;
	netns_processes(e->place->netns_ino, note_neighbour, w);
	return !w->lives_here;
}

/* The cgroup that opened it, if that is foreign; else NULL. */
static const struct opener *foreign_opener(struct sweep *w, const struct open_socket *s)
{
	struct opener *o = w->openers;
	char path[PATH_MAX];

	if (s->cgroup_id <= 1 || is_docker_dns(s)) /* the root's: the kernel's, or nobody's */
		return NULL;
	for (size_t i = 0; i < w->n_openers; i++, o++)
		if (o->cgroup_id == s->cgroup_id)
			return o->foreign ? o : NULL;
	if (w->n_openers == OPENERS)
		return NULL; /* the next sweep's */
	w->n_openers++;
	o->cgroup_id = s->cgroup_id;
	o->foreign = is_elsewhere(w, s->cgroup_id, path);
	snprintf(o->path, sizeof(o->path), "%.255s", path);
	return o->foreign ? o : NULL;
}

static void report_foreign(struct edge *e, const struct open_socket *s, const char *path,
			   bool ended)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN], packet[160];
	bool v4 = is_mapped(s->local);

	inet_ntop(v4 ? AF_INET : AF_INET6, s->local + (v4 ? 12 : 0), from, sizeof(from));
	inet_ntop(v4 ? AF_INET : AF_INET6, s->remote + (v4 ? 12 : 0), to, sizeof(to));
	snprintf(packet, sizeof(packet), v4 ? "%s %s:%u -> %s:%u" : "%s [%s]:%u -> [%s]:%u",
		 s->protocol == IPPROTO_TCP ? "tcp" : "udp", from, s->local_port, to,
		 s->remote_port);
	audit_foreign(e->place->audit, e->place->config->name, packet, path,
		      e->place->calls->container_at(e->place->owner, path), ended,
		      !may_log(e->place->log));
}

static void sweep_sockets(struct sweep *w)
{
	struct edge *e = w->edge;

	if (sockets_each(e->diag, note_socket, w))
		return;
	for (size_t i = 0; i < w->n_sockets; i++) {
		const struct open_socket *s = &w->sockets[i];
		const struct opener *opener = foreign_opener(w, s);
		bool ended;

		if (!opener)
			continue;
		/* who the VPN is must be known, or it might be the VPN's */
		ended = e->vpn_cgroup.level && !socket_end(e->diag, s);
		if (ended || !was_reported(e, s->cookie))
			report_foreign(e, s, opener->path, ended);
	}
}

void edge_sweep(struct edge *e)
{
	struct sweep *w;

	if (!e || e->weak)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->edge = e;
	w->sockets = calloc(SWEPT, sizeof(*w->sockets));
	privilege_long_work(true);
	if (w->sockets && !process_cgroup(getpid(), w->own))
		sweep_sockets(w);
	privilege_long_work(false);
	free(w->sockets);
	free(w);
}

/* ------ who sent it ------ */

struct match {
	const struct drop_event *event;
	uint64_t inode;
};

static void compare_socket(const struct open_socket *s, void *arg)
{
	struct match *m = arg;
	const struct drop_event *e = m->event;
	const uint8_t *local = e->ingress ? e->destination : e->source;
	uint16_t port = ntohs(e->ingress ? e->destination_port : e->source_port);
	static const uint8_t any[16];
	bool v4 = e->family == 4, same;

	if (s->protocol != e->protocol || s->local_port != port || m->inode)
		return;
	same = v4 ? is_mapped(s->local) && !memcmp(s->local + 12, local, 4)
		  : !memcmp(s->local, local, 16);
	/* bound to any address, of either family */
	same |= !memcmp(s->local, any, 16) ||
		(is_mapped(s->local) && !memcmp(s->local + 12, any, 4));
	if (same)
		m->inode = s->inode;
}

struct held {
	uint64_t inode;
	bool yes;
};

static void compare_inode(const struct descriptor *d, void *arg)
{
	struct held *h = arg;

	h->yes |= d->socket == h->inode;
}

bool edge_holds(pid_t pid, uint64_t inode)
{
	struct held h = { .inode = inode };

	descriptors_each(pid, compare_inode, &h);
	return h.yes;
}

static size_t processes_in(int cgroup_fd, pid_t ret[SENDERS])
{
	char text[4096], *save;
	size_t n = 0;

	if (read_small(cgroup_fd, "cgroup.procs", text, sizeof(text)) < 0)
		return 0;
	for (char *p = strtok_r(text, "\n", &save); p && n < SENDERS;
	     p = strtok_r(NULL, "\n", &save))
		if (atoi(p) > 0)
			ret[n++] = atoi(p);
	return n;
}

/* 0: it is not known. */
static pid_t find_sender(struct edge *e, const struct drop_event *event, int cgroup_fd)
{
	struct match m = { .event = event };
	pid_t pids[SENDERS];
	size_t n = processes_in(cgroup_fd, pids);

	if (n == 1)
		return pids[0]; /* whatever it sent by */
	if (!event->source_port || sockets_each(e->diag, compare_socket, &m) || !m.inode)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (edge_holds(pids[i], m.inode))
			return pids[i];
	return 0;
}

void edge_name_sender(struct edge *e, const struct drop_event *event, char cgroup[256],
		      char process[64])
{
	_cleanup_fd int fd = resolve_cgroup_id(e->place->root, event->cgroup_id);
	char path[PATH_MAX], comm[32];
	pid_t sender;

	cgroup[0] = process[0] = '\0';
	if (!event->cgroup_id || fd < 0 ||
	    cgroup_path_of_id(e->place->root, event->cgroup_id, path))
		return;
	snprintf(cgroup, 256, "%.255s", path);
	privilege_long_work(true);
	sender = find_sender(e, event, fd);
	privilege_long_work(false);
	snprintf(path, sizeof(path), "/proc/%d/comm", sender);
	if (sender && read_small(AT_FDCWD, path, comm, sizeof(comm)) > 0)
		snprintf(process, 64, "%.20s (%d)", comm, sender);
}
