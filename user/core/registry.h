/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon has: its parts, its tunnels and its workloads. They are kept and found here;
 * started, stopped and freed they are by those above.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cgroup.h"
#include "base/worker.h"

#define TUNNELS_MAX 64

struct tunnel;
struct workload;
struct inventory;
struct inventory_listener;

struct daemon {
	sd_event *loop;
	const char *file; /* of the configuration; NULL: it came from the command line */
	uint64_t lease_ns;
	struct cgroup_root root;
	struct watch_cgroups *cgroups;
	struct gate *gate;
	struct leases *leases;
	struct guards *guards;
	struct prober *prober; /* NULL: it could not be started (again), and is tried on the tick */
	sd_event_source *prober_source;
	uint64_t prober_ns; /* when that was last tried */
	struct control *control;
	struct audit *audit;
	struct drops *drops;
	sd_event_source *drops_source, *summary_timer;
	struct worker hooks, checks;
	sd_event_source *checks_source;
	struct remains *remains;
	struct inventory *inventory;
	struct parked *parked;	       /* parked.c's */
	sd_event_source *parked_timer; /* the same */
	struct slice *slices;	       /* slices.c's */
	sd_event_source *labels_timer; /* labels.c's */
	bool unjudged;		       /* the same: somebody's labels, for want of memory */
	struct tunnel *nowhere;	       /* never up: of workloads whose labels are wrong */
	/* calls upwards: what a workload that is a container is told by, and whether a cgroup is a
	 * locked slice's, or above or below one; what a probe's answer is told */
	const struct inventory_listener *container_news;
	bool (*slices_touch)(const struct daemon *d, const char *path);
	void (*answered)(struct tunnel *t, uint64_t seen_ns); /* a probe of it, at that time */
	void (*exit_told)(struct tunnel *t);		      /* see its identity */
	size_t n_tunnels, n_workloads;
	struct tunnel **tunnels;
	struct workload **workloads;
	/* bit n: a record is n deep, or was: for the weak guard, whose workloads may outlive their
	 * workload, and their cgroup */
	uint32_t levels;
	bool running;	 /* all that the file names has been started */
	bool guards_due; /* a record has gone that may have been the last to hold a guard */
	int lock_fd;
};

/* Every one of them, as `w` or `t`. The body must not add any: that may move the array. */
#define for_each_workload(d, w)                             \
	for (struct workload **w##_at = (d)->workloads, *w; \
	     (size_t)(w##_at - (d)->workloads) < (d)->n_workloads && ((w) = *w##_at); w##_at++)
#define for_each_tunnel(d, t)                           \
	for (struct tunnel **t##_at = (d)->tunnels, *t; \
	     (size_t)(t##_at - (d)->tunnels) < (d)->n_tunnels && ((t) = *t##_at); t##_at++)

/* At the end of the array. 0 or -ENOMEM. */
int daemon_add_tunnel(struct daemon *d, struct tunnel *t, struct error *err);
int daemon_add_workload(struct daemon *d, struct workload *w, struct error *err);
/* From the array; not freed. One that is not there is fine. */
void daemon_remove_tunnel(struct daemon *d, const struct tunnel *t);
void daemon_remove_workload(struct daemon *d, const struct workload *w);

bool is_among(const void *array, size_t n, const void *one); /* n pointers */

void daemon_note_level(struct daemon *d, uint32_t level);
struct workload *workload_of_cgroup(const struct daemon *d, uint64_t cgroup_id); /* or NULL */
/* Is there one whose record can not be used, and whose netns nobody knows? It may live in any. */
bool any_without_netns(const struct daemon *d);
struct workload *workload_at(const struct daemon *d, const char *path); /* its cgroup's; or NULL */
/* For is_bound(), of thousands: all ids, sorted, to be freed; NULL: no memory. */
uint64_t *daemon_bound(const struct daemon *d, size_t *ret_n);
bool is_bound(const uint64_t *bound, size_t n, uint64_t cgroup_id);
