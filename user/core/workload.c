/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One workload: its cgroup's birth and death, its tunnel's going up and down, what the freezer
 * says; its table asked; admitted, barred, frozen, thawed. What a container or unit has beside a
 * cgroup is in container.c. See state.h.
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
#include "edge/bootstrap.h"
#include "report/report.h"
#include "watch/process.h"

#define FREEZE_NS (1 * NS_PER_SEC) /* after which a freeze has failed */
/* so long after its birth nobody waits any more for the first process of a slice's child */
#define SETTLED_NS (3 * NS_PER_SEC)

static int on_freeze_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (!watch_cgroup_frozen(w->cgroup))
		workload_input(w, IN_FREEZE_FAILED);
	return 0;
}

static void freeze(struct workload *w, int cgroup_fd)
{
	struct daemon *d = w->daemon;
	struct workload_record record;
	int r = record_get(d->leases, w->bound, &record);

	/* Frozen already, and not by us: whoever did it thaws it. */
	if (!r && !(record.flags & WORKLOAD_FROZEN_BY_US) && freezer_asked(cgroup_fd) == 1)
		return;
	/* the flag first: after a crash in between it is thawed once too often, never forgotten */
	if (!r)
		r = record_flags(d->leases, w->bound, WORKLOAD_FROZEN_BY_US, 0);
	w->freezing_ns = now_boot_ns();
	if (!r)
		r = freezer_freeze(cgroup_fd);
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': freeze: %s (it stays blocked)", w->name,
			 strerror(-r));
	set_timer(d->loop, &w->freeze_timer, now_boot_ns() + FREEZE_NS, on_freeze_timeout, w);
}

