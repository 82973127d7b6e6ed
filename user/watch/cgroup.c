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

struct watch_cgroup {
	const struct cgroup_root *root;
	char path[PATH_MAX];
	watch_tell tell;
	void *owner;
	int epoll_fd, inotify_fd;
	int above;	       /* inotify watch on the nearest directory above that is there */
	struct cgroup_ref ref; /* fd -1: not there */
	int events_fd;
	bool frozen;
};

static void tell(struct watch_cgroup *w, enum input what)
{
	struct evidence e = { .what = what, .seen_ns = now_boot_ns() };

	w->tell(w->owner, &e);
}

static void forget(struct watch_cgroup *w)
{
	close_fd(&w->events_fd); /* leaves the epoll by itself */
	close_fd(&w->ref.fd);
	w->events_fd = w->ref.fd = -1;
	w->frozen = false;
}

/* Watch the directory in which the cgroup, or the next part of the way to it, would appear. */
static void watch_above(struct watch_cgroup *w)
{
	char path[PATH_MAX * 2];

	snprintf(path, sizeof(path), "%s%s", w->root->path, w->path);
	for (;;) {
		char *slash = strrchr(path, '/');
		int wd;

		if (!slash || slash == path)
			return;
		*slash = '\0';
		wd = inotify_add_watch(w->inotify_fd, path,
				       IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |
					       IN_DELETE_SELF | IN_ONLYDIR);
		if (wd >= 0) {
			if (w->above >= 0 && w->above != wd)
				inotify_rm_watch(w->inotify_fd, w->above);
			w->above = wd;
			return;
		}
	}
}

static bool still_there(const struct watch_cgroup *w)
{
	struct stat st;

	return w->ref.fd >= 0 && !fstatat(w->root->fd, w->path + 1, &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == w->ref.id;
}

static bool look_for_it(struct watch_cgroup *w)
{
	struct epoll_event pri = { .events = EPOLLPRI };
	struct cgroup_ref found;

	if (resolve_cgroup(w->root, w->path, &found, NULL))
		return false;
	w->events_fd = openat(found.fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (w->events_fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->events_fd, &pri) < 0) {
		close_fd(&found.fd);
		forget(w);
		return false;
	}
	w->ref = found;
	return true;
}

void watch_cgroup_ready(struct watch_cgroup *w)
{
	char drain[4096];
	int frozen;

	while (read(w->inotify_fd, drain, sizeof(drain)) > 0)
		;
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

int watch_cgroup_start(struct watch_cgroup **ret, const struct cgroup_root *root, const char *path,
		       watch_tell tell_owner, void *owner, struct error *err)
{
	struct watch_cgroup *w = calloc(1, sizeof(*w));
	struct epoll_event in = { .events = EPOLLIN };

	if (!w)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "watch a cgroup");
	*w = (struct watch_cgroup) { .root = root,
				     .tell = tell_owner,
				     .owner = owner,
				     .above = -1,
				     .ref.fd = -1,
				     .events_fd = -1 };
	snprintf(w->path, sizeof(w->path), "%s", path);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->epoll_fd < 0 || w->inotify_fd < 0 ||
	    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->inotify_fd, &in) < 0) {
		int r = -errno;

		watch_cgroup_stop(w);
		return fail(err, EXIT_FAILURE_, r, NULL, "watch a cgroup");
	}
	watch_cgroup_ready(w);
	*ret = w;
	return 0;
}

void watch_cgroup_stop(struct watch_cgroup *w)
{
	if (!w)
		return;
	forget(w);
	close_fd(&w->inotify_fd);
	close_fd(&w->epoll_fd);
	free(w);
}

int watch_cgroup_fd(const struct watch_cgroup *w)
{
	return w->epoll_fd;
}

const struct cgroup_ref *watch_cgroup_ref(const struct watch_cgroup *w)
{
	return w && w->ref.fd >= 0 ? &w->ref : NULL;
}

bool watch_cgroup_frozen(const struct watch_cgroup *w)
{
	return w && w->frozen;
}
