/* SPDX-License-Identifier: GPL-2.0-or-later */
/* At most one gate on a path. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>

#include "act/gate_internal.h"

bool gate_is_on(int cgroup_fd)
{
	__u32 ids[64], flags = 0, n = ARRAY_SIZE(ids);

	if (bpf_prog_query(cgroup_fd, BPF_CGROUP_INET_EGRESS, 0, &flags, ids, &n) < 0)
		return errno == ENOSPC; /* too many to look through: take no chances */
	for (__u32 i = 0; i < n; i++) {
		_cleanup_fd int fd = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = { 0 };
		__u32 length = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) &&
		    !strcmp(info.name, "gate_egress"))
			return true;
	}
	return false;
}

int gate_check_above(const struct cgroup_root *root, const struct cgroup_ref *c, struct error *err)
{
	char path[PATH_MAX];

	if (gate_is_on(root->fd))
		return fail(err, ERROR_INPUT, -EBUSY, NULL, "leash '%s': the root has a gate",
			    c->name);
	for (const char *end = strchr(c->path + 1, '/'); end; end = strchr(end + 1, '/')) {
		_cleanup_fd int fd = -1;

		snprintf(path, sizeof(path), "%.*s", (int)(end - c->path - 1), c->path + 1);
		fd = openat(root->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && gate_is_on(fd))
			return fail(err, ERROR_INPUT, -EBUSY, "leash only one of the two",
				    "leash '%s': '/%s' above it has a gate", c->name, quote(path));
	}
	return 0;
}

/* nftw has no argument for its callback */
static __thread char found_below[PATH_MAX];

static int look_below(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	_cleanup_fd int fd = -1;

	if (type != FTW_D || ftw->level == 0)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !gate_is_on(fd))
		return 0;
	snprintf(found_below, sizeof(found_below), "%s", path);
	return 1;
}

int gate_check_below(const char *path, const struct cgroup_ref *c, struct error *err)
{
	if (nftw(path, look_below, 32, FTW_PHYS | FTW_MOUNT) != 1)
		return 0;
	return fail(err, ERROR_INPUT, -EBUSY, "leash only one of the two",
		    "leash '%s': '%s' below it has a gate", c->name, quote(found_below));
}
