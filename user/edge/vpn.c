/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vpn.h. */
#include "edge/vpn.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edge/edge_internal.h"

#define NAME_IT "run the VPN in a container or unit, and say netns = container:NAME or unit:NAME"

bool edge_is_leashed(const struct daemon *d, const char *path)
{
	for (size_t i = 0; i < d->n_workloads; i++)
		if (*d->workloads[i]->path && (cgroup_is_below(path, d->workloads[i]->path) ||
					       cgroup_is_below(d->workloads[i]->path, path)))
			return true;
	return slices_touch(d, path);
}

static uint64_t cgroup_id(const struct daemon *d, const char *path)
{
	struct cgroup_ref c;

	if (resolve_cgroup(&d->root, path, &c, NULL))
		return 0;
	close_fd(c.fd);
	return c.id;
}

/* ------ its processes ------ */

static void drop_process(struct vpn *v, size_t i)
{
	sd_event_source_disable_unref(v->processes[i].end);
	v->processes[i].pidfd = close_fd(v->processes[i].pidfd);
	v->processes[i] = v->processes[--v->n];
}

void vpn_forget(struct tunnel *t)
{
	while (t->vpn.n)
		drop_process(&t->vpn, 0);
	t->vpn = (struct vpn) { .n = 0 };
}

static int on_end(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct tunnel *t = arg;
	uint64_t now = now_boot_ns();

	for (size_t i = 0; i < t->vpn.n; i++)
		if (t->vpn.processes[i].pidfd == fd) {
			drop_process(&t->vpn, i);
			break;
		}
	if (t->vpn.n) /* a daemon has left its child behind */
		return 0;
	t->vpn.dead = true;
	tunnel_vpn_ended(t, now);
	return 0;
}

/* By its number: so its cgroup is asked for again once its pidfd holds it. */
static void watch(struct tunnel *t, pid_t pid)
{
	struct vpn *v = &t->vpn;
	struct vpn_process p = { .pid = pid };
	char path[PATH_MAX];

	for (size_t i = 0; i < v->n; i++)
		if (v->processes[i].pid == pid)
			return;
	if (v->n == VPN_PROCESSES)
		return;
	p.pidfd = pidfd_open(pid, 0);
	if (p.pidfd < 0)
		return;
	if (process_cgroup_held(pid, p.pidfd, path) || !cgroup_is_below(path, v->cgroup) ||
	    sd_event_add_io(t->daemon->loop, &p.end, p.pidfd, EPOLLIN, on_end, t) < 0) {
		close_fd(p.pidfd);
		return;
	}
	sd_event_source_set_priority(p.end, PRIORITY_EVIDENCE);
	v->processes[v->n++] = p;
}

/* ------ its cgroup ------ */

/* As it was told last, it is not told again. */
static void __attribute__((format(printf, 2, 3))) nobody(struct tunnel *t, const char *format, ...)
{
	char why[sizeof(t->vpn.why)], shown[2 * sizeof(t->vpn.why)];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	while (t->vpn.n)
		drop_process(&t->vpn, 0);
	t->vpn.cgroup[0] = '\0';
	if (!strcmp(why, t->vpn.why))
		return;
	memcpy(t->vpn.why, why, sizeof(why));
	if (may_log(&t->log))
		log_line(LOG_LEVEL_WARNING, "tunnel '%s': %s", t->config.interface,
			 escape(shown, sizeof(shown), why));
}

static void somebody(struct tunnel *t, const char *cgroup)
{
	struct vpn *v = &t->vpn;

	for (size_t i = v->n; strcmp(cgroup, v->cgroup) && i > 0; i--)
		drop_process(v, i - 1);
	snprintf(v->cgroup, sizeof(v->cgroup), "%s", cgroup);
	v->why[0] = '\0';
}

/* Whose netns it is. 0: nobody's who can be named. */
static pid_t owner_of(const struct tunnel *t)
{
	char end;
	int pid;

	return sscanf(t->where, "/proc/%d/ns/ne%c", &pid, &end) == 2 && end == 't' ? pid : 0;
}

/* The container's or unit's, of which its first process is; else the owner's. */
static int cgroup_of_owner(const struct tunnel *t, pid_t pid, char ret[PATH_MAX])
{
	_cleanup_fd int pidfd = pidfd_open(pid, 0);
	struct stat st;
	int r = pidfd < 0 ? -errno : 0;

	if (!r && (stat(t->where, &st) < 0 || st.st_ino != t->netns_ino))
		r = -ESRCH;
	if (!r) /* the pidfd, or the number might have gone to another meanwhile */
		r = process_cgroup_held(pid, pidfd, ret);
	if (!r && *t->owner.cgroup && cgroup_is_below(ret, t->owner.cgroup))
		snprintf(ret, PATH_MAX, "%s", t->owner.cgroup);
	return r;
}

