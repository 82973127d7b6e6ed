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
#include "watch/process.h"

#define END_NS	   (30 * NS_PER_SEC) /* after which who was thawed to end is frozen again */
#define AGAIN_NS   (5 * NS_PER_SEC)  /* between two tries to stop or start it */
#define REFUSED_NS (60 * NS_PER_SEC) /* the same, of an engine that does not let us */
#define PERSON_NS  (5 * NS_PER_SEC)  /* an engine that goes down takes its containers along first */
#define ORPHAN_NS  (60 * NS_PER_SEC) /* started anew in its tunnel's netns at most so often */

#define REMOVED "the container whose network it shares was removed"

/* What is to be done about it next; what was before is not any more. */
static void next_is(struct workload *m, uint64_t at_ns, sd_event_time_handler_t f)
{
	sd_event_source_disable_unref(m->end_timer); /* a source keeps its handler */
	m->end_timer = NULL;
	set_timer(m->daemon->loop, &m->end_timer, at_ns, f, m);
}

/* ------ stopped and started ------ */

static int on_stop_failed(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;

	if (m->state == WORKLOAD_STOPPED)
		workload_input(m, m->bound ? IN_STOP_FAILED : IN_GIVEN_UP);
	return 0;
}

static int on_start_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;

	if (m->state == WORKLOAD_STOPPED)
		workload_tunnel_changed(m);
	return 0;
}

void contained_stop(struct workload *m)
{
	m->stopping = true;
	if (containers_ask_stop(m)) /* an action carries no input: a turn later */
		next_is(m, now_boot_ns(), on_stop_failed);
}

const char *workload_to_type(const struct workload *m, char *buf, size_t size)
{
	const struct engine_item *i = containers_find(m->daemon, m->kind, m->id);
	const char *owner = i ? engine_shares(i) : NULL;
	char project[300], service[300];

	if (!owner || containers_find(m->daemon, m->kind, owner))
		return NULL;
	if (*i->compose_service)
		snprintf(buf, size, "docker compose -p %s up -d --force-recreate --no-deps %s",
			 escape(project, sizeof(project), i->compose_project),
			 escape(service, sizeof(service), i->compose_service));
	else
		snprintf(buf, size, "make it anew, with the network of the new one");
	return buf;
}

void contained_start(struct workload *m)
{
	char command[300];

	if (m->running || m->stopping)
		return;
	if (workload_to_type(m, command, sizeof(command))) {
		workload_in_trouble(m, REMOVED, command);
		return;
	}
	edge_shut(m->tunnel->edge);
	if (!m->request && containers_ask_start(m))
		workload_in_trouble(m, "it can not be started", "the engine does not answer");
	next_is(m, now_boot_ns() + AGAIN_NS, on_start_again);
}

static int on_stop_due(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;

	if (m->state != WORKLOAD_BLOCKED && m->state != WORKLOAD_FROZEN)
		return 0;
	if (m->tunnel->state == TUNNEL_UP) /* it came back while a stop was failing */
		workload_tunnel_changed(m);
	else if (m->running && !m->held && !workload_is_paused(m)) {
		if (containers_reachable(m->daemon, m->kind)) {
			workload_input(m, IN_STOP_DUE);
			return 0;
		}
		workload_in_trouble(m, "it can not be stopped", "the engine does not answer");
	}
	set_timer(m->daemon->loop, &m->stop_timer, now_boot_ns() + AGAIN_NS, on_stop_due, m);
	return 0;
}

/* The ladder's second step, counted from the moment at which it lost its way out. */
void contained_arm_stop(struct workload *m)
{
	bool barred = m->state == WORKLOAD_BLOCKED || m->state == WORKLOAD_FROZEN;

	if (!barred) {
		m->barred_ns = 0;
	} else if (!m->barred_ns && m->kind && m->stop_after_ns != STOP_NEVER && !m->audit) {
		m->barred_ns = now_boot_ns();
		set_timer(m->daemon->loop, &m->stop_timer, m->barred_ns + m->stop_after_ns,
			  on_stop_due, m);
	}
}

/* ------ where it runs ------ */

/* Left behind in a netns that is no longer its tunnel's: the VPN's container was restarted. An
 * engine puts who shares another's netns into that one's present netns, whenever it starts. */
bool contained_is_orphaned(const struct workload *m)
{
	const struct engine_item *i = containers_find(m->daemon, m->kind, m->id);
	char path[64];
	struct stat st;

	if (!m->running || !m->pid || !i || !engine_shares(i))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", m->pid);
	return !stat(path, &st) && st.st_ino != m->tunnel->netns_ino;
}

