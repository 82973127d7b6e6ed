/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grants, renews, revokes; admits and bars. The only writer of `leases` and `workloads`.
 *
 * A slot's identity (netns, interface) never changes while a gate may read it: a tunnel that is
 * another device now gets a fresh slot, its workloads are pointed at that, and the old slot rests
 * until an RCU grace period has passed. So no reader can meet the old identity under a new expiry.
 */
#pragma once

#include "act/pins.h"

struct leases;

struct lease_identity {
	uint64_t netns_cookie;
	uint32_t netns_ino;
	uint32_t ifindex;
	uint32_t link_type; /* ARPHRD_… */
};

/* Slots that a pinned record refers to stay as they are; all others are free. */
int lease_open(struct leases **ret, const struct pins *pins, struct error *err);
void lease_close(struct leases *l); /* revokes nothing: what was granted runs out by itself */

/* The slot of that identity: the present one, or a fresh one without a lease. -ENOSPC: no slot. */
int lease_slot(struct leases *l, const struct lease_identity *identity);
/* No workload points at the slot any more: revoke it and let it rest. Slot 0 is ignored. */
void lease_retire(struct leases *l, unsigned int slot);

/* Granted too. */
void lease_renew(struct leases *l, unsigned int slot, uint64_t expires_ns, uint64_t seen_ns);
void lease_revoke(struct leases *l, unsigned int slot);
/* Revoke every slot for which keep(slot, arg) is false. */
void lease_revoke_others(struct leases *l, bool (*keep)(unsigned int slot, void *arg), void *arg);
uint64_t lease_expires_ns(const struct leases *l, unsigned int slot);
uint32_t lease_ifindex(const struct leases *l, unsigned int slot); /* 0: slot 0 */
/* The newest sign of life that the gates saw on that slot's tunnel, 0 if none. */
uint64_t lease_seen_ns(const struct leases *l, unsigned int slot);

/* Records. All return 0 or -errno. */
/* New: barred, without a slot; one that is there keeps its flags and slot, but for `made`, which is
 * WORKLOAD_EXEC or 0. -EBUSY: a slice; -E2BIG: no room. */
int record_bind(struct leases *l, uint64_t cgroup_id, uint32_t level, const char *name,
		uint16_t made);
int record_in_slice(struct leases *l, uint64_t cgroup_id, uint64_t slice_id); /* 0: in none */
int record_point(struct leases *l, uint64_t cgroup_id, unsigned int slot);
int record_flags(struct leases *l, uint64_t cgroup_id, uint16_t set, uint16_t clear);
int record_get(const struct leases *l, uint64_t cgroup_id, struct workload_record *ret);
/* Barred, and no tunnel's any more; it holds the guard of that netns. netns_cookie of its tunnel;
 * 0: as the record says. */
int record_shut(struct leases *l, uint64_t cgroup_id, uint64_t netns_cookie);
/* The same, and its cgroup was removed (see WORKLOAD_GONE). */
int record_gone(struct leases *l, uint64_t cgroup_id, uint64_t netns_cookie);
/* Forget record and counters of a cgroup that was detached, or that the kernel has released. */
void record_unbind(const struct pins *pins, uint64_t cgroup_id);
