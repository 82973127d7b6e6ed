/* SPDX-License-Identifier: GPL-2.0-or-later */

#include <errno.h>
#include <string.h>

#include "act/lease.h"
#include "core/container.h"
#include "core/container_news.h"
#include "core/leash.h"
#include "core/marks.h"
#include "core/registry.h"
#include "core/rejoin.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "edge/edge.h"
#include "watch/cgroup.h"
#include "watch/process.h"

#define END_NS	   (30 * NS_PER_SEC) /* after which who was thawed to end is frozen again */
#define REFUSED_NS (60 * NS_PER_SEC) /* WORKLOAD_AGAIN_NS, of an engine that does not let us */
#define LEFT_NS	   (10 * NS_PER_SEC) /* Compose looks twice a second whether it is to start it */
#define PERSON_NS  (5 * NS_PER_SEC)  /* an engine that goes down takes its containers along first */

/* ------ where it runs ------ */

/* The child at that path, if it is a slice's, is somebody else's from now on: its record is taken
 * over. Whether it was held. */
static bool yield_child(struct daemon *d, const char *path)
{
	struct workload *child = workload_at(d, path);
	bool held;

	if (!child || child->origin != OF_SLICE)
		return false;
	held = child->held;
	daemon_remove_workload(d, child);
	workload_free(child);
	return held;
}

static void container_take_place(struct workload *w, const char *text)
{
	char path[PATH_MAX];
	struct error err;
	int r = cgroup_path(&w->daemon->root, text, path, &err);

	if (!r && w->cgroup && !strcmp(w->path, path)) {
		watch_cgroup_ready(w->cgroup);
		return;
	}
	workload_leave(w);
	if (!r) {
		/* the mark of a hold has the name that it had in the slice */
		if (yield_child(w->daemon, path) && workload_hold(w, true, &err))
			log_line(LOG_LEVEL_ERR, "%s", err.text);
		r = workload_enter(w, path, &err);
	}
	if (r)
		container_in_trouble(w, "it can not be leashed", err.text);
}

/* ------ what the engine says ------ */

