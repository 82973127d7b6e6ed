/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See workload.h. What is done to its cgroup is in leash.c; what its container is asked in
 * container.c, and what is told of that in container_news.c. */
#include "core/workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act/counters.h"
#include "act/gate.h"
#include "act/hooks.h"
#include "act/lease.h"
#include "core/container.h"
#include "core/container_news.h"
#include "core/leash.h"
#include "core/marks.h"
#include "core/own_vpn.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "edge/edge.h"
#include "report/audit.h"
#include "report/report.h"
#include "watch/cgroup.h"

#define FROZEN_ONLY                                                                            \
	"it is not stopped, as its engine would remove it (run it without --rm, or by a unit " \
	"of systemd, as Quadlet does)"
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

/* ------ what its table says is done ------ */

void workload_next_is(struct workload *w, uint64_t at_ns, sd_event_time_handler_t f)
{
	/* a source keeps its handler */
	w->end_timer = sd_event_source_disable_unref(w->end_timer);
	set_timer(w->daemon->loop, &w->end_timer, at_ns, f, w);
}

void workload_stop_failed(struct workload *w)
{
	if (w->state == WORKLOAD_STOPPED)
		workload_input(w, w->bound ? IN_STOP_FAILED : IN_GIVEN_UP);
}

static int on_stop_failed(sd_event_source *s, uint64_t usec, void *arg)
{
	workload_stop_failed(arg);
	return 0;
}

static int on_start_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state == WORKLOAD_STOPPED)
		workload_tunnel_changed(w);
	return 0;
}

static int on_stop_due(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state != WORKLOAD_BLOCKED && w->state != WORKLOAD_FROZEN)
		return 0;
	if (w->tunnel->state == TUNNEL_UP) /* it came back while a stop was failing */
		workload_tunnel_changed(w);
	else if (w->container.running && !w->held && !leash_is_paused(w) &&
		 w->own_vpn == OWN_VPN_NONE && !container_is_misplaced(w)) {
		if (container_is_lost_by_stop(w)) {
			log_line(LOG_LEVEL_NOTICE, "workload '%s': " FROZEN_ONLY, w->name);
			return 0;
		}
		if (container_reachable(w)) {
			workload_input(w, IN_STOP_DUE);
			return 0;
		}
		container_in_trouble(w, "it can not be stopped", "the engine does not answer");
	}
	workload_stop_again(w, WORKLOAD_AGAIN_NS);
	return 0;
}

void workload_stop_again(struct workload *w, uint64_t in_ns)
{
	set_timer(w->daemon->loop, &w->stop_timer, now_boot_ns() + in_ns, on_stop_due, w);
}

static void carry_out_workload(struct workload *w, enum action action)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct daemon *d = w->daemon;
	int r = 0;

	if (action == DO_STOP && container_stop(w)) /* an action carries no input: a turn later */
		workload_next_is(w, now_boot_ns(), on_stop_failed);
	else if (action == DO_START && container_start(w))
		workload_next_is(w, now_boot_ns() + WORKLOAD_AGAIN_NS, on_start_again);
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
		if (leash_freeze(w, c->fd))
			set_timer(d->loop, &w->freeze_timer, now_boot_ns() + FREEZE_NS,
				  on_freeze_timeout, w);
		break;
	case DO_THAW:
	case DO_THAW_SHUT:
		w->freeze_timer = sd_event_source_disable_unref(w->freeze_timer);
		leash_thaw(w, c->fd, action == DO_THAW_SHUT);
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

static void call_hook(struct workload *w, const char *program, int netns_fd,
		      enum workload_state from, enum input in)
{
	struct hook_call c = { 0 };
	int r;

	if (w->tunnel->owner.watch.kind == ENGINE_CONTAINER)
		c.vpn = w->tunnel->owner.pid;
	snprintf(c.program, sizeof(c.program), "%s", program);
	snprintf(c.workload, sizeof(c.workload), "%s", w->name);
	snprintf(c.state, sizeof(c.state), "%s", workload_state_name(w->state));
	snprintf(c.from, sizeof(c.from), "%s", workload_state_name(from));
	snprintf(c.evidence, sizeof(c.evidence), "%s", input_text(in));
	snprintf(c.interface, sizeof(c.interface), "%s", w->tunnel->config.interface);
	r = hooks_call(&w->daemon->hooks, &c, netns_fd);
	if (r)
		log_line(LOG_LEVEL_WARNING, "workload '%s': hook: %s", w->name, strerror(-r));
}

static void call_hooks(struct workload *w, enum workload_state from, enum input in)
{
	if (*w->hook)
		call_hook(w, w->hook, -1, from, in);
	if (*w->hook_inside && w->tunnel->netns_fd >= 0)
		call_hook(w, w->hook_inside, w->tunnel->netns_fd, from, in);
}