enum input contained_of_orphan(struct workload *m)
{
	uint64_t now = now_boot_ns();

	if (m->orphaned_of == m->tunnel->netns_cookie && now - m->orphaned_ns < ORPHAN_NS)
		workload_in_trouble(m, "it is not in its tunnel's network namespace",
				    "and a start did not bring it there");
	else if (!containers_reachable(m->daemon, m->kind))
		workload_in_trouble(m, "it is not in its tunnel's network namespace any more",
				    "and the engine does not answer");
	else {
		m->orphaned_ns = now;
		m->orphaned_of = m->tunnel->netns_cookie;
		return IN_ORPHANED;
	}
	return IN_TUNNEL_DOWN_BLOCK;
}

/* An engine that is still starting it would wait for the frozen for ever. What it said of an
 * earlier start is known by the process, which is not in this cgroup. */
bool contained_has_started(const struct workload *m)
{
	char path[PATH_MAX];
	size_t n = strlen(m->path);

	if (!m->pid) /* a unit may have none; a container's has ended, and the next is to come */
		return m->running && m->kind == ENGINE_UNIT;
	if (!m->running)
		return false;
	return !process_cgroup(m->pid, path) && !strncmp(path, m->path, n) &&
	       (!path[n] || path[n] == '/');
}

static void take_place(struct workload *m, const char *text)
{
	char path[PATH_MAX];
	struct error err;
	int r = cgroup_path(&m->daemon->root, text, path, &err);
	bool held;

	if (!r && m->cgroup && !strcmp(m->path, path)) {
		watch_cgroup_ready(m->cgroup);
		return;
	}
	workload_leave(m);
	if (!r) {
		held = slices_yield(m->daemon, path);
		if (held &&
		    workload_hold(m, true, &err)) /* what it was called goes with the slice */
			log_line(LOG_LEVEL_ERR, "%s", err.text);
		r = workload_enter(m, path, &err);
	}
	if (r)
		workload_in_trouble(m, "it can not be leashed", err.text);
}

/* ------ what the engine says ------ */

