/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One table says each metric: its name, of what it is, and how it is read out of one object of the
 * report. Labels are names of workloads and tunnels, and words of fixed lists: what can grow is the
 * number of workloads alone. A name that occurs twice (two engines may have one each) gets "#2" the
 * second time: Prometheus refuses a whole answer that has the same series twice.
 */
#include "listen/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "report/report.h"
#include "vpnleash/states.h"

struct page {
	FILE *out;
	const struct metric *metric;
};

struct metric {
	const char *name, *help;
	bool counter;
	/* one of `of` in the report, with the label LABEL that is its name; all NULL: once */
	const char *of, *label;
	/* Writes the samples of that object; name is its label's value, escaped. */
	void (*write)(const struct page *p, const json_t *j, const char *name);
	/* for the common writers */
	const char *key;
	const char *const *words;
};

static const char *const workload_states[] = {
#define X(NAME, name) #name,
	VPNLEASH_WORKLOAD_STATES(X)
#undef X
		"locked",
	"gone", NULL
};
static const char *const tunnel_states[] = {
#define X(NAME, name) #name,
	VPNLEASH_TUNNEL_STATES(X)
#undef X
		NULL
};
static const char *const guard_states[] = { "complete", "incomplete", "weak", "audit",
					    "off",	"waiting",    NULL };

/* ------ samples ------ */

static void sample(const struct page *p, const char *name, const char *label, const char *value,
		   double number)
{
	const struct metric *m = p->metric;

	fprintf(p->out, "vpnleash_%s%s", m->name, m->counter ? "_total" : "");
	if (m->label)
		fprintf(p->out, "{%s=\"%s\"", m->label, name);
	if (label)
		fprintf(p->out, "%s%s=\"%s\"", m->label ? "," : "{", label, value);
	fprintf(p->out, "%s %.15g\n", m->label || label ? "}" : "", number);
}

/* Of a key in the object, or in one of its objects: "guard.state". */
static const json_t *get(const json_t *j, const char *key)
{
	const char *dot = strchr(key, '.');
	char first[32];

	if (!dot)
		return json_object_get(j, key);
	snprintf(first, sizeof(first), "%.*s", (int)(dot - key), key);
	return json_object_get(json_object_get(j, first), dot + 1);
}

static void write_number(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, json_number_value(get(j, p->metric->key)));
}

static void write_milliseconds(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, json_number_value(get(j, p->metric->key)) / 1000);
}

static void write_percent(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, json_number_value(get(j, p->metric->key)) / 100);
}

static void write_flag(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, json_is_true(get(j, p->metric->key)));
}

static void write_text(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, json_is_string(get(j, p->metric->key)));
}

static void write_audit(const struct page *p, const json_t *j, const char *name)
{
	const char *enforce = json_string_value(json_object_get(j, "enforce"));

	sample(p, name, NULL, NULL, enforce && !strcmp(enforce, "yes"));
}

static void write_wrong(const struct page *p, const json_t *j, const char *name)
{
	const char *exit = json_string_value(get(j, "identity.exit"));

	sample(p, name, NULL, NULL, exit && !strcmp(exit, "wrong"));
}

static void write_state(const struct page *p, const json_t *j, const char *name)
{
	const char *state = json_string_value(get(j, p->metric->key));

	for (const char *const *word = p->metric->words; *word; word++)
		sample(p, name, "state", *word, state && !strcmp(state, *word));
}

/* All of them: of one that appears only with its first packet no increase is seen. */
static void write_drops(const struct page *p, const json_t *j, const char *name)
{
	const json_t *dropped = get(j, p->metric->key);

	for (uint32_t r = 1; r < VPNLEASH_REASON_MAX; r++)
		sample(p, name, "reason", report_reason(r),
		       json_number_value(json_object_get(dropped, report_reason(r))));
}

static void write_passed(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, "direction", "out", json_number_value(json_object_get(j, "passed_out")));
	sample(p, name, "direction", "in", json_number_value(json_object_get(j, "passed_in")));
}

/* A label's value as both formats have it. The report has escaped all but backslashes of its own.
 */
static void escape_label(char *to, size_t size, const char *from)
{
	for (; *from && size > 3; from++) {
		if (strchr("\\\"\n", *from)) {
			*to++ = '\\';
			size--;
		}
		*to++ = *from == '\n' ? 'n' : *from;
		size--;
	}
	*to = '\0';
}

static void each_probe(const struct page *p, const json_t *j, const char *name,
		       double (*of)(const json_t *probe))
{
	json_auto_t *seen = json_object();
	const json_t *probe;
	char label[512];
	size_t i;

	json_array_foreach(json_object_get(j, "probes"), i, probe) {
		escape_label(label, sizeof(label), json_string_value(get(probe, "probe")));
		if (!json_object_get(seen, label))
			sample(p, name, "probe", label, of(probe));
		json_object_set_new(seen, label, json_true());
	}
}

static double probe_latency(const json_t *probe)
{
	return json_number_value(get(probe, "latency_ms")) / 1000;
}

static double probe_answers(const json_t *probe)
{
	return !strcmp(json_string_value(get(probe, "answers")), "yes");
}

static void write_latency(const struct page *p, const json_t *j, const char *name)
{
	each_probe(p, j, name, probe_latency);
}

