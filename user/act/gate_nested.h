/* SPDX-License-Identifier: GPL-2.0-or-later */
/* At most one gate on a path: nested gates AND their verdicts and count twice. */
#ifndef VPNLEASH_GATE_NESTED_H
#define VPNLEASH_GATE_NESTED_H

#include "base/cgroup.h"

/* Is there a gate on that cgroup, whoever attached it? */
bool gate_is_on(int cgroup_fd);

/* 0, or -EBUSY: there is a gate above c, or below the cgroup with that full path; the error names
 * it, and c as what was to be leashed. */
int gate_check_above(const struct cgroup_root *root, const struct cgroup_ref *c, struct error *err);
int gate_check_below(const char *path, const struct cgroup_ref *c, struct error *err);

#endif
