/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may take a process out of a cgroup without being root: whoever may write cgroup.procs of a
 * cgroup above it (and of one beside it, which he can make there). systemd gives a user's manager
 * its subtree that way, and an engine without root all of its containers. See cgroups(7),
 * "Delegation containment".
 */
#pragma once

#include "base/cgroup.h"

#define DELEGATION_LEN 400
#define DELEGATION_REMEDY \
	"leash a unit of the system's, not a user's; of an engine: one that runs as root"

/* path as from cgroup_path(). In ret: by whom, "" if by nobody; a few stat(2), never waits. */
void delegation_of(const struct cgroup_root *root, const char *path, char ret[DELEGATION_LEN]);
