/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pin directory: created, checked, opened, emptied. What is read back from a pin is input:
 * owner and mode of the directory, ABI version, type and sizes of each map are compared before
 * anything is believed.
 */
#pragma once

#include <stdint.h>

#include "base/util.h"
#include "vpnleash/abi.h"

struct vpnleash_bpf;

/* File descriptors of the pinned maps. */
struct pins {
	int header, leases, workloads, counters, near_counters, liveness, events, netns_cookies;
	int guard_slots, guards, endpoints, exceptions, flows, flow_sources, notes;
	int witnesses, witnessed, expected, passed_frames;
	int resolvers, asked_resolvers, near_records;
	struct near *near; /* near_records, mapped */
};
#define PINS_NONE                                                         \
	((struct pins) { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  -1, \
			 -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, NULL })
void pins_close(struct pins *p);

/* Is bpffs there and the directory ours alone? -ENOENT: nothing is pinned. */
int pins_check_dir(struct error *err);
/* The pins of an earlier run. -ENOENT: none; -EPROTO: of another version, or not what they should
 * be. */
int pins_open(struct pins *ret, struct error *err);
/* Call f for the cgroup id of each pinned link of that hook. A return other than 0 ends the walk.
 */
int pins_each_link(const char *hook, int (*f)(uint64_t cgroup_id, void *arg), void *arg,
		   struct error *err);
/* Pins of another version: what its records say (a flag's meaning never changes). By the names in
 * the map's own BTF; f as above. Best effort: a version that does not say so leaves what it froze
 * to people. */
struct pins_record {
	uint64_t flags, level;
	char name[VPNLEASH_NAME_LEN];
};
int pins_each_record_of_other(int (*f)(uint64_t cgroup_id, const struct pins_record *r, void *arg),
			      void *arg);
/* Pin the maps of a freshly loaded object, see pins_of(); the header comes last and says that all
 * are there. */
int pins_create(struct pins *p, struct error *err);
/* The maps of a loaded object, not pinned. */
int pins_of(struct vpnleash_bpf *skel, struct pins *ret, struct error *err);
/* Give an opened, not yet loaded object the pinned maps. */
int pins_reuse(const struct pins *p, struct vpnleash_bpf *skel, struct error *err);
/* Is the map of that id one of them? */
bool pins_have(const struct pins *p, uint32_t map_id);
/* Note in the header that the set of workloads changed, and who did it. */
int pins_touch(const struct pins *p);

/* "links/<hook>-<cgroup id>" */
#define PINS_PATH_MAX 128
#define PINS_WITNESS  "dns_recvmsg4" /* on every leashed cgroup: see gate_attach() */
void pins_link_path(char path[PINS_PATH_MAX], const char *hook, uint64_t cgroup_id);
/* The pinned link of this hook, if it is what its name says: an fd, -ENOENT, or -EPROTO (also: the
 * kernel has released its cgroup). */
int pins_open_link(const char *hook, uint64_t cgroup_id);
/*
 * Is a pinned program of that cgroup in force? The kernel keeps a removed cgroup's programs for as
 * long as a socket of it, or of one below it, lives: until then the link shows the cgroup's id,
 * from then on 0. 1: in force; 0: released, or nothing is pinned; -errno: nobody knows.
 */
int pins_in_force(uint64_t cgroup_id);
/* Remove every link of that cgroup: the gate comes off. */
int pins_remove_links(uint64_t cgroup_id, struct error *err);
int pins_remove_every_link(struct error *err);
/* Remove everything. */
int pins_remove_all(struct error *err);

/* Walk `workloads`. f may delete or update the entry; a return other than 0 ends the walk. */
int pins_each_workload(const struct pins *p,
		       int (*f)(uint64_t cgroup_id, const struct workload_record *w, void *arg),
		       void *arg);
