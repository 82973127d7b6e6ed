/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One tunnel and its workloads by the command line. */
#ifndef VPNLEASH_ARGS_H
#define VPNLEASH_ARGS_H

#include "config/config.h"

/* --KEY VALUE pairs from argv[1] on. need_tunnel: `run` needs all, `lock` only cgroups, also as
 * --slice NAME for --cgroup slice:NAME. */
int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err);

#endif
