/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes `near_records`, where the gate looks before it asks the hash of `workloads`. A record that
 * changes is taken out first and put back last: in between, and after a crash, the hash decides.
 */
#pragma once

#include <stdint.h>

#include "vpnleash/abi.h"

/* NULL: it can not be mapped, see errno. */
struct near *near_map(int fd);
void near_unmap(struct near *near);
void near_take_out(struct near *near, uint64_t cgroup_id);
/* After near_take_out(). Where its line is full, the hash decides for good. */
void near_put(struct near *near, uint64_t cgroup_id, const struct workload_record *w);
/* Its place is free for another. */
void near_forget(struct near *near, uint64_t cgroup_id);
/* After any change of guards, slots or rules: what frames they let pass is forgotten. */
void near_guards_changed(struct near *near);