static int on_left(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;
	struct error err;

	if (m->running)
		return 0;
	if (!containers_reachable(m->daemon, m->kind)) {
		workload_input(m, IN_TAKEN_DOWN);
		return 0;
	}
	if (mark_clear(MARK_WANTED, m->name, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	workload_input(m, IN_GIVEN_UP);
	return 0;
}

static void item_started(struct workload *m)
{
	struct error err;

	if (m->tunnel != m->daemon->nowhere)
		m->trouble[0] = '\0';
	m->stopping = m->engine_lost = false;
	edge_sweep(m->tunnel->edge);
	if (mark_set(MARK_WANTED, m->name, &err))
		log_line(LOG_LEVEL_ERR, "%s: a restart of the machine would leave it stopped",
			 err.text);
	if (m->bound)
		workload_tunnel_changed(m); /* it may be frozen from now on */
}

/* By us, by the machine or the engine going down, or by a person or itself. */
static void item_ended(struct workload *m)
{
	m->stopping = false;
	m->request = 0; /* what was asked for is done, whatever else is still said of it */
	if (m->state == WORKLOAD_STOPPED) {
		workload_tunnel_changed(m);
	} else if (m->engine_lost) {
		workload_input(m, IN_TAKEN_DOWN);
		workload_tunnel_changed(m);
	} else {
		next_is(m, now_boot_ns() + PERSON_NS, on_left);
	}
}

/* Shut by what is known of it: its id, and where the kernel has it. Nothing that was said before is
 * taken back: it may run on. */
static void item_unusable(struct workload *m, const struct engine_item *item)
{
	m->unusable = true;
	memcpy(m->id, item->id, sizeof(m->id));
	if (m->bound) /* before anything else is done about it */
		workload_tunnel_changed(m);
	if (*item->cgroup)
		take_place(m, item->cgroup);
	if (m->bound) /* else it is sought first */
		workload_is_unusable(m, item->unusable);
	containers_in_trouble(m->daemon);
}

void workload_is_unusable(struct workload *m, const char *why)
{
	workload_in_trouble(
		m,
		m->bound ? "what the engine says of it can not be used"
			 : "it is NOT leashed if it runs, as its cgroup is not found and what "
			   "the engine says of it can not be used",
		why);
}

void workload_item_is(struct workload *m, const struct engine_item *item)
{
	bool was = m->running, first = !*m->id;
	pid_t before = m->pid;
	struct error err;

	if (item && *item->unusable) {
		item_unusable(m, item);
		return;
	}
	if (m->unusable && m->tunnel != m->daemon->nowhere)
		m->trouble[0] = '\0';
	if (m->unusable) {
		m->unusable = false;
		workload_tunnel_changed(m);
	}
	m->running = item && item->running;
	m->pid = item ? item->pid : 0;
	snprintf(m->id, sizeof(m->id), "%s", item ? item->id : "");
	if (!item) {
		workload_leave(m);
		if (first) /* not made yet */
			return;
		mark_clear(MARK_WANTED, m->name, &err);
		workload_input(m, IN_GIVEN_UP);
		return;
	}
	if (*item->cgroup)
		take_place(m, item->cgroup);
	if (m->running && (!was || m->pid != before))
		item_started(m);
	else if (!m->running && was)
		item_ended(m);
	else if (!m->running && first && mark_is(MARK_WANTED, m->name)) {
		workload_input(m, IN_TAKEN_DOWN);
		workload_tunnel_changed(m);
	}
}

static int on_not_ended(sd_event_source *s, uint64_t usec, void *arg)
{
	struct workload *m = arg;

	if (m->state == WORKLOAD_BLOCKED)
		workload_tunnel_changed(m);
	return 0;
}

void workload_ending(struct workload *m)
{
	if (workload_is_paused(m) || (m->state != WORKLOAD_BLOCKED && m->state != WORKLOAD_FROZEN))
		return;
	workload_input(m, IN_ENDING);
	next_is(m, now_boot_ns() + END_NS, on_not_ended);
}

void workload_done(struct workload *m, int result, const char *error)
{
	bool stopping = m->stopping;

	m->request = 0;
	if (!result)
		return; /* how it is now comes by workload_item_is() */
	m->stopping = false;
	workload_in_trouble(m, stopping ? "it can not be stopped" : "it can not be started",
			    result == -ENOENT && !*error ? "the engine knows it no longer"
			    : *error			 ? error
							 : strerror(-result));
	if (stopping && m->state == WORKLOAD_STOPPED) {
		workload_input(m, m->bound ? IN_STOP_FAILED : IN_GIVEN_UP);
		if (m->bound && m->tunnel->state == TUNNEL_UP)
			workload_tunnel_changed(m);
		else if (m->state == WORKLOAD_BLOCKED || m->state == WORKLOAD_FROZEN)
			set_timer(m->daemon->loop, &m->stop_timer,
				  now_boot_ns() + (result == -EACCES ? REFUSED_NS : AGAIN_NS),
				  on_stop_due, m);
	}
}

void workload_engine_is(struct workload *m, bool there)
{
	if (!there) {
		m->engine_lost |= m->running;
		m->request = 0;
		m->stopping = false;
	} else {
		m->engine_lost = false;
		workload_tunnel_changed(m); /* what had to wait for it */
	}
}

/* What was said of it goes along; a hold that waits for whoever has the new name is for it. */
void workload_rename(struct workload *m, const char *name)
{
	bool wanted = mark_is(MARK_WANTED, m->name), held = m->held;
	struct error err = { 0 };

	if (wanted)
		mark_clear(MARK_WANTED, m->name, &err);
	snprintf(m->name, sizeof(m->name), "%.63s", name);
	if (m->bound)
		record_bind(m->daemon->leases, m->bound, watch_cgroup_ref(m->cgroup)->level,
			    m->name, m->made ? WORKLOAD_EXEC : 0);
	if ((wanted && mark_set(MARK_WANTED, m->name, &err)) ||
	    ((held || mark_is(MARK_HELD, m->name)) && workload_hold(m, true, &err)))
		log_line(LOG_LEVEL_ERR, "workload '%s': %s", m->name, err.text);
}

/* Frozen it can not act on a signal; what waits for it says that somebody wants it to end. The
 * engine tells this sooner, but not while it goes down itself. */
static void look_for_signals(struct workload *m)
{
	if (m->state == WORKLOAD_FROZEN && m->pid && process_is_to_end(m->pid))
		workload_ending(m);
}

void contained_look(struct workload *m)
{
	const struct engine_item *i = containers_find(m->daemon, m->kind, m->id);
	char command[300];

	look_for_signals(m);
	if (i && *i->cgroup && !m->cgroup) /* it could not be opened when that was told */
		take_place(m, i->cgroup);
	if (m->running && containers_reachable(m->daemon, m->kind) &&
	    workload_to_type(m, command, sizeof(command)))
		workload_in_trouble(m, REMOVED, command);
}
