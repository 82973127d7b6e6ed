/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cgroup /vpnleash-exec/ID with record and gate before anybody is in it; the client joins it when
 * it is open, and becomes the command. Removed when the client has ended and the cgroup is empty,
 * however that came about: whoever was left behind by the command stays leashed. Which tunnel it is
 * on stands at the cgroup itself, for the next daemon.
 */
#include "source/exec_cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "act/gate.h"
#include "act/lease.h"
#include "base/privilege.h"
#include "core/leash.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "watch/cgroup.h"

#define EXEC_DIR    "vpnleash-exec" /* below the root */
#define EXEC_NAME   "exec-"
#define EXEC_MAX    128 /* at once */
#define CHILD_DEPTH 32
#define OWNER_XATTR "trusted.vpnleash.pins" /* the device that they are on */
#define OWNER_MAX   32
#define NOTE_MAX    (IFNAMSIZ + PATH_MAX)

struct exec {
	int client;    /* its pidfd; -1: it has ended, or was an earlier daemon's */
	int events_fd; /* cgroup.events, for populated 0 */
	sd_event_source *client_source, *events_source;
};

static void exec_free(void *source)
{
	struct exec *e = source;

	sd_event_source_disable_unref(e->client_source);
	sd_event_source_disable_unref(e->events_source);
	e->client = close_fd(e->client);
	e->events_fd = close_fd(e->events_fd);
	free(e);
}

/* ------ the end ------ */

/* f for each cgroup in that one. fd: that one; child_fd: -1 if it can not be opened. */
static void each_child(int cgroup_fd, void (*f)(int fd, int child_fd, const char *name, void *arg),
		       void *arg)
{
	int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		close_fd(fd);
		return;
	}
	while ((e = readdir(dir))) {
		_cleanup_fd int child = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		child = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		f(fd, child, e->d_name, arg);
	}
	closedir(dir);
}

/* With the cgroups that the command has made in it, deepest first; nobody is in them. */
static void remove_one(int fd, int child_fd, const char *name, void *arg)
{
	int depth = *(const int *)arg - 1;

	if (depth && child_fd >= 0)
		each_child(child_fd, remove_one, &depth);
	unlinkat(fd, name, AT_REMOVEDIR);
}

