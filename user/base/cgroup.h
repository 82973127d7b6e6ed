/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of people → identities of the kernel. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "vpnleash/abi.h"

/* The cgroup v2 hierarchy, wherever it is mounted. */
struct cgroup_root {
	int fd;
	char path[PATH_MAX];
};

/* -ENOENT where cgroup v2 is not mounted, -EXDEV where the mount shows only a part of the tree
 * (a cgroup namespace): levels would be wrong there. */
int resolve_cgroup_root(struct cgroup_root *ret, struct error *err);

/* One cgroup. `level` is its depth: a child of the root has level 1. */
struct cgroup_ref {
	int fd;
	uint64_t id;
	uint32_t level;
	char path[PATH_MAX];	      /* below the root, begins with '/' */
	char name[VPNLEASH_NAME_LEN]; /* the end of `path`: what people and maps call it */
};

/* "/a/b" below the root, or the full path of the directory. Never leaves the hierarchy. */
int cgroup_path(const struct cgroup_root *root, const char *text, char ret[PATH_MAX],
		struct error *err);
/* Is the path that of `top`, or below it? Both as from cgroup_path(). */
bool cgroup_is_below(const char *path, const char *top);
/* path as from cgroup_path(). -ENOENT: not there (yet). */
int resolve_cgroup(const struct cgroup_root *root, const char *path, struct cgroup_ref *ret,
		   struct error *err);
/*
 * The path of a slice: "/a/b" as in cgroup_path() (what an engine with the cgroupfs driver calls
 * cgroup_parent), or systemd's name: "a-b.slice" is /a.slice/a-b.slice.
 */
int slice_to_path(const struct cgroup_root *root, const char *text, char ret[PATH_MAX],
		  struct error *err);
/* The one name of the slice at that path, for records and people: "slice:a-b.slice", or
 * "slice:/a/b" (its end, if it is long) for what systemd would not call so. */
void slice_name(const char *path, char ret[VPNLEASH_NAME_LEN]);
/* Make the cgroup, and those above it, where they are missing. Never leaves the hierarchy. */
int cgroup_make(const struct cgroup_root *root, const char *path, struct error *err);
/* By the kernel's id, wherever it is in the tree: an fd, or -ESTALE if it is gone. */
int resolve_cgroup_id(const struct cgroup_root *root, uint64_t id);
/* Its path below the root, which is "/" itself. -ESTALE: it is gone. */
int cgroup_path_of_id(const struct cgroup_root *root, uint64_t id, char ret[PATH_MAX]);
/* The same, as from resolve_cgroup(): to be closed by the caller. */
int resolve_cgroup_of_id(const struct cgroup_root *root, uint64_t id, struct cgroup_ref *ret);
