/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/remains.h"

#include "act/detach.h"
#include "act/gate.h"
#include "act/guard.h"
#include "base/privilege.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "engine/inventory.h"

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
	return d->running && (d->no_engine || inventory_reachable(d->inventory, ENGINE_CONTAINER));
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
