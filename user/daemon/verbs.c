/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act/counters.h"
#include "act/detach.h"
#include "act/gate.h"
#include "act/lease.h"
#include "base/privilege.h"
#include "core/cause.h"
#include "core/container.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "daemon/refused.h"
#include "daemon/schema.h"
#include "edge/edge.h"
#include "edge/vpn.h"
#include "report/audit.h"
#include "report/report.h"
#include "source/exec_cgroups.h"
#include "source/labels.h"
#include "source/slices.h"
#include "watch/cgroup.h"

static const char *guard_state(const struct tunnel *t)
{
	struct edge_state e;

	if (!t->edge)
		return t->config.guard_off ? "off" : "waiting";
	for_each_workload(t->daemon, w)
		if (w->tunnel == t && w->audit)
			return "audit";
	e = edge_state(t->edge);
	return !e.complete ? "incomplete" : *e.weakness ? "weak" : "complete";
}

static json_t *guard_status(const struct tunnel *t)
{
	struct edge_state e = t->edge ? edge_state(t->edge) : (struct edge_state) { 0 };
	json_t *on = json_array(), *to = json_array(), *also = json_array(), *reach = json_array();
	char endpoints[32][ENDPOINT_LEN], confined[16][256];
	struct reached reached[64];
	uint64_t dropped[VPNLEASH_REASON_MAX] = { 0 };
	const char *interfaces[8], *why = NULL;
	struct witnessed w = { 0 };
	size_t n;

	if (t->edge) {
		n = edge_underlays(t->edge, interfaces, ARRAY_SIZE(interfaces));
		for (size_t i = 0; i < n; i++)
			json_array_append_new(on, report_text(interfaces[i]));
		n = edge_endpoints(t->edge, endpoints, ARRAY_SIZE(endpoints));
		for (size_t i = 0; i < n; i++)
			json_array_append_new(to, report_text(endpoints[i]));
		n = edge_reached(t->edge, reached, ARRAY_SIZE(reached));
		for (size_t i = 0; i < n; i++)
			json_array_append_new(reach, json_pack("{s:s,s:I,s:I}", "to", reached[i].to,
							       "out", (json_int_t)reached[i].out,
							       "in", (json_int_t)reached[i].in));
		n = e.host ? 0 : edge_also_confined(t->edge, confined, ARRAY_SIZE(confined));
		for (size_t i = 0; i < n; i++)
			json_array_append_new(also, report_text(confined[i]));
		if (t->state != TUNNEL_UP && !e.host && *edge_why(t->edge))
			why = edge_why(t->edge);
		else
			why = e.weakness;
		edge_drops(t->edge, gate_pins(t->daemon->gate), dropped);
		w = edge_witnessed(t->edge);
	}
	return json_pack("{s:s,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:I,s:I}", "state", guard_state(t),
			 "interfaces", on, "endpoints", to, "reach", reach, "bootstrap",
			 e.open ? "open" : "shut", "why", report_known(why), "also_confined", also,
			 "dropped", report_drops(dropped), "witnessed", (json_int_t)w.frames,
			 "strays", (json_int_t)w.strays);
}

/* A container by the name that people know. Returns buf. */
static const char *netns_of(const struct tunnel *t, char buf[PATH_MAX])
{
	const struct engine_item *i = tunnel_owner_item(t);

	if (i && i->kind == ENGINE_CONTAINER)
		snprintf(buf, PATH_MAX, "container:%s", i->name);
	else
		snprintf(buf, PATH_MAX, "%s", t->config.netns);
	return buf;
}

static json_t *probes_status(const struct tunnel *t, uint64_t now)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->config.probes.n; i++) {
		const struct probe *p = &t->probes.each[i];
		char text[PROBE_TEXT], says[160];
		bool silent = probe_is_silent(t, i, now), known = silent || p->answered_ns;

		json_array_append_new(list,
				      report_probe_json(&(struct report_probe) {
					      .text = probe_text(&t->config.probes.rule[i], text),
					      .says = probe_says(t, i, says, sizeof(says)),
					      .answers = !known	  ? "unknown"
							 : silent ? "no"
								  : "yes",
					      .kept = i == t->probes.kept,
					      .took_ns = p->took_ns,
					      .answered_ns = p->answered_ns,
					      .unanswered = p->unanswered }));
	}
	return list;
}

static json_t *identity_status(const struct tunnel *t)
{
	static const char *const exits[] = {
		[EXIT_UNKNOWN] = "unknown", [EXIT_RIGHT] = "right", [EXIT_WRONG] = "wrong"
	};
	const struct identity *e = &t->identity;
	char text[700], says[160];

	if (!*t->config.identity.url)
		return NULL;
	return report_identity_json(&(struct report_identity) {
		.text = identity_text(t, text, sizeof(text)),
		.exit = exits[e->exit],
		.says = identity_says(t, says, sizeof(says)),
		.took_ns = e->took_ns,
		.answered_ns = e->answered_ns,
	});
}

