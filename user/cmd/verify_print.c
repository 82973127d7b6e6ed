/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/verify.h"

#include <string.h>
#include <sys/utsname.h>

static const char *const columns[COLUMNS] = { "control", "up", "down", "dead" };
static const char *const states_of[COLUMNS] = { "", "tunnel up", "tunnel down", "daemon dead" };

static const char *how_name(enum how how)
{
	return how == HOW_IN_PLACE ? "in place" : how == HOW_STAND_IN ? "stand-in" : "unproven";
}

static bool has_run(const struct verify *v, enum column c)
{
	for (size_t i = 0; i < v->trial.n_rows; i++)
		if (v->trial.rows[i].cells[c].sent)
			return true;
	return false;
}

/* The way as people are told: the names of a machine's interfaces are its own. */
static const char *way_name(const struct row *r)
{
	static const char *const names[WAYS] = { "decoy", "underlay", "underlay 2", "underlay 3",
						 "underlay 4" };

	return names[r->way];
}

/* ------ the verdict ------ */

struct verdict {
	struct sum sum;
	bool names_lost;
	int exit_code;
};

static struct verdict judge(const struct verify *v)
{
	struct verdict j = { .sum = trial_sum(&v->trial),
			     .names_lost = v->names_redirected && trial_names_lost(&v->trial) };

	j.exit_code = j.sum.leaked || j.names_lost ? EXIT_NEGATIVE
		      : !j.sum.gate		   ? (int)ERROR_OTHER
						   : EXIT_GOOD;
	return j;
}

static void say_kinds(char *buf, size_t size, const struct verify *v)
{
	size_t at = 0;

	*buf = '\0';
	for (size_t i = 0; i < v->trial.n_rows; i++) {
		const struct row *r = &v->trial.rows[i];
		uint64_t seen = 0;

		for (enum column c = COLUMN_UP; c < COLUMNS; c++)
			seen += r->cells[c].seen;
		if (seen && at < size)
			at += (size_t)snprintf(buf + at, size - at, "%s%s (%s)", at ? ", " : "",
					       kind_at(r->kind)->name, way_name(r));
	}
}

static const char *why_nothing(const struct verify *v)
{
	const struct way *decoy = &v->trial.place.ways[0];

	if (decoy->capture.opened_ns && !v->frozen)
		return "no packet of its control came through either: a firewall in its network "
		       "holds them, or verify is leashed itself";
	return v->frozen ? "it is frozen, so nothing in it can send" : decoy->unseen.text;
}

/* One line without an address or a name of the machine: fit for a forum. */
static void say_verdict(char *buf, size_t size, const struct verify *v, const struct verdict *j)
{
	char kinds[1500], states[64] = "";
	struct utsname kernel;

	for (enum column c = COLUMN_UP; c < COLUMNS; c++)
		if (has_run(v, c))
			snprintf(states + strlen(states), sizeof(states) - strlen(states), "%s%s",
				 *states ? ", " : "", states_of[c]);
	uname(&kernel);
	say_kinds(kinds, sizeof(kinds), v);
	if (j->sum.leaked)
		snprintf(buf, size, "LEAK: %llu packets of '%s' passed: %s",
			 (unsigned long long)j->sum.leaked, v->name, kinds);
	else if (j->names_lost)
		snprintf(buf, size,
			 "FAULT: questions for names of '%s' are not redirected into the tunnel",
			 v->name);
	else if (!j->sum.gate)
		snprintf(buf, size, "NOTHING PROVED of '%s': %s", v->name, why_nothing(v));
	else
		snprintf(buf, size,
			 "0 of %llu packets of '%s' passed: %u kinds, each seen from a control; %s",
			 (unsigned long long)j->sum.sent, v->name, j->sum.rows, states);
	snprintf(buf + strlen(buf), size - strlen(buf), " (vpnleash %s, Linux %s)",
		 VPNLEASH_VERSION, kernel.release);
}

/* ------ the table ------ */

static void print_cell(const struct cell *c, bool has_run)
{
	char text[48] = "";

	if (c->tried || c->seen)
		snprintf(text, sizeof(text), "%llu of %llu", (unsigned long long)c->seen,
			 (unsigned long long)c->sent);
	else if (has_run)
		snprintf(text, sizeof(text), "-");
	printf(" %-10s", text);
}

