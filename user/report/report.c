/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/report.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "act/counters.h"

static const char *const reason_names[VPNLEASH_REASON_MAX] = {
#define X(number, NAME, name, sentence) [number] = #name,
	VPNLEASH_REASONS(X)
#undef X
};

const char *report_reason(uint32_t reason)
{
	return reason && reason < VPNLEASH_REASON_MAX ? reason_names[reason] : "?";
}

json_t *report_text(const char *s)
{
	char shown[512];

	return s ? json_string(escape(shown, sizeof(shown), s)) : json_null();
}

json_t *report_known(const char *s)
{
	return s && *s ? json_string(s) : json_null();
}

/* By the boot clock; 0: never. */
static uint64_t since(uint64_t ns)
{
	uint64_t now = now_boot_ns();

	return ns && now > ns ? now - ns : 0;
}

static json_t *milliseconds(uint64_t ns)
{
	return json_integer((json_int_t)(ns / NS_PER_MSEC));
}

json_t *report_drops(const uint64_t dropped[VPNLEASH_REASON_MAX])
{
	json_t *j = json_object();

	for (int reason = 1; reason < VPNLEASH_REASON_MAX; reason++)
		if (dropped[reason])
			json_object_set_new(j, reason_names[reason],
					    json_integer((json_int_t)dropped[reason]));
	return j;
}

static json_int_t ago_ms(uint64_t at_ns)
{
	return at_ns ? (json_int_t)(since(at_ns) / NS_PER_MSEC) : -1;
}

json_t *report_probe_json(const struct report_probe *p)
{
	return json_pack("{s:s,s:s,s:b,s:s,s:f,s:I,s:i}", "probe", p->text, "answers", p->answers,
			 "kept", p->kept, "says", p->says, "latency_ms",
			 (double)p->took_ns / NS_PER_MSEC, "answered_ago_ms",
			 ago_ms(p->answered_ns), "unanswered", (int)p->unanswered);
}

json_t *report_identity_json(const struct report_identity *e)
{
	return json_pack("{s:s,s:s,s:s,s:f,s:I}", "identity", e->text, "exit", e->exit, "says",
			 e->says, "latency_ms", (double)e->took_ns / NS_PER_MSEC, "answered_ago_ms",
			 ago_ms(e->answered_ns));
}

json_t *report_tunnel_json(const struct report_tunnel *t)
{
	json_t *j = json_object();

	json_object_set_new(j, "name", report_text(t->name));
	json_object_set_new(j, "interface", report_text(t->interface));
	json_object_set_new(j, "netns", report_text(t->netns));
	json_object_set_new(j, "state", report_text(t->state));
	json_object_set_new(j, "ifindex", json_integer(t->ifindex));
	json_object_set_new(j, "lease_left_ms", milliseconds(t->lease_left_ns));
	json_object_set_new(j, "passed_out", json_integer((json_int_t)t->passed_out));
	json_object_set_new(j, "passed_in", json_integer((json_int_t)t->passed_in));
	json_object_set_new(j, "watched", report_text(t->watched));
	json_object_set_new(j, "patience_ms", milliseconds(t->patience_ns));
	json_object_set_new(j, "patience_fixed", json_boolean(t->fixed));
	json_object_set_new(j, "round_trip_ms", json_real((double)t->rtt_ns / NS_PER_MSEC));
	json_object_set_new(j, "loss_percent", json_integer(t->loss_percent));
	json_object_set_new(j, "probes", t->probes ? t->probes : json_array());
	json_object_set_new(j, "identity", t->identity ? t->identity : json_null());
	json_object_set_new(j, "route", report_known(t->route));
	json_object_set_new(j, "reopen_gap_ms", milliseconds(t->gap_ns));
	json_object_set_new(j, "why", report_known(t->why));
	json_object_set_new(j, "changed_boot_ns", json_integer((json_int_t)t->changed_ns));
	if (t->guard)
		json_object_set_new(j, "guard", t->guard);
	return j;
}