static json_t *tunnel_status(struct tunnel *t)
{
	uint64_t now = now_boot_ns(), expires = lease_expires_ns(t->daemon->leases, t->slot);
	char watched[PROBE_TEXT] = "silence not watched", why[2000], netns[PATH_MAX];
	const struct probe_rules *rules = &t->config.probes;
	const struct measure *m = &t->probes.measure;
	struct link_identity link = { 0 };

	if (rules->n)
		probe_text(&rules->rule[t->probes.kept], watched);
	if (t->link)
		watch_netlink_identity(t->link, &link);
	return report_tunnel_json(
		&(struct report_tunnel) { .name = t->config.name,
					  .interface = t->config.interface,
					  .netns = netns_of(t, netns),
					  .state = tunnel_state_name(t->state),
					  .lease_left_ns = expires > now ? expires - now : 0,
					  .ifindex = lease_ifindex(t->daemon->leases, t->slot),
					  .passed_out = link.tx_packets,
					  .passed_in = link.rx_packets,
					  .watched = watched,
					  .patience_ns = probes_patience_ns(t),
					  .fixed = t->config.patience_ns != 0,
					  .rtt_ns = m->rtt_ns,
					  .loss_percent = measure_loss_percent(m),
					  .probes = probes_status(t, now),
					  .identity = identity_status(t),
					  .route = t->config.route,
					  .gap_ns = reopen_gap_ns(&t->reopen, now),
					  .why = cause_tunnel_text(t, why, sizeof(why)),
					  .changed_ns = t->changed_ns,
					  .guard = guard_status(t) });
}

/* The resolver in force. Returns buf. */
static const char *resolver_of(const struct workload *w, char *buf, size_t size)
{
	const struct dns_rule *dns = &w->tunnel->config.dns;
	char first[INET_ADDRSTRLEN], second[INET_ADDRSTRLEN];
	bool two = dns->server[0] != dns->server[1];

	if (w->audit)
		snprintf(buf, size, "resolv.conf's (audit)");
	else if (dns->mode == DNS_NONE)
		snprintf(buf, size, "nobody");
	else if (dns->mode == DNS_AUTO)
		snprintf(buf, size, "1.1.1.1, 9.9.9.9, or the VPN's own on loopback");
	else
		snprintf(buf, size, "%s%s%s",
			 inet_ntop(AF_INET, &dns->server[0], first, sizeof(first)), two ? ", " : "",
			 two ? inet_ntop(AF_INET, &dns->server[1], second, sizeof(second)) : "");
	return buf;
}

/* As `run --cgroup` takes it; a container by the name that people know. Returns buf. */
static const char *place_of(const struct workload *w, char buf[PATH_MAX])
{
	const struct engine_item *i = container_item(w);

	if (i && i->kind == ENGINE_CONTAINER)
		snprintf(buf, PATH_MAX, "container:%s", i->name);
	else
		snprintf(buf, PATH_MAX, "%s", w->given);
	return buf;
}

static json_t *workload_status(struct workload *w)
{
	char dns[64], trouble[2 * DELEGATION_LEN], place[PATH_MAX], text[2 * CONTAINER_COMMAND_LEN];
	struct daemon *d = w->daemon;
	uint64_t now = now_boot_ns(), expires = lease_expires_ns(d->leases, w->tunnel->slot);
	struct workload_record record = { 0 };
	struct report_workload r = { .cgroup_id = w->bound,
				     .name = w->name,
				     .state = workload_state_name(w->state),
				     .tunnel = w->tunnel->config.name,
				     .guard = guard_state(w->tunnel),
				     .dns = resolver_of(w, dns, sizeof(dns)),
				     .audit = w->audit,
				     .ipv6 = w->ipv6,
				     .lease_left_ns = expires > now ? expires - now : 0,
				     .changed_ns = w->changed_ns };
	json_t *j;

	if (w->bound && !record_get(d->leases, w->bound, &record))
		r.frozen_by_us = record.flags & WORKLOAD_FROZEN_BY_US;
	if (w->bound && watch_cgroup_ref(w->cgroup))
		r.born_locked = gate_slice_above(gate_pins(d->gate),
						 watch_cgroup_ref(w->cgroup)->fd, NULL, NULL) == 1
					? "yes"
					: "no";
	r.place = place_of(w, place);
	r.container_id = w->container.kind == ENGINE_CONTAINER ? w->container.id : NULL;
	r.held = w->held;
	r.trouble = workload_trouble(w, trouble, sizeof(trouble));
	counters_read(gate_pins(d->gate), w->bound, r.dropped);
	j = report_workload_json(&r);
	/* the last decision in words: on which evidence, why, what to do */
	json_object_set_new(j, "evidence",
			    json_string(w->why ? input_text(w->why) : "it has not run yet"));
	json_object_set_new(j, "why", json_string(cause_text(w, text, sizeof(text))));
	json_object_set_new(j, "remedy", json_string(cause_to_do(w, text, sizeof(text))));
	return j;
}

