/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slices: by name to a locked cgroup, beside a daemon or not. */
#pragma once

#include "base/cgroup.h"
#include "config/config.h"

struct gate;

/*
 * Lock the slice NAME, as after "slice:", and make its cgroup if it is missing: then it is open for
 * the instant between being made and being locked, so whoever starts its children starts them after
 * this. *ret (may be NULL) is the cgroup, its fd the caller's.
 */
int slice_lock(struct gate *g, const struct cgroup_root *root, const char *name,
	       struct cgroup_ref *ret, struct error *err);

/* Every slice of the configuration, and nothing else of it. */
int slices_lock_with(struct gate *g, const struct cgroup_root *root, const struct config *config,
		     struct error *err);
/* The same beside a daemon, or without one. Also while a daemon runs: its maps are
 * adopted, and its links, leases and records are not touched. */
int slices_lock(const struct config *config, struct error *err);
