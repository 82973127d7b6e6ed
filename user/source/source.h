/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where workloads come from that no section of the file names one by one. */
#ifndef VPNLEASH_SOURCE_H
#define VPNLEASH_SOURCE_H

#include <jansson.h>

#include "base/cgroup.h"
#include "config/config.h"

struct daemon;
struct gate;

/* Containers that ask for a leash by their labels. */
extern const struct inventory_containers labels_news; /* to be told to the daemon */
void labels_detached(struct daemon *d);		      /* tunnels whose last workload was detached */
/* After a reload: what the file names now is the file's. */
void labels_again(struct daemon *d);

/* Lock the slice NAME, as after "slice:", and make its cgroup if it is missing: then it is open for
 * the instant between being made and being locked, so whoever starts its children starts them after
 * this. *ret (may be NULL) is the cgroup, its fd the caller's. */
int slice_lock(struct gate *g, const struct cgroup_root *root, const char *name,
	       struct cgroup_ref *ret, struct error *err);

/* Every slice of the configuration, and nothing else of it. */
int slices_lock_with(struct gate *g, const struct cgroup_root *root, const struct config *config,
		     struct error *err);
/* The same beside a daemon, or without one. Also while a daemon runs: its maps are
 * adopted, and its links, leases and records are not touched. */
int slices_lock(const struct config *config, struct error *err);

/* The locked slices that the daemon watches, and the workloads that are their children: as the
 * configuration has them, which are locked already; at the start too. The tunnels must have been
 * started. What it has no longer stays locked, its children shut. */
int slices_reload(struct daemon *d, const struct config *config, struct error *err);
/* At what `vpnleash lock` has locked: the configuration need not name it, made anew it is locked
 * again all the same. */
void slices_look(struct daemon *d);
/* Is it one, or above or below one? */
bool slices_touch(const struct daemon *d, const char *path);
void slices_detached(struct daemon *d); /* those that are no longer locked are left alone */
void slices_stop(struct daemon *d);	/* locked they stay, and their children as they are */

/* The cgroups of `vpnleash exec`, for as long as they have a process. A born-locked cgroup on the
 * tunnel of that interface and netns (NULL: of the only tunnel with that interface), for as long as
 * the client or anybody in it lives. In *ret, what to tell the client. */
int exec_begin(struct daemon *d, const char *interface, const char *netns, pid_t client,
	       json_t **ret, struct error *err);
/* What an earlier daemon began: gone on with, or tidied up. The tunnels must have been started. */
void exec_adopt(struct daemon *d);
/* Each goes on with the tunnel that it was begun on, or stays shut where that is gone. */
void exec_reload(struct daemon *d);

#endif
