/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/pod.h"

#include <string.h>

#include "core/registry.h"
#include "core/workload.h"
#include "engine/inventory.h"

struct search {
	const struct daemon *daemon;
	const struct engine_item *owner, *found, *still;
	pid_t was;
	size_t n;
};

/* Also one whose workload is not there yet: labels are judged when all containers are known. */
static bool is_leashed(const struct daemon *d, const struct engine_item *i)
{
	for_each_workload(d, w)
		if (w->container.kind == ENGINE_CONTAINER && !strcmp(w->container.id, i->id))
			return true;
	return i->n_labels || *i->unusable;
}

static bool may_be_vpn(const struct daemon *d, const struct engine_item *i)
{
	return i->kind == ENGINE_CONTAINER && i->running && i->net_admin && !is_leashed(d, i);
}

static void note_member(const struct engine_item *i, void *arg)
{
	struct search *s = arg;
	const char *shared = engine_shares(i);

	if (i != s->owner &&
	    !(shared && (!strcmp(shared, s->owner->id) || !strcmp(shared, s->owner->name))))
		return;
	if (!may_be_vpn(s->daemon, i))
		return;
	if (i->pid == s->was)
		s->still = i;
	s->found = i;
	s->n++;
}

const struct engine_item *pod_vpn(const struct daemon *d, const struct engine_item *named,
				  pid_t was, size_t *ret_others)
{
	struct search s = { .daemon = d, .owner = named, .was = was };
	const char *shared;

	*ret_others = 0;
	if (!named || named->kind != ENGINE_CONTAINER || *named->unusable || may_be_vpn(d, named))
		return named;
	shared = engine_shares(named);
	if (shared)
		s.owner = inventory_find(d->inventory, ENGINE_CONTAINER, shared);
	if (!s.owner)
		return named;
	inventory_each(d->inventory, note_member, &s);
	if (s.still)
		return s.still;
	*ret_others = s.n;
	return s.n == 1 ? s.found : named;
}