static int on_left(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;
	struct error err;

	if (!w->container.ended_ns) /* it runs again, or that is decided already */
		return 0;
	w->container.ended_ns = 0;
	if (!container_reachable(w)) {
		workload_input(w, IN_TAKEN_DOWN);
		return 0;
	}
	if (mark_clear(MARK_WANTED, w->name, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	workload_input(w, IN_GIVEN_UP);
	return 0;
}

static void container_started(struct workload *w)
{
	struct error err;

	if (w->tunnel != w->daemon->nowhere)
		w->trouble[0] = '\0';
	rejoin_worked(w);
	w->container.stopping = w->container.engine_lost = false;
	w->container.ended_ns = 0;
	edge_sweep(w->tunnel->edge);
	if (*w->container.unit && mark_clear(MARK_UNIT, w->container.unit, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	if (mark_set(MARK_WANTED, w->name, &err))
		log_line(LOG_LEVEL_ERR, "%s: a restart of the machine would leave it stopped",
			 err.text);
	if (w->bound)
		workload_tunnel_changed(w); /* it may be frozen from now on */
}

/* By us, by the machine or the engine going down, or by a person or itself. */
static void container_ended(struct workload *w)
{
	w->container.stopping = false;
	/* what was asked for is done, whatever else is still said of it */
	w->container.watch.request = 0;
	if (w->state == WORKLOAD_STOPPED) {
		workload_tunnel_changed(w);
	} else if (w->container.engine_lost) {
		workload_input(w, IN_TAKEN_DOWN);
		workload_tunnel_changed(w);
	} else {
		w->container.ended_ns = now_boot_ns();
		workload_next_is(w, w->container.ended_ns + PERSON_NS, on_left);
	}
}

static void container_say_unusable(struct workload *w, const char *why)
{
	container_in_trouble(
		w,
		w->bound ? "what the engine says of it can not be used"
			 : "it is NOT leashed if it runs, as its cgroup is not found and what "
			   "the engine says of it can not be used",
		quote(why));
}

/* Shut by what is known of it: its id, and where the kernel has it. Nothing that was said before is
 * taken back: it may run on. */
static void container_unusable(struct workload *w, const struct engine_item *item)
{
	w->container.unusable = true;
	memcpy(w->container.id, item->id, sizeof(w->container.id));
	if (w->bound) /* before anything else is done about it */
		workload_tunnel_changed(w);
	if (*item->cgroup)
		container_take_place(w, item->cgroup);
	if (w->bound) /* else it is sought first */
		container_say_unusable(w, item->unusable);
	if (w->container.kind == ENGINE_CONTAINER)
		inventory_seek(&w->container.watch);
}

static void container_done(void *owner, int result, const char *error);

static void unit_is(void *owner, const struct engine_item *item)
{
	/* its container says all */
}

static void unit_engine_is(void *owner, bool there)
{
	struct workload *w = owner;

	w->container.unit_watch.request = 0; /* nobody answers what was asked before */
	if (there)
		workload_tunnel_changed(w);
	else
		w->container.stopping = false;
}

static const struct inventory_listener unit_news = {
	.item = unit_is,
	.done = container_done,
	.engine = unit_engine_is,
};

/* Known while it runs, and kept after its end. */
static void container_note_unit(struct workload *w, const struct engine_item *item)
{
	struct workload_container *c = &w->container;

	if (!item->pid || !strcmp(c->unit, item->in_unit ? item->unit : ""))
		return;
	inventory_unwatch(&c->unit_watch);
	c->unit_watch = (struct inventory_watch) { 0 };
	snprintf(c->unit, sizeof(c->unit), "%s", item->in_unit ? item->unit : "");
	if (*c->unit)
		inventory_watch(w->daemon->inventory, &c->unit_watch, ENGINE_UNIT, c->unit,
				&unit_news, w);
}

/* Its container or unit as it is now; NULL: there is none. */
static void container_is(void *owner, const struct engine_item *item)
{
	struct workload *w = owner;
	bool was = w->container.running, first = !*w->container.id;
	pid_t before = w->container.pid;
	struct error err;

	if (!w->started) /* it is told when it is */
		return;
	if (item && *item->unusable) {
		container_unusable(w, item);
		return;
	}
	if (w->container.unusable && w->tunnel != w->daemon->nowhere)
		w->trouble[0] = '\0';
	if (w->container.unusable) {
		w->container.unusable = w->container.watch.sought = false;
		workload_tunnel_changed(w);
	}
	w->container.running = item && item->running;
	w->container.pid = item ? item->pid : 0;
	snprintf(w->container.id, sizeof(w->container.id), "%s", item ? item->id : "");
	if (!item) {
		w->container.ended_ns = 0;
		w->container.stopping = false;
		workload_leave(w);
		if (container_is_parked(w)) { /* not made again yet: its tunnel may be up by now */
			workload_tunnel_changed(w);
			return;
		}
		if (first) /* not made yet */
			return;
		mark_clear(MARK_WANTED, w->name, &err);
		workload_input(w, IN_GIVEN_UP);
		return;
	}
	container_note_unit(w, item);
	if (*item->cgroup)
		container_take_place(w, item->cgroup);
	if (w->container.running && (!was || w->container.pid != before))
		container_started(w);
	else if (!w->container.running && was)
		container_ended(w);
	else if (!w->container.running && first && mark_is(MARK_WANTED, w->name)) {
		workload_input(w, IN_TAKEN_DOWN);
		workload_tunnel_changed(w);
	}
}

static int on_not_ended(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state == WORKLOAD_BLOCKED)
		workload_tunnel_changed(w);
	return 0;
}

/* It was sent a signal by somebody: let it end. */
static void container_ending(void *owner)
{
	struct workload *w = owner;

	if (leash_is_paused(w) || (w->state != WORKLOAD_BLOCKED && w->state != WORKLOAD_FROZEN))
		return;
	workload_input(w, IN_ENDING);
	workload_next_is(w, now_boot_ns() + END_NS, on_not_ended);
}

static void container_done(void *owner, int result, const char *error)
{
	struct workload *w = owner;
	bool stopping = w->container.stopping;
	struct error err;

	if (rejoin_done(w, result, error))
		return;
	if (!result)
		return; /* how it is now comes by container_is() */
	w->container.stopping = false;
	if (!stopping && rejoin_start_failed(w, result, error))
		return;
	container_in_trouble(w, stopping ? "it can not be stopped" : "it can not be started",
			     result == -ENOENT && !*error ? "the engine knows it no longer"
			     : *error			  ? quote(error)
							  : strerror(-result));
	if (!stopping || w->state != WORKLOAD_STOPPED)
		return;
	if (*w->container.unit && mark_clear(MARK_UNIT, w->container.unit, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	workload_stop_failed(w);
	if (w->bound && w->tunnel->state == TUNNEL_UP)
		workload_tunnel_changed(w);
	else if (w->state == WORKLOAD_BLOCKED || w->state == WORKLOAD_FROZEN)
		workload_stop_again(w, result == -EACCES ? REFUSED_NS : WORKLOAD_AGAIN_NS);
}

static void container_engine_is(void *owner, bool there)
{
	struct workload *w = owner;

	if (!there) {
		/* it took this one along, and may be back before on_left() looks */
		if (w->container.ended_ns && now_boot_ns() - w->container.ended_ns < PERSON_NS) {
			w->container.ended_ns = 0;
			workload_input(w, IN_TAKEN_DOWN);
		}
		w->container.engine_lost |= w->container.running;
		w->container.watch.request = 0;
		w->container.stopping = w->container.rejoin.pending = false;
	} else {
		w->container.engine_lost = false;
		workload_tunnel_changed(w); /* what had to wait for it */
	}
}

/* What runs where nobody finds it is free, and that must be seen. */
static void container_sought(void *owner, const struct engine_item *item)
{
	struct workload *w = owner;

	/* found, and it could not be leashed: that is said already */
	if (!w->bound && (w->cgroup ? watch_cgroup_ref(w->cgroup) != NULL : *item->cgroup))
		return;
	container_say_unusable(w, item->unusable);
}

const struct inventory_listener container_news = {
	.item = container_is,
	.ending = container_ending,
	.done = container_done,
	.engine = container_engine_is,
	.sought = container_sought,
};

/* What was said of it goes along; a hold that waits for whoever has the new name is for it. */
void container_rename(struct workload *w, const char *name)
{
	bool wanted = mark_is(MARK_WANTED, w->name), held = w->held;
	struct error err = { 0 };

	if (wanted)
		mark_clear(MARK_WANTED, w->name, &err);
	snprintf(w->name, sizeof(w->name), "%.63s", name);
	if (w->bound)
		record_bind(w->daemon->leases, w->bound, watch_cgroup_ref(w->cgroup)->level,
			    w->name, w->origin == OF_EXEC ? WORKLOAD_EXEC : 0);
	if ((wanted && mark_set(MARK_WANTED, w->name, &err)) ||
	    ((held || mark_is(MARK_HELD, w->name)) && workload_hold(w, true, &err)))
		log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, err.text);
}

/* Compose gave up waiting for the VPN's container, and nobody else starts this one.
 * LEFT_NS: if Compose still waits, it comes first. */
static void container_look_if_left(struct workload *w, const struct engine_item *i)
{
	const struct engine_item *owner = NULL;
	uint64_t now = now_boot_ns();

	if (w->state == WORKLOAD_WAITING && !w->held && w->tunnel->state == TUNNEL_UP &&
	    container_is_left(w))
		owner = inventory_find(w->daemon->inventory, w->container.kind, engine_shares(i));
	if (!owner || owner->health == HEALTH_STARTING) {
		w->container.left_ns = 0;
		return;
	}
	if (!w->container.left_ns)
		w->container.left_ns = now;
	if (now - w->container.left_ns < LEFT_NS)
		return;
	log_line(LOG_LEVEL_NOTICE, "workload '%s': Compose made it and did not start it", w->name);
	workload_input(w, IN_TAKEN_DOWN);
	workload_tunnel_changed(w);
}

void container_look(struct workload *w)
{
	const struct engine_item *i;

	if (!w->container.kind)
		return;
	i = container_item(w);
	/* Frozen it can not act on a signal; what waits for it says that somebody wants it to end.
	 * The engine tells this sooner, but not while it goes down itself. */
	if (w->state == WORKLOAD_FROZEN && w->container.pid && process_is_to_end(w->container.pid))
		container_ending(w);
	container_look_if_left(w, i);
	if (i && *i->cgroup && !w->cgroup) /* it could not be opened when that was told */
		container_take_place(w, i->cgroup);
	if (!container_reachable(w))
		return;
	if (i)
		container_network_name(w, i);
	if (w->container.running || w->state == WORKLOAD_STOPPED)
		container_say_removed(w);
	rejoin_look(w);
}
