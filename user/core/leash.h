/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done to a workload's cgroup: its record, its gate, its freezer. Here nothing is decided:
 * how it went is returned.
 */
#pragma once

#include "base/util.h"

struct workload;

/* Record and gate for the cgroup that is there now. A record of an earlier run keeps its flags;
 * what the configuration allows takes effect with workload_start(), when all of it is known to be
 * good. */
int leash_bind(struct workload *w, struct error *err);
void leash_freeze_instead(const struct workload *w); /* that failed: the only containment left */
void leash_set_flags(struct workload *w);	     /* what it allows, in its record */
void leash_set_resolver(struct workload *w);
void leash_note_slice(struct workload *w); /* in its record, that it is in one */

/* Its cgroup was removed. Sockets of it may live: the gate stays on. */
void leash_part(struct workload *w);
void leash_shut(struct workload *w); /* barred, and no tunnel's any more */

/* Whether that is to be waited for: false, it was frozen already and not by us. */
bool leash_freeze(struct workload *w, int cgroup_fd);
/* shut: behind the gate, which stays shut: thawed it can hear that it is to end. */
void leash_thaw(struct workload *w, int cgroup_fd, bool shut);
bool leash_is_paused(const struct workload *w); /* frozen, and not by us: an operator's pause */
