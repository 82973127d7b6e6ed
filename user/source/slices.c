/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked slices while the daemon runs: one that is removed and made anew is locked again at once,
 * and of one that is a workload each direct child becomes one, for as long as it is there. What a
 * container or unit of the configuration, or a label, speaks for is left to that.
 */
#include "source/slices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "act/gate.h"
#include "base/privilege.h"
#include "core/leash.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "source/slice_lock.h"
#include "watch/cgroup.h"

#define AGAIN_NS (1 * NS_PER_SEC) /* after which what failed is tried again */

struct slice {
	struct slice *next;
	struct daemon *daemon;
	char name[256]; /* as after "slice:" */
	char path[PATH_MAX];
	struct tunnel *tunnel;		/* NULL: locked, and no more */
	struct workload_config *config; /* of each child */
	struct watch_cgroup *self;
	sd_event_source *children, *again;
	int inotify_fd, wd; /* wd -1: its children are not told of */
	bool said, failed;  /* that a child could not be taken; one, in this pass */
	bool unlocked;	    /* made anew, and it could not be locked yet */
	bool wanted;	    /* by the configuration that is being taken over */
};

static void slice_try_again(struct slice *s);

/* ------ children ------ */

static void slice_add_child(struct slice *s, const char *name)
{
	struct daemon *d = s->daemon;
	struct workload_config config = *s->config;
	char path[PATH_MAX];
	struct workload *w;
	struct error err;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", s->path, name) >= (int)sizeof(path) ||
	    workload_at(d, path))
		return;
	snprintf(config.name, sizeof(config.name), "%.63s", name);
	r = workload_new(d, OF_SLICE, &config, path, s->tunnel, &w, &err);
	if (!r) {
		w->source = s;
		r = tunnel_add_workload(w, &err);
	}
	if (!r || r == -ENOENT) /* it may be gone already; it was shut all the time */
		return;
	if (!s->said)
		log_line(LOG_LEVEL_ERR, "'%s' in '%s': %s: it stays shut (tried again)",
			 quote(name), s->name, err.text);
	s->said = s->failed = true;
	slice_try_again(s);
}

/* Those that are gone: a child that comes back is a new one. */
static void drop_children(struct slice *s, bool all)
{
	struct daemon *d = s->daemon;
	bool dropped = false;

	for (size_t i = 0; i < d->n_workloads;) {
		struct workload *w = d->workloads[i];

		if (w->source != s || (!all && watch_cgroup_ref(w->cgroup))) {
			i++;
			continue;
		}
		daemon_remove_workload(d, w);
		dropped = true;
		if (all)
			workload_free(w);
		else
			workload_forget(w);
	}
	if (dropped && !all)
		tunnel_workloads_changed(s->tunnel);
}

static void look_at_children(struct slice *s)
{
	const struct cgroup_ref *c = watch_cgroup_ref(s->self);
	int fd;
	DIR *dir;
	struct dirent *e;

	if (!s->tunnel)
		return;
	for_each_workload(s->daemon, w)
		if (w->source == s)
			watch_cgroup_ready(w->cgroup);
	drop_children(s, false);
	fd = c ? openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	dir = fd < 0 ? NULL : fdopendir(fd);
	privilege_long_work(true);
	s->failed = false;
	while (dir && (e = readdir(dir))) /* a hidden one only keeps the slice from rmdir */
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			slice_add_child(s, e->d_name);
	s->said = s->failed;
	privilege_long_work(false);
	if (dir)
		closedir(dir);
}

static int on_children(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	char drain[4096];

	while (read(fd, drain, sizeof(drain)) > 0)
		;
	look_at_children(arg);
	return 0;
}

bool slices_touch(const struct daemon *d, const char *path)
{
	for (const struct slice *s = d->slices; s; s = s->next)
		if (cgroup_is_below(path, s->path) || cgroup_is_below(s->path, path))
			return true;
	return false;
}

/* ------ the slice itself ------ */

