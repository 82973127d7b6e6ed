/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * exec: this process becomes the command, in a cgroup that was locked before it came in. No second
 * process stands between the two: exit code, signals, terminal and job control are the command's
 * own, and the daemon, which holds our pidfd, tidies up however it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/netns.h"
#include "cmd/cmd.h"
#include "report/control_client.h"

enum { EXIT_OURS = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 }; /* as env(1) */

#define POLL_USEC    100000
#define POLLS_SILENT 10 /* after which it says what it waits for */

struct arguments {
	const char *interface, *netns;
	char **command;
};

/* "--key VALUE" or "--key=VALUE": 1 and *i moved on, 0: another option. */
static int read_option(int argc, char **argv, int *i, const char *key, const char **ret)
{
	size_t n = strlen(key);

	if (strncmp(argv[*i], key, n) || (argv[*i][n] && argv[*i][n] != '='))
		return 0;
	if (argv[*i][n])
		*ret = argv[*i] + n + 1;
	else if (*i + 1 < argc)
		*ret = argv[++*i];
	return 1;
}

static int parse_arguments(int argc, char **argv, struct arguments *ret, struct error *err)
{
	int i = 1;

	*ret = (struct arguments) { 0 };
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (!read_option(argc, argv, &i, "--interface", &ret->interface) &&
		    !read_option(argc, argv, &i, "--netns", &ret->netns))
			return fail(err, ERROR_INPUT, 0, "see: vpnleash exec --help",
				    "unknown option '%s'", quote(argv[i]));
	}
	ret->command = argv + i;
	if (!ret->interface)
		return fail(err, ERROR_INPUT, 0, "a tunnel of the running daemon",
			    "--interface is missing");
	return i < argc ? 0
			: fail(err, ERROR_INPUT, 0, "vpnleash exec --interface NAME -- CMD",
			       "which command?");
}

/* 0: it is open; 1: not yet, *ret_why is the daemon's sentence. */
static int ask_whether_open(const char *workload, char *ret_why, size_t size, struct error *err)
{
	json_auto_t *why = NULL;
	const char *state, *text;
	int r = control_ask(json_pack("{s:s,s:s}", "verb", "why", "workload", workload), &why, err);

	if (r)
		return r;
	state = json_string_value(json_object_get(why, "state"));
	text = json_string_value(json_object_get(why, "why"));
	snprintf(ret_why, size, "%s", text ? text : "?");
	return !state || strcmp(state, "open");
}

/* The process joins only when it is open: while it waits it can be interrupted, as it could not be
 * in a frozen cgroup. */
static int wait_until_open(const char *workload, struct error *err)
{
	char why[400];
	int r;

	for (int polls = 0; (r = ask_whether_open(workload, why, sizeof(why), err)) == 1; polls++) {
		if (polls == POLLS_SILENT)
			log_line(LOG_LEVEL_NOTICE, "waiting: %s", why);
		usleep(POLL_USEC);
	}
	return r;
}

static int enter_cgroup(const char *cgroup, const char *netns, struct error *err)
{
	_cleanup_fd int netns_fd = -1;
	int r = 0;

	if (strcmp(netns, "host"))
		r = netns_open(netns, &netns_fd, err);
	if (r)
		return r;
	if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, "run as root", "enter netns '%s'", netns);
	r = write_small(AT_FDCWD, cgroup, "0");
	return r ? fail(err, ERROR_OTHER, r, NULL, "join '%s'", cgroup) : 0;
}

/* When the workload of the daemon's reply is open. */
static int enter_place(json_t *reply, struct error *err)
{
	const char *cgroup, *netns, *workload;
	char procs[PATH_MAX];
	int r;

	if (json_unpack(reply, "{s:s,s:s,s:s}", "cgroup", &cgroup, "netns", &netns, "workload",
			&workload))
		return fail(err, ERROR_OTHER, -EBADMSG, NULL, "understand the daemon");
	r = wait_until_open(workload, err);
	if (r)
		return r;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	return enter_cgroup(procs, netns, err);
}

static int join_tunnel(const struct arguments *args, struct error *err)
{
	json_auto_t *reply = NULL;
	int r = control_ask(json_pack("{s:s,s:s,s:s*}", "verb", "exec", "interface",
				      args->interface, "netns", args->netns),
			    &reply, err);

	return r ? r : enter_place(reply, err);
}

/* Other exit codes than those of all commands, so main() has nothing to say any more. */
static int end_with(int exit_code, const struct error *err)
{
	fprintf(stderr, "vpnleash: %s\n", err->text);
	return exit_code;
}

int cmd_exec(int argc, char **argv, struct error *err)
{
	struct arguments args;
	int r;

	if (argc == 2 && wants_help(argc, argv)) {
		printf("usage: vpnleash exec --interface NAME [--netns FILE] -- CMD [ARGUMENT]...\n\n"
		       "Runs CMD in a new cgroup, which the running daemon locks before CMD enters it, and in the\n"
		       "network namespace of the tunnel. Waits until the tunnel has a lease. Processes that CMD\n"
		       "leaves behind stay leashed; the daemon removes the cgroup when the last one has ended.\n\n"
		       "  --interface NAME  the tunnel's interface, as in the daemon's configuration\n"
		       "  --netns FILE      the tunnel's network namespace, if several tunnels have that interface\n\n"
		       "example: vpnleash exec --interface wg0 -- curl https://example.org\n\n"
		       "Exit codes: CMD's own; 125 vpnleash failed, 126 CMD can not be run, 127 CMD is not there.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, &args, err);
	r = r ? r : join_tunnel(&args, err);
	if (r)
		return end_with(EXIT_OURS, err);
	execvp(args.command[0], args.command);
	r = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	fail(err, ERROR_OTHER, -errno, NULL, "run '%s'", quote(args.command[0]));
	return end_with(r, err);
}