json_t *report_workload_json(const struct report_workload *w)
{
	char place[2 * PATH_MAX]; /* whole: somebody may type it */
	json_t *j = json_object();

	json_object_set_new(j, "name", report_text(w->name));
	json_object_set_new(j, "cgroup_id", json_integer((json_int_t)w->cgroup_id));
	json_object_set_new(j, "place",
			    report_known(escape(place, sizeof(place), w->place ? w->place : "")));
	json_object_set_new(j, "container_id", report_known(w->container_id));
	json_object_set_new(j, "state", report_text(w->state));
	json_object_set_new(j, "since_ms", milliseconds(since(w->changed_ns)));
	json_object_set_new(j, "changed_boot_ns", json_integer((json_int_t)w->changed_ns));
	json_object_set_new(j, "tunnel", report_text(w->tunnel));
	json_object_set_new(j, "lease_left_ms", milliseconds(w->lease_left_ns));
	json_object_set_new(j, "frozen_by_us", json_boolean(w->frozen_by_us));
	json_object_set_new(j, "held", json_boolean(w->held));
	json_object_set_new(j, "guard", report_known(w->guard));
	json_object_set_new(j, "dns", report_known(w->dns));
	json_object_set_new(j, "born_locked", report_known(w->born_locked));
	json_object_set_new(j, "trouble", report_known(w->trouble));
	json_object_set_new(j, "enforce", json_string(w->audit ? "audit" : "yes"));
	json_object_set_new(j, "ipv6", json_string(w->ipv6 ? "tunnel" : "deny"));
	json_object_set_new(j, "dropped", report_drops(w->dropped));
	return j;
}

json_t *report_record_json(const struct pins *p, uint64_t cgroup_id,
			   const struct workload_record *w)
{
	struct report_workload r = {
		.cgroup_id = cgroup_id,
		.name = w->name,
		.frozen_by_us = w->flags & WORKLOAD_FROZEN_BY_US,
		.held = w->flags & WORKLOAD_HELD,
		.changed_ns = w->since_ns,
	};
	_cleanup_fd int link = -1;
	uint64_t now = now_boot_ns();
	struct lease l = { 0 };
	__u32 slot = w->slot;

	bpf_map_lookup_elem(p->leases, &slot, &l);
	if (l.expires_ns > now && l.expires_ns - now <= VPNLEASH_LEASE_CAP_NS)
		r.lease_left_ns = l.expires_ns - now;
	if (w->flags & WORKLOAD_SLICE)
		link = pins_open_link("gate_egress", cgroup_id);
	r.state = w->flags & WORKLOAD_SLICE ? link >= 0 ? "locked" : "gone"
		  : r.lease_left_ns && w->flags & WORKLOAD_ADMITTED && !r.held ? "open"
		  : r.frozen_by_us					       ? "frozen"
									       : "blocked";
	counters_read(p, cgroup_id, r.dropped);
	return report_workload_json(&r);
}

json_t *report_removed_json(uint64_t cgroup_id, const struct workload_record *w)
{
	return json_pack("{s:o,s:I,s:o}", "name", report_text(w->name), "cgroup_id",
			 (json_int_t)cgroup_id, "since_ms", milliseconds(since(w->since_ns)));
}

json_t *report_json(pid_t daemon, json_t *tunnels, json_t *workloads, size_t n_removed,
		    json_t *removed)
{
	return json_pack("{s:o,s:o,s:o,s:I,s:o}", "daemon",
			 daemon ? json_integer(daemon) : json_null(), "tunnels", tunnels,
			 "workloads", workloads, "removed_cgroups", (json_int_t)n_removed,
			 "removed", removed);
}