static void watch_children(struct slice *s)
{
	char path[PATH_MAX * 2];

	if (s->wd >= 0)
		inotify_rm_watch(s->inotify_fd, s->wd);
	snprintf(path, sizeof(path), "%s%s", s->daemon->root.path, s->path);
	s->wd = inotify_add_watch(s->inotify_fd, path, IN_CREATE | IN_DELETE | IN_ONLYDIR);
	if (s->wd < 0 && watch_cgroup_ref(s->self))
		slice_try_again(s);
}

/* It was made anew, by somebody else: open until this has been done. */
static void slice_lock_anew(struct slice *s)
{
	struct error err;
	int r;

	privilege_long_work(true); /* the first at its depth loads the gate for it */
	r = slice_lock(s->daemon->gate, &s->daemon->root, s->name, NULL, &err);
	privilege_long_work(false);
	if (!r)
		log_line(LOG_LEVEL_NOTICE, "'slice:%s' was made anew: locked again", s->name);
	else if (!s->unlocked)
		log_line(LOG_LEVEL_ERR, "%s: 'slice:%s' is NOT locked (tried again)", err.text,
			 s->name);
	s->unlocked = r != 0;
	if (r)
		slice_try_again(s);
}

static int on_slice_again(sd_event_source *source, uint64_t usec, void *arg)
{
	struct slice *s = arg;

	if (!watch_cgroup_ref(s->self)) { /* gone meanwhile */
		s->unlocked = false;
		return 0;
	}
	if (s->unlocked)
		slice_lock_anew(s);
	if (s->wd < 0)
		watch_children(s);
	look_at_children(s);
	return 0;
}

static void slice_try_again(struct slice *s)
{
	set_timer(s->daemon->loop, &s->again, now_boot_ns() + AGAIN_NS, on_slice_again, s);
}

static void on_slice(void *owner, const struct evidence *e)
{
	struct slice *s = owner;

	if (!s->self) /* told by watch_cgroup_start() */
		return;
	if (e->what == IN_CGROUP_BORN) {
		slice_lock_anew(s);
		watch_children(s);
	}
	look_at_children(s);
}

static void slice_free(struct slice *s)
{
	drop_children(s, true);
	sd_event_source_disable_unref(s->children);
	sd_event_source_disable_unref(s->again);
	watch_cgroup_stop(s->self);
	s->inotify_fd = close_fd(s->inotify_fd);
	free(s->config);
	free(s);
}

static int start_slice(struct slice *s, struct error *err)
{
	struct daemon *d = s->daemon;
	int r = slice_to_path(&d->root, s->name, s->path, err);

	r = r ? r : watch_cgroup_start(&s->self, d->cgroups, s->path, on_slice, s, err);
	if (r)
		return r;
	s->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = s->inotify_fd < 0 ? -errno
			      : sd_event_add_io(d->loop, &s->children, s->inotify_fd, EPOLLIN,
						on_children, s);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "watch 'slice:%s'", s->name);
	sd_event_source_set_priority(s->children, PRIORITY_EVIDENCE);
	watch_children(s);
	look_at_children(s);
	return 0;
}

/* config NULL: locked, and no more. */
static int slice_configure(struct slice *s, const struct workload_config *config, struct error *err)
{
	struct daemon *d = s->daemon;

	free(s->config);
	s->config = NULL;
	s->tunnel = config ? d->tunnels[config->tunnel] : NULL;
	if (!config)
		return 0;
	s->config = malloc(sizeof(*config));
	if (!s->config)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch a slice");
	memcpy(s->config, config, sizeof(*config));
	for_each_workload(d, w) {
		if (w->source != s)
			continue;
		workload_configure(w, config);
		if (w->tunnel != s->tunnel)
			workload_move(w, s->tunnel);
	}
	return 0;
}

static int take_slice(struct daemon *d, const char *name, const struct workload_config *config,
		      struct error *err)
{
	struct slice *s;
	int r;

