/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/detach.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "act/freezer.h"
#include "act/gate.h"
#include "act/guard.h"
#include "act/lease.h"

struct walk {
	const struct pins *pins;
	const struct cgroup_root *root;
	const char *name;
	struct error *err;
	int detached;
	/* of slices of that name, also of one that was removed and made anew */
	size_t n_slices;
	uint64_t slices[32];
};

/* Is the cgroup in a slice? Not once it is gone. */
static bool slice_of(const struct walk *walk, uint64_t cgroup_id, struct workload_record *ret)
{
	_cleanup_fd int fd = resolve_cgroup_id(walk->root, cgroup_id);

	return fd >= 0 && gate_slice_above(walk->pins, fd, ret, NULL);
}

static bool is_named(const struct walk *walk, const struct workload_record *w)
{
	return !walk->name || !strncmp(walk->name, w->name, sizeof(w->name));
}

static int note_slice(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct walk *walk = arg;

	if (w->flags & WORKLOAD_SLICE && is_named(walk, w) &&
	    walk->n_slices < ARRAY_SIZE(walk->slices))
		walk->slices[walk->n_slices++] = cgroup_id;
	return 0;
}

/* A removed one has no path any more, but its record knows. */
static bool is_in_named_slice(const struct walk *walk, uint64_t cgroup_id,
			      const struct workload_record *w)
{
	struct workload_record slice;

	for (size_t i = 0; w->slice_tag && i < walk->n_slices; i++)
		if (w->slice_tag == (uint32_t)walk->slices[i])
			return true;
	return slice_of(walk, cgroup_id, &slice) && is_named(walk, &slice);
}

/* Before anything is done. */
static int refuse_alone(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct walk *walk = arg;
	struct workload_record slice;
	char remedy[400];

	if (w->flags & WORKLOAD_SLICE || !walk->name || !is_named(walk, w) ||
	    !slice_of(walk, cgroup_id, &slice))
		return 0;
	snprintf(remedy, sizeof(remedy), "vpnleash detach %s takes all in it off",
		 quote(slice.name));
	return fail(walk->err, ERROR_INPUT, -EBUSY, remedy,
		    "detach '%s': it would be shut for good in the slice '%s'", quote(w->name),
		    quote(slice.name));
}

static int detach_one(struct walk *walk, uint64_t cgroup_id, const struct workload_record *w)
{
	int r;

	/* thawed first: if that fails the gate is still on, and it can be tried again */
	if (w->flags & WORKLOAD_FROZEN_BY_US) {
		_cleanup_fd int fd = resolve_cgroup_id(walk->root, cgroup_id);

		r = fd < 0 ? 0 : freezer_thaw(fd);
		if (r)
			return fail(walk->err, ERROR_OTHER, r, NULL, "thaw '%s'", quote(w->name));
	}
	r = gate_detach(cgroup_id, walk->err);
	if (r)
		return r;
	record_unbind(walk->pins, cgroup_id);
	walk->detached++;
	return 0;
}

static int detach_workload(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct walk *walk = arg;

	if (w->flags & WORKLOAD_SLICE)
		return 0;
	return is_named(walk, w) || is_in_named_slice(walk, cgroup_id, w)
		       ? detach_one(walk, cgroup_id, w)
		       : 0;
}

static int detach_slice(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct walk *walk = arg;

	return w->flags & WORKLOAD_SLICE && is_named(walk, w) ? detach_one(walk, cgroup_id, w) : 0;
}

static int count_kept(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	int *n = arg;

	++*n;
	return 0;
}

bool detach_holds(const struct pins *pins, const struct workload_record *w, uint64_t netns_cookie)
{
	__u32 slot = w->slot;
	struct lease lease;

	if (slot)
		return !bpf_map_lookup_elem(pins->leases, &slot, &lease) &&
		       lease.netns_cookie == netns_cookie;
	if (w->netns_cookie)
		return w->netns_cookie == netns_cookie;
	/* in any; but of a removed slice each child has a record of its own */
	return w->flags & WORKLOAD_GONE && !(w->flags & WORKLOAD_SLICE);
}

struct guarded {
	const struct pins *pins;
	size_t n;
	uint64_t cookies[VPNLEASH_GUARDS];
	bool held[VPNLEASH_GUARDS];
};

static int note_held(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct guarded *g = arg;

	for (size_t i = 0; i < g->n; i++)
		g->held[i] = g->held[i] || detach_holds(g->pins, w, g->cookies[i]);
	return 0;
}

int detach_guards(const struct pins *pins, bool (*keep)(uint64_t netns_cookie, void *arg),
		  void *arg, struct error *err)
{
	struct guarded all = { .pins = pins };
	int r = 0;

	for (__u32 slot = 1; slot < VPNLEASH_GUARDS; slot++) {
		struct guard g;
		size_t i = 0;

		if (bpf_map_lookup_elem(pins->guards, &slot, &g) || !g.netns_cookie ||
		    (keep && keep(g.netns_cookie, arg)))
			continue;
		while (i < all.n && all.cookies[i] != g.netns_cookie)
			i++;
		if (i == all.n)
			all.cookies[all.n++] = g.netns_cookie;
	}
	if (all.n)
		pins_each_workload(pins, note_held, &all);
	for (size_t i = 0; !r && i < all.n; i++)
		r = all.held[i] ? 0 : guard_take_off(pins, all.cookies[i], err);
	return r;
}

static int count_link(uint64_t cgroup_id, void *arg)
{
	return count_kept(cgroup_id, NULL, arg);
}

int detach_last(const struct pins *pins, struct error *err)
{
	int kept = 0, r;

	pins_each_workload(pins, count_kept, &kept);
	/* a gate whose record found no room */
	r = kept ? 0 : pins_each_link("gate_egress", count_link, &kept, err);
	return kept || r ? r : pins_remove_all(err);
}

int detach_recorded(const struct pins *pins, const struct cgroup_root *root, const char *name,
		    bool keep_pins, struct error *err)
{
	struct walk walk = { .pins = pins, .root = root, .name = name, .err = err };
	int kept = 0, r;

	pins_each_workload(pins, note_slice, &walk);
	r = pins_each_workload(pins, refuse_alone, &walk);
	if (r)
		return r;
	/* those in a slice first: shut by its gate until that comes off, the last of all */
	r = pins_each_workload(pins, detach_workload, &walk);
	if (r)
		return r;
	r = pins_each_workload(pins, detach_slice, &walk);
	if (r)
		return r;
	pins_each_workload(pins, count_kept, &kept);
	r = walk.detached || !kept ? detach_guards(pins, NULL, NULL, err) : 0;
	if (r)
		return r;
	r = name ? 0 : pins_remove_every_link(err);
	if (r)
		return r;
	pins_touch(pins);
	r = keep_pins ? 0 : detach_last(pins, err);
	return r ? r : walk.detached;
}
