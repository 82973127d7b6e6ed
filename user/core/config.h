/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be leashed to what: read from the command line into one validated struct. */
#ifndef VPNLEASH_CONFIG_H
#define VPNLEASH_CONFIG_H

#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define CONFIG_WORKLOADS 64

enum probe_kind { PROBE_UNSET, PROBE_NONE, PROBE_ICMP };
enum on_failure { ON_FAILURE_FREEZE, ON_FAILURE_BLOCK };

struct tunnel_config {
	char interface[IFNAMSIZ];
	char netns[PATH_MAX]; /* "host" or a netns file */
	enum probe_kind probe;
	struct in_addr probe_address; /* PROBE_ICMP */
	char route[INET6_ADDRSTRLEN]; /* must resolve through the interface; empty: none */
	uint64_t patience_ns;
};

struct workload_config {
	char cgroup[PATH_MAX]; /* as given; resolved by cgroup_path() */
};

struct config {
	uint64_t lease_ns;
	struct tunnel_config tunnel;
	enum on_failure on_failure;
	size_t n_workloads;
	struct workload_config workloads[CONFIG_WORKLOADS];
};

/*
 * --KEY VALUE pairs from argv[1] on. need_tunnel: `run` needs all of it, `lock` only cgroups.
 * 0, or -EINVAL with EXIT_USAGE.
 */
int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err);
void config_print_keys(FILE *out); /* one line a key, for --help */

#endif
