/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a workload has that is a container or a unit: the ladder's steps after the freezer, stop and
 * start; a cgroup that is where the engine says; a netns that is another after its owner's restart;
 * people who stop it. See state.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/marks.h"
#include "core/workload_internal.h"
#include "edge/bootstrap.h"
#include "edge/sweep.h"
#include "watch/process.h"

#define END_NS	   (30 * NS_PER_SEC) /* after which who was thawed to end is frozen again */
#define AGAIN_NS   (5 * NS_PER_SEC)  /* between two tries to stop or start it */
#define REFUSED_NS (60 * NS_PER_SEC) /* the same, of an engine that does not let us */
#define PERSON_NS  (5 * NS_PER_SEC)  /* an engine that goes down takes its containers along first */
#define ORPHAN_NS  (60 * NS_PER_SEC) /* started anew in its tunnel's netns at most so often */

#define REMOVED "the container whose network it shares was removed"

/* What is to be done about it next; what was before is not any more. */
static void next_is(struct workload *w, uint64_t at_ns, sd_event_time_handler_t f)
{
	sd_event_source_disable_unref(w->end_timer); /* a source keeps its handler */
	w->end_timer = NULL;
	set_timer(w->daemon->loop, &w->end_timer, at_ns, f, w);
}

/* ------ stopped and started ------ */

static int on_stop_failed(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state == WORKLOAD_STOPPED)
		workload_input(w, w->bound ? IN_STOP_FAILED : IN_GIVEN_UP);
	return 0;
}

static int on_start_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state == WORKLOAD_STOPPED)
		workload_tunnel_changed(w);
	return 0;
}

void contained_stop(struct workload *w)
{
	w->stopping = true;
	if (inventory_ask_stop(&w->watch, w->id)) /* an action carries no input: a turn later */
		next_is(w, now_boot_ns(), on_stop_failed);
}

const char *workload_to_type(const struct workload *w, char *buf, size_t size)
{
	const struct engine_item *i = inventory_find(w->daemon->inventory, w->kind, w->id);
	const char *owner = i ? engine_shares(i) : NULL;
	char project[300], service[300];

	if (!owner || inventory_find(w->daemon->inventory, w->kind, owner))
		return NULL;
	if (*i->compose_service)
		snprintf(buf, size, "docker compose -p %s up -d --force-recreate --no-deps %s",
			 escape(project, sizeof(project), i->compose_project),
			 escape(service, sizeof(service), i->compose_service));
	else
		snprintf(buf, size, "make it anew, with the network of the new one");
	return buf;
}

void contained_start(struct workload *w)
{
	char command[300];

	if (w->running || w->stopping)
		return;
	if (workload_to_type(w, command, sizeof(command))) {
		workload_in_trouble(w, REMOVED, command);
		return;
	}
	edge_shut(w->tunnel->edge);
	if (!w->watch.request && inventory_ask_start(&w->watch, w->id))
		workload_in_trouble(w, "it can not be started", "the engine does not answer");
	next_is(w, now_boot_ns() + AGAIN_NS, on_start_again);
}

static int on_stop_due(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;

	if (w->state != WORKLOAD_BLOCKED && w->state != WORKLOAD_FROZEN)
		return 0;
	if (w->tunnel->state == TUNNEL_UP) /* it came back while a stop was failing */
		workload_tunnel_changed(w);
	else if (w->running && !w->held && !workload_is_paused(w)) {
		if (inventory_reachable(w->daemon->inventory, w->kind)) {
			workload_input(w, IN_STOP_DUE);
			return 0;
		}
		workload_in_trouble(w, "it can not be stopped", "the engine does not answer");
	}
	set_timer(w->daemon->loop, &w->stop_timer, now_boot_ns() + AGAIN_NS, on_stop_due, w);
	return 0;
}

/* The ladder's second step, counted from the moment at which it lost its way out. */
void contained_arm_stop(struct workload *w)
{
	bool barred = w->state == WORKLOAD_BLOCKED || w->state == WORKLOAD_FROZEN;

	if (!barred) {
		w->barred_ns = 0;
	} else if (!w->barred_ns && w->kind && w->stop_after_ns != STOP_NEVER && !w->audit) {
		w->barred_ns = now_boot_ns();
		set_timer(w->daemon->loop, &w->stop_timer, w->barred_ns + w->stop_after_ns,
			  on_stop_due, w);
	}
}

/* ------ where it runs ------ */

/* Left behind in a netns that is no longer its tunnel's: the VPN's container was restarted. An
 * engine puts who shares another's netns into that one's present netns, whenever it starts. */
bool contained_is_orphaned(const struct workload *w)
{
	const struct engine_item *i = inventory_find(w->daemon->inventory, w->kind, w->id);
	char path[64];
	struct stat st;

	if (!w->running || !w->pid || !i || !engine_shares(i))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", w->pid);
	return !stat(path, &st) && st.st_ino != w->tunnel->netns_ino;
}

