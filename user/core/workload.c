/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One workload: its cgroup's birth and death, its tunnel's going up and down, what the freezer
 * says; its table asked; admitted, barred, frozen, thawed. What a container or unit has beside a
 * cgroup is in contained.c. See state.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "act/freezer.h"
#include "base/netns.h"
#include "core/marks.h"
#include "core/workload_internal.h"
#include "report/report.h"
#include "watch/process.h"

#define FREEZE_NS (1 * NS_PER_SEC) /* after which a freeze has failed */
/* so long after its birth nobody waits any more for the first process of a slice's child */
#define SETTLED_NS (3 * NS_PER_SEC)

static int on_freeze_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;

	if (!watch_cgroup_frozen(m->cgroup))
		workload_input(m, IN_FREEZE_FAILED);
	return 0;
}

static void freeze(struct workload *m, int cgroup_fd)
{
	struct daemon *d = m->daemon;
	struct workload_record w;
	int r = record_get(d->leases, m->bound, &w);

	/* Frozen already, and not by us: whoever did it thaws it. */
	if (!r && !(w.flags & WORKLOAD_FROZEN_BY_US) && freezer_asked(cgroup_fd) == 1)
		return;
	/* the flag first: after a crash in between it is thawed once too often, never forgotten */
	if (!r)
		r = record_flags(d->leases, m->bound, WORKLOAD_FROZEN_BY_US, 0);
	m->freezing_ns = now_boot_ns();
	if (!r)
		r = freezer_freeze(cgroup_fd);
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': freeze: %s (it stays blocked)", m->name,
			 strerror(-r));
	set_timer(d->loop, &m->freeze_timer, now_boot_ns() + FREEZE_NS, on_freeze_timeout, m);
}

