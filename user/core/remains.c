/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is left of a removed cgroup: its gate and its barred record. The kernel keeps a removed
 * cgroup's programs in force for as long as one of its sockets lives (an orphaned connection, a
 * descriptor that somebody else holds, one in flight), and a pin that is taken away takes the
 * program off those sockets. So nothing is taken away because a path is gone: once a second it is
 * looked whether the kernel has released the cgroup, and only then they go.
 */
#include "core/remains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act/detach.h"
#include "act/gate.h"
#include "act/guard.h"
#include "act/lease.h"
#include "base/loop.h"
#include "base/privilege.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"

#define LOOK_NS	 (1 * NS_PER_SEC)  /* between two looks at all of them */
#define SOON_NS	 (NS_PER_SEC / 5)  /* the kernel releases one without sockets some ms later */
#define AT_START 256		   /* a lease that runs waits for it; the others go by the loop */
#define AT_ONCE	 32		   /* of them in one turn of the loop: some milliseconds */
#define NEXT_NS	 (NS_PER_SEC / 50) /* until the next AT_ONCE */
#define REMEMBER (2 * VPNLEASH_WORKLOADS)
#define SCAN_NS	 (1 * NS_PER_SEC) /* one that was shut has most likely gone by then */
#define JUDGED	 256		  /* records in one turn of a scan */

struct remains {
	size_t n, next, room;
	uint64_t *all; /* ids */
	sd_event_source *timer;
	/* the scan: ids that have a record or a gate */
	bool scanned;
	size_t n_found, judged, found_room;
	uint64_t *found;
	sd_event_source *scan;
};

size_t remains_count(const struct daemon *d)
{
	return d->remains ? d->remains->n : 0;
}

static bool is_known(const struct remains *r, uint64_t cgroup_id)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->all[i] == cgroup_id)
			return true;
	return false;
}

/* To a list of ids, of at most so many. */
static bool add_id(uint64_t **list, size_t *n, size_t *room, size_t most, uint64_t cgroup_id)
{
	if (*n == *room) {
		size_t wider = *room ? 2 * *room : 64;
		uint64_t *more = wider > most ? NULL : realloc(*list, wider * sizeof(*more));

		if (!more)
			return false;
		*list = more;
		*room = wider;
	}
	(*list)[(*n)++] = cgroup_id;
	return true;
}

/* One that finds no room is the next daemon's. */
static void remains_remember(struct daemon *d, uint64_t cgroup_id)
{
	struct remains *r = d->remains;

	if (!add_id(&r->all, &r->n, &r->room, REMEMBER, cgroup_id))
		log_line(LOG_LEVEL_ERR,
			 "%zu removed cgroups have sockets left: no room to look after more; they "
			 "stay shut",
			 r->n);
}

struct search {
	const struct pins *pins;
	uint64_t netns_cookie;
};

static int is_in(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	const struct search *s = arg;

	return detach_holds(s->pins, w, s->netns_cookie);
}

bool remains_in(const struct daemon *d, uint64_t netns_cookie)
{
	struct search s = { gate_pins(d->gate), netns_cookie };

	return pins_each_workload(s.pins, is_in, &s);
}

/* ------ guards that nobody needs any more ------ */

static bool is_in_netns(uint64_t netns_cookie, void *arg)
{
	struct daemon *d = arg;

	for_each_tunnel(d, t)
		if (t->netns_fd >= 0 && t->netns_cookie == netns_cookie)
			return true;
	return false;
}

static bool is_of_tunnel(uint64_t netns_cookie, void *arg)
{
	struct daemon *d = arg;

	for_each_tunnel(d, t)
		if (t->netns_cookie == netns_cookie)
			return true;
	return false;
}

/* Is it known which netns are of a tunnel? Of labels once the engine has told its containers. */
static bool all_tunnels_known(const struct daemon *d)
{
	for_each_tunnel(d, t)
		if (!t->netns_cookie)
			return false;
	return d->running && inventory_complete(d->inventory);
}

