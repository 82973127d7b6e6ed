/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status, check, why, events: from the daemon; status and check, without one, from the pins. */
#include <errno.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/names.h"
#include "report/control_client.h"
#include "report/report.h"

static void print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
}

/* [--json] [-f|-v] [WORKLOAD], as far as the command takes them; flag: 'f', 'v', 0: none. */
struct arguments {
	bool json, flag;
	const char *workload;
};

static int parse_arguments(int argc, char **argv, char flag, bool takes_workload,
			   struct arguments *ret, struct error *err)
{
	*ret = (struct arguments) { 0 };
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			ret->json = true;
		else if (flag && !strcmp(argv[i], (char[]) { '-', flag, 0 }))
			ret->flag = true;
		else if (takes_workload && argv[i][0] != '-' && !ret->workload)
			ret->workload = argv[i];
		else
			return fail(err, ERROR_INPUT, 0, "see --help", "unknown option '%s'",
				    quote(argv[i]));
	}
	return 0;
}

int cmd_status(int argc, char **argv, struct error *err)
{
	struct arguments args;
	json_auto_t *report = NULL;
	bool daemon;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash status [-v] [--json]\n\n"
		       "Each workload (a leashed cgroup) with its state, its lease and what was dropped, by reason.\n"
		       "Without a daemon this is read from the pins.\n\n"
		       "  -v      each probe as well, and what the tunnel's way is like\n"
		       "  --json  one JSON object on one line\n\n"
		       "Exit codes: 0 all open (or nothing is leashed), 1 some not, 2 usage, 3 no daemon,\n"
		       "            4 missing privilege, 5 other failure.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, 'v', false, &args, err);
	r = r ? r : names_report(&report, &daemon, err);
	if (r)
		return r;
	if (args.json) {
		print_json(report);
	} else {
		report_print(stdout, report, args.flag);
		if (!daemon && report_any(report))
			printf("no daemon: nothing is renewed; what is not open stays locked\n"
			       "  to open it again:  vpnleash run --cgroup PATH --interface NAME "
			       "...\n"
			       "  to unleash it:     vpnleash detach NAME\n");
	}
	if (!daemon && report_any(report))
		return ERROR_NO_DAEMON;
	return report_all_open(report) ? EXIT_GOOD : EXIT_NEGATIVE;
}

/* The daemon answers, and of what is there nothing lacks its gate or its guard. */
static int check_daemon(const json_t *report, bool daemon)
{
	char lacks[REPORT_LACKS] = "no daemon";
	bool good = daemon && report_complete(report, lacks);

	printf("vpnleash: %s\n", good ? "gate and guard are in place" : lacks);
	return good ? EXIT_GOOD : EXIT_NEGATIVE;
}

int cmd_check(int argc, char **argv, struct error *err)
{
	struct arguments args;
	json_auto_t *report = NULL;
	const char *state = NULL, *shown;
	char name[NAME_LEN];
	json_t *j;
	bool daemon;
	size_t i;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash check [WORKLOAD] [--json]\n\n"
		       "Prints one line, for health checks. With WORKLOAD: is it open? Without: does the daemon\n"
		       "answer, and do all workloads and tunnels that exist have their gate and guard?\n\n"
		       "  --json  the JSON object of the workload\n\n"
		       "Exit codes: 0 yes, 1 no, or it can not be told, 2 usage.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, 0, true, &args, err);
	if (r)
		return r;
	if (args.json && !args.workload)
		return fail(err, ERROR_INPUT, 0, "vpnleash status --json",
			    "--json of which workload?");
	shown = quote(args.workload ? args.workload : "vpnleash");
	if (names_report(&report, &daemon, err)) {
		printf("%s: %s\n", shown, err->text);
		return EXIT_NEGATIVE;
	}
	if (!args.workload)
		return check_daemon(report, daemon);
	if (names_find(report, args.workload, name, err)) {
		if (!args.json)
			printf("%s%s\n", err->text, daemon ? "" : " (no daemon)");
		return EXIT_NEGATIVE;
	}
	shown = name;
	json_array_foreach(json_object_get(report, "workloads"), i, j)
		if (!strcmp(json_string_value(json_object_get(j, "name")), shown)) {
			state = json_string_value(json_object_get(j, "state"));
			if (args.json)
				print_json(j);
		}
	if (!args.json)
		printf("%s: %s%s\n", shown, state ? state : "not leashed",
		       daemon ? "" : " (no daemon)");
	return state && !strcmp(state, "open") ? EXIT_GOOD : EXIT_NEGATIVE;
}

int cmd_why(int argc, char **argv, struct error *err)
{
	struct arguments args;
	json_auto_t *why = NULL;
	char name[NAME_LEN];
	bool daemon;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash why [WORKLOAD] [--json]\n\n"
		       "The last decision about a workload, in words: what, since when, why, and what you can do.\n"
		       "WORKLOAD may be left out if there is only one.\n\n"
		       "  --json  one JSON object on one line\n\n"
		       "Exit codes: 0 told, 2 no such workload, 3 no daemon, 4 missing privilege, 5 other failure.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, 0, true, &args, err);
	if (r)
		return r;
	r = names_ask(args.workload, name, &daemon, err);
	if (r && daemon)
		return r;
	r = control_ask(json_pack("{s:s,s:s}", "verb", "why", "workload", daemon ? name : "-"),
			&why, err);
	if (r)
		return r;
	if (args.json)
		print_json(why);
	else
		report_print_why(stdout, why);
	return EXIT_GOOD;
}

struct follower {
	bool json;
	char workload[NAME_LEN]; /* as records name it; "": all */
};

static void print_record(const struct follower *f, const json_t *record)
{
	const char *of = json_string_value(json_object_get(record, "workload"));

	if (*f->workload && (!of || strcmp(of, f->workload)))
		return;
	if (f->json)
		print_json(record);
	else
		report_print_event(stdout, record);
	fflush(stdout);
}

static int on_line(const json_t *line, void *arg)
{
	json_t *history = json_object_get(line, "events"), *record;
	size_t i;

	if (!history)
		print_record(arg, line);
	json_array_foreach(history, i, record)
		print_record(arg, record);
	return 0;
}

int cmd_events(int argc, char **argv, struct error *err)
{
	struct arguments args;
	struct follower f = { 0 };
	bool daemon = false;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash events [--json] [-f] [WORKLOAD]\n\n"
		       "The last 256 changes of state and samples of dropped packets, oldest first. At most ten\n"
		       "drops a second are sampled for each workload; `vpnleash status` has the exact counts.\n\n"
		       "  -f      follow: print new ones as they happen\n"
		       "  --json  one JSON object a line\n\n"
		       "Exit codes: 0 told, 2 no such workload, 3 no daemon, 4 missing privilege, 5 other failure.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, 'f', true, &args, err);
	if (r)
		return r;
	f.json = args.json;
	r = args.workload ? names_ask(args.workload, f.workload, &daemon, err) : 0;
	if (r && daemon)
		return r;
	return control_follow(json_pack("{s:s,s:b,s:s*}", "verb", "events", "follow", args.flag,
					"workload", *f.workload ? f.workload : NULL),
			      on_line, &f, err);
}
