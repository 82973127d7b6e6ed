/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is left of a removed cgroup: its gate and its barred record. The kernel keeps a removed
 * cgroup's programs in force for as long as one of its sockets lives (an orphaned connection, a
 * descriptor that somebody else holds, one in flight), and a pin that is taken away takes the
 * program off those sockets. So nothing is taken away because a path is gone: once a second it is
 * looked whether the kernel has released the cgroup, and only then they go. See state.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act/detach.h"
#include "core/state.h"

#define LOOK_NS	 (1 * NS_PER_SEC)  /* between two looks at all of them */
#define SOON_NS	 (NS_PER_SEC / 5)  /* the kernel releases one without sockets some ms later */
#define AT_START 256		   /* a lease that runs waits for it; the others go by the loop */
#define AT_ONCE	 32		   /* of them in one turn of the loop: some milliseconds */
#define NEXT_NS	 (NS_PER_SEC / 50) /* until the next AT_ONCE */
#define REMEMBER (2 * VPNLEASH_WORKLOADS)

struct remains {
	size_t n, next, room;
	bool scanned;
	uint64_t *all; /* ids */
	sd_event_source *timer;
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

/* One that finds no room is the next daemon's. */
static void remember(struct daemon *d, uint64_t cgroup_id)
{
	struct remains *r = d->remains;

	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		uint64_t *more = room > REMEMBER ? NULL : realloc(r->all, room * sizeof(*more));

		if (!more) {
			log_line(LOG_LEVEL_ERR,
				 "%zu removed cgroups have sockets left: no room to "
				 "look after more; they stay shut",
				 r->n);
			return;
		}
		r->all = more;
		r->room = room;
	}
	r->all[r->n++] = cgroup_id;
}

static int is_in(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	const uint64_t *netns_cookie = arg;

	return w->flags & WORKLOAD_GONE && (!w->netns_cookie || w->netns_cookie == *netns_cookie);
}

bool remains_in(const struct daemon *d, uint64_t netns_cookie)
{
	return pins_each_workload(gate_pins(d->gate), is_in, &netns_cookie);
}

/* ------ released ------ */

static bool is_in_tunnel(const struct daemon *d, uint64_t netns_cookie)
{
	for (size_t i = 0; i < d->n_tunnels; i++)
		if (d->tunnels[i]->netns_cookie == netns_cookie)
			return true;
	return false;
}

static void release(struct daemon *d, uint64_t cgroup_id)
{
	struct workload_record w = { 0 };
	struct error err;

	record_get(d->leases, cgroup_id, &w);
	if (pins_remove_links(cgroup_id, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	record_unbind(gate_pins(d->gate), cgroup_id);
	if (w.netns_cookie && !is_in_tunnel(d, w.netns_cookie) &&
	    detach_guard(gate_pins(d->gate), w.netns_cookie, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

/* Goes on where it was. */
static void look(struct daemon *d, size_t at_once)
{
	struct remains *r = d->remains;
	size_t before = r->n;

	for (size_t looked = 0; looked < at_once && r->next < r->n; looked++) {
		if (pins_in_force(r->all[r->next])) { /* or nobody knows */
			r->next++;
			continue;
		}
		release(d, r->all[r->next]);
		r->all[r->next] = r->all[--r->n];
	}
	if (r->n != before)
		pins_touch(gate_pins(d->gate));
}

void remains_look(struct daemon *d)
{
	d->remains->next = 0;
	look(d, d->remains->n);
	d->remains->next = 0;
}

static int on_look(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;
	struct remains *r = d->remains;
	uint64_t in_ns = NEXT_NS;

	look(d, AT_ONCE);
	if (r->next >= r->n) {
		r->next = 0;
		in_ns = LOOK_NS;
	}
	if (r->n)
		set_timer(d->loop, &r->timer, now_boot_ns() + in_ns, on_look, d);
	return 0;
}

static void look_soon(struct daemon *d, uint64_t in_ns)
{
	int enabled = SD_EVENT_OFF;

	if (d->remains->timer)
		sd_event_source_get_enabled(d->remains->timer, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	set_timer(d->loop, &d->remains->timer, now_boot_ns() + in_ns, on_look, d);
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
		remember(d, cgroup_id);
	look_soon(d, SOON_NS);
}

/* Whatever else went wrong than that it is not there any more proves nothing. */
static bool was_removed(const struct daemon *d, uint64_t cgroup_id)
{
	_cleanup_fd int fd = resolve_cgroup_id(&d->root, cgroup_id);

	return fd == -ESTALE;
}

static int find_removed(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct daemon *d = arg;

	daemon_note_level(d, w->level);
	if (w->flags & WORKLOAD_GONE) {
		/* those of another program are slices, see gate_lock_slice() */
		if (d->remains->scanned &&
		    (!(w->flags & WORKLOAD_SLICE) || is_known(d->remains, cgroup_id)))
			return 0;
	} else {
		/* a slice that was not made anew is left for people to see */
		if (w->flags & WORKLOAD_SLICE || workload_of_cgroup(d, cgroup_id) ||
		    !was_removed(d, cgroup_id))
			return 0;
		record_gone(d->leases, cgroup_id, 0);
	}
	remember(d, cgroup_id);
	return 0;
}

/* Attached when there was no room for a record, or the record is lost. */
static int find_without_record(uint64_t cgroup_id, void *arg)
{
	struct daemon *d = arg;
	struct workload_record w;

	if (record_get(d->leases, cgroup_id, &w) == -ENOENT && !is_known(d->remains, cgroup_id) &&
	    was_removed(d, cgroup_id))
		remember(d, cgroup_id);
	return 0;
}

void remains_scan(struct daemon *d)
{
	struct error err;

	pins_each_workload(gate_pins(d->gate), find_removed, d);
	d->remains->scanned = true;
	if (pins_each_link("gate_egress", find_without_record, d, &err) ||
	    pins_each_link(PINS_WITNESS, find_without_record, d, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	if (d->remains->n)
		look_soon(d, LOOK_NS);
}

/* ------ the beginning, and the end ------ */

int remains_open(struct daemon *d, struct error *err)
{
	d->remains = calloc(1, sizeof(*d->remains));
	if (!d->remains)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	remains_scan(d);
	look(d, AT_START);
	d->remains->next = 0;
	return 0;
}

void remains_close(struct daemon *d)
{
	if (!d->remains)
		return;
	sd_event_source_disable_unref(d->remains->timer);
	free(d->remains->all);
	free(d->remains);
	d->remains = NULL;
}