enum input contained_of_orphan(struct workload *w)
{
	uint64_t now = now_boot_ns();

	if (w->orphaned_of == w->tunnel->netns_cookie && now - w->orphaned_ns < ORPHAN_NS)
		workload_in_trouble(w, "it is not in its tunnel's network namespace",
				    "and a start did not bring it there");
	else if (!inventory_reachable(w->daemon->inventory, w->kind))
		workload_in_trouble(w, "it is not in its tunnel's network namespace any more",
				    "and the engine does not answer");
	else {
		w->orphaned_ns = now;
		w->orphaned_of = w->tunnel->netns_cookie;
		return IN_ORPHANED;
	}
	return IN_TUNNEL_DOWN_BLOCK;
}

/* An engine that is still starting it would wait for the frozen for ever. What it said of an
 * earlier start is known by the process, which is not in this cgroup. */
bool contained_has_started(const struct workload *w)
{
	char path[PATH_MAX];
	size_t n = strlen(w->path);

	if (!w->pid) /* a unit may have none; a container's has ended, and the next is to come */
		return w->running && w->kind == ENGINE_UNIT;
	if (!w->running)
		return false;
	return !process_cgroup(w->pid, path) && !strncmp(path, w->path, n) &&
	       (!path[n] || path[n] == '/');
}

static void take_place(struct workload *w, const char *text)
{
	char path[PATH_MAX];
	struct error err;
	int r = cgroup_path(&w->daemon->root, text, path, &err);
	bool held;

	if (!r && w->cgroup && !strcmp(w->path, path)) {
		watch_cgroup_ready(w->cgroup);
		return;
	}
	workload_leave(w);
	if (!r) {
		held = slices_yield(w->daemon, path);
		if (held &&
		    workload_hold(w, true, &err)) /* what it was called goes with the slice */
			log_line(LOG_LEVEL_ERR, "%s", err.text);
		r = workload_enter(w, path, &err);
	}
	if (r)
		workload_in_trouble(w, "it can not be leashed", err.text);
}

/* ------ what the engine says ------ */

