/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens the gate, and puts it on a workload. */
#include <errno.h>

#include "act/gate_internal.h"

static int open_pinned(struct gate *g, struct error *err)
{
	int found = pins_open(&g->pins, err), r;

	if (found && found != -ENOENT && found != -EPROTO)
		return found;
	g->pinned = !found;
	r = gate_load(g, err);
	if (!r && found == -ENOENT)
		r = pins_create(&g->pins, err);
	if (!r && found == -EPROTO)
		r = gate_upgrade(g, err);
	if (r)
		return r;
	if (found) {
		g->pinned = true;
		for (uint32_t level = 0; level < GATE_LEVELS; level++)
			gate_pin_programs(g, level, ~0U);
	}
	return gate_prove(g, err);
}

int gate_open(struct gate **ret, const struct cgroup_root *root, uint32_t level, struct error *err)
{
	struct gate *g = gate_new(root, level);
	int r;

	if (!g)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "open the gate");
	r = open_pinned(g, err);
	if (r)
		gate_close(g);
	else
		*ret = g;
	return r;
}

int gate_probe(const struct cgroup_root *root, bool *ret_netns_by_socket, struct error *err)
{
	struct gate *g = gate_new(root, GATE_LEVEL);
	int r;

	if (!g)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "try the gate");
	/* never pinned: maps and programs go with their last descriptor */
	r = gate_load(g, err);
	r = r ? r : gate_prove(g, err);
	if (!r)
		*ret_netns_by_socket = g->netns_by_socket;
	gate_close(g);
	return r;
}

const struct pins *gate_pins(const struct gate *g)
{
	return &g->pins;
}

static int check_alone(struct gate *g, const struct cgroup_ref *c, struct error *err)
{
	char path[PATH_MAX * 2];
	int r = gate_check_above(g->root, c, err);

	if (r)
		return r;
	snprintf(path, sizeof(path), "%s%s", g->root->path, c->path);
	return gate_check_below(path, c, err);
}

int gate_attach(struct gate *g, const struct cgroup_ref *c, struct error *err)
{
	struct workload_record slice;
	int above = gate_slice_above(&g->pins, c->fd, &slice, NULL), r;

	if (gate_is_slice(&g->pins, c->id, NULL))
		return fail(err, ERROR_INPUT, -EBUSY,
			    "leash its children, or detach the slice first",
			    "leash '%s': it is locked as a slice", c->name);
	if (above > 1)
		return fail(err, ERROR_INPUT, -EBUSY, "leash the slice's direct child",
			    "leash '%s': it lies deeper in '%s'", c->name, quote(slice.name));
	if (above == 1)
		return gate_link_witness(g, c, err);
	r = gate_link(g, c, c->level, check_alone, err);
	/* locked meanwhile, by a `lock --slice` that looked below before there was a gate */
	if (r || gate_slice_above(&g->pins, c->fd, NULL, NULL) != 1)
		return r;
	r = gate_link_witness(g, c, err);
	if (r)
		return r;
	gate_unlink(c->id);
	return 0;
}
