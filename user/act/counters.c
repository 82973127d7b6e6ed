/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 8 /* rows from one's place on: taken by others only when most are */

/* One element of a map per CPU, of all CPUs, or NULL. */
static void *all_cpus(size_t size)
{
	return calloc((size_t)libbpf_num_possible_cpus(), size);
}

static uint64_t sum(const struct counter *c, size_t stride)
{
	uint64_t packets = 0;

	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		packets +=
			((const struct counter *)((const char *)c + (size_t)i * stride))->packets;
	return packets;
}

/* ------ rows ------ */

static uint8_t row_of(const struct pins *p, uint64_t cgroup_id)
{
	struct workload_record w;

	return bpf_map_lookup_elem(p->workloads, &cgroup_id, &w) ? 0 : w.row;
}

static void write_row(const struct pins *p, uint32_t row, uint64_t cgroup_id,
		      struct near_counters *all)
{
	int cpus = libbpf_num_possible_cpus();

	memset(all, 0, (size_t)cpus * sizeof(*all));
	for (int i = 0; i < cpus; i++)
		all[i].cgroup_id = cgroup_id;
	bpf_map_update_elem(p->near_counters, &row, all, BPF_ANY);
}

uint8_t counters_take_row(const struct pins *p, uint64_t cgroup_id)
{
	_cleanup_free struct near_counters *all = all_cpus(sizeof(*all));

	for (uint32_t i = 0; all && i < PROBES; i++) {
		uint32_t row = 1 + (near_line(cgroup_id) + i) % (VPNLEASH_NEAR_COUNTERS - 1);

		/* whoever has it by its record keeps it, also if he died before he wrote that */
		if (bpf_map_lookup_elem(p->near_counters, &row, all) ||
		    (all->cgroup_id && row_of(p, all->cgroup_id) == row))
			continue;
		write_row(p, row, cgroup_id, all);
		return (uint8_t)row;
	}
	return 0;
}

static void give_row_back(const struct pins *p, uint64_t cgroup_id, uint32_t row)
{
	_cleanup_free struct near_counters *all = all_cpus(sizeof(*all));

	if (row && all && !bpf_map_lookup_elem(p->near_counters, &row, all) &&
	    all->cgroup_id == cgroup_id)
		write_row(p, row, 0, all);
}

/* ------ all of it ------ */

static void forget(const struct pins *p, uint64_t cgroup_id, uint32_t guard)
{
	for (__u32 reason = 1; reason < VPNLEASH_REASON_MAX; reason++) {
		struct counter_key key = { cgroup_id, reason, guard };

		bpf_map_delete_elem(p->counters, &key);
	}
}

void counters_forget(const struct pins *p, uint64_t cgroup_id, uint8_t row)
{
	struct guard_slot_key key, *previous = NULL;

	give_row_back(p, cgroup_id, row);
	forget(p, cgroup_id, 0);
	for (; !bpf_map_get_next_key(p->guard_slots, previous, &key); previous = &key) {
		__u32 slot;

		if (!bpf_map_lookup_elem(p->guard_slots, &key, &slot))
			forget(p, cgroup_id, slot);
	}
}

static uint64_t read_counter(const struct pins *p, const struct counter_key *key, struct counter *c)
{
	return bpf_map_lookup_elem(p->counters, key, c) ? 0 : sum(c, sizeof(*c));
}

void counters_read(const struct pins *p, uint64_t cgroup_id,
		   uint64_t ret_dropped[VPNLEASH_REASON_MAX])
{
	_cleanup_free struct near_counters *near = all_cpus(sizeof(*near));
	uint32_t row = row_of(p, cgroup_id);

	memset(ret_dropped, 0, sizeof(uint64_t) * VPNLEASH_REASON_MAX);
	if (!near)
		return;
	/* also what was dropped before it had a row */
	for (__u32 reason = 1; reason < VPNLEASH_REASON_MAX; reason++)
		ret_dropped[reason] = read_counter(
			p, &(struct counter_key) { .cgroup_id = cgroup_id, .reason = reason },
			near->by_reason);
	if (!row || bpf_map_lookup_elem(p->near_counters, &row, near) ||
	    near->cgroup_id != cgroup_id)
		return;
	for (uint32_t reason = 1; reason < VPNLEASH_NEAR_REASONS; reason++)
		ret_dropped[reason] += sum(&near->by_reason[reason], sizeof(*near));
}

void counters_add_guard(const struct pins *p, unsigned int guard,
			uint64_t dropped[VPNLEASH_REASON_MAX])
{
	_cleanup_free struct counter *c = all_cpus(sizeof(*c));
	struct counter_key key, *previous = NULL;

	/* one that is deleted meanwhile sends us back to the first */
	for (int n = 0; c && n < VPNLEASH_COUNTERS; n++, previous = &key) {
		if (bpf_map_get_next_key(p->counters, previous, &key))
			break;
		if (key.guard == guard && key.reason < VPNLEASH_REASON_MAX)
			dropped[key.reason] += read_counter(p, &key, c);
	}
}
