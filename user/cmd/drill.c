/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drill: the failures of user/drill, one after the other, on a workload that is open. */
#include "drill/rehearse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/names.h"
#include "report/control.h"
#include "report/report.h"

#define LOCK_FILE CONTROL_RUN_DIR "/drill.lock"

struct arguments {
	bool yes, json, stop;
	const char *workload;
	uint32_t only; /* a bit for each of failures[]; 0: all */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

static int choose(struct arguments *a, const char *name, struct error *err)
{
	char known[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < n_failures; i++) {
		if (!strcmp(failures[i].name, name)) {
			a->only |= 1U << i;
			return 0;
		}
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
				      failures[i].name);
	}
	return fail(err, ERROR_INPUT, 0, known, "there is no failure '%s'", quote(name));
}

static int parse_arguments(int argc, char **argv, struct arguments *ret, struct error *err)
{
	*ret = (struct arguments) { 0 };
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--yes"))
			ret->yes = true;
		else if (!strcmp(argv[i], "--json"))
			ret->json = true;
		else if (!strcmp(argv[i], "--stop"))
			ret->stop = true;
		else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			if (choose(ret, argv[++i], err))
				return -EINVAL;
		} else if (argv[i][0] != '-' && !ret->workload)
			ret->workload = argv[i];
		else
			return fail(err, ERROR_INPUT, 0, "see --help", "unknown option '%s'",
				    quote(argv[i]));
	}
	return 0;
}

/* Only what is open and would be shut shows anything. */
static int check(const json_t *workload, struct error *err)
{
	const char *name = report_get(workload, "name"), *state = report_get(workload, "state");

	if (!workload)
		return fail(err, ERROR_ABSENT, 0, "see: vpnleash status", "its cgroup is gone");
	if (strcmp(state, "open"))
		return fail(err, ERROR_ABSENT, 0, "see: vpnleash why", "'%s' is %s, not open", name,
			    state);
	if (strcmp(report_get(workload, "enforce"), "yes"))
		return fail(err, ERROR_ABSENT, 0, "set enforce = yes",
			    "nothing is dropped of '%s', it is only audited", name);
	return 0;
}

static int ask(const json_t *report, const char *tunnel, struct error *err)
{
	char answer[8] = "";
	const json_t *j;
	int printed = 0;
	size_t i;

	if (!isatty(STDIN_FILENO))
		return fail(err, ERROR_INPUT, 0, "give --yes",
			    "it interrupts, and nobody is there to be asked");
	fprintf(stderr,
		"This interrupts whatever uses the tunnel '%s', for some seconds each time: ",
		tunnel);
	json_array_foreach(json_object_get(report, "workloads"), i, j)
		if (!strcmp(report_get(j, "tunnel"), tunnel))
			fprintf(stderr, "%s%s", printed++ ? ", " : "", report_get(j, "name"));
	fprintf(stderr, "\nType yes to go on: ");
	if (!fgets(answer, sizeof(answer), stdin) || strcmp(answer, "yes\n"))
		return fail(err, ERROR_ABSENT, 0, NULL, "nothing was done");
	return 0;
}

/* ------ the table ------ */

static void print_cell(uint64_t ns)
{
	char cell[32] = "-";

	if (ns)
		snprintf(cell, sizeof(cell), "%.1f", (double)ns / 1e6);
	printf(" %10s", cell);
}

static void print_row(const struct failure *f, const struct rehearsal *r)
{
	printf("%-15s", f->name);
	if (*r->refused) {
		printf(" not rehearsed: %s\n", r->refused);
		return;
	}
	print_cell(r->shut_ns);
	print_cell(r->frozen_ns);
	print_cell(r->stopped_ns);
	print_cell(r->open_ns);
	print_cell(r->gap_ns);
	printf(" %8s %8llu%s%s\n", r->passed ? "SOME" : "none", (unsigned long long)r->dropped,
	       *r->wrong ? "  WRONG: " : "", r->wrong);
}

static json_t *milliseconds(uint64_t ns)
{
	return ns ? json_real((double)ns / 1e6) : json_null();
}

static json_t *row_json(const struct failure *f, const struct rehearsal *r)
{
	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:b,s:I,s:o,s:o}", "failure", f->name, "shut_ms",
			 milliseconds(r->shut_ns), "frozen_ms", milliseconds(r->frozen_ns),
			 "stopped_ms", milliseconds(r->stopped_ns), "open_ms",
			 milliseconds(r->open_ns), "reopen_gap_ms", milliseconds(r->gap_ns),
			 "passed", r->passed, "dropped", (json_int_t)r->dropped, "refused",
			 *r->refused ? json_string(r->refused) : json_null(), "wrong",
			 *r->wrong ? json_string(r->wrong) : json_null());
}

/* What to type if both this process and its keeper are killed. */
static void announce(const struct drill *d, const struct failure *f)
{
	char typed[256];

	fprintf(stderr, "%s: %s; by hand it is put back by: %s\n", f->name, f->does,
		f->by_hand(&d->broken, typed, sizeof(typed)));
}