static int on_left(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *w = arg;
	struct error err;

	if (w->running)
		return 0;
	if (!inventory_reachable(w->daemon->inventory, w->kind)) {
		workload_input(w, IN_TAKEN_DOWN);
		return 0;
	}
	if (mark_clear(MARK_WANTED, w->name, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	workload_input(w, IN_GIVEN_UP);
	return 0;
}

static void item_started(struct workload *w)
{
	struct error err;

	if (w->tunnel != w->daemon->nowhere)
		w->trouble[0] = '\0';
	w->stopping = w->engine_lost = false;
	edge_sweep(w->tunnel->edge);
	if (mark_set(MARK_WANTED, w->name, &err))
		log_line(LOG_LEVEL_ERR, "%s: a restart of the machine would leave it stopped",
			 err.text);
	if (w->bound)
		workload_tunnel_changed(w); /* it may be frozen from now on */
}

/* By us, by the machine or the engine going down, or by a person or itself. */
static void item_ended(struct workload *w)
{
	w->stopping = false;
	w->watch.request = 0; /* what was asked for is done, whatever else is still said of it */
	if (w->state == WORKLOAD_STOPPED) {
		workload_tunnel_changed(w);
	} else if (w->engine_lost) {
		workload_input(w, IN_TAKEN_DOWN);
		workload_tunnel_changed(w);
	} else {
		next_is(w, now_boot_ns() + PERSON_NS, on_left);
	}
}

static void is_unusable(struct workload *w, const char *why)
{
	workload_in_trouble(
		w,
		w->bound ? "what the engine says of it can not be used"
			 : "it is NOT leashed if it runs, as its cgroup is not found and what "
			   "the engine says of it can not be used",
		why);
}

/* Shut by what is known of it: its id, and where the kernel has it. Nothing that was said before is
 * taken back: it may run on. */
static void item_unusable(struct workload *w, const struct engine_item *item)
{
	w->unusable = true;
	memcpy(w->id, item->id, sizeof(w->id));
	if (w->bound) /* before anything else is done about it */
		workload_tunnel_changed(w);
	if (*item->cgroup)
		take_place(w, item->cgroup);
	if (w->bound) /* else it is sought first */
		is_unusable(w, item->unusable);
	if (w->kind == ENGINE_CONTAINER)
		inventory_seek(&w->watch);
}

/* Its container or unit as it is now; NULL: there is none. */
static void item_is(void *owner, const struct engine_item *item)
{
	struct workload *w = owner;
	bool was = w->running, first = !*w->id;
	pid_t before = w->pid;
	struct error err;

	if (!w->started) /* it is told when it is */
		return;
	if (item && *item->unusable) {
		item_unusable(w, item);
		return;
	}
	if (w->unusable && w->tunnel != w->daemon->nowhere)
		w->trouble[0] = '\0';
	if (w->unusable) {
		w->unusable = w->watch.sought = false;
		workload_tunnel_changed(w);
	}
	w->running = item && item->running;
	w->pid = item ? item->pid : 0;
	snprintf(w->id, sizeof(w->id), "%s", item ? item->id : "");
	if (!item) {
		workload_leave(w);
		if (first) /* not made yet */
			return;
		mark_clear(MARK_WANTED, w->name, &err);
		workload_input(w, IN_GIVEN_UP);
		return;
	}
	if (*item->cgroup)
		take_place(w, item->cgroup);
	if (w->running && (!was || w->pid != before))
		item_started(w);
	else if (!w->running && was)
		item_ended(w);
	else if (!w->running && first && mark_is(MARK_WANTED, w->name)) {
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
static void ending(void *owner)
{
	struct workload *w = owner;

	if (workload_is_paused(w) || (w->state != WORKLOAD_BLOCKED && w->state != WORKLOAD_FROZEN))
		return;
	workload_input(w, IN_ENDING);
	next_is(w, now_boot_ns() + END_NS, on_not_ended);
}

static void done(void *owner, int result, const char *error)
{
	struct workload *w = owner;
	bool stopping = w->stopping;

	if (!result)
		return; /* how it is now comes by item_is() */
	w->stopping = false;
	workload_in_trouble(w, stopping ? "it can not be stopped" : "it can not be started",
			    result == -ENOENT && !*error ? "the engine knows it no longer"
			    : *error			 ? error
							 : strerror(-result));
	if (stopping && w->state == WORKLOAD_STOPPED) {
		workload_input(w, w->bound ? IN_STOP_FAILED : IN_GIVEN_UP);
		if (w->bound && w->tunnel->state == TUNNEL_UP)
			workload_tunnel_changed(w);
		else if (w->state == WORKLOAD_BLOCKED || w->state == WORKLOAD_FROZEN)
			set_timer(w->daemon->loop, &w->stop_timer,
				  now_boot_ns() + (result == -EACCES ? REFUSED_NS : AGAIN_NS),
				  on_stop_due, w);
	}
}

static void engine_is(void *owner, bool there)
{
	struct workload *w = owner;

	if (!there) {
		w->engine_lost |= w->running;
		w->watch.request = 0;
		w->stopping = false;
	} else {
		w->engine_lost = false;
		workload_tunnel_changed(w); /* what had to wait for it */
	}
}

/* What runs where nobody finds it is free, and that must be seen. */
static void was_sought(void *owner, const struct engine_item *item)
{
	struct workload *w = owner;

	/* found, and it could not be leashed: that is said already */
	if (!w->bound && (w->cgroup ? watch_cgroup_ref(w->cgroup) != NULL : *item->cgroup))
		return;
	is_unusable(w, item->unusable);
}

const struct inventory_listener container_news = {
	.item = item_is,
	.ending = ending,
	.done = done,
	.engine = engine_is,
	.sought = was_sought,
};

/* What was said of it goes along; a hold that waits for whoever has the new name is for it. */
void workload_rename(struct workload *w, const char *name)
{
	bool wanted = mark_is(MARK_WANTED, w->name), held = w->held;
	struct error err = { 0 };

	if (wanted)
		mark_clear(MARK_WANTED, w->name, &err);
	snprintf(w->name, sizeof(w->name), "%.63s", name);
	if (w->bound)
		record_bind(w->daemon->leases, w->bound, watch_cgroup_ref(w->cgroup)->level,
			    w->name, w->made ? WORKLOAD_EXEC : 0);
	if ((wanted && mark_set(MARK_WANTED, w->name, &err)) ||
	    ((held || mark_is(MARK_HELD, w->name)) && workload_hold(w, true, &err)))
		log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, err.text);
}

/* Frozen it can not act on a signal; what waits for it says that somebody wants it to end. The
 * engine tells this sooner, but not while it goes down itself. */
static void look_for_signals(struct workload *w)
{
	if (w->state == WORKLOAD_FROZEN && w->pid && process_is_to_end(w->pid))
		ending(w);
}

void contained_look(struct workload *w)
{
	const struct engine_item *i = inventory_find(w->daemon->inventory, w->kind, w->id);
	char command[300];

	look_for_signals(w);
	if (i && *i->cgroup && !w->cgroup) /* it could not be opened when that was told */
		take_place(w, i->cgroup);
	if (w->running && inventory_reachable(w->daemon->inventory, w->kind) &&
	    workload_to_type(w, command, sizeof(command)))
		workload_in_trouble(w, REMOVED, command);
}