const char *report_get(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

const json_t *report_find(const json_t *report, const char *list, const char *name)
{
	const json_t *j;
	size_t i;

	json_array_foreach(json_object_get(report, list), i, j)
		if (!strcmp(report_get(j, "name"), name))
			return j;
	return NULL;
}

static const char *get(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "-";
}

void report_duration(char *buf, size_t size, json_int_t ms)
{
	if (ms < 10000)
		snprintf(buf, size, "%lld.%llds", ms / 1000, ms % 1000 / 100);
	else if (ms < 600000)
		snprintf(buf, size, "%llds", ms / 1000);
	else if (ms < 48LL * 3600000)
		snprintf(buf, size, "%lldh%02lldm", ms / 3600000, ms / 60000 % 60);
	else
		snprintf(buf, size, "%lldd", ms / 86400000);
}

void report_print_drops(FILE *out, const json_t *dropped)
{
	const char *name;
	json_t *n;
	int printed = 0;

	json_object_foreach((json_t *)dropped, name, n)
		fprintf(out, "%s%s %lld", printed++ ? ", " : "", name, json_integer_value(n));
	fprintf(out, "%s\n", printed ? "" : "none");
}

static void print_list(FILE *out, const char *title, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		fprintf(out, "%s%s", i ? ", " : title, json_string_value(item));
}

static bool lists(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (!strcmp(json_string_value(item), text))
			return true;
	return false;
}

static void print_guard(FILE *out, const json_t *guard)
{
	const char *why = json_string_value(json_object_get(guard, "why"));
	const json_t *reach;
	size_t i;

	if (!guard)
		return;
	fprintf(out, "  guard %s", get(guard, "state"));
	if (!strcmp(get(guard, "state"), "complete") &&
	    !json_array_size(json_object_get(guard, "interfaces")))
		fprintf(out, ": nothing leads out beside the tunnel");
	print_list(out, " on ", json_object_get(guard, "interfaces"));
	print_list(out, ", endpoints ", json_object_get(guard, "endpoints"));
	if (json_object_size(json_object_get(guard, "dropped"))) {
		fprintf(out, ", dropped ");
		report_print_drops(out, json_object_get(guard, "dropped"));
	} else {
		fprintf(out, "\n");
	}
	json_array_foreach(json_object_get(guard, "reach"), i, reach)
		fprintf(out, "  reach %s: %lld packets out, %lld in\n", get(reach, "to"),
			json_integer_value(json_object_get(reach, "out")),
			json_integer_value(json_object_get(reach, "in")));
	if (json_array_size(json_object_get(guard, "also_confined"))) {
		print_list(out, "  also confined: ", json_object_get(guard, "also_confined"));
		fprintf(out, "\n");
	}
	if (json_integer_value(json_object_get(guard, "strays")))
		fprintf(out, "  LEAK: %lld frames came past the guard: vpnleash events\n",
			json_integer_value(json_object_get(guard, "strays")));
	if (!strcmp(get(guard, "state"), "off"))
		fprintf(out,
			"  GUARD OFF: packet sockets, foreign sockets and forwarding get past the "
			"gate\n");
	if (lists(json_object_get(guard, "endpoints"), "process"))
		fprintf(out, "  ENDPOINT = PROCESS: what the VPN's cgroup sends leaves beside the "
			     "tunnel, wherever it goes\n");
	if (!strcmp(get(guard, "bootstrap"), "open"))
		fprintf(out, "  bootstrap open: the VPN may use the underlay\n");
	else if (why)
		fprintf(out, "  %s%s\n",
			!strcmp(get(guard, "state"), "weak") ? "" : "bootstrap shut: ", why);
}

static void print_unlocked(FILE *out, const json_t *workloads)
{
	const json_t *j;
	int printed = 0;
	size_t i;

	json_array_foreach(workloads, i, j)
		if (!strcmp(get(j, "born_locked"), "no"))
			fprintf(out, "%s%s", printed++ ? ", " : "born-locked no: ", get(j, "name"));
	if (printed)
		fprintf(out, " (bound when the cgroup appears; in a locked slice nothing is open "
			     "before)\n");
}

/* The same for all workloads of a tunnel. */
static void print_resolver(FILE *out, const char *tunnel, const json_t *workloads)
{
	const json_t *w;
	size_t i;

	json_array_foreach(workloads, i, w) {
		if (strcmp(get(w, "tunnel"), tunnel) ||
		    !json_string_value(json_object_get(w, "dns")))
			continue;
		fprintf(out, "  names are asked of %s\n", get(w, "dns"));
		return;
	}
}

static void print_probes(FILE *out, const json_t *tunnel)
{
	const json_t *j, *identity = json_object_get(tunnel, "identity");
	size_t i;

	json_array_foreach(json_object_get(tunnel, "probes"), i, j)
		fprintf(out, "  probe %s: %s\n", get(j, "probe"), get(j, "says"));
	if (json_is_object(identity))
		fprintf(out, "  identity %s: %s\n", get(identity, "identity"),
			get(identity, "says"));
	fprintf(out, "  round trip %.1f ms, %lld%% of the probes lost\n",
		json_real_value(json_object_get(tunnel, "round_trip_ms")),
		json_integer_value(json_object_get(tunnel, "loss_percent")));
}

#define SHOWN_REMOVED 10

static void print_removed(FILE *out, const json_t *report)
{
	json_int_t n = json_integer_value(json_object_get(report, "removed_cgroups"));
	const json_t *removed = json_object_get(report, "removed"), *j;
	size_t i;

	if (n)
		fprintf(out,
			"%lld removed cgroup%s with sockets left: shut until the last one is "
			"closed, or: "
			"vpnleash detach WORKLOAD\n",
			n, n == 1 ? "" : "s");
	json_array_foreach(removed, i, j) {
		if (i == SHOWN_REMOVED)
			break;
		fprintf(out, "%s%s", i ? ", " : "  they were: ", get(j, "name"));
	}
	if (i)
		fprintf(out, "%s\n", i < json_array_size(removed) ? ", ... (status --json)" : "");
}

/* Also with nothing leashed: that may be why. */
static void print_engines(FILE *out, const json_t *engines)
{
	const json_t *j;
	size_t i;

	json_array_foreach(engines, i, j)
		if (json_string_value(json_object_get(j, "trouble")))
			fprintf(out, "engine %s%s: %s\n", get(j, "engine"),
				json_is_true(json_object_get(j, "reachable")) ? ""
									      : " is out of reach",
				get(j, "trouble"));
}

void report_print(FILE *out, const json_t *report, bool at_length)
{
	json_t *workloads = json_object_get(report, "workloads");
	json_t *tunnels = json_object_get(report, "tunnels"), *j;
	size_t i;

	if (!report_any(report)) {
		fprintf(out, "nothing is leashed\n");
		print_engines(out, json_object_get(report, "engines"));
		return;
	}
	fprintf(out, "%-24s %-8s %-7s %-20s %-6s %-8s %s\n", "WORKLOAD", "STATE", "SINCE", "TUNNEL",
		"LEASE", "GUARD", "DROPPED");
	json_array_foreach(workloads, i, j) {
		json_int_t left = json_integer_value(json_object_get(j, "lease_left_ms"));
		char since[32], lease[32] = "none";

		report_duration(since, sizeof(since),
				json_integer_value(json_object_get(j, "since_ms")));
		if (left)
			report_duration(lease, sizeof(lease), left);
		fprintf(out, "%-24s %-8s %-7s %-20s %-6s %-8s ", get(j, "name"),
			json_is_true(json_object_get(j, "held")) ? "held" : get(j, "state"), since,
			get(j, "tunnel"), lease, get(j, "guard"));
		report_print_drops(out, json_object_get(j, "dropped"));
	}
	json_array_foreach(tunnels, i, j) {
		char patience[32];

		report_duration(patience, sizeof(patience),
				json_integer_value(json_object_get(j, "patience_ms")));
		fprintf(out, "tunnel %s in %s: %s (%s), %s, patience %s\n", get(j, "interface"),
			get(j, "netns"), get(j, "state"), get(j, "why"), get(j, "watched"),
			patience);
		if (at_length)
			print_probes(out, j);
		print_guard(out, json_object_get(j, "guard"));
		print_resolver(out, get(j, "name"), workloads);
	}
	json_array_foreach(workloads, i, j)
		if (json_object_get(json_object_get(j, "dropped"), "lan_reply"))
			fprintf(out,
				"%s: answers to LAN clients would go into the tunnel; in its netns: "
				"ip route add LAN via GATEWAY dev UNDERLAY\n",
				get(j, "name"));
	print_unlocked(out, workloads);
	print_removed(out, report);
	print_engines(out, json_object_get(report, "engines"));
	json_array_foreach(workloads, i, j)
		if (json_string_value(json_object_get(j, "trouble")))
			fprintf(out, "%s: %s\n", get(j, "name"), get(j, "trouble"));
	json_array_foreach(workloads, i, j)
		if (!strcmp(get(j, "enforce"), "audit"))
			fprintf(out, "AUDIT: NOTHING IS DROPPED for %s; what would be is counted\n",
				get(j, "name"));
}

void report_print_why(FILE *out, const json_t *why)
{
	const json_t *refused;
	char since[32];
	size_t i;

	report_duration(since, sizeof(since), json_integer_value(json_object_get(why, "since_ms")));
	fprintf(out, "%s is %s since %s: %s\n", get(why, "name"), get(why, "state"), since,
		get(why, "evidence"));
	fprintf(out, "because %s\n", get(why, "why"));
	fprintf(out, "dropped: ");
	report_print_drops(out, json_object_get(why, "dropped"));
	json_array_foreach(json_object_get(why, "refused"), i, refused)
		fprintf(out, "refused: %s\n", json_string_value(refused));
	fprintf(out, "%s\n", get(why, "remedy"));
}

/* Whose it was, of a drop or a foreign socket. Returns buf. */
static const char *sender_of(const json_t *record, char *buf, size_t size)
{
	const char *kind = json_object_get(record, "container") ? "container" : "cgroup";

	snprintf(buf, size, "%s %s", kind, get(record, kind));
	return buf;
}

static void print_packet(FILE *out, const json_t *record)
{
	const char *by = json_object_get(record, "guard") ? "guard" : "workload";
	bool has_sender = json_object_get(record, "cgroup");
	char sender[600];
	const char *process = json_string_value(json_object_get(record, "process"));
	const char *remedy = json_string_value(json_object_get(record, "remedy"));
	bool reach = !strcmp(get(record, "event"), "reach");
	const char *done = reach			      ? "first let"
			   : json_object_get(record, "audit") ? "would drop"
							      : "dropped";

	fprintf(out, "%s %s: %s %s %s: %s", by, get(record, by), done, get(record, "direction"),
		get(record, "packet"), reach ? "reach" : get(record, "reason"));
	if (has_sender)
		fprintf(out, ", of %s", sender_of(record, sender, sizeof(sender)));
	if (process)
		fprintf(out, ", %s", process);
	if (remedy)
		fprintf(out, "; to let it pass: %s", remedy);
	fprintf(out, "\n");
}

void report_print_event(FILE *out, const json_t *record)
{
	const char *detail = json_string_value(json_object_get(record, "detail"));
	const char *kind = json_object_get(record, "tunnel") ? "tunnel" : "workload";
	char sender[600];

	fprintf(out, "%s ", get(record, "time"));
	if (!strcmp(get(record, "event"), "drop") || !strcmp(get(record, "event"), "reach"))
		print_packet(out, record);
	else if (!strcmp(get(record, "event"), "foreign"))
		fprintf(out, "guard %s: socket %s was opened by %s%s\n", get(record, "guard"),
			get(record, "packet"), sender_of(record, sender, sizeof(sender)),
			json_is_true(json_object_get(record, "ended")) ? ": ended" : "");
	else if (!strcmp(get(record, "event"), "stray"))
		fprintf(out, "guard %s: LEAK: %lld frames came past it, last %s\n",
			get(record, "guard"), json_integer_value(json_object_get(record, "frames")),
			get(record, "packet"));
	else
		fprintf(out, "%s %s: %s -> %s: %s%s%s\n", kind, get(record, kind),
			get(record, "from"), get(record, "to"), get(record, "evidence"),
			detail && *detail ? ": " : "", detail ? detail : "");
}

bool report_any(const json_t *report)
{
	return json_array_size(json_object_get(report, "workloads")) > 0 ||
	       json_integer_value(json_object_get(report, "removed_cgroups")) > 0;
}

bool report_all_open(const json_t *report)
{
	json_t *j;
	size_t i;

	json_array_foreach(json_object_get(report, "workloads"), i, j)
		if (strcmp(get(j, "state"), "open") && strcmp(get(j, "state"), "locked"))
			return false;
	return true;
}

bool report_complete(const json_t *report, char ret_lacks[REPORT_LACKS])
{
	const json_t *j;
	size_t i;

	json_array_foreach(json_object_get(report, "tunnels"), i, j) {
		if (strcmp(get(json_object_get(j, "guard"), "state"), "incomplete") != 0)
			continue;
		snprintf(ret_lacks, REPORT_LACKS, "the guard is not complete: %s", get(j, "name"));
		return false;
	}
	json_array_foreach(json_object_get(report, "workloads"), i, j) {
		const char *state = get(j, "state");

		if (!strcmp(state, "waiting") || !strcmp(state, "stopped") ||
		    json_integer_value(json_object_get(j, "cgroup_id")))
			continue;
		snprintf(ret_lacks, REPORT_LACKS, "there is no gate on %s", get(j, "name"));
		return false;
	}
	return true;
}