/* By what is there now: the failure before it may have brought another interface, cgroup, patience.
 */
static int rehearse_one(struct drill *d, const char *name, const struct failure *f,
			struct rehearsal *ret, struct error *err)
{
	json_auto_t *report = NULL;
	const json_t *workload;
	bool daemon;
	int r = names_report(&report, &daemon, err);

	*ret = (struct rehearsal) { 0 };
	if (r)
		return r;
	workload = report_find(report, "workloads", name);
	if (check(workload, err)) {
		snprintf(ret->refused, sizeof(ret->refused), "%s", err->text);
		return 0;
	}
	d->broken = (struct broken) { 0 };
	r = drill_open(d, workload, report_find(report, "tunnels", report_get(workload, "tunnel")),
		       err);
	r = r ? r : drill_rehearse(d, f, ret, err);
	broken_forget(&d->broken);
	drill_close(d);
	return r;
}

/* How many were rehearsed, and in *ret_wrong how many of them went wrong. */
static int rehearse_all(struct drill *d, const char *name, const struct arguments *args,
			int *ret_wrong, struct error *err)
{
	json_auto_t *rows = json_array();
	struct rehearsal result;
	int n = 0, r;

	if (!args->json)
		printf("%-15s %10s %10s %10s %10s %10s %8s %8s\n", "ms after", "shut", "frozen",
		       "stopped", "open again", "of caution", "passed", "dropped");
	for (size_t i = 0; i < n_failures; i++) {
		const struct failure *f = &failures[i];

		if (args->only && !(args->only & 1U << i))
			continue;
		fflush(stdout);
		r = rehearse_one(d, name, f, &result, err);
		if (r)
			return r == -EINTR
				       ? fail(err, ERROR_OTHER, 0, "the workload opens by itself",
					      "interrupted: all is put back")
				       : r;
		if (args->json)
			json_array_append_new(rows, row_json(f, &result));
		else
			print_row(f, &result);
		n += !*result.refused;
		*ret_wrong += *result.wrong != '\0';
	}
	if (args->json) {
		json_auto_t *all = json_pack("{s:s,s:O}", "workload", name, "failures", rows);

		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("not rehearsed, as it could not be put back exactly: the VPN killed, its "
		       "container unhealthy or gone,\nthe tunnel deleted, its server silent\n");
	}
	return n;
}

static void catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal };

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGHUP, &a, NULL);
}

static int drill(const struct arguments *args, const json_t *report, const char *name,
		 struct error *err)
{
	const json_t *workload = report_find(report, "workloads", name);
	struct drill d = { .interrupted = &interrupted,
			   .wait_for_stop = args->stop,
			   .announce = announce };
	_cleanup_fd int lock = -1;
	int r = check(workload, err), wrong = 0;

	if (!r && !args->yes)
		r = ask(report, report_get(workload, "tunnel"), err);
	if (r)
		return r;
	lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) /* the keeper has it as well */
		return fail(err, ERROR_OTHER, -errno, "wait for the other drill",
			    "lock " LOCK_FILE);
	catch_signals();
	r = rehearse_all(&d, name, args, &wrong, err);
	if (r < 0)
		return r;
	if (!r)
		return fail(err, ERROR_OTHER, 0, NULL, "nothing could be rehearsed");
	return wrong ? EXIT_NEGATIVE : EXIT_GOOD;
}

int cmd_drill(int argc, char **argv, struct error *err)
{
	struct arguments args;
	json_auto_t *report = NULL;
	char name[NAME_LEN];
	bool daemon;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash drill [WORKLOAD] [--yes] [--only FAILURE]... [--stop] [--json]\n\n"
		       "Rehearses failures on the live system, one after the other, and says how long each took\n"
		       "to shut, freeze and open again. It interrupts whatever uses the tunnel, and asks first.\n"
		       "What it has changed is put back, also if it is interrupted or killed. WORKLOAD may be\n"
		       "left out if there is only one; it must be open.\n\n");
		for (size_t i = 0; i < n_failures; i++)
			printf("  %-15s %s\n", failures[i].name, failures[i].does);
		printf("\n  --yes           do not ask\n"
		       "  --only FAILURE  rehearse this one; may be given again\n"
		       "  --stop          let each last until the workload is stopped (stop-after)\n"
		       "  --json          one JSON object on one line\n\n"
		       "Exit codes: 0 all went as promised, 1 one did not, or the workload is not open, 2 usage,\n"
		       "            3 no daemon, 4 missing privilege, 5 other failure, or interrupted.\n");
		return EXIT_GOOD;
	}
	r = parse_arguments(argc, argv, &args, err);
	if (r)
		return r;
	if (geteuid())
		return fail(err, ERROR_PRIVILEGE, -EPERM, "run as root", "drill");
	r = names_report(&report, &daemon, err);
	r = r ? r : names_find(report, args.workload, name, err);
	if (r)
		return r;
	if (!daemon)
		return fail(err, ERROR_NO_DAEMON, 0, "start it: vpnleash run", "no daemon");
	return drill(&args, report, name, err);
}
