/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.freeze of one cgroup directory. Writing is a request; `frozen 1` is the kernel's to say
 * (its tail reached 267 ms with 500 busy threads; watch/cgroup.c waits for it), so the gate shuts
 * first. A
 * frozen cgroup's TCP still retransmits: freeze is never containment.
 */
#ifndef VPNLEASH_FREEZER_H
#define VPNLEASH_FREEZER_H

int freezer_freeze(int cgroup_fd); /* 0 or -errno (-ENODEV: the cgroup is gone) */
int freezer_thaw(int cgroup_fd);
/* Was freezing asked for by somebody (cgroup.freeze is 1)? 0, 1 or -errno. */
int freezer_asked(int cgroup_fd);

#endif
