/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See detach.h. */
#include "act/detach.h"

#include <bpf/bpf.h>
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
	int detached, kept;
};

static int detach_one(uint64_t cgroup_id, const struct workload *w, void *arg)
{
	struct walk *walk = arg;
	char shown[VPNLEASH_NAME_LEN * 4];
	int r = 0;

	if (walk->name && strncmp(walk->name, w->name, sizeof(w->name))) {
		walk->kept++;
		return 0;
	}
	/* thawed first: if that fails the gate is still on, and it can be tried again */
	if (w->flags & WORKLOAD_FROZEN_BY_US) {
		_cleanup_fd int fd = resolve_cgroup_id(walk->root, cgroup_id);

		if (fd >= 0)
			r = freezer_thaw(fd);
		if (r)
			return fail(walk->err, EXIT_FAILURE_, r, NULL, "thaw '%s'",
				    escape(shown, sizeof(shown), w->name));
	}
	r = gate_detach(cgroup_id, walk->err);
	if (r)
		return r;
	workload_unbind(walk->pins, cgroup_id);
	walk->detached++;
	return 0;
}

struct search {
	const struct pins *pins;
	uint64_t netns_cookie;
};

static int is_on(uint64_t cgroup_id, const struct workload *w, void *arg)
{
	struct search *s = arg;
	__u32 slot = w->slot;
	struct lease lease;

	(void)cgroup_id;
	return !bpf_map_lookup_elem(s->pins->leases, &slot, &lease) &&
	       lease.netns_cookie == s->netns_cookie;
}

/* A guard stays as long as anybody is leashed in its netns. */
static int take_guards_off(const struct pins *pins, bool all, struct error *err)
{
	int r = 0;

	for (__u32 slot = 1; !r && slot < VPNLEASH_GUARDS; slot++) {
		struct search s = { .pins = pins };
		struct guard g;

		if (bpf_map_lookup_elem(pins->guards, &slot, &g) || !g.netns_cookie)
			continue;
		s.netns_cookie = g.netns_cookie;
		if (all || !pins_each_workload(pins, is_on, &s))
			r = guard_take_off(pins, g.netns_cookie, err);
	}
	return r;
}

int detach_recorded(const struct pins *pins, const struct cgroup_root *root, const char *name,
		    struct error *err)
{
	struct walk walk = { pins, root, name, err, 0, 0 };
	int r = pins_each_workload(pins, detach_one, &walk);

	if (!r && (walk.detached || !walk.kept))
		r = take_guards_off(pins, !walk.kept, err);
	if (!r && !walk.kept)
		r = pins_remove_all(err);
	else if (!r)
		pins_touch(pins);
	return r ? r : walk.detached;
}