struct left_behind {
	struct daemon *daemon;
	json_t *workloads, *removed;
	size_t n_bound;
	uint64_t *bound;
};

/* Locked by an earlier run, or no longer in the file: shut, and nobody's but `detach`'s. */
static int add_left_behind(uint64_t cgroup_id, const struct workload_record *record, void *arg)
{
	struct left_behind *l = arg;

	/* what is answered has a bound, and 8192 records fit the map */
	if (record->flags & WORKLOAD_GONE) {
		if (json_array_size(l->removed) < REPORT_REMOVED)
			json_array_append_new(l->removed, report_removed_json(cgroup_id, record));
		return 0;
	}
	if (json_array_size(l->workloads) < 2 * CONFIG_WORKLOADS &&
	    !is_bound(l->bound, l->n_bound, cgroup_id))
		json_array_append_new(l->workloads, report_record_json(gate_pins(l->daemon->gate),
								       cgroup_id, record));
	return 0;
}

static void add_engine(const char *where, bool up, const char *trouble, void *arg)
{
	json_array_append_new(arg,
			      json_pack("{s:o,s:b,s:o}", "engine", report_text(where), "reachable",
					up, "trouble", report_text(*trouble ? trouble : NULL)));
}

static json_t *answer_status(struct daemon *d, const struct request *q, struct error *err)
{
	json_t *tunnels = json_array(), *workloads = json_array();
	struct left_behind left = { d, workloads, json_array(), 0, NULL };
	json_t *engines = json_array(), *answer;

	for_each_tunnel(d, t)
		json_array_append_new(tunnels, tunnel_status(t));
	for_each_workload(d, w)
		json_array_append_new(workloads, workload_status(w));
	left.bound = daemon_bound(d, &left.n_bound);
	privilege_long_work(true);
	if (left.bound)
		pins_each_workload(gate_pins(d->gate), add_left_behind, &left);
	privilege_long_work(false);
	free(left.bound);
	inventory_each_engine(d->inventory, add_engine, engines);
	answer = report_json(getpid(), tunnels, workloads, remains_count(d), left.removed);
	json_object_set_new(answer, "engines", engines);
	return answer;
}

/* By its name, or by what `status` shows of it: that one can always be typed. */
static struct workload *verbs_find(struct daemon *d, const char *name, struct error *err)
{
	for_each_workload(d, w)
		if (name && (!strcmp(w->name, name) || !strcmp(quote(w->name), name)))
			return w;
	fail(err, ERROR_INPUT, 0, "see: vpnleash status", "there is no workload '%s'",
	     quote(name ? name : ""));
	return NULL;
}

static bool has_lost_its_record(const struct workload *w)
{
	struct workload_record record;

	return w->bound && record_get(w->daemon->leases, w->bound, &record) == -ENOENT;
}

/* What an earlier run or a lock left behind stays shut, with its pins. */
static int remove_pins(struct daemon *d, struct error *err)
{
	_cleanup_fd int lock = control_lock_pins(err);

	return lock < 0 ? lock : detach_last(gate_pins(d->gate), err);
}

/* Nobody is leashed, and nobody can be born who would be. */
static bool is_idle(const struct daemon *d)
{
	for_each_tunnel(d, t)
		if (t->of_slice)
			return false;
	return !d->n_workloads && !remains_count(d) &&
	       !inventory_reachable(d->inventory, ENGINE_CONTAINER, "");
}

/* All, or the one of that name, also one that an earlier run left behind. A daemon with no workload
 * left ends, unless an engine or a slice may bring another. */
