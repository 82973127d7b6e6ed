/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN_USEC 1000000

struct watch_cgroups {
	const struct cgroup_root *root;
	sd_event *loop;
	int64_t priority;
	int inotify_fd;
	sd_event_source *inotify, *marked, *clock;
	struct watch_cgroup *first;
};

struct watch_cgroup {
	struct watch_cgroups *all;
	struct watch_cgroup *next;
	watch_tell tell;
	void *owner;
	struct cgroup_ref ref; /* fd -1: not there */
	int events_fd;
	sd_event_source *events;
	bool frozen;
	bool marked;  /* something happened to it, or on the way to it */
	bool blind;   /* the way to it can not be watched: it is looked at by the clock */
	bool trouble; /* it can not be opened, and that was told */
	char path[PATH_MAX];
	size_t depth; /* directories above it, from the root on */
	int above[];  /* inotify's number of each; -1: not there, as far as is known */
};

static void cgroup_tell(struct watch_cgroup *w, enum input what)
{
	struct evidence e = { .what = what, .seen_ns = now_boot_ns() };

	w->tell(w->owner, &e);
}

static void cgroup_close(struct watch_cgroup *w)
{
	w->events = sd_event_source_disable_unref(w->events);
	w->events_fd = close_fd(w->events_fd);
	w->ref.fd = close_fd(w->ref.fd);
	w->frozen = false;
}

/* ------ the way to it ------ */

/* inotify has one number for a directory, however often it is added. What is not asked for any more
 * has to be taken back, also of a directory that is gone: on cgroup2 it would stay in memory. */
static void set_above(struct watch_cgroup *w, size_t i, int number)
{
	int before = w->above[i];

	w->above[i] = number;
	if (before == number || before < 0)
		return;
	for (const struct watch_cgroup *other = w->all->first; other; other = other->next)
		for (size_t k = 0; k < other->depth; k++)
			if (other->above[k] == before)
				return;
	inotify_rm_watch(w->all->inotify_fd, before);
}

/* Each directory on the way, from the root on: kernfs tells of a directory's end nowhere but in the
 * one above, and what is not there yet appears in one that is watched by then. */
static int watch_above(struct watch_cgroup *w)
{
	char path[PATH_MAX * 2];
	size_t end = strlen(w->all->root->path);
	int r = 0;

	snprintf(path, sizeof(path), "%s%s", w->all->root->path, w->path);
	for (size_t i = 0; i < w->depth; i++) {
		int number;

		path[end] = '\0';
		number = inotify_add_watch(w->all->inotify_fd, path,
					   IN_CREATE | IN_DELETE | IN_ONLYDIR);
		if (number < 0 && errno != ENOENT)
			r = -errno;
		set_above(w, i, number);
		path[end++] = '/';
		end += strcspn(path + end, "/");
	}
	return r;
}

static bool is_on_the_way(const struct watch_cgroup *w, const struct inotify_event *e)
{
	const char *part = w->path;

	for (size_t i = 0; e->len && i < w->depth; i++) {
		size_t n = strcspn(++part, "/");

		if (w->above[i] == e->wd && !strncmp(part, e->name, n) && !e->name[n])
			return true;
		part += n;
	}
	return false;
}

static int on_inotify(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct watch_cgroups *all = arg;
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t n = read(fd, buffer, sizeof(buffer)); /* the rest in its turn */
	const struct inotify_event *e;

	for (char *at = buffer; at < buffer + n; at += sizeof(*e) + e->len) {
		e = (const struct inotify_event *)at;
		for (struct watch_cgroup *w = all->first; w; w = w->next)
			w->marked |= e->mask & IN_Q_OVERFLOW || is_on_the_way(w, e);
	}
	sd_event_source_set_enabled(all->marked, SD_EVENT_ON);
	return 0;
}

