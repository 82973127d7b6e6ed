/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads the BPF object: one instance for each depth of cgroups in use, all with the same maps. How
 * this kernel tells a packet's netns is found out by trying.
 */
#ifndef VPNLEASH_GATE_LOAD_H
#define VPNLEASH_GATE_LOAD_H

#include "act/pins.h"

struct bpf_program;

#define GATE_LEVELS	 16 /* depths in use at once; a deeper variety of cgroup trees is unheard of */
#define GATE_DNS_HOOKS	 8
#define GATE_REMEDY_LOAD "see: vpnleash doctor"

/* For the gate's own files; others have the functions of gate.h. */
struct gate {
	struct pins pins;
	bool netns_by_socket; /* how this kernel tells a packet's netns */
	/* By depth of the cgroup, as `level` is fixed when a program is loaded. The first, of depth
	 * 1, is always there, and has what looks at no cgroup's depth: guard and DNS. */
	struct vpnleash_bpf *instances[GATE_LEVELS];
};

/* Nothing is loaded yet. NULL: no memory. */
struct gate *gate_new(void);
void gate_close(struct gate *g); /* takes nothing off */

/* The first instance. With the pinned maps, or (pins NULL) with new ones of its own. */
int gate_load(struct gate *g, const struct pins *pins, struct error *err);
/* The instance for gates that look at cgroups of that depth; loaded at first use. */
int gate_instance(struct gate *g, uint32_t level, struct vpnleash_bpf **ret, struct error *err);
/* Have the gate of that level loaded, so that attaching takes no time. A slice's is its level + 1.
 */
int gate_load_level(struct gate *g, uint32_t level, struct error *err);
/* In the order of attaching. */
void gate_list_dns(struct vpnleash_bpf *skel, struct bpf_program *ret[GATE_DNS_HOOKS]);

/* What libbpf and the verifier said of the last load, for doctor. */
const char *gate_last_log(void);

#endif
