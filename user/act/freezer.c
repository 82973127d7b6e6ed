/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See freezer.h. */
#include "act/freezer.h"

#include <string.h>

#include "base/util.h"

int freezer_freeze(int cgroup_fd)
{
	return write_small(cgroup_fd, "cgroup.freeze", "1");
}

int freezer_thaw(int cgroup_fd)
{
	return write_small(cgroup_fd, "cgroup.freeze", "0");
}

int freezer_asked(int cgroup_fd)
{
	char text[16];
	ssize_t n = read_small(cgroup_fd, "cgroup.freeze", text, sizeof(text));

	return n < 0 ? (int)n : !strcmp(text, "1");
}
