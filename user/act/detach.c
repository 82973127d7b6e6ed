/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See detach.h. */
#include "act/detach.h"

#include <string.h>

#include "act/freezer.h"
#include "act/gate.h"
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

int detach_recorded(const struct pins *pins, const struct cgroup_root *root, const char *name,
		    struct error *err)
{
	struct walk walk = { pins, root, name, err, 0, 0 };
	int r = pins_each_workload(pins, detach_one, &walk);

	if (!r && !walk.kept)
		r = pins_remove_all(err);
	else if (!r)
		pins_touch(pins);
	return r ? r : walk.detached;
}
