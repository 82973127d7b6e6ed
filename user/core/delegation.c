/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/delegation.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Its own entry, or the file in it, is not root's alone. What can not be looked at is nobody's
 * word: only a cgroup that is gone holds nobody. */
static bool is_anothers(const struct cgroup_root *root, const char *path, uid_t *ret_uid)
{
	struct stat st;

	if (fstatat(root->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*ret_uid = (uid_t)-1;
		return errno != ENOENT;
	}
	*ret_uid = st.st_uid;
	return st.st_uid || st.st_mode & (S_IWGRP | S_IWOTH);
}

void delegation_of(const struct cgroup_root *root, const char *path, char ret[DELEGATION_LEN])
{
	char above[PATH_MAX], procs[PATH_MAX + 16], shown[256];
	uid_t uid;

	*ret = '\0';
	snprintf(above, sizeof(above), ".%s", path);
	for (char *end; (end = strrchr(above, '/'));) {
		*end = '\0';
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", above);
		if (!is_anothers(root, above, &uid) && !is_anothers(root, procs, &uid))
			continue;
		escape(shown, sizeof(shown), above[1] ? above + 1 : "/");
		if (uid && uid != (uid_t)-1)
			snprintf(ret, DELEGATION_LEN, "cgroup '%s' above it belongs to uid %u",
				 shown, uid);
		else
			snprintf(ret, DELEGATION_LEN,
				 "cgroup '%s' above it may be written by others than root", shown);
		return;
	}
}