static void write_answers(const struct page *p, const json_t *j, const char *name)
{
	each_probe(p, j, name, probe_answers);
}

static void write_up(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, NULL, NULL, j != NULL);
}

static void write_build(const struct page *p, const json_t *j, const char *name)
{
	sample(p, name, "version", VPNLEASH_VERSION, 1);
}

/* ------ the table ------ */

#define OF_WORKLOAD .of = "workloads", .label = "workload"
#define OF_TUNNEL   .of = "tunnels", .label = "tunnel"

static const struct metric metrics[] = {
	{ "daemon_up", "1: the daemon answers; 0: nothing is renewed, and no other metric is here",
	  .write = write_up },
	{ "build_info", "1, with the version of the program that tells", .write = write_build },
	{ "workload_state", "1 for the state that the workload is in", OF_WORKLOAD,
	  .write = write_state, .key = "state", .words = workload_states },
	{ "workload_state_seconds", "how long it has been in that state", OF_WORKLOAD,
	  .write = write_milliseconds, .key = "since_ms" },
	{ "workload_held", "1: an operator holds the workload", OF_WORKLOAD, .write = write_flag,
	  .key = "held" },
	{ "workload_enforced", "0: audit, nothing is dropped", OF_WORKLOAD, .write = write_audit },
	{ "workload_trouble", "1: it can not be stopped, started or leashed; status says why",
	  OF_WORKLOAD, .write = write_text, .key = "trouble" },
	{ "dropped_packets", "packets of the workload that the gate dropped", .counter = true,
	  OF_WORKLOAD, .write = write_drops, .key = "dropped" },
	{ "tunnel_state", "1 for the state that the tunnel is in", OF_TUNNEL, .write = write_state,
	  .key = "state", .words = tunnel_states },
	{ "lease_seconds", "what is left of the tunnel's lease; 0: none", OF_TUNNEL,
	  .write = write_milliseconds, .key = "lease_left_ms" },
	{ "patience_seconds", "how long the tunnel may be silent now", OF_TUNNEL,
	  .write = write_milliseconds, .key = "patience_ms" },
	{ "round_trip_seconds", "of the tunnel's probes, smoothed; 0: not known", OF_TUNNEL,
	  .write = write_milliseconds, .key = "round_trip_ms" },
	{ "probe_loss_ratio", "of the tunnel's last 64 probes", OF_TUNNEL, .write = write_percent,
	  .key = "loss_percent" },
	{ "probe_latency_seconds", "of the probe's last answer; 0: none yet", OF_TUNNEL,
	  .write = write_latency },
	{ "probe_answers", "1: the probe is answered", OF_TUNNEL, .write = write_answers },
	{ "identity_wrong", "1: identity is asked for, and the exit is another", OF_TUNNEL,
	  .write = write_wrong },
	{ "passed_packets", "packets that the tunnel's interface has carried", .counter = true,
	  OF_TUNNEL, .write = write_passed },
	{ "guard_state", "1 for the state that the guard of the tunnel's netns is in", OF_TUNNEL,
	  .write = write_state, .key = "guard.state", .words = guard_states },
	{ "guard_dropped_packets", "packets that the guard of the tunnel's netns dropped",
	  .counter = true, OF_TUNNEL, .write = write_drops, .key = "guard.dropped" },
	{ "guard_witnessed_packets", "packets that the witness behind the guard has seen",
	  .counter = true, OF_TUNNEL, .write = write_number, .key = "guard.witnessed" },
	{ "guard_stray_packets", "of these, what should never be there; 0, or the guard is broken",
	  .counter = true, OF_TUNNEL, .write = write_number, .key = "guard.strays" },
	{ "engine_reachable", "1: the container engine tells what it does", .of = "engines",
	  .label = "engine", .write = write_flag, .key = "reachable" },
	{ "removed_cgroups", "removed cgroups of which sockets are left, and stay shut",
	  .write = write_number, .key = "removed_cgroups" },
};

static void write_each(const struct page *p, const json_t *list)
{
	const char *label = p->metric->label;
	json_auto_t *seen = json_object();
	const json_t *j;
	size_t i;

	json_array_foreach(list, i, j) {
		const char *name = json_string_value(get(j, "name"));
		char shown[2048], *end;

		name = name ? name : json_string_value(get(j, label)); /* an engine */
		escape_label(shown, sizeof(shown) - 16, name ? name : "");
		end = shown + strlen(shown);
		for (int n = 2; json_object_get(seen, shown); n++)
			snprintf(end, 16, "#%d", n);
		json_object_set_new(seen, shown, json_true());
		p->metric->write(p, j, shown);
	}
}

char *metrics_text(const json_t *report, bool open)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (const struct metric *m = metrics; out && m < metrics + ARRAY_SIZE(metrics); m++) {
		struct page p = { out, m };
		const char *end = m->counter && !open ? "_total" : "";

		if (!report && m->write != write_up && m->write != write_build)
			continue;
		fprintf(out, "# HELP vpnleash_%s%s %s\n", m->name, end, m->help);
		fprintf(out, "# TYPE vpnleash_%s%s %s\n", m->name, end,
			m->counter ? "counter" : "gauge");
		if (m->of)
			write_each(&p, json_object_get(report, m->of));
		else
			m->write(&p, report, NULL);
	}
	if (out && open)
		fprintf(out, "# EOF\n");
	if (out && fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