static void thaw(struct workload *w, int cgroup_fd)
{
	struct daemon *d = w->daemon;
	struct workload_record record;

	if (record_get(d->leases, w->bound, &record) || !(record.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (now_boot_ns() >= lease_expires_ns(d->leases, w->tunnel->slot))
		return; /* it ran out on the way here; the expiry's input follows */
	if (!freezer_thaw(cgroup_fd))
		record_flags(d->leases, w->bound, 0, WORKLOAD_FROZEN_BY_US);
}

/* The gate is shut, and stays so: thawed it can hear that it is to end. */
static void thaw_shut(struct workload *w, int cgroup_fd)
{
	struct daemon *d = w->daemon;
	struct workload_record record;

	edge_shut(w->tunnel->edge);
	sd_event_source_set_enabled(w->freeze_timer, SD_EVENT_OFF);
	if (record_get(d->leases, w->bound, &record) || !(record.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (!freezer_thaw(cgroup_fd))
		record_flags(d->leases, w->bound, 0, WORKLOAD_FROZEN_BY_US);
}

/* Said once, and by `status` and `why` as long as it is so. */
void workload_in_trouble(struct workload *w, const char *what, const char *why)
{
	char text[sizeof(w->trouble)], shown[300];

	snprintf(text, sizeof(text), "%s: %s", what, escape(shown, sizeof(shown), why));
	if (!strcmp(text, w->trouble))
		return;
	memcpy(w->trouble, text, sizeof(text));
	log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, text);
}

static void carry_out_workload(struct workload *w, enum action action)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct daemon *d = w->daemon;
	int r = 0;

	if (action == DO_STOP)
		contained_stop(w);
	else if (action == DO_START)
		contained_start(w);
	if (!c || !w->bound)
		return;
	switch (action) {
	case DO_ADMIT:
		edge_shut(w->tunnel->edge);
		r = record_flags(d->leases, w->bound, WORKLOAD_ADMITTED, 0);
		break;
	case DO_BAR:
		r = record_flags(d->leases, w->bound, 0, WORKLOAD_ADMITTED);
		break;
	case DO_FREEZE:
		freeze(w, c->fd);
		break;
	case DO_THAW:
		thaw(w, c->fd);
		break;
	case DO_THAW_SHUT:
		thaw_shut(w, c->fd);
		break;
	case DO_ALERT:
		log_line(LOG_LEVEL_ERR, "workload '%s' does not freeze; it is blocked by the gate",
			 w->name);
		break;
	default:
		break;
	}
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': %s: %s", w->name, action_name(action),
			 strerror(-r));
}

/* Frozen, and not by us: an operator's pause. */
bool workload_is_paused(const struct workload *w)
{
	struct workload_record record;

	return w->bound && watch_cgroup_frozen(w->cgroup) &&
	       !record_get(w->daemon->leases, w->bound, &record) &&
	       !(record.flags & WORKLOAD_FROZEN_BY_US);
}

static void call_hook(struct workload *w, const char *program, int netns_fd,
		      enum workload_state from, enum input in)
{
	struct hook_call c = { 0 };
	int r;

	snprintf(c.program, sizeof(c.program), "%s", program);
	snprintf(c.workload, sizeof(c.workload), "%s", w->name);
	snprintf(c.state, sizeof(c.state), "%s", workload_state_name(w->state));
	snprintf(c.from, sizeof(c.from), "%s", workload_state_name(from));
	snprintf(c.evidence, sizeof(c.evidence), "%s", input_text(in));
	snprintf(c.interface, sizeof(c.interface), "%s", w->tunnel->config.interface);
	r = hooks_call(w->daemon->hooks, &c, netns_fd);
	if (r)
		log_line(LOG_LEVEL_WARNING, "workload '%s': hook: %s", w->name, strerror(-r));
}

static void call_hooks(struct workload *w, enum workload_state from, enum input in)
{
	if (*w->hook && w->daemon->hooks)
		call_hook(w, w->hook, -1, from, in);
	if (*w->hook_inside && w->daemon->hooks && w->tunnel->netns_fd >= 0)
		call_hook(w, w->hook_inside, w->tunnel->netns_fd, from, in);
}

void workload_input(struct workload *w, enum input in)
{
	const struct step *step = policy_workload(w->state, in);
	enum workload_state from = w->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_workload(w, step->actions[i]);
	w->state = step->to;
	if (w->state == from)
		return;
	w->changed_ns = now_boot_ns();
	w->why = in;
	audit_state(w->daemon->audit, "workload", w->name, workload_state_name(from),
		    workload_state_name(w->state), input_text(in), NULL,
		    in == IN_FREEZE_DONE && w->freezing_ns ? w->changed_ns - w->freezing_ns : 0,
		    !may_log(&w->tunnel->log));
	call_hooks(w, from, in);
	if (w->state != WORKLOAD_BLOCKED)
		w->freezing_ns = 0;
	contained_arm_stop(w);
	/* frozen at once, or frozen all along: the kernel tells only changes */
	if (w->state == WORKLOAD_BLOCKED && w->cgroup && watch_cgroup_frozen(w->cgroup) &&
	    in != IN_THAWED && in != IN_ENDING)
		workload_input(w, IN_FREEZE_DONE);
}

static void set_flags(struct workload *w)
{
	const uint16_t all = WORKLOAD_ALLOW | WORKLOAD_IPV6 | WORKLOAD_AUDIT;
	uint16_t flags =
		(uint16_t)((w->ipv6 ? WORKLOAD_IPV6 : 0) | (w->audit ? WORKLOAD_AUDIT : 0));

	if (w->allow.n || (w->tunnel && w->tunnel->config.allow.n))
		flags |= WORKLOAD_ALLOW;
	if (w->bound)
		record_flags(w->daemon->leases, w->bound, flags, all & (uint16_t)~flags);
}

/* Names by the tunnel. Without it they are asked as resolv.conf says, and dropped beside the
 * tunnel.
 */
static void set_resolver(struct workload *w, const struct cgroup_ref *c)
{
	const struct dns_rule *dns = w->tunnel ? &w->tunnel->config.dns : NULL;
	struct resolver r = { 0 };
	struct error err;

	if (dns && !w->audit) {
		r.flags = dns->mode == DNS_NONE	  ? RESOLVER_DENY
			  : dns->mode == DNS_AUTO ? RESOLVER_SET | RESOLVER_AUTO
						  : RESOLVER_SET;
		r.server[0] = dns->mode == DNS_AUTO ? htonl(0x01010101) : dns->server[0];
		r.server[1] = dns->mode == DNS_AUTO ? htonl(0x09090909) : dns->server[1];
	}
	if (gate_resolve_by(w->daemon->gate, c, &r, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

void workload_configure(struct workload *w, const struct workload_config *config)
{
	/* nothing is dropped in audit, so nothing is frozen */
	w->on_failure = config->audit ? ON_FAILURE_BLOCK : config->on_failure;
	w->stop_after_ns = config->stop_after_ns;
	w->ipv6 = config->ipv6;
	w->audit = config->audit;
	memcpy(&w->allow, &config->allow, sizeof(w->allow));
	memcpy(w->hook, config->hook, sizeof(w->hook));
	memcpy(w->hook_inside, config->hook_inside, sizeof(w->hook_inside));
	set_flags(w);
}

/* The only containment left. */
static void freeze_instead(const struct workload *w, const struct cgroup_ref *c)
{
	record_flags(w->daemon->leases, c->id, WORKLOAD_FROZEN_BY_US, 0);
	freezer_freeze(c->fd);
}

void workload_note_slice(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct daemon *d = w->daemon;
	uint64_t slice_id = 0;

	if (!c)
		return;
	gate_slice_above(gate_pins(d->gate), c->fd, NULL, &slice_id);
	record_in_slice(d->leases, c->id, slice_id);
}

static int put_record(struct workload *w, const struct cgroup_ref *c, struct error *err)
{
	struct daemon *d = w->daemon;
	int r = record_bind(d->leases, c->id, c->level, w->name, w->made ? WORKLOAD_EXEC : 0);

	daemon_note_level(d, c->level);
	if (!r) {
		workload_note_slice(w);
		return 0;
	}
	if (r != -E2BIG)
		return fail(err, EXIT_FAILURE_, r, NULL, "record workload '%s'", w->name);
	gate_attach(d->gate, &d->root, c, NULL); /* without a record it drops all */
	return fail(err, EXIT_FAILURE_, r,
		    "end who holds the sockets of removed cgroups, see: vpnleash status",
		    "record workload '%s': %d are recorded, %zu of them removed", w->name,
		    VPNLEASH_WORKLOADS, remains_count(d));
}

/* Record and gate for the cgroup that is there now. A record of an earlier run keeps its flags;
 * what the configuration allows takes effect with workload_start(), when all of it is known to be
 * good. */
static int bind_workload(struct workload *w, struct error *err)
{
	struct daemon *d = w->daemon;
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct workload_record record;
	int r;

	for_each_tunnel(d, t)
		edge_leashed(t->edge, c->path);
	w->was_recorded = record_get(d->leases, c->id, &record) != -ENOENT;
	r = put_record(w, c, err);
	if (r)
		return r;
	r = gate_attach(d->gate, &d->root, c, err);
	if (r)
		return r;
	w->bound = c->id;
	if (w->started) { /* else its tunnel's guard is attached after it */
		set_flags(w);
		set_resolver(w, c);
		edge_bound(w->tunnel ? w->tunnel->edge : NULL, c, w->audit);
	}
	memset(w->summed, 0, sizeof(w->summed));
	pins_touch(gate_pins(d->gate));
	return 0;
}

/* Its cgroup was removed. Sockets of it may live: the gate stays on. */
static void part(struct workload *w)
{
	if (!w->bound)
		return;
	remains_take(w->daemon, w->bound, w->tunnel ? w->tunnel->netns_cookie : 0);
	pins_touch(gate_pins(w->daemon->gate));
	w->bound = 0;
}

/* Who leaves a cgroup in a netns with a guard of its own is held by that guard. Elsewhere by
 * nothing: a leash that its wearer may take off is none. */
static bool may_leave(const struct workload *w)
{
	return *w->delegated && !(w->tunnel->edge && !edge_is_weak(w->tunnel->edge));
}

const char *workload_trouble(const struct workload *w, char *buf, size_t size)
{
	if (*w->trouble || !*w->delegated)
		return w->trouble;
	snprintf(buf, size, "%s: %s, who may take its processes out of it (" DELEGATION_REMEDY ")",
		 w->audit	? "enforced, it would stay shut"
		 : may_leave(w) ? "it stays shut"
				: "degraded, the guard holds whoever leaves it",
		 w->delegated);
	return buf;
}

/* Owners change without a word. */
static bool delegation_changed(struct workload *w)
{
	char now[DELEGATION_LEN] = "", text[2 * DELEGATION_LEN];

	if (w->bound)
		delegation_of(&w->daemon->root, w->path, now);
	w->delegation_ns = now_boot_ns();
	if (!strcmp(now, w->delegated))
		return false;
	memcpy(w->delegated, now, sizeof(now));
	log_line(LOG_LEVEL_WARNING, "workload '%s': %s", w->name,
		 *now ? workload_trouble(w, text, sizeof(text))
		      : "only root may take it out of its cgroup");
	return true;
}

void workload_tunnel_changed(struct workload *w)
{
	bool up = w->tunnel->state == TUNNEL_UP && !w->unusable;
	bool may_freeze = w->on_failure == ON_FAILURE_FREEZE && !w->unusable &&
			  (!w->kind || contained_has_started(w)) &&
			  (!w->slice || now_boot_ns() - w->born_ns >= SETTLED_NS);

	workload_input(w, w->held && up			   ? IN_HELD
			  : up && may_leave(w)		   ? IN_DELEGATED
			  : up && contained_is_orphaned(w) ? contained_of_orphan(w)
			  : up				   ? IN_TUNNEL_UP
			  : may_freeze			   ? IN_TUNNEL_DOWN
							   : IN_TUNNEL_DOWN_BLOCK);
}

int workload_hold(struct workload *w, bool held, struct error *err)
{
	/* on disk before it is in force, and in force before it is off the disk */
	int r = held ? mark_set(MARK_HELD, w->name, err) : 0;

	if (!r && w->bound)
		r = record_flags(w->daemon->leases, w->bound, held ? WORKLOAD_HELD : 0,
				 held ? 0 : WORKLOAD_HELD)
			    ? fail(err, EXIT_FAILURE_, -EIO, NULL, "mark workload '%s'", w->name)
			    : 0;
	if (!r && !held)
		r = mark_clear(MARK_HELD, w->name, err);
	if (r)
		return r;
	w->held = held;
	if (held)
		workload_input(w, IN_HELD);
	else
		workload_tunnel_changed(w);
	return 0;
}

void workload_summary(struct workload *w)
{
	uint64_t now[VPNLEASH_REASON_MAX], since[VPNLEASH_REASON_MAX], total = 0;

	if (!w->bound)
		return;
	report_read_drops(gate_pins(w->daemon->gate), w->bound, now);
	for (int r = 0; r < VPNLEASH_REASON_MAX; r++) {
		since[r] = now[r] >= w->summed[r] ? now[r] - w->summed[r] : now[r];
		total += since[r];
	}
	memcpy(w->summed, now, sizeof(now));
	if (total)
		audit_summary(w->daemon->audit, w->name, since,
			      w->last_drop.cgroup_id ? &w->last_drop : NULL);
	w->last_drop.cgroup_id = 0;
}

/* The cgroup is there and the gate on it: go on from what its record says, or bar it. */
static void join_workload(struct workload *w)
{
	struct daemon *d = w->daemon;
	struct tunnel *t = w->tunnel;
	struct workload_record record;

	delegation_changed(w);
	record_point(d->leases, w->bound, t->slot);
	if (w->held) /* before any admission */
		record_flags(d->leases, w->bound, WORKLOAD_HELD, WORKLOAD_ADMITTED);
	else
		record_flags(d->leases, w->bound, 0, WORKLOAD_HELD);
	if (!record_get(d->leases, w->bound, &record) && record.flags & WORKLOAD_ADMITTED &&
	    t->state == TUNNEL_UP && !may_leave(w)) {
		w->state = WORKLOAD_OPEN; /* adopted: its traffic runs on */
		w->changed_ns = record.since_ns;
	} else {
		workload_input(w, IN_CGROUP_BORN);
	}
	workload_tunnel_changed(w);
}

static int on_settled(sd_event_source *s, uint64_t usec, void *arg)
{
	workload_tunnel_changed(arg);
	return 0;
}

/* The cgroup has appeared. */
static void bind_and_join(struct workload *w)
{
	struct error err;

	if (bind_workload(w, &err)) { /* workload_look() goes on trying */
		freeze_instead(w, watch_cgroup_ref(w->cgroup));
		log_line(LOG_LEVEL_ERR, "%s: it is NOT leashed, but frozen", err.text);
		return;
	}
	join_workload(w);
}

static void on_cgroup(void *owner, const struct evidence *e)
{
	struct workload *w = owner;

	if (!w->cgroup || !w->started) /* told while it is being started, which goes on itself */
		return;
	if (e->what == IN_CGROUP_GONE) {
		part(w); /* shut, before anything else */
		workload_input(w, IN_CGROUP_GONE);
	} else if (e->what == IN_CGROUP_BORN) {
		bind_and_join(w);
	} else {
		workload_input(w, e->what);
	}
}

void workload_look(struct workload *w)
{
	const struct cgroup_ref *c;
	struct error err;

	if (w->kind)
		contained_look(w);
	if (w->cgroup && w->started)
		watch_cgroup_ready(w->cgroup);
	if (w->state == WORKLOAD_OPEN && watch_cgroup_frozen(w->cgroup))
		carry_out_workload(w, DO_THAW); /* it failed; who else froze it thaws it */
	c = watch_cgroup_ref(w->cgroup);
	if (w->bound && w->started && now_boot_ns() - w->delegation_ns >= NS_PER_SEC &&
	    delegation_changed(w))
		workload_tunnel_changed(w);
	if (w->bound || !c || bind_workload(w, &err))
		return;
	log_line(LOG_LEVEL_NOTICE, "workload '%s' is leashed after all", w->name);
	record_flags(w->daemon->leases, w->bound, WORKLOAD_FROZEN_BY_US, 0);
	join_workload(w);
}

static int start_watch(struct workload *w, struct error *err)
{
	return watch_cgroup_start(&w->cgroup, w->daemon->cgroups, w->path, on_cgroup, w, err);
}

static int watch_and_bind(struct workload *w, struct error *err)
{
	struct daemon *d = w->daemon;
	struct cgroup_ref there;
	int r = resolve_cgroup(&d->root, w->path, &there, err);

	if (r)
		return r;
	close_fd(there.fd);
	r = start_watch(w, err);
	if (!r && !watch_cgroup_ref(w->cgroup))
		r = fail(err, EXIT_USAGE, -ENOENT, NULL, "cgroup '%s' vanished", w->name);
	return r ? r : bind_workload(w, err);
}

int workload_new(struct daemon *d, const struct workload_config *config, const char *given,
		 struct tunnel *t, struct workload **ret, struct error *err)
{
	struct workload *w = calloc(1, sizeof(*w));
	size_t length = strlen(given);
	const char *place;
	enum place_kind kind = place_kind(given, &place);
	int r = 0;

	if (!w)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	*w = (struct workload) {
		.daemon = d, .tunnel = t, .state = WORKLOAD_WAITING, .made = config->is_made
	};
	w->kind = kind == PLACE_CONTAINER ? ENGINE_CONTAINER : kind == PLACE_UNIT ? ENGINE_UNIT : 0;
	workload_configure(w, config);
	snprintf(w->given, sizeof(w->given), "%s", given);
	/* without a section's name: the end of its path */
	snprintf(w->name, sizeof(w->name), "%.63s",
		 *config->name		    ? config->name
		 : w->kind		    ? place
		 : length < sizeof(w->name) ? given
					    : given + length - sizeof(w->name) + 1);
	w->held = mark_is(MARK_HELD, w->name);
	if (w->kind) {
		inventory_watch(d->inventory, &w->watch, w->kind, w->given + (place - given),
				d->container_news, w);
	} else {
		snprintf(w->path, sizeof(w->path), "%s", given);
		r = watch_and_bind(w, err);
	}
	if (r) {
		workload_free(w);
		return r;
	}
	report_read_drops(gate_pins(d->gate), w->bound,
			  w->summed); /* an earlier daemon told these */
	*ret = w;
	return 0;
}

void workload_undo(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct error err;

	if (w->bound && c && c->id == w->bound) {
		if (gate_detach(w->bound, &err))
			log_line(LOG_LEVEL_WARNING, "%s", err.text);
		record_unbind(gate_pins(w->daemon->gate), w->bound);
		pins_touch(gate_pins(w->daemon->gate));
		w->bound = 0;
	}
	workload_forget(w);
}

void workload_forget(struct workload *w)
{
	part(w);
	workload_free(w);
}

void workload_shut(struct workload *w)
{
	if (!w->bound)
		return;
	record_shut(w->daemon->leases, w->bound, w->tunnel ? w->tunnel->netns_cookie : 0);
	remains_scan_soon(w->daemon); /* it may be on its way out */
}

void workload_move(struct workload *w, struct tunnel *t)
{
	w->tunnel = t;
	if (!w->bound)
		return;
	if (watch_cgroup_ref(w->cgroup))
		set_resolver(w, watch_cgroup_ref(w->cgroup));
	workload_input(w, IN_CGROUP_BORN); /* barred, whatever it was */
	record_point(w->daemon->leases, w->bound, t->slot);
	workload_tunnel_changed(w);
}

int workload_enter(struct workload *w, const char *path, struct error *err)
{
	int r;

	snprintf(w->path, sizeof(w->path), "%s", path);
	r = start_watch(w, err);
	if (r)
		w->path[0] = '\0';
	else if (watch_cgroup_ref(w->cgroup))
		bind_and_join(w);
	return r;
}

void workload_leave(struct workload *w)
{
	struct cgroup_ref still;
	int r;

	if (!w->cgroup)
		return;
	workload_input(w, IN_CGROUP_GONE);
	r = w->bound ? resolve_cgroup(&w->daemon->root, w->path, &still, NULL) : -ENOENT;
	if (r != -ENOENT && (r || still.id == w->bound)) { /* it is there, or nobody knows */
		workload_shut(w);
		w->bound = 0;
	}
	if (!r)
		close_fd(still.fd);
	part(w);
	watch_cgroup_stop(w->cgroup);
	w->cgroup = NULL;
	w->path[0] = '\0';
}

void workload_start(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);

	w->started = true;
	if (w->audit)
		log_line(LOG_LEVEL_WARNING,
			 "workload '%s': enforce = audit: NOTHING IS DROPPED, only counted",
			 w->name);
	if (w->slice) {
		w->born_ns = now_boot_ns();
		set_timer(w->daemon->loop, &w->end_timer, w->born_ns + SETTLED_NS, on_settled, w);
	}
	if (w->bound && (!c || c->id != w->bound))
		part(w); /* it went while it was not listened to */
	if (w->bound) {
		set_flags(w);
		set_resolver(w, c);
		join_workload(w);
	} else if (c) {
		bind_and_join(w);
	}
	if (w->kind)
		inventory_tell(&w->watch);
}

void workload_free(struct workload *w)
{
	sd_event_source_disable_unref(w->freeze_timer);
	sd_event_source_disable_unref(w->stop_timer);
	sd_event_source_disable_unref(w->end_timer);
	inventory_unwatch(&w->watch);
	watch_cgroup_stop(w->cgroup);
	exec_free(w->exec);
	free(w);
}