/* The ladder's second step, counted from the moment at which it lost its way out. */
static void arm_stop(struct workload *w)
{
	bool barred = w->state == WORKLOAD_BLOCKED || w->state == WORKLOAD_FROZEN;

	if (!barred) {
		w->barred_ns = 0;
	} else if (!w->barred_ns && w->container.kind && w->stop_after_ns != STOP_NEVER &&
		   !w->audit) {
		w->barred_ns = now_boot_ns();
		if (w->tunnel->rehearsed_ns) /* over by then */
			w->barred_ns = w->tunnel->rehearsed_ns + REHEARSAL_NS;
		set_timer(w->daemon->loop, &w->stop_timer, w->barred_ns + w->stop_after_ns,
			  on_stop_due, w);
	}
}

void workload_input(struct workload *w, enum input in)
{
	const struct step *step = policy_workload(w->state, in);
	enum workload_state from = w->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_workload(w, step->actions[i]);
	w->state = step->to;
	if (in == IN_ASTRAY) /* which its tunnel's lease does not change */
		w->why = in;
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
	arm_stop(w);
	/* frozen at once, or frozen all along: the kernel tells only changes */
	if (w->state == WORKLOAD_BLOCKED && w->cgroup && watch_cgroup_frozen(w->cgroup) &&
	    in != IN_THAWED && in != IN_ENDING)
		workload_input(w, IN_FREEZE_DONE);
}

void workload_configure(struct workload *w, const struct workload_config *config)
{
	w->on_failure = config->on_failure;
	w->stop_after_ns = config->stop_after_ns;
	w->recreate = config->recreate;
	w->ipv6 = config->ipv6;
	w->audit = config->audit;
	memcpy(&w->allow, &config->allow, sizeof(w->allow));
	memcpy(&w->reach, &config->reach, sizeof(w->reach));
	memcpy(w->hook, config->hook, sizeof(w->hook));
	memcpy(w->hook_inside, config->hook_inside, sizeof(w->hook_inside));
	leash_set_flags(w);
	/* what is frozen, or on its way there, need not be any more: the gate holds it */
	if ((w->audit || w->on_failure == ON_FAILURE_BLOCK) &&
	    (w->state == WORKLOAD_FROZEN || w->freeze_timer))
		carry_out_workload(w, DO_THAW_SHUT);
}

/* Who leaves a cgroup in a netns with a guard of its own is held by that guard. Elsewhere by
 * nothing: a leash that its wearer may take off is none. */
bool workload_may_leave(const struct workload *w)
{
	const struct edge *e = w->tunnel->edge;

	return *w->delegated && (!e || edge_state(e).host || *edge_state(e).weakness);
}

