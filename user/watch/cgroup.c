/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cgroup.h. */
#include "watch/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct watch_cgroups {
	const struct cgroup_root *root;
	sd_event *loop;
	int64_t priority;
	int inotify_fd;
	sd_event_source *births;
	struct watch_cgroup *first;
	struct watch_cgroup *next; /* to look at, while one after the other is */
};

struct watch_cgroup {
	struct watch_cgroups *all;
	struct watch_cgroup *next;
	char path[PATH_MAX];
	watch_tell tell;
	void *owner;
	int above;	       /* inotify's number of the nearest directory above that is there */
	struct cgroup_ref ref; /* fd -1: not there */
	int events_fd;
	sd_event_source *events;
	bool frozen;
};

static void tell(struct watch_cgroup *w, enum input what)
{
	struct evidence e = { .what = what, .seen_ns = now_boot_ns() };

	w->tell(w->owner, &e);
}

static void forget(struct watch_cgroup *w)
{
	w->events = sd_event_source_disable_unref(w->events);
	close_fd(&w->events_fd);
	close_fd(&w->ref.fd);
	w->events_fd = w->ref.fd = -1;
	w->frozen = false;
}

/* A directory has one number, however many cgroups are awaited in it. */
static void leave_above(struct watch_cgroup *w)
{
	int above = w->above;

	w->above = -1;
	for (const struct watch_cgroup *other = w->all->first; other; other = other->next)
		if (other->above == above)
			return;
	inotify_rm_watch(w->all->inotify_fd, above);
}

/* Watch the directory in which the cgroup, or the next part of the way to it, would appear. */
static int watch_above(struct watch_cgroup *w)
{
	char path[PATH_MAX * 2];
	char *slash;
	int wd = -1;

	snprintf(path, sizeof(path), "%s%s", w->all->root->path, w->path);
	errno = ENOENT;
	while (wd < 0 && errno == ENOENT && (slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		wd = inotify_add_watch(w->all->inotify_fd, path,
				       IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |
					       IN_DELETE_SELF | IN_ONLYDIR);
	}
	if (wd < 0)
		return -errno;
	if (w->above != wd)
		leave_above(w);
	w->above = wd;
	return 0;
}

static int on_events(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	(void)s;
	(void)fd;
	(void)events;
	watch_cgroup_ready(arg);
	return 0;
}

static bool still_there(const struct watch_cgroup *w)
{
	struct stat st;

	return w->ref.fd >= 0 &&
	       !fstatat(w->all->root->fd, w->path + 1, &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == w->ref.id;
}

static bool look_for_it(struct watch_cgroup *w)
{
	struct cgroup_ref found;

	if (resolve_cgroup(w->all->root, w->path, &found, NULL))
		return false;
	w->events_fd = openat(found.fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (w->events_fd < 0 ||
	    sd_event_add_io(w->all->loop, &w->events, w->events_fd, EPOLLPRI, on_events, w) < 0) {
		close_fd(&found.fd);
		forget(w);
		return false;
	}
	sd_event_source_set_priority(w->events, w->all->priority);
	w->ref = found;
	return true;
}

void watch_cgroup_ready(struct watch_cgroup *w)
{
	int frozen;

	if (w->ref.fd >= 0 && !still_there(w)) {
		forget(w);
		tell(w, IN_CGROUP_GONE);
	}
	if (w->ref.fd < 0) {
		watch_above(w); /* before looking, or a birth in between is missed */
		if (look_for_it(w))
			tell(w, IN_CGROUP_BORN);
	}
	if (w->ref.fd < 0)
		return;
	frozen = events_say(w->events_fd, "frozen 1");
	if (frozen >= 0 && frozen != w->frozen) {
		w->frozen = frozen;
		tell(w, frozen ? IN_FREEZE_DONE : IN_THAWED);
	}
}

int watch_cgroup_start(struct watch_cgroup **ret, struct watch_cgroups *all, const char *path,
		       watch_tell tell_owner, void *owner, struct error *err)
{
	struct watch_cgroup *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "watch a cgroup");
	*w = (struct watch_cgroup) { .all = all,
				     .next = all->first,
				     .tell = tell_owner,
				     .owner = owner,
				     .above = -1,
				     .ref.fd = -1,
				     .events_fd = -1 };
	all->first = w;
	snprintf(w->path, sizeof(w->path), "%s", path);
	r = watch_above(w);
	if (r) {
		watch_cgroup_stop(w);
		return fail(err, EXIT_FAILURE_, r, NULL, "watch cgroup '%s'", path);
	}
	watch_cgroup_ready(w);
	*ret = w;
	return 0;
}

void watch_cgroup_stop(struct watch_cgroup *w)
{
	struct watch_cgroup **p;

	if (!w)
		return;
	for (p = &w->all->first; *p != w;)
		p = &(*p)->next;
	*p = w->next;
	if (w->all->next == w)
		w->all->next = w->next;
	forget(w);
	leave_above(w);
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

static int on_births(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct watch_cgroups *all = arg;
	char drain[4096];

	(void)s;
	(void)events;
	while (read(fd, drain, sizeof(drain)) > 0)
		;
	/* who is told may stop any of them */
	for (struct watch_cgroup *w = all->first; w; w = all->next) {
		all->next = w->next;
		watch_cgroup_ready(w);
	}
	return 0;
}

int watch_cgroups_new(struct watch_cgroups **ret, sd_event *loop, int64_t priority,
		      const struct cgroup_root *root, struct error *err)
{
	struct watch_cgroups *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "watch cgroups");
	*all = (struct watch_cgroups) { .root = root, .loop = loop, .priority = priority };
	all->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = all->inotify_fd < 0
		    ? -errno
		    : sd_event_add_io(loop, &all->births, all->inotify_fd, EPOLLIN, on_births, all);
	if (r < 0) {
		watch_cgroups_free(all);
		return fail(err, EXIT_FAILURE_, r, NULL, "watch cgroups");
	}
	sd_event_source_set_priority(all->births, priority);
	*ret = all;
	return 0;
}

void watch_cgroups_free(struct watch_cgroups *all)
{
	if (!all)
		return;
	sd_event_source_disable_unref(all->births);
	close_fd(&all->inotify_fd);
	free(all);
}
