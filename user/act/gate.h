/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate: opened by a daemon or a command, attached to the cgroups of workloads. Its links are
 * pinned: they outlive the daemon, and one that is there already is updated in place; nothing is
 * detached to be attached again.
 */
#pragma once

#include "act/pins.h"
#include "base/cgroup.h"

struct gate;

#define GATE_LEVEL 2 /* the depth of a container's cgroup, unless somebody knows better */

/*
 * Adopt the pinned maps and programs, or make and pin them, and find out by loading how this kernel
 * tells a packet's netns. Then prove by a packet that the gate sees what a cgroup sends. `level`:
 * the depth of the cgroups that are leashed first. `root` is kept.
 */
int gate_open(struct gate **ret, const struct cgroup_root *root, uint32_t level, struct error *err);
void gate_close(struct gate *g); /* takes nothing off */
/*
 * Could gate_open() do it here? Loads with maps that are never pinned, proves attribution in the
 * same way and throws all away: a daemon and pins that are there notice nothing.
 */
int gate_probe(const struct cgroup_root *root, bool *ret_netns_by_socket, struct error *err);
const struct pins *gate_pins(const struct gate *g);
/* Programs that look at no cgroup's depth, by name: have them loaded, by the first who asks, as the
 * kernel verifies some for a quarter of a second. */
int gate_load_programs(struct gate *g, const char *const names[], size_t n, struct error *err);
/* The descriptor of such a one, 0: not loaded. */
int gate_program(const struct gate *g, const char *name);
/* Have the gate that looks at cgroups of that depth loaded, so that attaching takes no time. A
 * slice's is its level + 1. */
int gate_load_level(struct gate *g, uint32_t level, struct error *err);
/* What libbpf and the verifier said of the last load, for doctor. */
const char *gate_last_log(void);

/* ------ of a workload ------ */

/*
 * Both hooks or neither. A gate that is there already is replaced in place. The cgroup's record
 * must be in `workloads` before. A direct child of a locked slice needs none of its own: nothing is
 * attached, the record decides. -EBUSY: another gate is above or below, or it lies deeper in a
 * slice; the error names it.
 */
int gate_attach(struct gate *g, const struct cgroup_ref *c, struct error *err);
/* Where the cgroup's questions to port 53 go from now on; see struct resolver. After gate_attach().
 */
int gate_resolve_by(struct gate *g, const struct cgroup_ref *c, const struct resolver *r,
		    struct error *err);
/* No packet sockets for the cgroup from now on: what they send passes no cgroup hook. Needs BPF
 * among the kernel's LSMs. -EOPNOTSUPP: this kernel does not have it, or was not started with it.
 */
int gate_deny_packets(struct gate *g, const struct cgroup_ref *c);
/* All that is attached to the cgroup comes off. */
int gate_detach(uint64_t cgroup_id, struct error *err);

/* ------ of a slice: it judges each direct child of the cgroup by the child's own record ------ */

/*
 * Lock a slice: its gate looks at its direct children, by their own records; one without a record,
 * born now or later, and a process in the slice itself are UNKNOWN. Makes the slice's own record
 * (WORKLOAD_SLICE, named by slice_name()). Again: replaced in place. A gate of a direct child comes
 * off once the slice's is on. Asks nothing of a daemon and touches no lease, so it may run beside
 * one. -EBUSY: a gate above or deeper below, or it is leashed as a workload; the error names it.
 */
int gate_lock_slice(struct gate *g, const struct cgroup_ref *slice, struct error *err);
/* Is it a slice whose gate is on? ret, its record, may be NULL. */
bool gate_is_slice(const struct pins *pins, uint64_t cgroup_id, struct workload_record *ret);
/* How far above the cgroup is the nearest such slice: 1 is its parent, and then the cgroup was born
 * locked; 0: there is none. ret and ret_id, of the slice, may be NULL. */
int gate_slice_above(const struct pins *pins, int cgroup_fd, struct workload_record *ret,
		     uint64_t *ret_id);

/* ------ what is tried out ------ */

/* Children of the root by this name are ours, for a moment while a daemon starts. */
#define GATE_SCRATCH "/vpnleash-scratch-"
/* Such a one and those in it; false: a process is left there. */
bool gate_remove_scratch(int root_fd, const char *name);

/* The cookie by which the gate knows that netns, also where SO_NETNS_COOKIE is missing (< v5.14).
 */
int gate_netns_cookie(struct gate *g, int netns_fd, uint64_t *ret_cookie, struct error *err);

/* On the cgroups of `vpnleash exec`: "INTERFACE NETNS". trusted.: root's alone. */
#define EXEC_XATTR "trusted.vpnleash.tunnel"