	for (s = d->slices; s && strcmp(s->name, name);)
		s = s->next;
	if (s) {
		s->wanted = true;
		r = slice_configure(s, config, err);
		if (!r)
			look_at_children(s);
		return r;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch a slice");
	*s = (struct slice) { .daemon = d, .inotify_fd = -1, .wd = -1, .wanted = true };
	snprintf(s->name, sizeof(s->name), "%.255s", name);
	r = slice_configure(s, config, err);
	r = r ? r : start_slice(s, err);
	if (r) {
		slice_free(s);
		return r;
	}
	s->next = d->slices;
	d->slices = s;
	return 0;
}

/* Of those for which gone(slice) is true the daemon knows nothing more. */
static void forget_slices(struct daemon *d, bool (*gone)(struct slice *s))
{
	for (struct slice **p = &d->slices; *p;) {
		struct slice *s = *p;

		if (!gone(s)) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		slice_free(s);
	}
}

static bool is_unlocked(struct slice *s)
{
	const struct cgroup_ref *c = watch_cgroup_ref(s->self);

	return c && !gate_is_slice(gate_pins(s->daemon->gate), c->id, NULL);
}

static void mark_tunnels(struct daemon *d)
{
	for_each_tunnel(d, t)
		t->of_slice = false;
	for (struct slice *s = d->slices; s; s = s->next)
		if (s->tunnel)
			s->tunnel->of_slice = true;
}

void slices_detached(struct daemon *d)
{
	forget_slices(d, is_unlocked);
	mark_tunnels(d);
}

static void shut_children(struct slice *s)
{
	for_each_workload(s->daemon, w)
		if (w->source == s)
			leash_shut(w);
}

static bool is_unwanted(struct slice *s)
{
	if (!s->wanted)
		shut_children(s);
	return !s->wanted;
}

/* ------ what `vpnleash lock` has locked ------ */

struct locked {
	size_t n;
	char names[CONFIG_SLICES][VPNLEASH_NAME_LEN];
};

static int note_locked(uint64_t cgroup_id, const struct workload_record *record, void *arg)
{
	struct locked *l = arg;
	size_t length = strnlen(record->name, sizeof(record->name));

	/* a name that fills its field may have been cut */
	if (record->flags & WORKLOAD_SLICE && !(record->flags & WORKLOAD_GONE) &&
	    l->n < CONFIG_SLICES && length < sizeof(record->name) - 1 &&
	    !strncmp(record->name, "slice:", 6))
		memcpy(l->names[l->n++], record->name + 6, length - 6 + 1);
	return 0;
}

static struct slice *slice_at(struct daemon *d, const char *name)
{
	char path[PATH_MAX];
	struct error err;
	struct slice *s = slice_to_path(&d->root, name, path, &err) ? NULL : d->slices;

	while (s && strcmp(s->path, path))
		s = s->next;
	return s;
}

void slices_look(struct daemon *d)
{
	struct locked l = { 0 };
	struct slice *s;
	struct error err;

	pins_each_workload(gate_pins(d->gate), note_locked, &l);
	privilege_long_work(true);
	for (size_t i = 0; i < l.n; i++) {
		s = slice_at(d, l.names[i]);
		if (!s) {
			/* again: with the gate for its depth loaded the next time takes no time */
			if (slice_lock(d->gate, &d->root, l.names[i], NULL, &err) ||
			    take_slice(d, l.names[i], NULL, &err))
				log_line(LOG_LEVEL_WARNING, "%s", err.text);
			continue;
		}
		if (!s->wanted) { /* no longer a workload */
			shut_children(s);
			drop_children(s, true);
			slice_configure(s, NULL, &err);
		}
		s->wanted = true;
	}
	for_each_workload(d, w)
		leash_note_slice(w);
	privilege_long_work(false);
}

int slices_reload(struct daemon *d, const struct config *config, struct error *err)
{
	const char *name;
	int r = 0;

	for (struct slice *s = d->slices; s; s = s->next)
		s->wanted = false;
	for (size_t i = 0; !r && i < config->n_slices; i++)
		r = take_slice(d, config->slices[i], NULL, err);
	for (size_t i = 0; !r && i < config->n_workloads; i++)
		if (place_kind(config->workloads[i].cgroup, &name) == PLACE_SLICE)
			r = take_slice(d, name, &config->workloads[i], err);
	if (!r)
		slices_look(d);
	forget_slices(d, is_unwanted);
	mark_tunnels(d);
	return r;
}

void slices_stop(struct daemon *d)
{
	struct slice *next;

	for (struct slice *s = d->slices; s; s = next) {
		next = s->next;
		slice_free(s);
	}
	d->slices = NULL;
}
