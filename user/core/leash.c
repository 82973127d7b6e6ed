/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/leash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "act/freezer.h"
#include "act/gate.h"
#include "act/lease.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "edge/edge.h"
#include "watch/cgroup.h"

bool leash_freeze(struct workload *w, int cgroup_fd)
{
	struct daemon *d = w->daemon;
	struct workload_record record;
	int r = record_get(d->leases, w->bound, &record);

	/* Frozen already, and not by us: whoever did it thaws it. */
	if (!r && !(record.flags & WORKLOAD_FROZEN_BY_US) && freezer_asked(cgroup_fd) == 1)
		return false;
	/* the flag first: after a crash in between it is thawed once too often, never forgotten */
	r = r ? r : record_flags(d->leases, w->bound, WORKLOAD_FROZEN_BY_US, 0);
	w->freezing_ns = now_boot_ns();
	r = r ? r : freezer_freeze(cgroup_fd);
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': freeze: %s (it stays blocked)", w->name,
			 strerror(-r));
	return true;
}

void leash_thaw(struct workload *w, int cgroup_fd, bool shut)
{
	struct daemon *d = w->daemon;
	struct workload_record record;

	if (shut)
		edge_shut(w->tunnel->edge);
	if (record_get(d->leases, w->bound, &record) || !(record.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (!shut && now_boot_ns() >= lease_expires_ns(d->leases, w->tunnel->slot))
		return; /* it ran out on the way here; the expiry's input follows */
	if (!freezer_thaw(cgroup_fd))
		record_flags(d->leases, w->bound, 0, WORKLOAD_FROZEN_BY_US);
}

bool leash_is_paused(const struct workload *w)
{
	struct workload_record record;

	return w->bound && watch_cgroup_frozen(w->cgroup) &&
	       !record_get(w->daemon->leases, w->bound, &record) &&
	       !(record.flags & WORKLOAD_FROZEN_BY_US);
}

void leash_freeze_instead(const struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);

	record_flags(w->daemon->leases, c->id, WORKLOAD_FROZEN_BY_US, 0);
	freezer_freeze(c->fd);
}

void leash_set_flags(struct workload *w)
{
	const uint16_t all = WORKLOAD_ALLOW | WORKLOAD_REACH | WORKLOAD_IPV6 | WORKLOAD_AUDIT;
	uint16_t flags =
		(uint16_t)((w->ipv6 ? WORKLOAD_IPV6 : 0) | (w->audit ? WORKLOAD_AUDIT : 0));

	if (w->allow.n || (w->tunnel && w->tunnel->config.allow.n))
		flags |= WORKLOAD_ALLOW;
	if (w->reach.n || (w->tunnel && w->tunnel->config.reach.n))
		flags |= WORKLOAD_REACH;
	if (w->bound)
		record_flags(w->daemon->leases, w->bound, flags, all & (uint16_t)~flags);
}

/* Names by the tunnel; without it as resolv.conf says, and dropped beside the tunnel. */
void leash_set_resolver(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	const struct dns_rule *dns = w->tunnel ? &w->tunnel->config.dns : NULL;
	struct resolver r = { 0 };
	struct error err;

	if (dns && !w->audit) {
		r.flags = dns->mode == DNS_NONE	  ? RESOLVER_DENY
			  : dns->mode == DNS_AUTO ? RESOLVER_SET | RESOLVER_AUTO
						  : RESOLVER_SET;
		r.server[0] = dns->mode == DNS_AUTO ? htonl(0x01010101) : dns->server[0];
		r.server[1] = dns->mode == DNS_AUTO ? htonl(0x09090909) : dns->server[1];
	}
	if (gate_resolve_by(w->daemon->gate, c, &r, &err))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

void leash_note_slice(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct daemon *d = w->daemon;
	uint64_t slice_id = 0;

	if (!c)
		return;
	gate_slice_above(gate_pins(d->gate), c->fd, NULL, &slice_id);
	record_in_slice(d->leases, c->id, slice_id);
}

static int put_record(struct workload *w, const struct cgroup_ref *c, struct error *err)
{
	struct daemon *d = w->daemon;
	int r = record_bind(d->leases, c->id, c->level, w->name,
			    w->origin == OF_EXEC ? WORKLOAD_EXEC : 0);

	daemon_note_level(d, c->level);
	if (!r) {
		leash_note_slice(w);
		return 0;
	}
	if (r != -E2BIG)
		return fail(err, ERROR_OTHER, r, NULL, "record workload '%s'", w->name);
	gate_attach(d->gate, c, NULL); /* without a record it drops all */
	return fail(err, ERROR_OTHER, r,
		    "end who holds the sockets of removed cgroups, see: vpnleash status",
		    "record workload '%s': %d are recorded, %zu of them removed", w->name,
		    VPNLEASH_WORKLOADS, remains_count(d));
}

int leash_bind(struct workload *w, struct error *err)
{
	struct daemon *d = w->daemon;
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct workload_record record;
	int r;

	for_each_tunnel(d, t)
		edge_leashed(t->edge, c->path);
	w->was_recorded = record_get(d->leases, c->id, &record) != -ENOENT;
	r = put_record(w, c, err);
	r = r ? r : gate_attach(d->gate, c, err);
	if (r)
		return r;
	w->bound = c->id;
	if (w->started) { /* else its tunnel's guard is attached after it */
		leash_set_flags(w);
		leash_set_resolver(w);
		edge_bound(w->tunnel ? w->tunnel->edge : NULL, c, w->audit);
	}
	memset(w->summed, 0, sizeof(w->summed));
	pins_touch(gate_pins(d->gate));
	return 0;
}

void leash_part(struct workload *w)
{
	if (!w->bound)
		return;
	remains_take(w->daemon, w->bound, w->tunnel ? w->tunnel->netns_cookie : 0);
	pins_touch(gate_pins(w->daemon->gate));
	w->bound = 0;
}

void leash_shut(struct workload *w)
{
	if (!w->bound)
		return;
	record_shut(w->daemon->leases, w->bound, w->tunnel ? w->tunnel->netns_cookie : 0);
	remains_scan_soon(w->daemon); /* it may be on its way out */
}