const char *workload_trouble(const struct workload *w, char *buf, size_t size)
{
	if (*w->trouble || *own_vpn_trouble(w, buf, size))
		return *w->trouble ? w->trouble : buf;
	if (w->barred_ns && w->stop_after_ns != STOP_NEVER && container_is_lost_by_stop(w))
		return FROZEN_ONLY;
	if (!*w->delegated)
		return "";
	snprintf(buf, size, "%s: %s, who may take its processes out of it (" DELEGATION_REMEDY ")",
		 w->audit		 ? "enforced, it would stay shut"
		 : workload_may_leave(w) ? "it stays shut"
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
	struct workload_facts f = { .unreadable = w->container.unusable ||
						  w->tunnel == w->daemon->nowhere,
				    .tunnel_up = w->tunnel->state == TUNNEL_UP,
				    .held = w->held,
				    .may_leave = workload_may_leave(w),
				    .block = w->on_failure == ON_FAILURE_BLOCK };
	enum input in;

	own_vpn_look(w);
	f.tunnel_up &= w->own_vpn != OWN_VPN_PROGRAM;
	f.block |= w->own_vpn != OWN_VPN_NONE;
	f.block |= w->tunnel->rehearsed_ns;
	f.orphaned = f.tunnel_up && !f.unreadable && container_is_elsewhere(w);
	f.may_move = f.orphaned && container_may_move(w);
	/* nothing is dropped in audit, so nothing is frozen */
	f.may_freeze = !f.tunnel_up && !w->container.unusable && !f.block && !w->audit &&
		       !container_is_misplaced(w) &&
		       (!w->container.kind || container_has_started(w)) &&
		       (w->origin != OF_SLICE || now_boot_ns() - w->born_ns >= SETTLED_NS);
	in = policy_workload_facts(&f);
	if (in == IN_ORPHANED)
		container_moves(w);
	else if (in == IN_ASTRAY)
		container_say_elsewhere(w);
	else if (in == IN_TUNNEL_UP && w->why == IN_ASTRAY) {
		w->trouble[0] = '\0';
		w->why = in;
	}
	workload_input(w, in);
}

int workload_hold(struct workload *w, bool held, struct error *err)
{
	/* on disk before it is in force, and in force before it is off the disk */
	int r = held ? mark_set(MARK_HELD, w->name, err) : 0;

	if (r)
		return r;
	if (w->bound && record_flags(w->daemon->leases, w->bound, held ? WORKLOAD_HELD : 0,
				     held ? 0 : WORKLOAD_HELD))
		return fail(err, ERROR_OTHER, -EIO, NULL, "mark workload '%s'", w->name);
	r = held ? 0 : mark_clear(MARK_HELD, w->name, err);
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
	counters_read(gate_pins(w->daemon->gate), w->bound, now);
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
	/* frozen by us and admitted: a daemon died on the way to the thaw */
	if (!record_get(d->leases, w->bound, &record) &&
	    (record.flags & (WORKLOAD_ADMITTED | WORKLOAD_FROZEN_BY_US)) == WORKLOAD_ADMITTED &&
	    t->state == TUNNEL_UP && !workload_may_leave(w)) {
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

	if (leash_bind(w, &err)) { /* workload_look() goes on trying */
		leash_freeze_instead(w);
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
		leash_part(w); /* shut, before anything else */
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

	if (w->cgroup && w->started)
		watch_cgroup_ready(w->cgroup);
	if (w->state == WORKLOAD_OPEN && watch_cgroup_frozen(w->cgroup))
		carry_out_workload(w, DO_THAW); /* one that failed; not what others froze */
	c = watch_cgroup_ref(w->cgroup);
	if (w->started && own_vpn_look(w))
		workload_tunnel_changed(w);
	if (w->bound && w->started && now_boot_ns() - w->delegation_ns >= NS_PER_SEC &&
	    delegation_changed(w))
		workload_tunnel_changed(w);
	if (w->bound || !c || leash_bind(w, &err))
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
		r = fail(err, ERROR_INPUT, -ENOENT, NULL, "cgroup '%s' vanished", w->name);
	return r ? r : leash_bind(w, err);
}

int workload_check_hooks(const struct workload_config *config, struct error *err)
{
	int r = *config->hook ? hooks_check(config->hook, err) : 0;

	return r || !*config->hook_inside ? r : hooks_check(config->hook_inside, err);
}

int workload_new(struct daemon *d, enum workload_origin origin,
		 const struct workload_config *config, const char *given, struct tunnel *t,
		 struct workload **ret, struct error *err)
{
	struct workload *w = calloc(1, sizeof(*w));
	size_t length = strlen(given);
	const char *place;
	enum place_kind kind = place_kind(given, &place);
	int r = 0;

	if (!w)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	*w = (struct workload) {
		.daemon = d, .tunnel = t, .origin = origin, .state = WORKLOAD_WAITING
	};
	w->container.kind = kind == PLACE_CONTAINER ? ENGINE_CONTAINER
			    : kind == PLACE_UNIT    ? ENGINE_UNIT
						    : 0;
	workload_configure(w, config);
	snprintf(w->given, sizeof(w->given), "%s", given);
	/* without a section's name: the end of its path */
	snprintf(w->name, sizeof(w->name), "%.63s",
		 *config->name		    ? config->name
		 : w->container.kind	    ? place
		 : length < sizeof(w->name) ? given
					    : given + length - sizeof(w->name) + 1);
	w->held = mark_is(MARK_HELD, w->name);
	if (w->container.kind) {
		inventory_watch(d->inventory, &w->container.watch, w->container.kind,
				w->given + (place - given), d->container_news, w);
	} else {
		snprintf(w->path, sizeof(w->path), "%s", given);
		r = watch_and_bind(w, err);
	}
	if (r) {
		workload_free(w);
		return r;
	}
	/* an earlier daemon told these */
	counters_read(gate_pins(d->gate), w->bound, w->summed);
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
	leash_part(w);
	workload_free(w);
}

void workload_move(struct workload *w, struct tunnel *t)
{
	w->tunnel = t;
	if (!w->bound)
		return;
	leash_set_flags(w); /* what the tunnel allows */
	if (watch_cgroup_ref(w->cgroup))
		leash_set_resolver(w);
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
		leash_shut(w);
		w->bound = 0;
	}
	if (!r)
		close_fd(still.fd);
	leash_part(w);
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
	if (w->origin == OF_SLICE) {
		w->born_ns = now_boot_ns();
		set_timer(w->daemon->loop, &w->end_timer, w->born_ns + SETTLED_NS, on_settled, w);
	}
	if (w->bound && (!c || c->id != w->bound))
		leash_part(w); /* it went while it was not listened to */
	if (w->bound) {
		leash_set_flags(w);
		leash_set_resolver(w);
		join_workload(w);
	} else if (c) {
		bind_and_join(w);
	}
	if (w->container.kind)
		inventory_tell(&w->container.watch);
}

void workload_free(struct workload *w)
{
	sd_event_source_disable_unref(w->freeze_timer);
	sd_event_source_disable_unref(w->stop_timer);
	sd_event_source_disable_unref(w->end_timer);
	sd_event_source_disable_unref(w->container.rejoin.timer);
	inventory_unwatch(&w->container.watch);
	inventory_unwatch(&w->container.unit_watch);
	watch_cgroup_stop(w->cgroup);
	if (w->release)
		w->release(w->source);
	free(w);
}
