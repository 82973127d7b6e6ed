/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One workload, shared by the files that lead it: see state.h.
 *   workload.c   its cgroup, gate and freezer
 *   container.c   what it has beside these if it is a container or a unit
 */
#ifndef VPNLEASH_WORKLOAD_INTERNAL_H
#define VPNLEASH_WORKLOAD_INTERNAL_H

#include "core/state.h"

/* workload.c */
void workload_input(struct workload *w, enum input in); /* its table asked, and carried out */
/* Said once, and by `status` and `why` as long as it is so. */
void workload_in_trouble(struct workload *w, const char *what, const char *why);
bool workload_is_paused(const struct workload *w); /* frozen, and not by us: an operator's pause */
/* Its cgroup is this one, there or not yet. On failure it has none. */
int workload_enter(struct workload *w, const char *path, struct error *err);
/* No longer there, or elsewhere. A gate is taken off only with its cgroup. */
void workload_leave(struct workload *w);

/* container.c */
void contained_look(struct workload *w);
void contained_stop(struct workload *w);
void contained_start(struct workload *w);
/* The ladder's second step, counted from the moment at which it lost its way out. */
void contained_arm_stop(struct workload *w);
/* An engine that is still starting it would wait for the frozen for ever. */
bool contained_has_started(const struct workload *w);
/* Left behind in a netns that is no longer its tunnel's: the VPN's container was restarted. */
bool contained_is_orphaned(const struct workload *w);
enum input contained_of_orphan(struct workload *w); /* what its table is to be told of that */

#endif
