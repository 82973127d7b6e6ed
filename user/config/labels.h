/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One workload by the labels of its container. */
#ifndef VPNLEASH_CONFIG_LABELS_H
#define VPNLEASH_CONFIG_LABELS_H

#include "config/config.h"

struct config_label {
	const char *key, *value; /* `;` between repeated values */
};
/*
 * One workload `name` in the cgroup `cgroup` by the keys of its labels, on the tunnel of the label
 * `tunnel` (then *ret has no tunnel, and workloads[0].tunnel_name names it) or on one in `netns` by
 * the keys of a tunnel. *ret_tunnel_keys: keys of a tunnel beside `interface` were given.
 */
int config_from_labels(const char *name, const char *cgroup, const char *netns,
		       const struct config_label *labels, size_t n, struct config *ret,
		       bool *ret_tunnel_keys, struct error *err);

#endif
