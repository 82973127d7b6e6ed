/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets that live in a guarded netns and were opened elsewhere: passed in, inherited by socket
 * activation, opened before a process joined its cgroup. They carry their opener's cgroup, so no
 * gate sees them, and the guard holds them back as it does everything. Here they are named, and
 * ended where nobody can be hurt by it. And who sent what the guard dropped. See edge.h.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/privilege.h"
#include "edge/sweep.h"
#include "edge/edge_internal.h"
#include "edge/vpn.h"
#include "watch/process.h"

#define SWEPT	4096 /* sockets looked at in one sweep */
#define OPENERS 32   /* cgroups that opened them: each costs a look at all of /proc */
#define SENDERS 64   /* processes of a cgroup among which a sender is looked for */

/* ------ cgroups by their ids ------ */

/* Its path below the root. -ESTALE: it is gone. */
static int path_of(const struct cgroup_root *root, uint64_t cgroup_id, char ret[PATH_MAX])
{
	_cleanup_fd int fd = resolve_cgroup_id(root, cgroup_id);
	char link[64], path[PATH_MAX];
	size_t prefix = strlen(root->path);
	ssize_t n;

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)prefix)
		return -ESTALE;
	path[n] = '\0';
	snprintf(ret, PATH_MAX, "%s", (size_t)n == prefix ? "/" : path + prefix);
	return 0;
}

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

	if (path_of(e->place->root, cgroup_id, path)) {
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

static void report(struct edge *e, const struct open_socket *s, const char *path, bool ended)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN], packet[160];
	bool v4 = is_mapped(s->local);

	inet_ntop(v4 ? AF_INET : AF_INET6, s->local + (v4 ? 12 : 0), from, sizeof(from));
	inet_ntop(v4 ? AF_INET : AF_INET6, s->remote + (v4 ? 12 : 0), to, sizeof(to));
	snprintf(packet, sizeof(packet), v4 ? "%s %s:%u -> %s:%u" : "%s [%s]:%u -> [%s]:%u",
		 s->protocol == IPPROTO_TCP ? "tcp" : "udp", from, s->local_port, to,
		 s->remote_port);
	audit_foreign(e->place->audit, e->place->config->name, packet, path, ended,
		      !may_log(e->place->log));
}

static void sweep(struct sweep *w)
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
			report(e, s, opener->path, ended);
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
		sweep(w);
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

static bool has_socket(pid_t pid, uint64_t inode)
{
	char path[64], link[64], want[64];
	bool found = false;
	struct dirent *entry;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	snprintf(want, sizeof(want), "socket:[%llu]", (unsigned long long)inode);
	d = opendir(path);
	while (d && !found && (entry = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), entry->d_name, link, sizeof(link) - 1);

		if (n > 0) {
			link[n] = '\0';
			found = !strcmp(link, want);
		}
	}
	if (d)
		closedir(d);
	return found;
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

void edge_name_sender(struct edge *e, const struct drop_event *event, char cgroup[256],
		      char process[64])
{
	_cleanup_fd int fd = resolve_cgroup_id(e->place->root, event->cgroup_id);
	struct match m = { .event = event };
	char path[PATH_MAX], comm[32] = "";
	pid_t pids[SENDERS], sender = 0;
	size_t n;

	cgroup[0] = process[0] = '\0';
	if (!event->cgroup_id || fd < 0 || path_of(e->place->root, event->cgroup_id, path))
		return;
	snprintf(cgroup, 256, "%.255s", path);
	privilege_long_work(true);
	n = processes_in(fd, pids);
	if (n == 1)
		sender = pids[0]; /* whatever it sent by */
	else if (event->source_port && !sockets_each(e->diag, compare_socket, &m) && m.inode)
		for (size_t i = 0; i < n && !sender; i++)
			sender = has_socket(pids[i], m.inode) ? pids[i] : 0;
	privilege_long_work(false);
	if (!sender)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", sender);
	if (read_small(AT_FDCWD, path, comm, sizeof(comm)) > 0)
		snprintf(process, 64, "%.20s (%d)", comm, sender);
}
