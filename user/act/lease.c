/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/lease.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "act/counters.h"
#include "act/near.h"
#include "vpnleash/reasons.h"

enum slot_use { SLOT_FREE, SLOT_USED, SLOT_RESTS };

struct leases {
	const struct pins *pins;
	struct lease *slots; /* the map itself */
	enum slot_use use[VPNLEASH_SLOTS];
	int cpus;
	struct liveness *per_cpu; /* room for one lookup */
};

static void store_expiry(struct lease *l, uint64_t expires_ns)
{
	/* release: who sees the expiry sees the identity */
	__atomic_store_n(&l->expires_ns, expires_ns, __ATOMIC_RELEASE);
}

static int mark_used(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct leases *l = arg;

	l->use[w->slot] = SLOT_USED;
	return 0;
}

int lease_open(struct leases **ret, const struct pins *pins, struct error *err)
{
	struct leases *l = calloc(1, sizeof(*l));

	if (!l)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "open the leases");
	l->pins = pins;
	l->cpus = libbpf_num_possible_cpus();
	l->per_cpu = calloc((size_t)l->cpus, sizeof(*l->per_cpu));
	l->slots = mmap(NULL, sizeof(struct lease) * VPNLEASH_SLOTS, PROT_READ | PROT_WRITE,
			MAP_SHARED, pins->leases, 0);
	if (l->slots == MAP_FAILED || !l->per_cpu) {
		int r = -errno;

		lease_close(l);
		return fail(err, ERROR_OTHER, r, NULL, "map the leases");
	}
	/* no child may write a lease */
	madvise(l->slots, sizeof(struct lease) * VPNLEASH_SLOTS, MADV_DONTFORK);
	pins_each_workload(pins, mark_used, l);
	l->use[0] = SLOT_USED; /* never granted, see VPNLEASH_SLOTS */
	for (unsigned int i = 1; i < VPNLEASH_SLOTS; i++)
		if (l->use[i] == SLOT_FREE && l->slots[i].netns_cookie)
			lease_retire(l, i);
	*ret = l;
	return 0;
}

void lease_close(struct leases *l)
{
	if (!l)
		return;
	if (l->slots && l->slots != MAP_FAILED)
		munmap(l->slots, sizeof(struct lease) * VPNLEASH_SLOTS);
	free(l->per_cpu);
	free(l);
}

/* A free slot; if there is none, wait out one grace period for all that rest. */
static int lease_free_slot(struct leases *l)
{
	for (int tries = 0; tries < 2; tries++) {
		for (int i = 1; i < VPNLEASH_SLOTS; i++)
			if (l->use[i] == SLOT_FREE)
				return i;
		/* all CPUs pass through the scheduler, so every gate that ran has returned */
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
			return -errno;
		for (int i = 1; i < VPNLEASH_SLOTS; i++)
			if (l->use[i] == SLOT_RESTS)
				l->use[i] = SLOT_FREE;
	}
	return -ENOSPC;
}