static void print_rows(const struct verify *v, const bool *ran)
{
	printf("%-13s %-11s %-9s", "KIND", "WAY", "HOW");
	for (enum column c = 0; c < COLUMNS; c++)
		if (ran[c])
			printf(" %-10s", c == COLUMN_CONTROL ? "CONTROL"
					 : c == COLUMN_UP    ? "UP"
					 : c == COLUMN_DOWN  ? "DOWN"
							     : "DEAD");
	printf("\n");
	for (size_t i = 0; i < v->trial.n_rows; i++) {
		const struct row *r = &v->trial.rows[i];

		printf("%-13s %-11s %-9s", kind_at(r->kind)->name, way_name(r),
		       how_name(trial_how(&v->trial, r)));
		for (enum column c = 0; c < COLUMNS && !*r->skipped; c++)
			if (ran[c])
				print_cell(&r->cells[c], true);
		printf("%s%s\n", *r->skipped ? " " : "", r->skipped);
	}
}

static void print_notes(const struct verify *v, const struct verdict *j, const bool *ran)
{
	const struct place *p = &v->trial.place;

	printf("\n");
	for (enum column c = COLUMN_UP; c < COLUMNS; c++) {
		if (!ran[c])
			continue;
		printf("the gate dropped, %s:", states_of[c]);
		for (int i = 0; i < VPNLEASH_REASON_MAX; i++)
			if (v->dropped[c][i])
				printf(" %s %llu", report_reason((uint32_t)i),
				       (unsigned long long)v->dropped[c][i]);
		printf("\n");
	}
	for (size_t i = 0; i < p->n_ways; i++)
		if (!p->ways[i].fenced)
			printf("not seen, %s: %s\n", i ? quote(p->ways[i].name) : "decoy",
			       p->ways[i].unseen.text);
	for (size_t i = 0; i < p->n_beyond; i++)
		printf("watched beyond it: %s %s%s\n", p->beyond[i].what, quote(p->beyond[i].name),
		       p->beyond[i].fenced ? "" : " (its capture is not proven)");
	if (ran[COLUMN_UP] && v->names_redirected)
		printf("names: %s\n", j->names_lost ? "NOT redirected into the tunnel"
						    : "asked through the tunnel");
	if (v->disturbed_ns)
		printf("cut off meanwhile: %.1f s\n", (double)v->disturbed_ns / 1e9);
	else
		printf("nothing was interrupted\n");
	if (*v->not_open)
		printf("%s\n", v->not_open);
}

/* ------ JSON ------ */

static json_t *row_json(const struct verify *v, const struct row *r)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:o}", "kind", kind_at(r->kind)->name, "way",
			      way_name(r), "how", how_name(trial_how(&v->trial, r)), "skipped",
			      report_text(*r->skipped ? r->skipped : NULL));

	for (enum column c = 0; c < COLUMNS; c++)
		json_object_set_new(j, columns[c],
				    r->cells[c].tried || r->cells[c].seen
					    ? json_pack("{s:I,s:I}", "sent",
							(json_int_t)r->cells[c].sent, "seen",
							(json_int_t)r->cells[c].seen)
					    : json_null());
	return j;
}

static void print_json(const struct verify *v, const struct verdict *j, const char *verdict,
		       const bool *ran)
{
	json_t *rows = json_array(), *dropped = json_object();
	json_auto_t *all = NULL;
	struct utsname kernel;

	uname(&kernel);
	for (size_t i = 0; i < v->trial.n_rows; i++)
		json_array_append_new(rows, row_json(v, &v->trial.rows[i]));
	for (enum column c = COLUMN_UP; c < COLUMNS; c++)
		if (ran[c])
			json_object_set_new(dropped, columns[c], report_drops(v->dropped[c]));
	all = json_pack("{s:s,s:s,s:s,s:s,s:b,s:o,s:o,s:I,s:I,s:o,s:I,s:b,s:s}", "version",
			VPNLEASH_VERSION, "kernel", kernel.release, "workload", v->name, "state",
			v->state, "daemon", v->daemon != 0, "rows", rows, "dropped", dropped,
			"packets", (json_int_t)j->sum.sent, "leaked", (json_int_t)j->sum.leaked,
			"names",
			report_text(!v->names_redirected || !ran[COLUMN_UP] ? NULL
				    : j->names_lost			    ? "lost"
									    : "redirected"),
			"disturbed_ms", (json_int_t)(v->disturbed_ns / NS_PER_MSEC), "open_again",
			!*v->not_open, "verdict", verdict);
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
}

int verify_tell(const struct verify *v)
{
	struct verdict j = judge(v);
	bool ran[COLUMNS];
	char verdict[2500];

	for (enum column c = 0; c < COLUMNS; c++)
		ran[c] = has_run(v, c);
	say_verdict(verdict, sizeof(verdict), v, &j);
	if (v->json) {
		print_json(v, &j, verdict, ran);
	} else {
		print_rows(v, ran);
		print_notes(v, &j, ran);
		printf("\n%s\n", verdict);
	}
	return j.exit_code;
}