static void find_by_owner(struct tunnel *t)
{
	char path[PATH_MAX];

	if (cgroup_of_owner(t, t->vpn.owner, path))
		nobody(t, "the owner of the network namespace, process %d, has ended",
		       t->vpn.owner);
	else if (!strcmp(path, "/"))
		nobody(t,
		       "the owner of the network namespace, process %d, is in the root cgroup "
		       "(" NAME_IT ")",
		       t->vpn.owner);
	else if (edge_is_leashed(t->daemon, path))
		nobody(t,
		       "the owner of the network namespace, process %d, is leashed, or above or "
		       "below a workload, in cgroup %.150s (" NAME_IT ")",
		       t->vpn.owner, path);
	else
		somebody(t, path);
}

struct found {
	struct tunnel *tunnel;
	size_t n;
	pid_t pids[VPN_PROCESSES];
	pid_t leashed, other;
	char cgroup[PATH_MAX], other_cgroup[PATH_MAX];
};

static int note_named(const struct netns_process *p, void *arg)
{
	struct found *f = arg;
	const struct tunnel *t = f->tunnel;

	if (strcmp(p->comm, t->config.process))
		return 0;
	if (t->vpn.owner && !(*t->vpn.cgroup && cgroup_is_below(p->cgroup, t->vpn.cgroup)))
		return 0;
	if (edge_is_leashed(t->daemon, p->cgroup)) {
		f->leashed = p->pid;
		return 0;
	}
	if (!f->n)
		snprintf(f->cgroup, sizeof(f->cgroup), "%s", p->cgroup);
	if (!t->vpn.owner && strcmp(p->cgroup, f->cgroup)) {
		f->other = p->pid;
		snprintf(f->other_cgroup, sizeof(f->other_cgroup), "%s", p->cgroup);
		return 1;
	}
	if (f->n < VPN_PROCESSES)
		f->pids[f->n++] = p->pid;
	return 0;
}

/* Which of them it is, nobody knows; but that it has ended is not known either. */
static void alive_somewhere(struct tunnel *t)
{
	if (!t->vpn.dead)
		return;
	t->vpn.dead = false;
	tunnel_vpn_found(t);
}

/* By nothing but its name, which anybody may take: so one cgroup, or none. While the one in which
 * it was is there, nobody takes its place, not even while it is being started anew. */
static void find_by_name(struct tunnel *t, const struct found *f)
{
	const char *name = t->config.process;
	struct vpn *v = &t->vpn;
	bool was = *v->was && !edge_is_leashed(t->daemon, v->was) &&
		   cgroup_id(t->daemon, v->was) == v->was_id;

	if (f->other || (f->n && was && strcmp(f->cgroup, v->was)))
		alive_somewhere(t);
	if (f->other)
		nobody(t,
		       "process %s is %d in cgroup %.80s and %d in cgroup %.80s: which of "
		       "them is the VPN is not known (" NAME_IT ")",
		       name, f->pids[0], f->cgroup, f->other, f->other_cgroup);
	else if (f->n && was && strcmp(f->cgroup, v->was))
		nobody(t,
		       "process %s is %d in cgroup %.80s, and was in cgroup %.80s, which is "
		       "there: which of them is the VPN is not known (" NAME_IT ")",
		       name, f->pids[0], f->cgroup, v->was);
	else if (!f->n && was)
		somebody(t, v->was);
	else if (!f->n && f->leashed)
		nobody(t,
		       "process %s is only %d, which is leashed, or above or below a workload "
		       "(" NAME_IT ")",
		       name, f->leashed);
	else if (!f->n)
		nobody(t, "no process %s is in the network namespace", name);
	else if (!strcmp(f->cgroup, "/"))
		nobody(t, "process %s, %d, is in the root cgroup (" NAME_IT ")", name, f->pids[0]);
	else {
		somebody(t, f->cgroup);
		snprintf(v->was, sizeof(v->was), "%s", f->cgroup);
		v->was_id = cgroup_id(t->daemon, f->cgroup);
	}
}

void vpn_look(struct tunnel *t)
{
	struct found f = { .tunnel = t };
	struct vpn *v = &t->vpn;

	if (*v->cgroup && edge_is_leashed(t->daemon, v->cgroup)) /* since the last look */
		nobody(t, "cgroup %.150s is leashed, or above or below a workload (" NAME_IT ")",
		       v->cgroup);
	v->owner = owner_of(t);
	if (v->owner)
		find_by_owner(t);
	if (!*t->config.process || (v->n && t->state == TUNNEL_UP)) /* nothing to look for */
		return;
	netns_processes(t->netns_ino, note_named, &f);
	if (!v->owner)
		find_by_name(t, &f);
	for (size_t i = 0; *v->cgroup && i < f.n; i++)
		watch(t, f.pids[i]);
	if (v->n && v->dead) {
		v->dead = false;
		tunnel_vpn_found(t);
	}
}

/* ------ who answers for WireGuard's device ------ */

static bool by_answer(const struct tunnel *t)
{
	return !t->vpn.owner && !*t->config.process;
}

bool vpn_may_be(const struct tunnel *t, const char *cgroup)
{
	if (edge_is_leashed(t->daemon, cgroup))
		return false;
	return by_answer(t) || (*t->vpn.cgroup && cgroup_is_below(cgroup, t->vpn.cgroup));
}

void vpn_answered(struct tunnel *t, const char *cgroup)
{
	if (by_answer(t) && strcmp(cgroup, "/"))
		somebody(t, cgroup);
}
