/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top: `status`, live. It asks the daemon once a second, and draws five times a second, so that a
 * lease is seen to run. Plain control sequences (xterm's, which every terminal of today knows); the
 * terminal is given back at any end that a program can still act on.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "report/control_client.h"
#include "report/report.h"

#define SPAN	60 /* seconds that are remembered */
#define ASK_NS	NS_PER_SEC
#define DRAW_MS 200
/* alternate screen, no wrapped lines, no cursor; and back */
#define ENTER "\033[?1049h\033[?7l\033[?25l"
#define LEAVE "\033[?25h\033[?7h\033[?1049l"
#define BELOW 8 /* lines under the list */

/* What is remembered of a workload. */
struct row {
	char key[600];		   /* name and cgroup id */
	uint64_t passed, dropped;  /* as they were last */
	unsigned int passes[SPAN]; /* of its tunnel, in each second, the newest last */
	unsigned int drops[SPAN];
	bool seen;
};

struct top {
	json_t *report; /* the last one */
	uint64_t asked_ns;
	char trouble[512]; /* why there is no newer one, or "" */
	struct row *rows;
	size_t n_rows, chosen;
	bool paused, unicode, colour;
};

static struct termios before;
static volatile sig_atomic_t ended, suspended;

/* ------ the terminal ------ */

static void leave(void)
{
	static const char text[] = LEAVE;

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		return; /* it has gone */
	tcsetattr(STDOUT_FILENO, TCSAFLUSH, &before);
}

static void enter(void)
{
	struct termios raw = before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDOUT_FILENO, TCSAFLUSH, &raw);
	fputs(ENTER, stdout);
	fflush(stdout);
}

static void on_signal(int signal)
{
	if (signal == SIGTSTP)
		suspended = 1;
	else
		ended = signal;
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return term && strcmp(term, "dumb") != 0 && isatty(STDIN_FILENO) &&
	       !tcgetattr(STDOUT_FILENO, &before);
}

static void take_terminal(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &(struct sigaction) { .sa_handler = on_signal }, NULL);
	atexit(leave);
	enter();
}

static void suspend(void)
{
	leave();
	suspended = 0;
	raise(SIGSTOP);
	enter();
}

/* ------ what is remembered ------ */

