/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One BPF program on one device, before all others, or right behind our own: tcx (v6.6), where the
 * link is pinned and outlives the daemon, or a clsact filter, which lives as long as the device and
 * its qdisc. Only guard.c uses it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

struct tc_place {
	int netns_fd; /* of the device; -1: ours; less: none, and only a pin is found */
	uint32_t netns_ino;
	uint32_t ifindex;
	bool egress;
	bool may_gap;	     /* to become the first again it may be off for a moment */
	uint32_t behind_id;  /* the program that it is right behind; 0: it is the first */
	const char *program; /* its name, part of the pin's and the filter's */
	int program_fd;
	uint32_t program_id;
	uint32_t slot; /* a clsact filter hands it to the program */
};

/* There and first, or replaced in place, or a new one. -ENODEV: no such device. */
int tc_attach(const struct tc_place *p, struct error *err);
/* 0: that program is there and first. -ENOLINK: it is not; -ENODEV: nor the device. */
int tc_check(const struct tc_place *p);
/* Gone is fine. 0 or -Exxx. */
int tc_detach(const struct tc_place *p);
