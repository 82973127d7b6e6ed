/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "edge/vpn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "watch/process.h"

#define NAME_IT "run the VPN in a container or unit, and say netns = container:NAME or unit:NAME"
#define OWNER	"the owner of the network namespace, process %d, "
#define LEASHED "is leashed, or above or below a workload"

#define VPN_PROCESSES 16 /* of one name that are watched */

struct vpn_process {
	pid_t pid;
	int pidfd;
	sd_event_source *end;
};

struct vpn {
	struct edge_place place;
	char cgroup[PATH_MAX]; /* below the root; "": not known */
	char why[800];	       /* why not, and what to do; "": there is no more to say */
	pid_t owner;	       /* whose netns it is, as `netns` says; 0: it does not */
	/* by its name it was found there: while this cgroup is there, another is another's */
	char was[PATH_MAX];
	uint64_t was_id;
	size_t n;
	struct vpn_process processes[VPN_PROCESSES];
	bool dead; /* the last of them has ended, and no other has come */
};

static uint64_t cgroup_id(const struct edge_place *p, const char *path)
{
	struct cgroup_ref c;

	if (resolve_cgroup(p->root, path, &c, NULL))
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

static int on_vpn_end(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct vpn *v = arg;
	uint64_t now = now_boot_ns();

	for (size_t i = 0; i < v->n; i++)
		if (v->processes[i].pidfd == fd) {
			drop_process(v, i);
			break;
		}
	if (v->n) /* a daemon has left its child behind */
		return 0;
	v->dead = true;
	v->place.calls->vpn_ended(v->place.owner, now);
	return 0;
}

/* A number may be another process's by now: so ask for the cgroup again once the pidfd holds it. */
static void watch_vpn(struct vpn *v, pid_t pid)
{
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
	    sd_event_add_io(v->place.loop, &p.end, p.pidfd, EPOLLIN, on_vpn_end, v) < 0) {
		close_fd(p.pidfd);
		return;
	}
	sd_event_source_set_priority(p.end, PRIORITY_EVIDENCE);
	v->processes[v->n++] = p;
}

/* ------ its cgroup ------ */

/* As it was told last, it is not told again. */
static void __attribute__((format(printf, 2, 3)))
vpn_is_nobody(struct vpn *v, const char *format, ...)
{
	char why[sizeof(v->why)];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	make_harmless(why);
	while (v->n)
		drop_process(v, 0);
	v->cgroup[0] = '\0';
	if (!strcmp(why, v->why))
		return;
	memcpy(v->why, why, sizeof(why));
	if (may_log(v->place.log))
		log_line(LOG_LEVEL_WARNING, "tunnel '%s': %s", v->place.config->interface, why);
}

static void vpn_is_in(struct vpn *v, const char *cgroup)
{
	for (size_t i = v->n; strcmp(cgroup, v->cgroup) && i > 0; i--)
		drop_process(v, i - 1);
	snprintf(v->cgroup, sizeof(v->cgroup), "%s", cgroup);
	v->why[0] = '\0';
}

/* Whose netns it is. 0: nobody's who can be named. */
static pid_t owner_of(const struct vpn *v)
{
	char end;
	int pid;

	return sscanf(v->place.where, "/proc/%d/ns/ne%c", &pid, &end) == 2 && end == 't' ? pid : 0;
}

/* The container's or unit's, if the process is in it; else that of the process. */
static int cgroup_of_owner(const struct vpn *v, char ret[PATH_MAX])
{
	const struct edge_place *p = &v->place;
	_cleanup_fd int pidfd = pidfd_open(v->owner, 0);
	struct stat st;
	int r;

	if (pidfd < 0)
		return -errno;
	if (stat(p->where, &st) < 0 || st.st_ino != p->netns_ino)
		return -ESRCH;
	/* by the pidfd: the number may be another process's meanwhile */
	r = process_cgroup_held(v->owner, pidfd, ret);
	if (!r && *p->owner_cgroup && cgroup_is_below(ret, p->owner_cgroup))
		snprintf(ret, PATH_MAX, "%s", p->owner_cgroup);
	return r;
}

static void find_by_owner(struct vpn *v)
{
	char path[PATH_MAX], called[CALLED_LEN];

	if (cgroup_of_owner(v, path))
		vpn_is_nobody(v, OWNER "has ended (start the VPN)", v->owner);
	else if (!strcmp(path, "/"))
		vpn_is_nobody(v, OWNER "is in the root cgroup (" NAME_IT ")", v->owner);
	else if (place_is_leashed(&v->place, path))
		vpn_is_nobody(v, OWNER LEASHED ", in %s (" NAME_IT ")", v->owner,
			      place_called(&v->place, path, called));
	else
		vpn_is_in(v, path);
}

struct found {
	const struct vpn *vpn;
	size_t n;
	pid_t pids[VPN_PROCESSES];
	pid_t leashed, other;
	char cgroup[PATH_MAX], other_cgroup[PATH_MAX];
};

