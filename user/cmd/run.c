/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run, lock: from the command line to the daemon. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/run_check.h"
#include "config/config.h"
#include "config/keys.h"
#include "daemon/daemon.h"
#include "report/control_client.h"
#include "source/slice_lock.h"

bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

/* -c FILE, or nothing for CONFIG_FILE, which may come later, by a reload; or keys as options:
 * *ret_file is NULL then. */
static int read_config(int argc, char **argv, bool need_tunnel, struct config *ret,
		       const char **ret_file, struct error *err)
{
	bool from_file = argc == 1 || !strcmp(argv[1], "-c");

	*ret_file = !from_file ? NULL : argc == 3 ? argv[2] : CONFIG_FILE;
	if (argc == 1 && need_tunnel && access(CONFIG_FILE, F_OK) && errno == ENOENT) {
		log_line(LOG_LEVEL_NOTICE, "no " CONFIG_FILE ": containers by their labels alone");
		return config_init(ret, err);
	}
	if (from_file && argc != 1 && argc != 3)
		return fail(err, ERROR_INPUT, 0, "-c FILE, or keys as options, not both",
			    "-c takes one file");
	return from_file ? config_read(*ret_file, ret, err)
			 : config_parse_args(argc, argv, need_tunnel, ret, err);
}

/* Takes --check out of the arguments, wherever it stands. */
static bool wants_check(int *argc, char **argv)
{
	int n = 1;

	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], "--check"))
			argv[n++] = argv[i];
	if (n == *argc)
		return false;
	*argc = n;
	return true;
}

int cmd_run(int argc, char **argv, struct error *err)
{
	struct config config;
	const char *file;
	bool check;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash run [--check] [-c FILE]\n"
		       "       vpnleash run [--check] --cgroup PLACE --interface NAME [--KEY VALUE]...\n\n"
		       "The daemon, in the foreground. With options: one tunnel. Else it reads a configuration:\n" CONFIG_FILE
		       ", or FILE, with conf.d/*.conf beside it; SIGHUP reads it again.\n"
		       "Containers are also leashed by their labels (vpnleash.interface=NAME), even without a file.\n"
		       "--check: only say what is wrong with the configuration, or what would be done.\n\n");
		config_print_keys(stdout);
		printf("\n"
		       "example: vpnleash run --cgroup /torrent/qb --interface CloudflareWARP \\\n"
		       "             --netns /run/netns/vpn --probe icmp:1.1.1.1\n\n"
		       "SIGTERM ends it. The gates stay on, and shut when the last lease runs out.\n"
		       "Exit codes: 0 ended (or nothing is wrong), 2 usage, 4 missing privilege or kernel feature,\n"
		       "            5 other failure.\n");
		return EXIT_GOOD;
	}
	check = wants_check(&argc, argv);
	r = read_config(argc, argv, true, &config, &file, err);
	if (r)
		return r;
	r = check ? run_check(&config, file, err) : daemon_run(&config, file, err);
	config_free(&config);
	return r;
}

/* A daemon that runs keeps them locked from now on, also if they are made anew. */
static void tell_daemon(void)
{
	json_auto_t *reply = NULL;

	control_ask(json_pack("{s:s}", "verb", "slices"), &reply, NULL);
}

/* Slices do not wait for a daemon to end: they are locked whenever they are made anew. */
static int lock_all(const struct config *config, struct error *err)
{
	size_t slices = 0;

	for (size_t i = 0; i < config->n_workloads; i++)
		slices += config->workloads[i].is_slice;
	if (slices || config->n_slices) {
		int r = slices_lock(config, err);

		if (r)
			return r;
		tell_daemon();
	}
	return slices == config->n_workloads ? 0 : daemon_lock(config, err);
}

int cmd_lock(int argc, char **argv, struct error *err)
{
	struct config config;
	const char *file;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash lock [-c FILE]\n"
		       "       vpnleash lock [--slice NAME]... [--cgroup PATH]...\n\n"
		       "Attaches the gate without a lease and ends: nothing passes until `vpnleash run` opens it.\n"
		       "A cgroup that has the gate already stays as it is. --slice locks a parent cgroup, and makes\n"
		       "it if it is missing: its children are shut from their first instruction. This also works\n"
		       "while a daemon runs. NAME is systemd's (a-b.slice), or /PATH below the cgroup root.\n\n"
		       "example: vpnleash lock --slice vpnleash.slice\n\n"
		       "Exit codes: 0 locked, 2 usage, 4 missing privilege or kernel feature, 5 other failure.\n");
		return EXIT_GOOD;
	}
	r = read_config(argc, argv, false, &config, &file, err);
	if (r)
		return r;
	r = lock_all(&config, err);
	config_free(&config);
	return r;
}
