/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where containers live, by the kernel's own tree: for one whose id is known and of which the
 * engine's record can not be used. Engines call a container's cgroup after its id.
 */
#ifndef VPNLEASH_SEEK_H
#define VPNLEASH_SEEK_H

#include "base/cgroup.h"

/* Calls f for each cgroup that is called like a container's. What lies below one is the container's
 * to name, what lies below a directory that is not root's its owner's: neither is looked at. */
void seek_containers(const struct cgroup_root *root,
		     void (*f)(const char *id, const char *path, void *arg), void *arg);

#endif
