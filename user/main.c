/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table: dispatch, help and exit code. The only exit of the program. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cmd/cmd.h"
#include "vpnleash/abi.h"

static int cmd_help(int argc, char **argv, struct error *err);

static const struct command {
	const char *name, *does;
	int (*run)(int argc, char **argv, struct error *err);
} commands[] = {
	{ "run", "the daemon, in the foreground: keeps cgroups on their tunnels", cmd_run },
	{ "exec", "run a command that can use nothing but the tunnel", cmd_exec },
	{ "lock", "shut cgroups: attach the gate, which passes nothing until `run`", cmd_lock },
	{ "status", "what is leashed, to which tunnel, and whether it is open", cmd_status },
	{ "top", "what `status` says, live in the terminal, with packets over time", cmd_top },
	{ "check", "is this workload open? for health checks", cmd_check },
	{ "why", "why a workload (a leashed cgroup) is open or shut, in words", cmd_why },
	{ "events", "state changes and dropped packets, as they happen", cmd_events },
	{ "hold", "cut a workload off until `release`", cmd_hold },
	{ "release", "end a hold", cmd_hold },
	{ "detach", "take the gate off, and thaw what vpnleash froze", cmd_detach },
	{ "drill", "rehearse failures on the live system, and time what follows", cmd_drill },
	{ "listen", "metrics and a page of all this, by HTTP on 127.0.0.1:9469", cmd_listen },
	{ "doctor", "what this machine lacks, and what to do about it", cmd_doctor },
	{ "verify", "prove on this machine that nothing gets past the leash", cmd_verify },
	{ "demo", "the whole story on this machine, in namespaces of its own", cmd_demo },
	{ "help", "this list", cmd_help },
};

static int cmd_help(int argc, char **argv, struct error *err)
{
	printf("vpnleash: no lease, no packet. A cgroup's traffic passes only through its tunnel.\n\n"
	       "usage: vpnleash COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].does);
	printf("\n`vpnleash COMMAND --help` says more, `vpnleash --version` which one this is.\n"
	       "Exit codes: 0 good, 1 a negative answer, 2 usage, 3 no daemon,\n"
	       "            4 missing privilege or kernel feature, 5 other failure.\n");
	return EXIT_GOOD;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";
	struct error err = { .kind = ERROR_OTHER };
	int r;

	if (!strcmp(name, "--version")) {
		printf("vpnleash %s, pins of ABI version %d\n", VPNLEASH_VERSION,
		       VPNLEASH_ABI_VERSION);
		return EXIT_GOOD;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		r = commands[i].run(argc - 1, argv + 1, &err);
		if (r >= 0)
			return r;
		fprintf(stderr, "vpnleash: %s\n", err.text);
		return err.kind;
	}
	fprintf(stderr, "vpnleash: unknown command '%s' (see: vpnleash --help)\n", quote(name));
	return ERROR_INPUT;
}
