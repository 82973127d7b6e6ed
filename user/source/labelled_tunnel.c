/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source/labelled_tunnel.h"

#include <string.h>

#include "act/gate.h"
#include "act/guard.h"
#include "act/lease.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/workload.h"

/* "container:NAME" and "container:ID" may be one. */
static bool same_netns(const struct daemon *d, const char *a, const char *b)
{
	const struct engine_item *i, *k;
	const char *a_name, *b_name;

	if (!strcmp(a, b))
		return true;
	if (place_kind(a, &a_name) != PLACE_CONTAINER || place_kind(b, &b_name) != PLACE_CONTAINER)
		return false;
	i = inventory_find(d->inventory, ENGINE_CONTAINER, a_name);
	k = inventory_find(d->inventory, ENGINE_CONTAINER, b_name);
	return i && i == k;
}

/* One netns may have several containers and each container of VPNs the same interface. */
static void name_tunnel(const struct daemon *d, struct tunnel_config *c)
{
	const char *name;
	const struct engine_item *owner = NULL;

	if (place_kind(c->netns, &name) == PLACE_CONTAINER)
		owner = inventory_find(d->inventory, ENGINE_CONTAINER, name);
	if (owner)
		snprintf(c->name, sizeof(c->name), "%.40s/%.15s", owner->name, c->interface);
}

static bool same_keys(const struct tunnel_config *a, const struct tunnel_config *b)
{
	struct tunnel_config copy = *a;

	memcpy(copy.name, b->name, sizeof(copy.name));
	memcpy(copy.netns, b->netns, sizeof(copy.netns));
	return !memcmp(&copy, b, sizeof(copy));
}

int labelled_tunnel_named(struct daemon *d, const char *name, const char *netns,
			  struct tunnel **ret, struct error *err)
{
	for_each_tunnel(d, t) {
		if (t->of_labels || strcmp(t->config.name, name))
			continue;
		if (!same_netns(d, t->config.netns, netns))
			return fail(err, ERROR_INPUT, 0, "put it into the network of that VPN",
				    "it is not in the network namespace of tunnel '%s'",
				    quote(name));
		*ret = t;
		return 0;
	}
	return fail(err, ERROR_INPUT, 0, "add [tunnel NAME], or label it with an interface",
		    "the file has no tunnel '%s'", quote(name));
}

struct tunnel *labelled_tunnel_like(const struct daemon *d, const struct tunnel_config *c)
{
	for_each_tunnel(d, t)
		if (!strcmp(t->config.interface, c->interface) &&
		    same_netns(d, t->config.netns, c->netns))
			return t;
	return NULL;
}

int labelled_tunnel_own(struct daemon *d, struct tunnel_config *c, bool keys, struct tunnel **ret,
			struct error *err)
{
	struct tunnel *t = labelled_tunnel_like(d, c);
	int r;

	if (t && !t->of_labels && keys)
		log_line(LOG_LEVEL_WARNING,
			 "tunnel '%s' is the file's, which has its keys: those of the labels are "
			 "ignored",
			 quote(t->config.name));
	/* also if this one has none: what another has set is not its own */
	if (t && t->of_labels && !same_keys(c, &t->config))
		return fail(err, ERROR_INPUT, 0, "give both containers the same",
			    "another container on tunnel '%s' has other labels for it",
			    quote(t->config.name));
	*ret = t;
	if (t)
		return 0;
	for_each_tunnel(d, other)
		if (strcmp(c->netns, "host") && same_netns(d, other->config.netns, c->netns))
			return fail(err, ERROR_INPUT, 0, "give it the same interface",
				    "its network has another tunnel already, '%s'",
				    quote(other->config.name));
	if (d->n_tunnels >= TUNNELS_MAX)
		return fail(err, ERROR_INPUT, 0, NULL, "more than %d tunnels", TUNNELS_MAX);
	name_tunnel(d, c);
	r = tunnel_new(d, c, &t, err);
	if (r)
		return r;
	t->of_labels = true;
	r = tunnel_add(t, err);
	if (!r)
		*ret = t;
	return r;
}

/* The last workload of its labels is gone, for good: so is what it was guarded for. */
void labelled_tunnel_drop(struct daemon *d, struct tunnel *t)
{
	bool slot_used = false, guard_used = false;
	struct error err;

	for_each_workload(d, w)
		if (w->tunnel == t)
			return;
	daemon_remove_tunnel(d, t);
	for_each_tunnel(d, other) {
		slot_used |= other->slot == t->slot;
		guard_used |= other->netns_cookie == t->netns_cookie;
	}
	if (!slot_used) {
		lease_revoke(d->leases, t->slot);
		lease_retire(d->leases, t->slot);
	}
	if (any_without_netns(d))
		d->guards_due = true;
	else if (t->netns_cookie && !guard_used && !remains_in(d, t->netns_cookie) &&
		 guard_take_off(gate_pins(d->gate), t->netns_cookie, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	tunnel_free(t);
}