static int exec_remove_cgroup(struct daemon *d, const char *path)
{
	int depth = CHILD_DEPTH;
	struct cgroup_ref c;

	if (!resolve_cgroup(&d->root, path, &c, NULL)) {
		each_child(c.fd, remove_one, &depth);
		close_fd(c.fd);
	}
	if (unlinkat(d->root.fd, path + 1, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	unlinkat(d->root.fd, EXEC_DIR, AT_REMOVEDIR); /* if that was the last one */
	return 0;
}

/* Which pins it was made for: another vpnleash, with pins of its own, may share the cgroups. */
static void write_owner(char text[OWNER_MAX])
{
	struct stat st = { 0 };

	stat(VPNLEASH_PIN_DIR, &st);
	snprintf(text, OWNER_MAX, "%llu", (unsigned long long)st.st_dev);
}

static bool is_ours(int fd)
{
	char noted[OWNER_MAX] = "", ours[OWNER_MAX];

	write_owner(ours);
	return fgetxattr(fd, OWNER_XATTR, noted, sizeof(noted) - 1) > 0 && !strcmp(noted, ours);
}

/* Of one that nobody speaks for any more: detached while it ran, or its daemon died. By what root
 * alone can have written; a record that is no exec's is of a section that took it over. */
static bool is_left_over(struct daemon *d, int fd, uint64_t *ret_id)
{
	_cleanup_fd int events = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct workload_record record;
	struct stat st;

	if (events < 0 || fstat(fd, &st) < 0 || events_say(events, "populated 0") <= 0)
		return false;
	*ret_id = st.st_ino;
	if (workload_of_cgroup(d, *ret_id))
		return false;
	return record_get(d->leases, *ret_id, &record) ? is_ours(fd) : record.flags & WORKLOAD_EXEC;
}

static void remove_if_left_over(int fd, int child_fd, const char *name, void *arg)
{
	struct daemon *d = arg;
	char path[PATH_MAX];
	uint64_t id;

	snprintf(path, sizeof(path), "/" EXEC_DIR "/%s", name);
	if (child_fd >= 0 && is_left_over(d, child_fd, &id) && !exec_remove_cgroup(d, path))
		remains_take(d, id, 0);
}

static void remove_left_over(struct daemon *d)
{
	_cleanup_fd int fd =
		openat(d->root.fd, EXEC_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0)
		each_child(fd, remove_if_left_over, d);
}

static void exec_forget(struct daemon *d, struct workload *w)
{
	struct tunnel *t = w->tunnel;

	daemon_remove_workload(d, w);
	workload_forget(w);
	tunnel_workloads_changed(t);
}

static void exec_leave_shut(struct workload *w)
{
	leash_shut(w);
	daemon_remove_workload(w->daemon, w);
	workload_free(w);
}

static void exec_end_if_over(struct workload *w)
{
	struct exec *e = w->source;
	int empty = events_say(e->events_fd, "populated 0");
	struct daemon *d = w->daemon;

	if (empty < 0)
		sd_event_source_set_enabled(e->events_source, SD_EVENT_OFF);
	if (e->client >= 0 || !empty || exec_remove_cgroup(d, w->path))
		return;
	exec_forget(d, w);
	remove_left_over(d);
}

static int on_client_end(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct workload *w = arg;
	struct exec *e = w->source;

	e->client_source = sd_event_source_disable_unref(e->client_source);
	e->client = close_fd(e->client);
	exec_end_if_over(w);
	return 0;
}

static int on_populated(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	exec_end_if_over(arg);
	return 0;
}

/* ------ the beginning ------ */

/* Takes over the client's pidfd (-1: none). */
static int exec_watch_end(struct workload *w, int client, struct error *err)
{
	struct daemon *d = w->daemon;
	struct exec *e = calloc(1, sizeof(*e));
	int r;

	if (!e) {
		close_fd(client);
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch the end of '%s'", w->name);
	}
	*e = (struct exec) { .client = client };
	w->source = e;
	w->release = exec_free;
	e->events_fd =
		openat(watch_cgroup_ref(w->cgroup)->fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = e->events_fd < 0 ? -errno
			     : sd_event_add_io(d->loop, &e->events_source, e->events_fd, EPOLLPRI,
					       on_populated, w);
	if (r >= 0 && client >= 0)
		r = sd_event_add_io(d->loop, &e->client_source, client, EPOLLIN, on_client_end, w);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "watch the end of '%s'", w->name);
	sd_event_source_set_priority(e->events_source, PRIORITY_LAST);
	if (e->client_source)
		sd_event_source_set_priority(e->client_source, PRIORITY_LAST);
	return 0;
}

static int exec_make_workload(struct daemon *d, const char *path, struct tunnel *t,
			      struct workload **ret, struct error *err)
{
	_cleanup_free struct workload_config *config = calloc(1, sizeof(*config));
	int r;

	if (!config)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "exec");
	snprintf(config->name, sizeof(config->name), EXEC_NAME "%.40s",
		 path + sizeof("/" EXEC_DIR));
	privilege_long_work(true); /* the first one loads the gate for its depth */
	r = workload_new(d, OF_EXEC, config, path, t, ret, err);
	privilege_long_work(false);
	return r;
}

/* Takes over the client's pidfd (-1: none); of a cgroup that was just made, or was found. */
static int exec_add_workload(struct daemon *d, const char *path, struct tunnel *t, int client,
			     struct workload **ret, struct error *err)
{
	_cleanup_fd int pidfd = client;
	struct workload *w;
	int r = exec_make_workload(d, path, t, &w, err);

	if (r)
		return r;
	r = daemon_add_workload(d, w, err);
	if (!r) {
		tunnel_workloads_changed(t); /* before it is admitted */
		r = exec_watch_end(w, TAKE_FD(pidfd), err);
	}
	if (!r) {
		workload_start(w);
		*ret = w;
		return 0;
	}
	if (!exec_remove_cgroup(d, path)) {
		exec_forget(d, w);
		return r;
	}
	exec_leave_shut(w); /* an earlier daemon's, and somebody is in it */
	return r;
}

static int exec_find_tunnel(struct daemon *d, const char *interface, const char *netns,
			    struct tunnel **ret, struct error *err)
{
	*ret = NULL;
	for_each_tunnel(d, t) {
		if (strcmp(t->config.interface, interface) ||
		    (netns && strcmp(t->config.netns, netns)))
			continue;
		if (*ret)
			return fail(err, ERROR_INPUT, 0, "say which by --netns",
				    "more than one tunnel has the interface '%s'",
				    quote(interface));
		*ret = t;
	}
	return *ret ? 0
		    : fail(err, ERROR_INPUT, 0, "see: vpnleash status",
			   "the daemon has no tunnel '%s'%s", quote(interface),
			   netns ? " in that netns" : "");
}

/* A directory below EXEC_DIR that nobody had before; the last exec's end may take EXEC_DIR away. */
static int exec_make_cgroup(struct daemon *d, char path[PATH_MAX], struct error *err)
{
	int r = -EAGAIN;

	for (int tries = 0; r && tries < 100; tries++) {
		snprintf(path, PATH_MAX, "/" EXEC_DIR "/%llx", (unsigned long long)now_boot_ns());
		if (mkdirat(d->root.fd, EXEC_DIR, 0755) < 0 && errno != EEXIST)
			r = -errno;
		else
			r = mkdirat(d->root.fd, path + 1, 0755) < 0 ? -errno : 0;
		if (r && r != -ENOENT && r != -EEXIST)
			break;
	}
	return r ? fail(err, ERROR_OTHER, r, NULL, "make a cgroup below '%s/%s'", d->root.path,
			EXEC_DIR)
		 : 0;
}

static void write_note(char text[NOTE_MAX], const struct tunnel *t)
{
	snprintf(text, NOTE_MAX, "%s %s", t->config.interface, t->config.netns);
}

/* trusted.: root's alone, also where the cgroup is delegated. */
static int note_tunnel(struct daemon *d, const char *path, const struct tunnel *t,
		       struct error *err)
{
	char text[NOTE_MAX], owner[OWNER_MAX];
	struct cgroup_ref c;
	int r = resolve_cgroup(&d->root, path, &c, err);

	if (r)
		return r;
	write_note(text, t);
	write_owner(owner);
	if (fsetxattr(c.fd, EXEC_XATTR, text, strlen(text), 0) < 0 ||
	    fsetxattr(c.fd, OWNER_XATTR, owner, strlen(owner), 0) < 0)
		r = fail(err, ERROR_OTHER, -errno, NULL, "note the tunnel at '%s'", path);
	close_fd(c.fd);
	return r;
}

static size_t exec_count(const struct daemon *d)
{
	size_t n = 0;

	for_each_workload(d, w)
		n += w->origin == OF_EXEC;
	return n;
}

int exec_begin(struct daemon *d, const char *interface, const char *netns, pid_t client,
	       json_t **ret, struct error *err)
{
	_cleanup_fd int pidfd = -1;
	char path[PATH_MAX], full[PATH_MAX * 2];
	struct workload *w;
	struct tunnel *t;
	int r = exec_find_tunnel(d, interface, netns, &t, err);

	if (r)
		return r;
	if (!*t->where) /* a container's or a unit's */
		return fail(err, ERROR_OTHER, -ENOENT, "start it", "exec: %s has no process",
			    t->config.netns);
	if (exec_count(d) >= EXEC_MAX)
		return fail(err, ERROR_OTHER, -EBUSY, "end some", "exec: %d run already", EXEC_MAX);
	/* it waits for our answer, so that the number is still its own */
	pidfd = client > 0 ? pidfd_open(client, 0) : -1;
	if (pidfd < 0)
		return fail(err, ERROR_OTHER, client > 0 ? -errno : -ESRCH,
			    "run it where the daemon sees its process", "exec");
	r = exec_make_cgroup(d, path, err);
	if (r)
		return r;
	r = note_tunnel(d, path, t, err);
	r = r ? r : exec_add_workload(d, path, t, TAKE_FD(pidfd), &w, err);
	if (r) {
		exec_remove_cgroup(d, path);
		return r;
	}
	snprintf(full, sizeof(full), "%s%s", d->root.path, path);
	*ret = json_pack("{s:s,s:s,s:s}", "cgroup", full, "netns", t->where, "workload", w->name);
	return 0;
}

/* ------ over restarts and reloads ------ */

static struct tunnel *noted_tunnel(const struct daemon *d, int cgroup_fd)
{
	char noted[NOTE_MAX] = "", text[NOTE_MAX];

	if (fgetxattr(cgroup_fd, EXEC_XATTR, noted, sizeof(noted) - 1) < 0)
		return NULL;
	for_each_tunnel(d, t) {
		write_note(text, t);
		if (!strcmp(text, noted))
			return t;
	}
	return NULL;
}

/* To its tunnel, if that is another now. false: it is no longer in the file. */
static bool exec_follow_tunnel(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct tunnel *t = c ? noted_tunnel(w->daemon, c->fd) : NULL;

	if (t && t != w->tunnel)
		workload_move(w, t);
	return t;
}

void exec_reload(struct daemon *d)
{
	for (size_t i = 0; i < d->n_workloads;) {
		struct workload *w = d->workloads[i];

		if (w->origin != OF_EXEC || exec_follow_tunnel(w)) {
			i++;
			continue;
		}
		log_line(LOG_LEVEL_WARNING,
			 "workload '%s': its tunnel is no longer in the file: it stays shut",
			 w->name);
		exec_leave_shut(w);
	}
}

struct leftovers {
	size_t n;
	uint64_t ids[EXEC_MAX];
};

static int note_leftover(uint64_t cgroup_id, const struct workload_record *record, void *arg)
{
	struct leftovers *l = arg;

	/* never by its name: anybody may be called so */
	if (record->flags & WORKLOAD_EXEC && !(record->flags & WORKLOAD_GONE) && l->n < EXEC_MAX)
		l->ids[l->n++] = cgroup_id;
	return 0;
}

/* Where the kernel has it, not where the record says. */
static void exec_adopt_one(struct daemon *d, uint64_t id)
{
	struct error err = { .text = "its tunnel is not in the configuration" };
	struct tunnel *t;
	struct cgroup_ref c;
	struct workload *w;

	if (resolve_cgroup_of_id(&d->root, id, &c)) /* removed: the next scan's */
		return;
	t = noted_tunnel(d, c.fd);
	close_fd(c.fd);
	if (strncmp(c.path, "/" EXEC_DIR "/", sizeof("/" EXEC_DIR)))
		return;
	if (!exec_remove_cgroup(d, c.path)) { /* nobody is in it any more */
		remains_take(d, id, t ? t->netns_cookie : 0);
	} else if (!t || exec_add_workload(d, c.path, t, -1, &w, &err)) {
		record_flags(d->leases, id, 0, WORKLOAD_ADMITTED);
		log_line(LOG_LEVEL_WARNING, "'%s' is of an earlier daemon: %s: it stays shut",
			 c.path, err.text);
	}
}

void exec_adopt(struct daemon *d)
{
	struct leftovers *l = calloc(1, sizeof(*l));

	if (l)
		pins_each_workload(gate_pins(d->gate), note_leftover, l);
	for (size_t i = 0; l && i < l->n; i++)
		if (!workload_of_cgroup(d, l->ids[i]))
			exec_adopt_one(d, l->ids[i]);
	free(l);
	remove_left_over(d);
}