/* One at a time: the loop turns in between, and who is told may stop any of them. */
static int on_marked(sd_event_source *s, void *arg)
{
	struct watch_cgroups *all = arg;
	struct watch_cgroup *w = all->first;

	while (w && !w->marked)
		w = w->next;
	if (w)
		watch_cgroup_ready(w);
	else
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

/* Those of which nobody tells. */
static int on_clock(sd_event_source *s, uint64_t usec, void *arg)
{
	struct watch_cgroups *all = arg;
	bool any = false;

	for (struct watch_cgroup *w = all->first; w; w = w->next) {
		w->marked |= w->blind || w->trouble;
		any |= w->marked;
	}
	sd_event_source_set_enabled(all->marked, any ? SD_EVENT_ON : SD_EVENT_OFF);
	sd_event_source_set_time_relative(s, AGAIN_USEC);
	sd_event_source_set_enabled(s, any ? SD_EVENT_ON : SD_EVENT_OFF);
	return 0;
}

/* ------ the cgroup ------ */

static int on_events(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	watch_cgroup_ready(arg);
	return 0;
}

static bool still_there(const struct watch_cgroup *w)
{
	struct stat st;

	if (fstatat(w->all->root->fd, w->path + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno != ENOENT; /* whatever else went wrong proves nothing */
	return st.st_ino == w->ref.id;
}

/* 0: found, -ENOENT: it is not there. */
static int cgroup_find(struct watch_cgroup *w)
{
	struct cgroup_ref found;
	int r = resolve_cgroup(w->all->root, w->path, &found, NULL);

	if (r)
		return r;
	w->events_fd = openat(found.fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = w->events_fd < 0 ? -errno
			     : sd_event_add_io(w->all->loop, &w->events, w->events_fd, EPOLLPRI,
					       on_events, w);
	if (r < 0) {
		close_fd(found.fd);
		cgroup_close(w);
		return r == -ENODEV ? -ENOENT : r; /* on its way out */
	}
	sd_event_source_set_priority(w->events, w->all->priority);
	w->ref = found;
	return 0;
}

static void look_at_the_way(struct watch_cgroup *w)
{
	int r = watch_above(w);

	if (r && !w->blind)
		log_line(LOG_LEVEL_WARNING,
			 "watch the way to cgroup '%s': %s: looked at once a second",
			 quote(w->path), strerror(-r));
	w->blind = r;
}

/* An error: what is there can not be opened. */
static int cgroup_look(struct watch_cgroup *w)
{
	bool marked = w->marked;
	int frozen, r = 0;

	w->marked = false;
	if (w->ref.fd >= 0 && !still_there(w)) {
		cgroup_close(w);
		cgroup_tell(w, IN_CGROUP_GONE);
	}
	if (w->ref.fd < 0 || w->blind || marked)
		look_at_the_way(w); /* before looking for it, or a birth in between is missed */
	if (w->ref.fd < 0) {
		r = cgroup_find(w);
		if (!r)
			cgroup_tell(w, IN_CGROUP_BORN);
	}
	frozen = w->ref.fd < 0 ? -1 : events_say(w->events_fd, "frozen 1");
	if (frozen >= 0 && frozen != w->frozen) {
		w->frozen = frozen;
		cgroup_tell(w, frozen ? IN_FREEZE_DONE : IN_THAWED);
	}
	return r == -ENOENT ? 0 : r;
}

void watch_cgroup_ready(struct watch_cgroup *w)
{
	int r = cgroup_look(w);

	if (r && !w->trouble)
		log_line(LOG_LEVEL_ERR, "open cgroup '%s': %s", quote(w->path), strerror(-r));
	w->trouble = r;
	if (w->trouble || w->blind)
		sd_event_source_set_enabled(w->all->clock, SD_EVENT_ON);
}

int watch_cgroup_start(struct watch_cgroup **ret, struct watch_cgroups *all, const char *path,
		       watch_tell tell_owner, void *owner, struct error *err)
{
	size_t depth = 0;
	struct watch_cgroup *w;
	int r;

	for (const char *c = path; *c; c++)
		depth += *c == '/';
	w = calloc(1, sizeof(*w) + depth * sizeof(w->above[0]));
	if (!w)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch a cgroup");
	*w = (struct watch_cgroup) { .all = all,
				     .next = all->first,
				     .tell = tell_owner,
				     .owner = owner,
				     .ref.fd = -1,
				     .events_fd = -1,
				     .depth = depth };
	for (size_t i = 0; i < depth; i++)
		w->above[i] = -1;
	snprintf(w->path, sizeof(w->path), "%s", path);
	all->first = w;
	r = cgroup_look(w);
	if (w->blind)
		sd_event_source_set_enabled(all->clock, SD_EVENT_ON);
	if (r) {
		watch_cgroup_stop(w);
		return fail(err, ERROR_OTHER, r, NULL, "open cgroup '%s'", quote(path));
	}
	*ret = w;
	return 0;
}

void watch_cgroup_stop(struct watch_cgroup *w)
{
	struct watch_cgroup **p;

	if (!w)
		return;
	cgroup_close(w);
	for (size_t i = 0; i < w->depth; i++)
		set_above(w, i, -1);
	for (p = &w->all->first; *p != w;)
		p = &(*p)->next;
	*p = w->next;
	free(w);
}

const struct cgroup_ref *watch_cgroup_ref(const struct watch_cgroup *w)
{
	return w && w->ref.fd >= 0 ? &w->ref : NULL;
}

bool watch_cgroup_frozen(const struct watch_cgroup *w)
{
	return w && w->frozen;
}

/* ------ all of them ------ */

int watch_cgroups_new(struct watch_cgroups **ret, sd_event *loop, int64_t priority,
		      const struct cgroup_root *root, struct error *err)
{
	struct watch_cgroups *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch cgroups");
	*all = (struct watch_cgroups) { .root = root, .loop = loop, .priority = priority };
	all->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = all->inotify_fd < 0 ? -errno
				: sd_event_add_io(loop, &all->inotify, all->inotify_fd, EPOLLIN,
						  on_inotify, all);
	if (r >= 0)
		r = sd_event_add_defer(loop, &all->marked, on_marked, all);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &all->clock, CLOCK_MONOTONIC, AGAIN_USEC, 0,
					       on_clock, all);
	if (r < 0) {
		watch_cgroups_free(all);
		return fail(err, ERROR_OTHER, r, NULL, "watch cgroups");
	}
	sd_event_source_set_priority(all->inotify, priority);
	sd_event_source_set_priority(all->marked, priority);
	*ret = all;
	return 0;
}

void watch_cgroups_free(struct watch_cgroups *all)
{
	if (!all)
		return;
	sd_event_source_disable_unref(all->inotify);
	sd_event_source_disable_unref(all->marked);
	sd_event_source_disable_unref(all->clock);
	all->inotify_fd = close_fd(all->inotify_fd);
	free(all);
}