int lease_slot(struct leases *l, const struct lease_identity *identity)
{
	int slot;

	for (int i = 1; i < VPNLEASH_SLOTS; i++)
		if (l->use[i] == SLOT_USED && l->slots[i].netns_cookie == identity->netns_cookie &&
		    l->slots[i].ifindex == identity->ifindex &&
		    l->slots[i].link_type == identity->link_type)
			return i;
	slot = lease_free_slot(l);
	if (slot < 0)
		return slot;
	store_expiry(&l->slots[slot], 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	l->slots[slot].netns_cookie = identity->netns_cookie;
	l->slots[slot].netns_ino = identity->netns_ino;
	l->slots[slot].ifindex = identity->ifindex;
	l->slots[slot].link_type = identity->link_type;
	l->slots[slot].device = l->slots[slot].passed_out = l->slots[slot].passed_in = 0;
	l->slots[slot].seen_ns = 0;
	memset(l->per_cpu, 0, (size_t)l->cpus * sizeof(*l->per_cpu));
	bpf_map_update_elem(l->pins->liveness, &slot, l->per_cpu, BPF_ANY);
	l->use[slot] = SLOT_USED;
	return slot;
}

void lease_retire(struct leases *l, unsigned int slot)
{
	if (!slot)
		return;
	lease_revoke(l, slot);
	l->use[slot] = SLOT_RESTS;
}

void lease_renew(struct leases *l, unsigned int slot, uint64_t expires_ns, uint64_t seen_ns)
{
	l->slots[slot].seen_ns = seen_ns;
	store_expiry(&l->slots[slot], slot ? expires_ns : 0);
}

void lease_revoke(struct leases *l, unsigned int slot)
{
	store_expiry(&l->slots[slot], 0);
}

void lease_revoke_others(struct leases *l, bool (*keep)(unsigned int slot, void *arg), void *arg)
{
	for (unsigned int slot = 1; slot < VPNLEASH_SLOTS; slot++)
		if (lease_expires_ns(l, slot) && !keep(slot, arg))
			lease_revoke(l, slot);
}

uint64_t lease_expires_ns(const struct leases *l, unsigned int slot)
{
	return __atomic_load_n(&l->slots[slot].expires_ns, __ATOMIC_ACQUIRE);
}

uint32_t lease_ifindex(const struct leases *l, unsigned int slot)
{
	return l->slots[slot].ifindex;
}

uint64_t lease_seen_ns(const struct leases *l, unsigned int slot)
{
	uint64_t seen_ns = 0;

	if (bpf_map_lookup_elem(l->pins->liveness, &slot, l->per_cpu) < 0)
		return 0;
	for (int i = 0; i < l->cpus; i++)
		if (l->per_cpu[i].seen_ns > seen_ns)
			seen_ns = l->per_cpu[i].seen_ns;
	return seen_ns;
}

static int record_put(struct leases *l, uint64_t cgroup_id, struct workload_record *w)
{
	w->cgroup_tag = (uint32_t)cgroup_id;
	near_take_out(l->pins->near, cgroup_id);
	if (bpf_map_update_elem(l->pins->workloads, &cgroup_id, w, BPF_ANY) < 0)
		return -errno;
	near_put(l->pins->near, cgroup_id, w);
	return 0;
}

int record_get(const struct leases *l, uint64_t cgroup_id, struct workload_record *ret)
{
	return bpf_map_lookup_elem(l->pins->workloads, &cgroup_id, ret) < 0 ? -errno : 0;
}

int record_bind(struct leases *l, uint64_t cgroup_id, uint32_t level, const char *name,
		uint16_t made)
{
	struct workload_record w;

	if (record_get(l, cgroup_id, &w)) {
		memset(&w, 0, sizeof(w));
		w.since_ns = now_boot_ns();
	}
	if (w.flags & WORKLOAD_SLICE)
		return -EBUSY;
	w.flags = (uint16_t)((w.flags & ~(WORKLOAD_EXEC | WORKLOAD_GONE)) | made);
	w.level = level;
	if (!w.row)
		w.row = counters_take_row(l->pins, cgroup_id);
	snprintf(w.name, sizeof(w.name), "%s", name);
	return record_put(l, cgroup_id, &w);
}

int record_in_slice(struct leases *l, uint64_t cgroup_id, uint64_t slice_id)
{
	struct workload_record w;
	int r = record_get(l, cgroup_id, &w);

	if (r || w.slice_tag == (uint32_t)slice_id)
		return r;
	w.slice_tag = (uint32_t)slice_id;
	return record_put(l, cgroup_id, &w);
}

int record_point(struct leases *l, uint64_t cgroup_id, unsigned int slot)
{
	struct workload_record w;
	int r = record_get(l, cgroup_id, &w);

	if (r || w.slot == slot)
		return r;
	w.slot = (uint8_t)slot;
	if (slot)
		w.netns_cookie = l->slots[slot].netns_cookie;
	return record_put(l, cgroup_id, &w);
}

int record_flags(struct leases *l, uint64_t cgroup_id, uint16_t set, uint16_t clear)
{
	struct workload_record w;
	uint16_t flags;
	int r = record_get(l, cgroup_id, &w);

	if (r)
		return r;
	flags = (uint16_t)((w.flags & ~clear) | set);
	if (flags == w.flags)
		return 0;
	w.flags = flags;
	w.since_ns = now_boot_ns();
	return record_put(l, cgroup_id, &w);
}

static int record_part(struct leases *l, uint64_t cgroup_id, uint64_t netns_cookie, uint16_t set,
		       uint16_t clear)
{
	struct workload_record w;
	int r = record_get(l, cgroup_id, &w);

	if (r)
		return r;
	if (!netns_cookie && w.slot)
		netns_cookie = l->slots[w.slot].netns_cookie;
	if (netns_cookie)
		w.netns_cookie = netns_cookie;
	w.slot = 0;
	w.flags = (uint16_t)((w.flags & ~clear) | set);
	w.since_ns = now_boot_ns();
	return record_put(l, cgroup_id, &w);
}

int record_shut(struct leases *l, uint64_t cgroup_id, uint64_t netns_cookie)
{
	return record_part(l, cgroup_id, netns_cookie, 0,
			   WORKLOAD_ADMITTED | WORKLOAD_ALLOW | WORKLOAD_REACH);
}

int record_gone(struct leases *l, uint64_t cgroup_id, uint64_t netns_cookie)
{
	return record_part(l, cgroup_id, netns_cookie, WORKLOAD_GONE,
			   WORKLOAD_ADMITTED | WORKLOAD_ALLOW | WORKLOAD_REACH |
				   WORKLOAD_FROZEN_BY_US);
}

void record_unbind(const struct pins *pins, uint64_t cgroup_id)
{
	struct workload_record w = { 0 };

	bpf_map_lookup_elem(pins->workloads, &cgroup_id, &w);
	near_take_out(pins->near, cgroup_id);
	bpf_map_delete_elem(pins->workloads, &cgroup_id);
	near_forget(pins->near, cgroup_id);
	counters_forget(pins, cgroup_id, w.row);
}