static json_t *answer_detach(struct daemon *d, const struct request *q, struct error *err)
{
	struct workload *known = q->all ? NULL : verbs_find(d, q->workload, NULL);
	char name[REQUEST_TEXT_LEN];
	size_t left = 0;
	int r;

	snprintf(name, sizeof(name), "%s", known ? known->name : q->all ? "" : q->workload);
	r = detach_recorded(gate_pins(d->gate), &d->root, q->all ? NULL : name, true, err);
	if (!r && !q->all)
		r = fail(err, ERROR_INPUT, -ENOENT, "see: vpnleash status", "detach '%s'",
			 quote(name));
	if (r < 0)
		return NULL;
	for_each_workload(d, w) {
		if (q->all || !strcmp(name, w->name) ||
		    has_lost_its_record(w)) { /* with its slice */
			inventory_let_go(d->inventory, w->container.id);
			workload_free(w);
		} else
			d->workloads[left++] = w;
	}
	d->n_workloads = left;
	slices_detached(d);
	labels_detached(d);
	remains_look(d);
	log_line(LOG_LEVEL_NOTICE, "detached %d workload(s)", r);
	if (q->all || is_idle(d)) {
		if (remove_pins(d, err))
			return NULL;
		sd_event_exit(d->loop, 0);
	} else {
		for_each_tunnel(d, t)
			tunnel_workloads_changed(t);
	}
	return json_pack("{s:i}", "detached", r);
}

static json_t *answer_hold(struct daemon *d, const struct request *q, struct error *err)
{
	struct workload *w = verbs_find(d, q->workload, err);
	bool held = q->verb == VERB_HOLD;

	if (!w)
		return NULL;
	for_each_workload(d, other) /* the mark is by name, and two engines may have one each */
		if (!strcmp(other->name, w->name) && workload_hold(other, held, err))
			return NULL;
	return json_pack("{s:s,s:b}", "state", workload_state_name(w->state), "held", held);
}

/* What `status` says of it, and who of the LAN was kept out. */
static json_t *answer_why(struct daemon *d, const struct request *q, struct error *err)
{
	struct workload *w = verbs_find(d, q->workload, err);
	json_t *j;

	if (!w)
		return NULL;
	j = workload_status(w);
	json_object_set_new(j, "refused", refused_list(w->tunnel));
	return j;
}

static json_t *answer_events(struct daemon *d, const struct request *q, struct error *err)
{
	struct workload *w = NULL;
	char shown[VPNLEASH_NAME_LEN * 4];

	if (q->workload && !(w = verbs_find(d, q->workload, err)))
		return NULL;
	/* records have names as they are shown */
	return json_pack("{s:o,s:b}", "events",
			 audit_history(d->audit, w ? escape(shown, sizeof(shown), w->name) : NULL),
			 "follow", q->follow);
}

static json_t *answer_exec(struct daemon *d, const struct request *q, struct error *err)
{
	json_t *j = NULL;

	exec_begin(d, q->interface, q->netns, q->client, &j, err);
	return j;
}

/* `vpnleash lock` has locked one. */
static json_t *answer_slices(struct daemon *d, const struct request *q, struct error *err)
{
	slices_look(d);
	return json_object();
}

/* The failure of its tunnel, for whoever shares it as well. */
static json_t *answer_rehearse(struct daemon *d, const struct request *q, struct error *err)
{
	struct workload *w = verbs_find(d, q->workload, err);

	if (!w)
		return NULL;
	if (!q->over && w->tunnel->state != TUNNEL_UP) {
		fail(err, ERROR_ABSENT, 0, "see: vpnleash why", "the tunnel '%s' is not up",
		     quote(w->tunnel->config.name));
		return NULL;
	}
	tunnel_rehearse(w->tunnel, q->over);
	return json_pack("{s:s}", "state", tunnel_state_name(w->tunnel->state));
}

static const struct verb {
	bool root_only; /* it changes something; the others show */
	/* NULL: it is refused */
	json_t *(*answer)(struct daemon *d, const struct request *q, struct error *err);
} verbs[VERBS] = {
	[VERB_STATUS] = { false, answer_status },    [VERB_WHY] = { false, answer_why },
	[VERB_EVENTS] = { false, answer_events },    [VERB_HOLD] = { true, answer_hold },
	[VERB_RELEASE] = { true, answer_hold },	     [VERB_DETACH] = { true, answer_detach },
	[VERB_EXEC] = { true, answer_exec },	     [VERB_SLICES] = { true, answer_slices },
	[VERB_REHEARSE] = { true, answer_rehearse },
};

json_t *verbs_answer(void *daemon, const json_t *request, const struct control_peer *peer)
{
	struct error err = { .kind = ERROR_OTHER };
	json_t *answer = NULL;
	struct request q;

	if (request_parse(request, &q, &err))
		return control_refusal(&err);
	q.client = peer->pid;
	if (peer->root || !verbs[q.verb].root_only)
		answer = verbs[q.verb].answer(daemon, &q, &err);
	else
		fail(&err, ERROR_PRIVILEGE, -EPERM, "run as root", "%s", q.name);
	return answer ? answer : control_refusal(&err);
}
