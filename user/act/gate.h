/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate: opened by a daemon or a command, attached to the cgroups of workloads. Its links are
 * pinned: they outlive the daemon. What else others call of it is in the headers included here;
 * only gate_*.c load and attach the cgroup programs by libbpf.
 */
#ifndef VPNLEASH_GATE_H
#define VPNLEASH_GATE_H

#include "act/gate_links.h"
#include "act/gate_load.h"
#include "act/gate_scratch.h"
#include "act/gate_slice.h"
#include "act/gate_upgrade.h"
#include "act/pins.h"
#include "base/cgroup.h"

/*
 * Adopt the pinned maps, or make and pin them, and find out by loading how this kernel tells a
 * packet's netns. Then gate_prove().
 */
int gate_open(struct gate **ret, const struct cgroup_root *root, struct error *err);
/*
 * Could gate_open() do it here? Loads with maps that are never pinned, proves attribution in the
 * same way and throws all away: a daemon and pins that are there notice nothing.
 */
int gate_probe(const struct cgroup_root *root, bool *ret_netns_by_socket, struct error *err);
const struct pins *gate_pins(const struct gate *g);
/* The loaded object that has the guard's programs too. */
struct vpnleash_bpf *gate_programs(const struct gate *g);

/*
 * Both hooks or neither. A gate that is there already is replaced in place. The cgroup's record
 * must be in `workloads` before. A direct child of a locked slice needs none of its own: nothing is
 * attached, the record decides. -EBUSY: another gate is above or below, or it lies deeper in a
 * slice; the error names it.
 */
int gate_attach(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
		struct error *err);

#endif
