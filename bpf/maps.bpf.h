/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pinned maps; include/vpnleash/abi.h documents each. All instances of the programs share them.
 * Defined in gate.bpf.c (MAP is empty there), extern for the others.
 */
#ifndef VPNLEASH_MAPS_BPF_H
#define VPNLEASH_MAPS_BPF_H

#include "vpnleash/abi.h"

#ifndef MAP
#define MAP extern
#endif

MAP struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct header);
} header SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VPNLEASH_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct lease);
} leases SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VPNLEASH_WORKLOADS);
	__type(key, __u64); /* cgroup id */
	__type(value, struct workload_record);
} workloads SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, VPNLEASH_COUNTERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct counter_key);
	__type(value, struct counter);
} counters SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VPNLEASH_NEAR_COUNTERS);
	__type(key, __u32); /* row */
	__type(value, struct near_counters);
} near_counters SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VPNLEASH_SLOTS);
	__type(key, __u32); /* slot */
	__type(value, struct liveness);
} liveness SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, VPNLEASH_EVENTS_BYTES);
} events SEC(".maps");

/* The netns cookie of each socket made under a gate, where the gate can not read the packet's. */
MAP struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u64);
} netns_cookies SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * VPNLEASH_GUARDS);
	__type(key, struct guard_slot_key);
	__type(value, __u32); /* slot */
} guard_slots SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VPNLEASH_GUARDS);
	__type(key, __u32); /* slot */
	__type(value, struct guard);
} guards SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, VPNLEASH_ENDPOINTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, struct address_value);
} endpoints SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, VPNLEASH_EXCEPTIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, struct address_value);
} exceptions SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VPNLEASH_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VPNLEASH_FLOW_SOURCES);
	__type(key, struct flow_source_key);
	__type(value, struct flow_source);
} flow_sources SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VPNLEASH_FRAME_PLACES *VPNLEASH_FRAMES);
	__type(key, __u32);
	__type(value, struct passed_frame);
} passed_frames SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VPNLEASH_NOTES);
	__type(key, struct note_key);
	__type(value, struct note);
} notes SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VPNLEASH_GUARDS);
	__type(key, __u32); /* slot of the guard */
	__type(value, struct witness);
} witnesses SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VPNLEASH_GUARDS);
	__type(key, __u32); /* slot of the guard */
	__type(value, struct witnessed);
} witnessed SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, VPNLEASH_ENDPOINTS + VPNLEASH_EXCEPTIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, __u64); /* since when it is expected no more; 0: it is */
} expected SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64); /* cgroup id: one for all hooks on it (v5.9) */
	__type(value, struct resolver);
} resolvers SEC(".maps");

MAP struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct asked_resolver);
} asked_resolvers SEC(".maps");

#endif
