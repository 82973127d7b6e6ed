/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run, lock: from the command line to the daemon. */
#include <string.h>

#include "cmd/cmd.h"
#include "core/daemon.h"

bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

int cmd_run(int argc, char **argv, struct error *err)
{
	struct config config;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash run --cgroup PATH --interface NAME --probe icmp:IP|none "
		       "[--KEY VALUE]...\n\n");
		config_print_keys(stdout);
		printf("\nexample: vpnleash run --cgroup /torrent/qb --interface CloudflareWARP \\\n"
		       "             --netns /run/netns/vpn --probe icmp:1.1.1.1\n\n"
		       "Ends on SIGTERM with 0 and opens nothing: what was granted runs out by "
		       "itself.\n"
		       "Exit codes: 0 ended, 2 usage, 4 missing privilege or kernel feature, 5 other "
		       "failure.\n");
		return EXIT_GOOD;
	}
	r = config_parse_args(argc, argv, true, &config, err);
	return r ? r : daemon_run(&config, err);
}

int cmd_lock(int argc, char **argv, struct error *err)
{
	struct config config;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash lock --cgroup PATH [--cgroup PATH]...\n\n"
		       "Attaches the gate with no leases and ends: nothing passes until `vpnleash run` "
		       "grants.\n"
		       "A cgroup that is locked or leased already stays as it is.\n\n"
		       "Exit codes: 0 locked, 2 usage, 4 missing privilege or kernel feature, 5 other "
		       "failure.\n");
		return EXIT_GOOD;
	}
	r = config_parse_args(argc, argv, false, &config, err);
	return r ? r : daemon_lock(&config, err);
}
