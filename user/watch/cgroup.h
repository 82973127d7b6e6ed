/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches cgroups: the birth and death of each by inotify on the directories above, frozen 0 and 1
 * by cgroup.events (EPOLLPRI), by sources of the loop of their own. One inotify instance is for all
 * of them, as one user has 128 of those.
 *
 * Tells IN_CGROUP_BORN, IN_CGROUP_GONE, IN_FREEZE_DONE, IN_THAWED, on change only. A cgroup that
 * is removed and made anew under the same name is told as GONE and BORN: the kernel's id says so.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cgroup.h"
#include "watch/watch.h"

struct watch_cgroups;
struct watch_cgroup;

int watch_cgroups_new(struct watch_cgroups **ret, sd_event *loop, int64_t priority,
		      const struct cgroup_root *root, struct error *err);
void watch_cgroups_free(struct watch_cgroups *all); /* each was stopped */

/* Tells the present state before it returns. path: see cgroup_path(). */
int watch_cgroup_start(struct watch_cgroup **ret, struct watch_cgroups *all, const char *path,
		       watch_tell tell, void *owner, struct error *err);
void watch_cgroup_stop(struct watch_cgroup *w);
/* Look now: nothing is lost by calling it too often. What can not be opened now, or the way to
 * which can not be watched (inotify has its limits), is logged, and looked at once a second. */
void watch_cgroup_ready(struct watch_cgroup *w);
/* NULL while the cgroup is not there; w may be NULL, here and below. */
const struct cgroup_ref *watch_cgroup_ref(const struct watch_cgroup *w);
bool watch_cgroup_frozen(const struct watch_cgroup *w);