static const char *get(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "-";
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const json_t *tunnel_of(const struct top *t, const json_t *workload)
{
	const json_t *j;
	size_t i;

	json_array_foreach(json_object_get(t->report, "tunnels"), i, j)
		if (!strcmp(get(j, "name"), get(workload, "tunnel")))
			return j;
	return NULL;
}

static struct row *row_of(struct top *t, const json_t *workload)
{
	char key[sizeof(t->rows->key)];
	struct row *more;

	snprintf(key, sizeof(key), "%lld %s", number(workload, "cgroup_id"), get(workload, "name"));
	for (size_t i = 0; i < t->n_rows; i++)
		if (!strcmp(t->rows[i].key, key))
			return &t->rows[i];
	more = reallocarray(t->rows, t->n_rows + 1, sizeof(*more));
	if (!more)
		return NULL;
	t->rows = more;
	more = &t->rows[t->n_rows++];
	*more = (struct row) { .passed = UINT64_MAX };
	memcpy(more->key, key, sizeof(key));
	return more;
}

/* Counts that begin anew, with another interface or cgroup, are no packets. */
static void push(unsigned int counts[SPAN], uint64_t *last, uint64_t now, bool first)
{
	memmove(counts, counts + 1, (SPAN - 1) * sizeof(*counts));
	counts[SPAN - 1] = first || now < *last ? 0 : (unsigned int)(now - *last);
	*last = now;
}

/* anew: the last one is no second ago. */
static void remember(struct top *t, bool anew)
{
	const json_t *j, *n;
	const char *reason;
	size_t i, left = 0;

	for (i = 0; i < t->n_rows; i++)
		t->rows[i].seen = false;
	json_array_foreach(json_object_get(t->report, "workloads"), i, j) {
		const json_t *tunnel = tunnel_of(t, j);
		struct row *r = row_of(t, j);
		bool first = anew || (r && r->passed == UINT64_MAX);
		uint64_t dropped = 0;

		json_object_foreach(json_object_get(j, "dropped"), reason, n)
			dropped += (uint64_t)json_integer_value(n);
		if (!r)
			continue;
		r->seen = true;
		push(r->passes, &r->passed,
		     (uint64_t)(number(tunnel, "passed_out") + number(tunnel, "passed_in")), first);
		push(r->drops, &r->dropped, dropped, first);
	}
	for (i = 0; i < t->n_rows; i++)
		if (t->rows[i].seen)
			t->rows[left++] = t->rows[i];
	t->n_rows = left;
}

static int ask(struct top *t, struct error *err)
{
	bool anew = now_boot_ns() - t->asked_ns > 2 * ASK_NS; /* it was paused */
	json_t *report = NULL;
	int r = control_ask(json_pack("{s:s}", "verb", "status"), &report, err);

	snprintf(t->trouble, sizeof(t->trouble), "%s", r ? err->text : "");
	t->asked_ns = now_boot_ns();
	if (r)
		return r;
	json_decref(t->report);
	t->report = report;
	remember(t, anew);
	return 0;
}

/* ------ drawing ------ */

static void end_line(FILE *out)
{
	fputs("\033[K\r\n", out);
}

static const char *colour_of(const struct top *t, const json_t *workload)
{
	const char *state = get(workload, "state");

	if (!t->colour)
		return "";
	return !strcmp(state, "open") || !strcmp(state, "locked")      ? "\033[32m"
	       : !strcmp(state, "frozen") || !strcmp(state, "blocked") ? "\033[31m"
								       : "\033[33m";
}

static void draw_bar(const struct top *t, FILE *out, json_int_t left_ms)
{
	for (int i = 0; i < 8; i++)
		fputs(left_ms * 8 > i * 3000LL ? (t->unicode ? "\u2588" : "#")
					       : (t->unicode ? "\u2591" : "."),
		      out);
	if (left_ms > 0)
		fprintf(out, " %lld.%llds", left_ms / 1000, left_ms % 1000 / 100);
	else
		fputs(" none", out);
}

static void draw_workload(struct top *t, FILE *out, const json_t *j, bool chosen)
{
	const struct row *r = row_of(t, j);
	json_int_t aged_ms =
		t->paused ? 0 : (json_int_t)((now_boot_ns() - t->asked_ns) / NS_PER_MSEC);
	json_int_t left_ms = number(j, "lease_left_ms") - aged_ms;
	char since[32];

	report_duration(since, sizeof(since), number(j, "since_ms") + aged_ms);
	fprintf(out, "%s%s %-24.24s %s%-8s%s %-7s %-20.20s ", chosen ? "\033[1m" : "",
		chosen ? ">" : " ", get(j, "name"), colour_of(t, j),
		json_is_true(json_object_get(j, "held")) ? "held" : get(j, "state"),
		t->colour ? "\033[39m" : "", since, get(j, "tunnel"));
	draw_bar(t, out, left_ms > 0 && !*t->trouble ? left_ms : 0);
	fprintf(out, " %9u %9u\033[0m", r ? r->passes[SPAN - 1] : 0, r ? r->drops[SPAN - 1] : 0);
	end_line(out);
}

/* "passed  ..:|: at most 12 a second" */
static void draw_counts(const struct top *t, FILE *out, const char *what,
			const unsigned int *counts)
{
	static const char *const blocks[] = { " ",	"\u2581", "\u2582", "\u2583", "\u2584",
					      "\u2585", "\u2586", "\u2587", "\u2588" };
	static const char *const plain[] = { " ", ".", ".", ":", "-", "=", "+", "*", "#" };
	unsigned int most = 0;

	for (int i = 0; i < SPAN; i++)
		most = counts[i] > most ? counts[i] : most;
	fprintf(out, "%-8s", what);
	for (int i = 0; i < SPAN; i++) {
		size_t level = most ? ((uint64_t)counts[i] * 8 + most - 1) / most : 0;

		fputs(t->unicode ? blocks[level] : plain[level], out);
	}
	fprintf(out, " at most %u a second", most);
	end_line(out);
}

static void draw_chosen(struct top *t, FILE *out, const json_t *j)
{
	const struct row *r = row_of(t, j);
	const json_t *tunnel = tunnel_of(t, j);
	char patience[32];

	end_line(out);
	fprintf(out, "%s: %s", get(j, "name"), get(j, "why"));
	end_line(out);
	fprintf(out, "to do: %s", get(j, "remedy"));
	end_line(out);
	if (r) {
		draw_counts(t, out, "passed", r->passes);
		draw_counts(t, out, "dropped", r->drops);
	}
	report_duration(patience, sizeof(patience), number(tunnel, "patience_ms"));
	fprintf(out, "tunnel %s in %s: %s, guard %s, patience %s", get(tunnel, "interface"),
		get(tunnel, "netns"), get(tunnel, "state"), get(j, "guard"), patience);
	end_line(out);
}

/* "3 open, 1 frozen" */
static void draw_head(const struct top *t, FILE *out, const json_t *workloads)
{
	static const char *const states[] = { "frozen", "blocked", "stopped", "waiting", "open" };
	char now[16];
	time_t seconds = time(NULL);
	struct tm tm;
	const json_t *j;

	strftime(now, sizeof(now), "%H:%M:%S", localtime_r(&seconds, &tm));
	fprintf(out, "\033[Hvpnleash top  %s", now);
	for (size_t s = 0; s < ARRAY_SIZE(states); s++) {
		size_t i, n = 0;

		json_array_foreach(workloads, i, j)
			n += !strcmp(get(j, "state"), states[s]);
		if (n)
			fprintf(out, "  %zu %s", n, states[s]);
	}
	fprintf(out, "%s", t->paused ? "  (paused)" : "");
	end_line(out);
	fprintf(out, "\033[1m%s%s\033[0m", t->colour ? "\033[31m" : "", t->trouble);
	end_line(out);
	fprintf(out, "  %-24s %-8s %-7s %-20s %-13s %9s %9s", "WORKLOAD", "STATE", "SINCE",
		"TUNNEL", "LEASE", "PASSED/s", "DROPPED/s");
	end_line(out);
}

static void draw(struct top *t)
{
	const json_t *workloads = json_object_get(t->report, "workloads");
	size_t n = json_array_size(workloads), first = 0, room, length;
	_cleanup_free char *text = NULL;
	FILE *out = open_memstream(&text, &length);
	struct winsize size = { .ws_row = 24 };

	if (!out)
		return;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	room = size.ws_row > BELOW + 4 ? size.ws_row - BELOW - 3U : 1;
	if (t->chosen >= n)
		t->chosen = n ? n - 1 : 0;
	if (t->chosen >= room)
		first = t->chosen - room + 1;
	draw_head(t, out, workloads);
	for (size_t i = first; i < n && i < first + room; i++)
		draw_workload(t, out, json_array_get(workloads, i), i == t->chosen);
	if (n)
		draw_chosen(t, out, json_array_get(workloads, t->chosen));
	else
		fputs("nothing is leashed\033[K\r\n", out);
	end_line(out);
	fputs("q quit  up, down choose  space pause\033[K\033[J", out);
	if (!fclose(out)) {
		fwrite(text, 1, length, stdout);
		fflush(stdout);
	}
}

/* ------ keys ------ */

/* false: quit. Arrows come as ESC [ A and B, after some terminals' start-up as ESC O A. */
static bool take_keys(struct top *t)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0)
		return false; /* nobody is there any more */
	for (ssize_t i = 0; i < n; i++) {
		char key = keys[i];

		if (key == '\033' && i + 2 < n && (keys[i + 1] == '[' || keys[i + 1] == 'O')) {
			i += 2;
			key = keys[i] == 'A' ? 'k' : keys[i] == 'B' ? 'j' : 0;
		}
		if (key == 'q')
			return false;
		if (key == ' ')
			t->paused = !t->paused;
		if (key == 'k' && t->chosen)
			t->chosen--;
		if (key == 'j')
			t->chosen++;
	}
	return true;
}

