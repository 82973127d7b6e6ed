/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.freeze of one cgroup directory. Writing is a request; `frozen 1` is the kernel's to say
 * (its tail reached 267 ms with 500 busy threads; watch/cgroup.c waits for it), so the gate shuts
 * first. A frozen cgroup's TCP still retransmits: freeze is never containment.
 */
#pragma once

#include <string.h>

#include "base/util.h"

/* 0 or -errno (-ENODEV: the cgroup is gone). */
static inline int freezer_freeze(int cgroup_fd)
{
	return write_small(cgroup_fd, "cgroup.freeze", "1");
}

static inline int freezer_thaw(int cgroup_fd)
{
	return write_small(cgroup_fd, "cgroup.freeze", "0");
}

/* Was freezing asked for by somebody (cgroup.freeze is 1)? 0, 1 or -errno. */
static inline int freezer_asked(int cgroup_fd)
{
	char text[16];
	ssize_t n = read_small(cgroup_fd, "cgroup.freeze", text, sizeof(text));

	return n < 0 ? (int)n : !strcmp(text, "1");
}
