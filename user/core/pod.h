/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several containers in one netns, of which another than its owner may be the VPN: in a pod the
 * infra container owns it, which does nothing else; in Docker's words a container that only sleeps.
 */
#pragma once

#include <sys/types.h>

struct daemon;
struct engine_item;

/* The container of the VPN in the netns of `named`: itself, if it may make interfaces there and is
 * not leashed; else who was it (its pid), or the only one of which that is true; else itself again,
 * as it was named. *ret_others: how many it could be, if that is not known. */
const struct engine_item *pod_vpn(const struct daemon *d, const struct engine_item *named,
				  pid_t was, size_t *ret_others);