static void live(struct top *t)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	struct error err;

	while (!ended) {
		draw(t);
		if (poll(&p, 1, DRAW_MS) > 0 && !take_keys(t))
			return;
		if (suspended)
			suspend();
		if (!t->paused && now_boot_ns() - t->asked_ns >= ASK_NS)
			ask(t, &err);
	}
}

int cmd_top(int argc, char **argv, struct error *err)
{
	struct top t = { .colour = !getenv("NO_COLOR") };
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash top\n\n"
		       "What `status` says, live: each lease as it runs, packets passed (by the tunnel) and dropped\n"
		       "in the last minute, and why the chosen workload is as it is.\n\n"
		       "Keys: q quits, up and down choose a workload, space pauses.\n"
		       "Without colours where NO_COLOR is set.\n\n"
		       "Exit codes: 0 quit, 2 no terminal, 3 no daemon, 4 missing privilege, 5 other failure.\n");
		return EXIT_GOOD;
	}
	if (argc > 1)
		return fail(err, ERROR_INPUT, 0, "see --help", "unknown option '%s'",
			    quote(argv[1]));
	setlocale(LC_CTYPE, "");
	t.unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
	if (!is_terminal())
		return fail(err, ERROR_INPUT, 0, "vpnleash status", "top needs a terminal");
	r = ask(&t, err);
	if (r)
		return r;
	take_terminal();
	live(&t);
	json_decref(t.report);
	free(t.rows);
	if (!ended)
		return EXIT_GOOD;
	leave(); /* and end as the signal would have it */
	signal(ended, SIG_DFL);
	raise(ended);
	return EXIT_GOOD;
}
