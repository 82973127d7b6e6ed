/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is pinned, as clang laid it out for BPF and as this compiler does: the BTF of the embedded
 * object against offsetof and sizeof here. Both include vpnleash/abi.h; the compilers may differ.
 */
#include "vpnleash/abi.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vpnleash.skel.h"

#include <cmocka.h>

struct member {
	const char *name;
	size_t offset, size;
};

#define M(s, m)                                                       \
	{                                                             \
#m, offsetof(struct s, m), sizeof(((struct s *)0)->m) \
	}
static const struct layout {
	const char *name;
	size_t size;
	struct member members[16];
} layouts[] = {
	{ "header",
	  sizeof(struct header),
	  { M(header, abi_version), M(header, writer_pid), M(header, generation),
	    M(header, written_ns), M(header, events_lost) } },
	{ "lease",
	  sizeof(struct lease),
	  { M(lease, netns_cookie), M(lease, netns_ino), M(lease, ifindex), M(lease, link_type),
	    M(lease, reserved), M(lease, expires_ns), M(lease, device), M(lease, seen_ns),
	    M(lease, passed_out), M(lease, passed_in) } },
	{ "workload_record",
	  sizeof(struct workload_record),
	  { M(workload_record, cgroup_tag), M(workload_record, slot), M(workload_record, row),
	    M(workload_record, flags), M(workload_record, level), M(workload_record, slice_tag),
	    M(workload_record, since_ns), M(workload_record, event_ns),
	    M(workload_record, netns_cookie), M(workload_record, name) } },
	{ "counter_key",
	  sizeof(struct counter_key),
	  { M(counter_key, cgroup_id), M(counter_key, reason), M(counter_key, guard) } },
	{ "counter",
	  sizeof(struct counter),
	  { M(counter, packets), M(counter, bytes), M(counter, checked_jiffy),
	    M(counter, event_ns) } },
	{ "liveness", sizeof(struct liveness), { M(liveness, seen_ns), M(liveness, seen_jiffy) } },
	{ "near_line", sizeof(struct near_line), { M(near_line, cgroup_id), M(near_line, word) } },
	{ "near", sizeof(struct near), { M(near, lines), M(near, guard_generation) } },
	{ "near_counters",
	  sizeof(struct near_counters),
	  { M(near_counters, cgroup_id), M(near_counters, seen_jiffy),
	    M(near_counters, by_reason) } },
	/* drop_event is in a ring, which has no types: abi.h asserts its size */
};

static int open_object(void **state)
{
	*state = vpnleash_bpf__open();
	return *state ? 0 : -1;
}

static int close_object(void **state)
{
	vpnleash_bpf__destroy(*state);
	return 0;
}

static void layouts_agree(void **state)
{
	struct vpnleash_bpf *skel = *state;
	struct btf *btf = bpf_object__btf(skel->obj);

	assert_non_null(btf);
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		const struct layout *l = &layouts[i];
		int id = btf__find_by_name_kind(btf, l->name, BTF_KIND_STRUCT);
		const struct btf_type *t = btf__type_by_id(btf, id < 0 ? 0 : (__u32)id);
		const struct btf_member *m = btf_members(t);
		size_t known = 0, end = 0;

		if (id < 0)
			fail_msg("struct %s is not in the object's BTF", l->name);
		assert_int_equal(t->size, l->size);
		while (known < ARRAY_SIZE(l->members) && l->members[known].name)
			known++;
		/* a member that is new there has to be added here */
		assert_int_equal(btf_vlen(t), known);
		for (__u32 n = 0; n < known; n++) {
			const char *name = btf__name_by_offset(btf, m[n].name_off);

			assert_string_equal(name, l->members[n].name);
			if (btf_member_bit_offset(t, n) != l->members[n].offset * 8)
				fail_msg("%s.%s: bit %u there, %zu here", l->name, name,
					 btf_member_bit_offset(t, n), l->members[n].offset * 8);
			assert_int_equal(btf__resolve_size(btf, m[n].type), l->members[n].size);
			/* no hole that a writer would leave unset, and bpftool would not show */
			assert_int_equal(l->members[n].offset, end);
			end += l->members[n].size;
		}
		assert_int_equal(end, l->size);
	}
}

static void maps_are_what_the_daemon_expects(void **state)
{
	struct vpnleash_bpf *skel = *state;
	const struct {
		const struct bpf_map *map;
		enum bpf_map_type type;
		size_t key, value, entries;
		__u32 flags;
		const char *value_name;
	} maps[] = {
		{ skel->maps.header, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct header), 1, 0, "header" },
		{ skel->maps.leases, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lease), VPNLEASH_SLOTS,
		  BPF_F_MMAPABLE, "lease" },
		{ skel->maps.workloads, BPF_MAP_TYPE_HASH, 8, sizeof(struct workload_record),
		  VPNLEASH_WORKLOADS, 0, "workload_record" },
		/* near_records; no other variable may lie there */
		{ skel->maps.bss, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct near), 1, BPF_F_MMAPABLE,
		  ".bss" },
		{ skel->maps.counters, BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct counter_key),
		  sizeof(struct counter), VPNLEASH_COUNTERS, BPF_F_NO_PREALLOC, "counter" },
		{ skel->maps.near_counters, BPF_MAP_TYPE_PERCPU_ARRAY, 4,
		  sizeof(struct near_counters), VPNLEASH_NEAR_COUNTERS, 0, "near_counters" },
		{ skel->maps.liveness, BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct liveness),
		  VPNLEASH_SLOTS, 0, "liveness" },
	};
	struct btf *btf = bpf_object__btf(skel->obj);

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		const struct btf_type *value =
			btf__type_by_id(btf, bpf_map__btf_value_type_id(maps[i].map));

		assert_int_equal(bpf_map__type(maps[i].map), maps[i].type);
		assert_int_equal(bpf_map__key_size(maps[i].map), maps[i].key);
		assert_int_equal(bpf_map__value_size(maps[i].map), maps[i].value);
		assert_int_equal(bpf_map__max_entries(maps[i].map), maps[i].entries);
		assert_int_equal(bpf_map__map_flags(maps[i].map), maps[i].flags);
		/* `bpftool map dump pinned` shows names */
		assert_non_null(value);
		assert_string_equal(btf__name_by_offset(btf, value->name_off), maps[i].value_name);
	}
}

static void programs_keep_their_names(void **state)
{
	struct vpnleash_bpf *skel = *state;
	struct bpf_program *programs[] = { skel->progs.gate_egress, skel->progs.gate_ingress,
					   skel->progs.gate_socket };
	static const char *const names[] = { "gate_egress", "gate_ingress", "gate_socket" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(bpf_program__name(programs[i]), names[i]);
		assert_true(strlen(names[i]) < BPF_OBJ_NAME_LEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_agree),
		cmocka_unit_test(maps_are_what_the_daemon_expects),
		cmocka_unit_test(programs_keep_their_names),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, open_object, close_object);
}
