/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is left of removed cgroups, shut for as long as a socket of theirs lives. */
#pragma once

#include "base/util.h"

struct daemon;

/* Before anything is leased: what an earlier run left is barred, and goes where it is released. */
int remains_open(struct daemon *d, struct error *err);
void remains_close(struct daemon *d); /* takes nothing off */
/* The workload's cgroup was removed. netns_cookie of its tunnel, 0: unknown. */
void remains_take(struct daemon *d, uint64_t cgroup_id, uint64_t netns_cookie);
void remains_look(struct daemon *d);	  /* at all of them now: some were detached */
void remains_scan(struct daemon *d);	  /* for those that nobody listened to, from now on */
void remains_scan_soon(struct daemon *d); /* one is on its way out */
/* May there be some in that netns? Then its guard stays; it goes with the last of them. */
bool remains_in(const struct daemon *d, uint64_t netns_cookie);
size_t remains_count(const struct daemon *d);

/* Guards whose last record has gone, once all tunnels are known; see d->guards_due. Nowhere else,
 * but for `detach`, one goes because a record has gone. */
void unguard(struct daemon *d);
void unguard_sweep(struct daemon *d); /* and what is left of netns that are gone */