/* Before all are known, somebody may live behind a guard whom nobody has leashed yet. */
void unguard(struct daemon *d)
{
	struct error err;

	/* of a labelled container that is not found the netns is not known either */
	if (!d->guards_due || !all_tunnels_known(d) || any_without_netns(d))
		return;
	d->guards_due = false;
	privilege_long_work(true); /* all records, all of /proc */
	if (detach_guards(gate_pins(d->gate), is_of_tunnel, d, &err)) {
		d->guards_due = true;
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	}
	privilege_long_work(false);
}

void unguard_sweep(struct daemon *d)
{
	guard_sweep(d->guards, is_in_netns, d);
	unguard(d);
}

/* ------ released ------ */

static void remains_release(struct daemon *d, uint64_t cgroup_id)
{
	struct error err;

	if (pins_remove_links(cgroup_id, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	record_unbind(gate_pins(d->gate), cgroup_id);
	d->guards_due = true;
}

/* Goes on where it was. */
static void remains_look_at(struct daemon *d, size_t at_once)
{
	struct remains *r = d->remains;
	size_t before = r->n;

	privilege_long_work(true);
	for (size_t looked = 0; looked < at_once && r->next < r->n; looked++) {
		if (pins_in_force(r->all[r->next])) { /* or nobody knows */
			r->next++;
			continue;
		}
		remains_release(d, r->all[r->next]);
		r->all[r->next] = r->all[--r->n];
	}
	privilege_long_work(false);
	if (r->n != before)
		pins_touch(gate_pins(d->gate));
}

void remains_look(struct daemon *d)
{
	d->remains->next = 0;
	remains_look_at(d, d->remains->n);
	d->remains->next = 0;
	unguard(d);
}

static int on_remains_look(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;
	struct remains *r = d->remains;
	uint64_t in_ns = NEXT_NS;

	remains_look_at(d, AT_ONCE);
	if (r->next >= r->n) {
		r->next = 0;
		in_ns = LOOK_NS;
		unguard(d);
	}
	if (r->n)
		set_timer(d->loop, &r->timer, now_boot_ns() + in_ns, on_remains_look, d);
	return 0;
}

static void remains_look_soon(struct daemon *d, uint64_t in_ns)
{
	int enabled = SD_EVENT_OFF;

	if (d->remains->timer)
		sd_event_source_get_enabled(d->remains->timer, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	set_timer(d->loop, &d->remains->timer, now_boot_ns() + in_ns, on_remains_look, d);
	if (d->remains->timer)
		sd_event_source_set_priority(d->remains->timer, PRIORITY_LAST);
}

/* ------ removed ------ */

void remains_take(struct daemon *d, uint64_t cgroup_id, uint64_t netns_cookie)
{
	int r = record_gone(d->leases, cgroup_id, netns_cookie);

	if (r && r != -ENOENT)
		log_line(LOG_LEVEL_ERR, "bar the removed cgroup %llu: %s",
			 (unsigned long long)cgroup_id, strerror(-r));
	if (!is_known(d->remains, cgroup_id))
		remains_remember(d, cgroup_id);
	remains_look_soon(d, SOON_NS);
}

/* Whatever else went wrong than that it is not there any more proves nothing. */
static bool was_removed(const struct daemon *d, uint64_t cgroup_id)
{
	_cleanup_fd int fd = resolve_cgroup_id(&d->root, cgroup_id);

	return fd == -ESTALE;
}

static bool is_audit(const struct daemon *d, const char *name)
{
	for_each_workload(d, w)
		if (w->audit && !strcmp(w->name, name))
			return true;
	return false;
}

static void remains_judge(struct daemon *d, uint64_t cgroup_id)
{
	const struct remains *r = d->remains;
	struct workload_record w;
	int known = record_get(d->leases, cgroup_id, &w);

	if (known == -ENOENT) { /* there was no room for a record, or it is lost */
		if (!is_known(r, cgroup_id) && was_removed(d, cgroup_id))
			remains_remember(d, cgroup_id);
		return;
	}
	if (known)
		return;
	w.name[sizeof(w.name) - 1] = '\0';
	if (!(w.flags & WORKLOAD_GONE)) {
		/* a slice that was not made anew is left for people to see */
		if (w.flags & WORKLOAD_SLICE || !was_removed(d, cgroup_id))
			return;
		record_gone(d->leases, cgroup_id, 0);
		remains_remember(d, cgroup_id);
		return;
	}
	/* enforced again: what is left of it must not go on as it did */
	if (w.flags & WORKLOAD_AUDIT && d->running && !is_audit(d, w.name))
		record_flags(d->leases, cgroup_id, 0, WORKLOAD_AUDIT);
	/* those of another program are slices, see gate_lock_slice() */
	if ((!r->scanned || w.flags & WORKLOAD_SLICE) && !is_known(r, cgroup_id))
		remains_remember(d, cgroup_id);
}

static int remains_note(uint64_t cgroup_id, void *arg)
{
	struct remains *r = ((struct daemon *)arg)->remains;

	/* one that finds no room is the next scan's */
	add_id(&r->found, &r->n_found, &r->found_room, 4 * REMEMBER, cgroup_id);
	return 0;
}

static int note_record(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	daemon_note_level(arg, w->level);
	return remains_note(cgroup_id, arg);
}

static void remains_find_all(struct daemon *d)
{
	struct remains *r = d->remains;
	struct error err;

	r->n_found = r->judged = 0;
	pins_each_workload(gate_pins(d->gate), note_record, d);
	if (pins_each_link("gate_egress", remains_note, d, &err) ||
	    pins_each_link(PINS_WITNESS, remains_note, d, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

static void remains_judge_some(struct daemon *d, size_t at_once)
{
	struct remains *r = d->remains;
	size_t n_bound, end = r->n_found - r->judged < at_once ? r->n_found : r->judged + at_once;
	_cleanup_free uint64_t *bound = daemon_bound(d, &n_bound);

	for (; bound && r->judged < end; r->judged++)
		if (!is_bound(bound, n_bound, r->found[r->judged]))
			remains_judge(d, r->found[r->judged]);
	if (r->judged < r->n_found)
		return;
	r->scanned = true;
	free(r->found);
	r->found = NULL;
	r->n_found = r->judged = r->found_room = 0;
}

static int on_remains_scan(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;
	struct remains *r = d->remains;

	privilege_long_work(true);
	if (!r->n_found)
		remains_find_all(d);
	remains_judge_some(d, JUDGED);
	privilege_long_work(false);
	if (r->n_found)
		set_timer(d->loop, &r->scan, now_boot_ns() + NEXT_NS, on_remains_scan, d);
	else if (r->n)
		remains_look_soon(d, LOOK_NS);
	return 0;
}

static void remains_scan_in(struct daemon *d, uint64_t in_ns)
{
	set_timer(d->loop, &d->remains->scan, now_boot_ns() + in_ns, on_remains_scan, d);
	if (d->remains->scan)
		sd_event_source_set_priority(d->remains->scan, PRIORITY_LAST);
}

void remains_scan(struct daemon *d)
{
	d->remains->n_found = d->remains->judged = 0;
	remains_scan_in(d, 0);
}

void remains_scan_soon(struct daemon *d)
{
	int enabled = SD_EVENT_OFF;

	if (d->remains->scan)
		sd_event_source_get_enabled(d->remains->scan, &enabled);
	if (enabled == SD_EVENT_OFF)
		remains_scan_in(d, SCAN_NS);
}

/* ------ the beginning, and the end ------ */

int remains_open(struct daemon *d, struct error *err)
{
	d->remains = calloc(1, sizeof(*d->remains));
	if (!d->remains)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	remains_find_all(d);
	remains_judge_some(d, SIZE_MAX);
	remains_look_at(d, AT_START);
	d->remains->next = 0;
	return 0;
}

void remains_close(struct daemon *d)
{
	if (!d->remains)
		return;
	sd_event_source_disable_unref(d->remains->timer);
	sd_event_source_disable_unref(d->remains->scan);
	free(d->remains->found);
	free(d->remains->all);
	free(d->remains);
	d->remains = NULL;
}
