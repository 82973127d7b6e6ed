/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pins of another version of vpnleash are replaced; what is leashed stays shut meanwhile. */
#ifndef VPNLEASH_GATE_UPGRADE_H
#define VPNLEASH_GATE_UPGRADE_H

#include "act/gate_load.h"
#include "base/cgroup.h"

/* On the cgroups of `vpnleash exec`: "INTERFACE NETNS". trusted.: root's alone. */
#define EXEC_XATTR "trusted.vpnleash.tunnel"

/*
 * The first instance is loaded with maps of its own. Fail-closed: every gate is replaced by one
 * without records, then the maps' pins, the header last. A crash anywhere in between leaves another
 * version's pins again, and all shut.
 */
int gate_upgrade(struct gate *g, const struct cgroup_root *root, struct error *err);

#endif