static int note_named(const struct netns_process *p, void *arg)
{
	struct found *f = arg;
	const struct vpn *v = f->vpn;

	if (strcmp(p->comm, v->place.config->process))
		return 0;
	if (v->owner && !(*v->cgroup && cgroup_is_below(p->cgroup, v->cgroup)))
		return 0;
	if (place_is_leashed(&v->place, p->cgroup)) {
		f->leashed = p->pid;
		return 0;
	}
	if (!f->n)
		snprintf(f->cgroup, sizeof(f->cgroup), "%s", p->cgroup);
	if (!v->owner && strcmp(p->cgroup, f->cgroup)) {
		f->other = p->pid;
		snprintf(f->other_cgroup, sizeof(f->other_cgroup), "%s", p->cgroup);
		return 1;
	}
	if (f->n < VPN_PROCESSES)
		f->pids[f->n++] = p->pid;
	return 0;
}

/* By nothing but its name, which anybody may take: so it is of one cgroup, or of none. While the
 * one in which it was is there, no other takes its place, nor while it is being started anew. */
static void find_by_name(struct vpn *v, const struct found *f)
{
	const char *name = quote(v->place.config->process);
	char one[CALLED_LEN], other[CALLED_LEN];
	bool was = *v->was && !place_is_leashed(&v->place, v->was) &&
		   cgroup_id(&v->place, v->was) == v->was_id;

	if (f->other) {
		v->dead = false; /* one of them may be the VPN */
		vpn_is_nobody(v,
			      "process %s is %d in %s and %d in %s: which of them is the VPN is "
			      "not known (" NAME_IT ")",
			      name, f->pids[0], place_called(&v->place, f->cgroup, one), f->other,
			      place_called(&v->place, f->other_cgroup, other));
	} else if (f->n && was && strcmp(f->cgroup, v->was)) {
		v->dead = false;
		vpn_is_nobody(v,
			      "process %s is %d in %s, and was in %s, which is there: which of "
			      "them is the VPN is not known (" NAME_IT ")",
			      name, f->pids[0], place_called(&v->place, f->cgroup, one),
			      place_called(&v->place, v->was, other));
	} else if (!f->n && was) {
		vpn_is_in(v, v->was);
	} else if (!f->n && f->leashed) {
		vpn_is_nobody(v,
			      "process %s is only %d, which is leashed, or above or below a "
			      "workload (" NAME_IT ")",
			      name, f->leashed);
	} else if (!f->n) {
		vpn_is_nobody(v,
			      "no process %s is in the network namespace (start the VPN, or "
			      "correct process)",
			      name);
	} else if (!strcmp(f->cgroup, "/")) {
		vpn_is_nobody(v, "process %s, %d, is in the root cgroup (" NAME_IT ")", name,
			      f->pids[0]);
	} else {
		vpn_is_in(v, f->cgroup);
		snprintf(v->was, sizeof(v->was), "%s", f->cgroup);
		v->was_id = cgroup_id(&v->place, f->cgroup);
	}
}

void vpn_look(struct vpn *v, bool is_up)
{
	struct found f = { .vpn = v };
	char called[CALLED_LEN];

	if (*v->cgroup && place_is_leashed(&v->place, v->cgroup)) /* since the last look */
		vpn_is_nobody(v, "%s " LEASHED " (" NAME_IT ")",
			      place_called(&v->place, v->cgroup, called));
	v->owner = owner_of(v);
	if (v->owner)
		find_by_owner(v);
	if (!*v->place.config->process || (v->n && is_up)) /* nothing to look for */
		return;
	netns_processes(v->place.netns_ino, note_named, &f);
	if (!v->owner)
		find_by_name(v, &f);
	for (size_t i = 0; *v->cgroup && i < f.n; i++)
		watch_vpn(v, f.pids[i]);
	if (v->n)
		v->dead = false;
}

int vpn_open(struct vpn **ret, const struct edge_place *place, struct error *err)
{
	struct vpn *v = calloc(1, sizeof(*v));

	if (!v)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "look for the VPN");
	v->place = *place;
	*ret = v;
	return 0;
}

void vpn_close(struct vpn *v)
{
	while (v && v->n)
		drop_process(v, 0);
	free(v);
}

bool vpn_is_dead(const struct vpn *v)
{
	return v && v->dead;
}

const char *vpn_why(const struct vpn *v)
{
	return v ? v->why : "";
}

const struct edge_place *vpn_place(const struct vpn *v)
{
	return &v->place;
}

const char *vpn_cgroup(const struct vpn *v)
{
	return v->cgroup;
}

pid_t vpn_pid(const struct vpn *v)
{
	return v->n ? v->processes[0].pid : v->owner;
}

/* ------ who has no interface ------ */

static void note_tun(const struct descriptor *d, void *arg)
{
	bool *has = arg;

	*has |= *d->tun;
}

static int note_without(const struct netns_process *p, void *arg)
{
	bool has_tun = false;

	if (strcmp(p->comm, "tailscaled"))
		return 0;
	return !descriptors_each(p->pid, note_tun, &has_tun) && !has_tun;
}

bool vpn_does_without(const struct vpn *v)
{
	return v && netns_processes(v->place.netns_ino, note_without, NULL) > 0;
}

/* ------ who answers for WireGuard's device ------ */

static bool by_answer(const struct vpn *v)
{
	return !v->owner && !*v->place.config->process;
}

bool vpn_may_be(const struct vpn *v, const char *cgroup)
{
	if (place_is_leashed(&v->place, cgroup))
		return false;
	return by_answer(v) || (*v->cgroup && cgroup_is_below(cgroup, v->cgroup));
}

void vpn_answered(struct vpn *v, const char *cgroup)
{
	if (by_answer(v) && strcmp(cgroup, "/"))
		vpn_is_in(v, cgroup);
}
