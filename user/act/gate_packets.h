/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No packet sockets for a cgroup: what they send passes no cgroup hook. */
#ifndef VPNLEASH_GATE_PACKETS_H
#define VPNLEASH_GATE_PACKETS_H

#include "base/cgroup.h"

/* From now on; needs BPF among the kernel's LSMs. Its link goes with gate_detach(). -EOPNOTSUPP:
 * this kernel does not have it, or was not started with it. */
int gate_deny_packets(const struct cgroup_ref *c);

#endif
