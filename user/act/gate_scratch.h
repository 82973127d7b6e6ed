/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child in a cgroup of our own, with the gate on it: what is sent there shows what the gate sees.
 */
#ifndef VPNLEASH_GATE_SCRATCH_H
#define VPNLEASH_GATE_SCRATCH_H

#include "act/gate_load.h"
#include "base/cgroup.h"

/* Children of the root by this name are ours, for a moment while a daemon starts. */
#define GATE_SCRATCH "/vpnleash-scratch-"

/* Does the kernel attribute a packet to its cgroup? Where it does not (net_cls or net_prio of v1 in
 * use before v5.15) nothing may be granted. */
int gate_prove(struct gate *g, const struct cgroup_root *root, struct error *err);

/* The cookie by which the gate knows that netns, also where SO_NETNS_COOKIE is missing (< v5.14).
 */
int gate_netns_cookie(struct gate *g, const struct cgroup_root *root, int netns_fd,
		      uint64_t *ret_cookie, struct error *err);

#endif