static void thaw(struct workload *m, int cgroup_fd)
{
	struct daemon *d = m->daemon;
	struct workload_record w;

	if (record_get(d->leases, m->bound, &w) || !(w.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (now_boot_ns() >= lease_expires_ns(d->leases, m->tunnel->slot))
		return; /* it ran out on the way here; the expiry's input follows */
	if (!freezer_thaw(cgroup_fd))
		record_flags(d->leases, m->bound, 0, WORKLOAD_FROZEN_BY_US);
}

/* The gate is shut, and stays so: thawed it can hear that it is to end. */
static void thaw_shut(struct workload *m, int cgroup_fd)
{
	struct daemon *d = m->daemon;
	struct workload_record w;

	edge_shut(m->tunnel->edge);
	sd_event_source_set_enabled(m->freeze_timer, SD_EVENT_OFF);
	if (record_get(d->leases, m->bound, &w) || !(w.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (!freezer_thaw(cgroup_fd))
		record_flags(d->leases, m->bound, 0, WORKLOAD_FROZEN_BY_US);
}

/* Said once, and by `status` and `why` as long as it is so. */
void workload_in_trouble(struct workload *m, const char *what, const char *why)
{
	char text[sizeof(m->trouble)], shown[300];

	snprintf(text, sizeof(text), "%s: %s", what, escape(shown, sizeof(shown), why));
	if (!strcmp(text, m->trouble))
		return;
	memcpy(m->trouble, text, sizeof(text));
	log_line(LOG_LEVEL_ERR, "workload '%s': %s", m->name, text);
}

static void carry_out_workload(struct workload *m, enum action action)
{
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	struct daemon *d = m->daemon;
	int r = 0;

	if (action == DO_STOP)
		contained_stop(m);
	else if (action == DO_START)
		contained_start(m);
	if (!c || !m->bound)
		return;
	switch (action) {
	case DO_ADMIT:
		edge_shut(m->tunnel->edge);
		r = record_flags(d->leases, m->bound, WORKLOAD_ADMITTED, 0);
		break;
	case DO_BAR:
		r = record_flags(d->leases, m->bound, 0, WORKLOAD_ADMITTED);
		break;
	case DO_FREEZE:
		freeze(m, c->fd);
		break;
	case DO_THAW:
		thaw(m, c->fd);
		break;
	case DO_THAW_SHUT:
		thaw_shut(m, c->fd);
		break;
	case DO_ALERT:
		log_line(LOG_LEVEL_ERR, "workload '%s' does not freeze; it is blocked by the gate",
			 m->name);
		break;
	default:
		break;
	}
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': %s: %s", m->name, action_name(action),
			 strerror(-r));
}

/* Frozen, and not by us: an operator's pause. */
bool workload_is_paused(const struct workload *m)
{
	struct workload_record w;

	return m->bound && watch_cgroup_frozen(m->cgroup) &&
	       !record_get(m->daemon->leases, m->bound, &w) && !(w.flags & WORKLOAD_FROZEN_BY_US);
}

static void call_hook(struct workload *m, const char *program, int netns_fd,
		      enum workload_state from, enum input in)
{
	struct hook_call c = { 0 };
	int r;

	snprintf(c.program, sizeof(c.program), "%s", program);
	snprintf(c.workload, sizeof(c.workload), "%s", m->name);
	snprintf(c.state, sizeof(c.state), "%s", workload_state_name(m->state));
	snprintf(c.from, sizeof(c.from), "%s", workload_state_name(from));
	snprintf(c.evidence, sizeof(c.evidence), "%s", input_text(in));
	snprintf(c.interface, sizeof(c.interface), "%s", m->tunnel->config.interface);
	r = hooks_call(m->daemon->hooks, &c, netns_fd);
	if (r)
		log_line(LOG_LEVEL_WARNING, "workload '%s': hook: %s", m->name, strerror(-r));
}

static void call_hooks(struct workload *m, enum workload_state from, enum input in)
{
	if (*m->hook && m->daemon->hooks)
		call_hook(m, m->hook, -1, from, in);
	if (*m->hook_inside && m->daemon->hooks && m->tunnel->netns_fd >= 0)
		call_hook(m, m->hook_inside, m->tunnel->netns_fd, from, in);
}

void workload_input(struct workload *m, enum input in)
{
	const struct step *step = policy_workload(m->state, in);
	enum workload_state from = m->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_workload(m, step->actions[i]);
	m->state = step->to;
	if (m->state == from)
		return;
	m->changed_ns = now_boot_ns();
	m->why = in;
	audit_state(m->daemon->audit, "workload", m->name, workload_state_name(from),
		    workload_state_name(m->state), input_text(in), NULL,
		    in == IN_FREEZE_DONE && m->freezing_ns ? m->changed_ns - m->freezing_ns : 0,
		    !may_log(&m->tunnel->log));
	call_hooks(m, from, in);
	if (m->state != WORKLOAD_BLOCKED)
		m->freezing_ns = 0;
	contained_arm_stop(m);
	/* frozen at once, or frozen all along: the kernel tells only changes */
	if (m->state == WORKLOAD_BLOCKED && m->cgroup && watch_cgroup_frozen(m->cgroup) &&
	    in != IN_THAWED && in != IN_ENDING)
		workload_input(m, IN_FREEZE_DONE);
}

static void set_flags(struct workload *m)
{
	const uint16_t all = WORKLOAD_ALLOW | WORKLOAD_IPV6 | WORKLOAD_AUDIT;
	uint16_t flags =
		(uint16_t)((m->ipv6 ? WORKLOAD_IPV6 : 0) | (m->audit ? WORKLOAD_AUDIT : 0));

	if (m->allow.n || (m->tunnel && m->tunnel->config.allow.n))
		flags |= WORKLOAD_ALLOW;
	if (m->bound)
		record_flags(m->daemon->leases, m->bound, flags, all & (uint16_t)~flags);
}

/* Names by the tunnel. Without it they are asked as resolv.conf says, and dropped beside the
 * tunnel.
 */
static void set_resolver(struct workload *m, const struct cgroup_ref *c)
{
	const struct dns_rule *dns = m->tunnel ? &m->tunnel->config.dns : NULL;
	struct resolver r = { 0 };
	struct error err;

	if (dns && !m->audit) {
		r.flags = dns->mode == DNS_NONE	  ? RESOLVER_DENY
			  : dns->mode == DNS_AUTO ? RESOLVER_SET | RESOLVER_AUTO
						  : RESOLVER_SET;
		r.server[0] = dns->mode == DNS_AUTO ? htonl(0x01010101) : dns->server[0];
		r.server[1] = dns->mode == DNS_AUTO ? htonl(0x09090909) : dns->server[1];
	}
	if (gate_resolve_by(m->daemon->gate, c, &r, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

void workload_configure(struct workload *m, const struct workload_config *config)
{
	/* nothing is dropped in audit, so nothing is frozen */
	m->on_failure = config->audit ? ON_FAILURE_BLOCK : config->on_failure;
	m->stop_after_ns = config->stop_after_ns;
	m->ipv6 = config->ipv6;
	m->audit = config->audit;
	memcpy(&m->allow, &config->allow, sizeof(m->allow));
	memcpy(m->hook, config->hook, sizeof(m->hook));
	memcpy(m->hook_inside, config->hook_inside, sizeof(m->hook_inside));
	set_flags(m);
}

/* The only containment left. */
static void freeze_instead(const struct workload *m, const struct cgroup_ref *c)
{
	record_flags(m->daemon->leases, c->id, WORKLOAD_FROZEN_BY_US, 0);
	freezer_freeze(c->fd);
}

void workload_note_slice(struct workload *m)
{
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	struct daemon *d = m->daemon;
	uint64_t slice_id = 0;

	if (!c)
		return;
	gate_slice_above(gate_pins(d->gate), c->fd, NULL, &slice_id);
	record_in_slice(d->leases, c->id, slice_id);
}

static int record(struct workload *m, const struct cgroup_ref *c, struct error *err)
{
	struct daemon *d = m->daemon;
	int r = record_bind(d->leases, c->id, c->level, m->name, m->made ? WORKLOAD_EXEC : 0);

	daemon_note_level(d, c->level);
	if (!r) {
		workload_note_slice(m);
		return 0;
	}
	if (r != -E2BIG)
		return fail(err, EXIT_FAILURE_, r, NULL, "record workload '%s'", m->name);
	gate_attach(d->gate, &d->root, c, NULL); /* without a record it drops all */
	return fail(err, EXIT_FAILURE_, r,
		    "end who holds the sockets of removed cgroups, see: vpnleash status",
		    "record workload '%s': %d are recorded, %zu of them removed", m->name,
		    VPNLEASH_WORKLOADS, remains_count(d));
}

/* Record and gate for the cgroup that is there now. A record of an earlier run keeps its flags;
 * what the configuration allows takes effect with workload_start(), when all of it is known to be
 * good. */
static int bind_workload(struct workload *m, struct error *err)
{
	struct daemon *d = m->daemon;
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	struct workload_record w;
	int r;

	for (size_t i = 0; i < d->n_tunnels; i++)
		edge_leashed(d->tunnels[i]->edge, c->path);
	m->was_recorded = record_get(d->leases, c->id, &w) != -ENOENT;
	r = record(m, c, err);
	if (r)
		return r;
	r = gate_attach(d->gate, &d->root, c, err);
	if (r)
		return r;
	m->bound = c->id;
	if (m->started) { /* else its tunnel's guard is attached after it */
		set_flags(m);
		set_resolver(m, c);
		edge_bound(m->tunnel ? m->tunnel->edge : NULL, m);
	}
	memset(m->summed, 0, sizeof(m->summed));
	pins_touch(gate_pins(d->gate));
	return 0;
}

/* Its cgroup was removed. Sockets of it may live: the gate stays on. */
static void part(struct workload *m)
{
	if (!m->bound)
		return;
	remains_take(m->daemon, m->bound, m->tunnel ? m->tunnel->netns_cookie : 0);
	pins_touch(gate_pins(m->daemon->gate));
	m->bound = 0;
}

/* Who leaves a cgroup in a netns with a guard of its own is held by that guard. Elsewhere by
 * nothing: a leash that its wearer may take off is none. */
static bool may_leave(const struct workload *m)
{
	return *m->delegated && !(m->tunnel->edge && !edge_is_weak(m->tunnel->edge));
}

const char *workload_trouble(const struct workload *m, char *buf, size_t size)
{
	if (*m->trouble || !*m->delegated)
		return m->trouble;
	snprintf(buf, size, "%s: %s, who may take its processes out of it (" DELEGATION_REMEDY ")",
		 m->audit	? "enforced, it would stay shut"
		 : may_leave(m) ? "it stays shut"
				: "degraded, the guard holds whoever leaves it",
		 m->delegated);
	return buf;
}

/* Owners change without a word. */
static bool delegation_changed(struct workload *m)
{
	char now[DELEGATION_LEN] = "", text[2 * DELEGATION_LEN];

	if (m->bound)
		delegation_of(&m->daemon->root, m->path, now);
	m->delegation_ns = now_boot_ns();
	if (!strcmp(now, m->delegated))
		return false;
	memcpy(m->delegated, now, sizeof(now));
	log_line(LOG_LEVEL_WARNING, "workload '%s': %s", m->name,
		 *now ? workload_trouble(m, text, sizeof(text))
		      : "only root may take it out of its cgroup");
	return true;
}

void workload_tunnel_changed(struct workload *m)
{
	bool up = m->tunnel->state == TUNNEL_UP && !m->unusable;
	bool may_freeze = m->on_failure == ON_FAILURE_FREEZE && !m->unusable &&
			  (!m->kind || contained_has_started(m)) &&
			  (!m->slice || now_boot_ns() - m->born_ns >= SETTLED_NS);

	workload_input(m, m->held && up			   ? IN_HELD
			  : up && may_leave(m)		   ? IN_DELEGATED
			  : up && contained_is_orphaned(m) ? contained_of_orphan(m)
			  : up				   ? IN_TUNNEL_UP
			  : may_freeze			   ? IN_TUNNEL_DOWN
							   : IN_TUNNEL_DOWN_BLOCK);
}

int workload_hold(struct workload *m, bool held, struct error *err)
{
	/* on disk before it is in force, and in force before it is off the disk */
	int r = held ? mark_set(MARK_HELD, m->name, err) : 0;

	if (!r && m->bound)
		r = record_flags(m->daemon->leases, m->bound, held ? WORKLOAD_HELD : 0,
				 held ? 0 : WORKLOAD_HELD)
			    ? fail(err, EXIT_FAILURE_, -EIO, NULL, "mark workload '%s'", m->name)
			    : 0;
	if (!r && !held)
		r = mark_clear(MARK_HELD, m->name, err);
	if (r)
		return r;
	m->held = held;
	if (held)
		workload_input(m, IN_HELD);
	else
		workload_tunnel_changed(m);
	return 0;
}

void workload_summary(struct workload *m)
{
	uint64_t now[VPNLEASH_REASON_MAX], since[VPNLEASH_REASON_MAX], total = 0;

	if (!m->bound)
		return;
	report_read_drops(gate_pins(m->daemon->gate), m->bound, now);
	for (int r = 0; r < VPNLEASH_REASON_MAX; r++) {
		since[r] = now[r] >= m->summed[r] ? now[r] - m->summed[r] : now[r];
		total += since[r];
	}
	memcpy(m->summed, now, sizeof(now));
	if (total)
		audit_summary(m->daemon->audit, m->name, since,
			      m->last_drop.cgroup_id ? &m->last_drop : NULL);
	m->last_drop.cgroup_id = 0;
}

/* The cgroup is there and the gate on it: go on from what its record says, or bar it. */
static void join_workload(struct workload *m)
{
	struct daemon *d = m->daemon;
	struct tunnel *t = m->tunnel;
	struct workload_record w;

	delegation_changed(m);
	record_point(d->leases, m->bound, t->slot);
	if (m->held) /* before any admission */
		record_flags(d->leases, m->bound, WORKLOAD_HELD, WORKLOAD_ADMITTED);
	else
		record_flags(d->leases, m->bound, 0, WORKLOAD_HELD);
	if (!record_get(d->leases, m->bound, &w) && w.flags & WORKLOAD_ADMITTED &&
	    t->state == TUNNEL_UP && !may_leave(m)) {
		m->state = WORKLOAD_OPEN; /* adopted: its traffic runs on */
		m->changed_ns = w.since_ns;
	} else {
		workload_input(m, IN_CGROUP_BORN);
	}
	workload_tunnel_changed(m);
}

static int on_settled(sd_event_source *s, uint64_t usec, void *arg)
{
	workload_tunnel_changed(arg);
	return 0;
}

/* The cgroup has appeared. */
static void bind_and_join(struct workload *m)
{
	struct error err;

	if (bind_workload(m, &err)) { /* workload_look() goes on trying */
		freeze_instead(m, watch_cgroup_ref(m->cgroup));
		log_line(LOG_LEVEL_ERR, "%s: it is NOT leashed, but frozen", err.text);
		return;
	}
	join_workload(m);
}

static void on_cgroup(void *owner, const struct evidence *e)
{
	struct workload *m = owner;

	if (!m->cgroup || !m->started) /* told while it is being started, which goes on itself */
		return;
	if (e->what == IN_CGROUP_GONE) {
		part(m); /* shut, before anything else */
		workload_input(m, IN_CGROUP_GONE);
	} else if (e->what == IN_CGROUP_BORN) {
		bind_and_join(m);
	} else {
		workload_input(m, e->what);
	}
}

void workload_look(struct workload *m)
{
	const struct cgroup_ref *c;
	struct error err;

	if (m->kind)
		contained_look(m);
	if (m->cgroup && m->started)
		watch_cgroup_ready(m->cgroup);
	if (m->state == WORKLOAD_OPEN && watch_cgroup_frozen(m->cgroup))
		carry_out_workload(m, DO_THAW); /* it failed; who else froze it thaws it */
	c = watch_cgroup_ref(m->cgroup);
	if (m->bound && m->started && now_boot_ns() - m->delegation_ns >= NS_PER_SEC &&
	    delegation_changed(m))
		workload_tunnel_changed(m);
	if (m->bound || !c || bind_workload(m, &err))
		return;
	log_line(LOG_LEVEL_NOTICE, "workload '%s' is leashed after all", m->name);
	record_flags(m->daemon->leases, m->bound, WORKLOAD_FROZEN_BY_US, 0);
	join_workload(m);
}

static int start_watch(struct workload *m, struct error *err)
{
	return watch_cgroup_start(&m->cgroup, m->daemon->cgroups, m->path, on_cgroup, m, err);
}

static int watch_and_bind(struct workload *m, struct error *err)
{
	struct daemon *d = m->daemon;
	struct cgroup_ref there;
	int r = resolve_cgroup(&d->root, m->path, &there, err);

	if (r)
		return r;
	close_fd(&there.fd);
	r = start_watch(m, err);
	if (!r && !watch_cgroup_ref(m->cgroup))
		r = fail(err, EXIT_USAGE, -ENOENT, NULL, "cgroup '%s' vanished", m->name);
	return r ? r : bind_workload(m, err);
}

int workload_new(struct daemon *d, const struct workload_config *config, const char *given,
		 struct tunnel *t, struct workload **ret, struct error *err)
{
	struct workload *m = calloc(1, sizeof(*m));
	size_t length = strlen(given);
	const char *place;
	enum place_kind kind = place_kind(given, &place);
	int r = 0;

	if (!m)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	*m = (struct workload) {
		.daemon = d, .tunnel = t, .state = WORKLOAD_WAITING, .made = config->is_made
	};
	m->kind = kind == PLACE_CONTAINER ? ENGINE_CONTAINER : kind == PLACE_UNIT ? ENGINE_UNIT : 0;
	workload_configure(m, config);
	snprintf(m->given, sizeof(m->given), "%s", given);
	/* without a section's name: the end of its path */
	snprintf(m->name, sizeof(m->name), "%.63s",
		 *config->name		    ? config->name
		 : m->kind		    ? place
		 : length < sizeof(m->name) ? given
					    : given + length - sizeof(m->name) + 1);
	m->held = mark_is(MARK_HELD, m->name);
	if (!m->kind) {
		snprintf(m->path, sizeof(m->path), "%s", given);
		r = watch_and_bind(m, err);
	}
	if (r) {
		workload_free(m);
		return r;
	}
	report_read_drops(gate_pins(d->gate), m->bound,
			  m->summed); /* an earlier daemon told these */
	*ret = m;
	return 0;
}

void workload_undo(struct workload *m)
{
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	struct error err;

	if (m->bound && c && c->id == m->bound) {
		if (gate_detach(m->bound, &err))
			log_line(LOG_LEVEL_WARNING, "%s", err.text);
		record_unbind(gate_pins(m->daemon->gate), m->bound);
		pins_touch(gate_pins(m->daemon->gate));
		m->bound = 0;
	}
	workload_forget(m);
}

void workload_forget(struct workload *m)
{
	part(m);
	workload_free(m);
}

void workload_shut(struct workload *m)
{
	if (!m->bound)
		return;
	record_shut(m->daemon->leases, m->bound, m->tunnel ? m->tunnel->netns_cookie : 0);
	remains_scan_soon(m->daemon); /* it may be on its way out */
}

void workload_move(struct workload *m, struct tunnel *t)
{
	m->tunnel = t;
	if (!m->bound)
		return;
	if (watch_cgroup_ref(m->cgroup))
		set_resolver(m, watch_cgroup_ref(m->cgroup));
	workload_input(m, IN_CGROUP_BORN); /* barred, whatever it was */
	record_point(m->daemon->leases, m->bound, t->slot);
	workload_tunnel_changed(m);
}

int workload_enter(struct workload *m, const char *path, struct error *err)
{
	int r;

	snprintf(m->path, sizeof(m->path), "%s", path);
	r = start_watch(m, err);
	if (r)
		m->path[0] = '\0';
	else if (watch_cgroup_ref(m->cgroup))
		bind_and_join(m);
	return r;
}

void workload_leave(struct workload *m)
{
	struct cgroup_ref still;
	int r;

	if (!m->cgroup)
		return;
	workload_input(m, IN_CGROUP_GONE);
	r = m->bound ? resolve_cgroup(&m->daemon->root, m->path, &still, NULL) : -ENOENT;
	if (r != -ENOENT && (r || still.id == m->bound)) { /* it is there, or nobody knows */
		workload_shut(m);
		m->bound = 0;
	}
	if (!r)
		close_fd(&still.fd);
	part(m);
	watch_cgroup_stop(m->cgroup);
	m->cgroup = NULL;
	m->path[0] = '\0';
}

void workload_start(struct workload *m)
{
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);

	m->started = true;
	if (m->audit)
		log_line(LOG_LEVEL_WARNING,
			 "workload '%s': enforce = audit: NOTHING IS DROPPED, only counted",
			 m->name);
	if (m->slice) {
		m->born_ns = now_boot_ns();
		set_timer(m->daemon->loop, &m->end_timer, m->born_ns + SETTLED_NS, on_settled, m);
	}
	if (m->bound && (!c || c->id != m->bound))
		part(m); /* it went while it was not listened to */
	if (m->bound) {
		set_flags(m);
		set_resolver(m, c);
		join_workload(m);
	} else if (c) {
		bind_and_join(m);
	}
	if (m->kind)
		containers_watch_workload(m);
}

void workload_free(struct workload *m)
{
	sd_event_source_disable_unref(m->freeze_timer);
	sd_event_source_disable_unref(m->stop_timer);
	sd_event_source_disable_unref(m->end_timer);
	watch_cgroup_stop(m->cgroup);
	exec_free(m->exec);
	free(m);
}
