/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A slice: a cgroup whose gate judges each of its direct children by the child's own record. */
#ifndef VPNLEASH_GATE_SLICE_H
#define VPNLEASH_GATE_SLICE_H

#include "act/gate_load.h"
#include "base/cgroup.h"

/*
 * Lock a slice: its gate looks at its direct children, by their own records; one without a record,
 * born now or later, and a process in the slice itself are UNKNOWN. Makes the slice's own record
 * (WORKLOAD_SLICE, named by slice_name()). Again: replaced in place. A gate of a direct child comes
 * off once the slice's is on. Asks nothing of a daemon and touches no lease, so it may run beside
 * one. -EBUSY: a gate above or deeper below, or it is leashed as a workload; the error names it.
 */
int gate_lock_slice(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *slice,
		    struct error *err);
/* The record of a slice, which is locked since then. */
void gate_put_slice(struct gate *g, const struct cgroup_ref *slice, uint64_t since_ns);

/* Is it a slice whose gate is on? ret, its record, may be NULL. */
bool gate_is_slice(const struct pins *pins, uint64_t cgroup_id, struct workload_record *ret);
/* How far above the cgroup is the nearest such slice: 1 is its parent, and then the cgroup was born
 * locked; 0: there is none. ret and ret_id, of the slice, may be NULL. */
int gate_slice_above(const struct pins *pins, int cgroup_fd, struct workload_record *ret,
		     uint64_t *ret_id);

#endif
