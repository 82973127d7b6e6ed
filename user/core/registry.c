/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/workload.h"

int daemon_add_tunnel(struct daemon *d, struct tunnel *t, struct error *err)
{
	struct tunnel **more = realloc(d->tunnels, (d->n_tunnels + 1) * sizeof(*more));

	if (!more)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "add a tunnel");
	d->tunnels = more;
	d->tunnels[d->n_tunnels++] = t;
	return 0;
}

int daemon_add_workload(struct daemon *d, struct workload *w, struct error *err)
{
	struct workload **more = realloc(d->workloads, (d->n_workloads + 1) * sizeof(*more));

	if (!more)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "add a workload");
	d->workloads = more;
	d->workloads[d->n_workloads++] = w;
	return 0;
}

bool is_among(const void *array, size_t n, const void *one)
{
	const void *const *all = array;

	for (size_t i = 0; i < n; i++)
		if (all[i] == one)
			return true;
	return false;
}

/* From an array of *n pointers. */
static void take_out(void *array, size_t *n, const void *one)
{
	const void **all = array;

	for (size_t i = 0; i < *n; i++) {
		if (all[i] != one)
			continue;
		memmove(&all[i], &all[i + 1], (--*n - i) * sizeof(*all));
		return;
	}
}

void daemon_remove_tunnel(struct daemon *d, const struct tunnel *t)
{
	take_out(d->tunnels, &d->n_tunnels, t);
}

void daemon_remove_workload(struct daemon *d, const struct workload *w)
{
	take_out(d->workloads, &d->n_workloads, w);
}

void daemon_note_level(struct daemon *d, uint32_t level)
{
	if (level < 16)
		d->levels |= 1U << level;
}

struct workload *workload_of_cgroup(const struct daemon *d, uint64_t cgroup_id)
{
	for_each_workload(d, w)
		if (w->bound == cgroup_id)
			return w;
	return NULL;
}

bool any_without_netns(const struct daemon *d)
{
	for_each_workload(d, w)
		if (w->container.unusable && w->tunnel == d->nowhere)
			return true;
	return false;
}

struct workload *workload_at(const struct daemon *d, const char *path)
{
	for_each_workload(d, w)
		if (!strcmp(w->path, path))
			return w;
	return NULL;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t *daemon_bound(const struct daemon *d, size_t *ret_n)
{
	uint64_t *ids = calloc(d->n_workloads + 1, sizeof(*ids));

	if (!ids)
		return NULL;
	for (size_t i = 0; i < d->n_workloads; i++)
		ids[i] = d->workloads[i]->bound;
	qsort(ids, d->n_workloads, sizeof(*ids), compare_ids);
	*ret_n = d->n_workloads;
	return ids;
}

bool is_bound(const uint64_t *bound, size_t n, uint64_t cgroup_id)
{
	return bsearch(&cgroup_id, bound, n, sizeof(*bound), compare_ids) != NULL;
}
