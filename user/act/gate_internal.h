/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind gate.h share; only they load and attach the cgroup programs by libbpf. */
#pragma once

#include "act/gate.h"

struct bpf_program;

#define GATE_LEVELS	 16 /* depths in use at once; a deeper variety of cgroup trees is unheard of */
#define GATE_SHARED	 0 /* no depth of a workload's: see gate_shared_programs() */
#define GATE_DNS_HOOKS	 8
#define GATE_HOOKS	 3
#define GATE_REMEDY_LOAD "see: vpnleash doctor"

struct gate {
	const struct cgroup_root *root;
	struct pins pins;
	bool netns_by_socket; /* how this kernel tells a packet's netns */
	/* All with the same maps. By depth of the cgroup, as `level` is fixed when a program is
	 * loaded. The first, of depth 1, is always there, and has what looks at no cgroup's depth:
	 * guard and DNS; GATE_SHARED, the root's own depth, when it is needed. */
	struct vpnleash_bpf *instances[GATE_LEVELS];
	uint64_t note_secret[2]; /* one: who notes and who takes may be of two instances */
};

/* ------ gate_load.c ------ */

/* Nothing is loaded yet. NULL: no memory. */
struct gate *gate_new(const struct cgroup_root *root);
/* The first instance. With the pinned maps, or (pins NULL) with new ones of its own. */
int gate_load(struct gate *g, const struct pins *pins, struct error *err);
/* In the order of attaching. */
void gate_list_dns(struct vpnleash_bpf *skel, struct bpf_program *ret[GATE_DNS_HOOKS]);
/* The gate's own; how many this kernel needs. */
size_t gate_list_hooks(const struct gate *g, struct vpnleash_bpf *skel,
		       struct bpf_program *ret[GATE_HOOKS]);

/* ------ gate_nested.c: at most one on a path, as nested gates AND their verdicts, and count twice
 */

/* Is there a gate on that cgroup, whoever attached it? */
bool gate_is_on(int cgroup_fd);
/* 0, or -EBUSY: there is a gate above c, or below the cgroup with that full path; the error names
 * it, and c as what was to be leashed. */
int gate_check_above(const struct cgroup_root *root, const struct cgroup_ref *c, struct error *err);
int gate_check_below(const char *path, const struct cgroup_ref *c, struct error *err);

/* ------ gate_links.c: the pinned links of one cgroup ------ */

/* May there be a gate on c? -EBUSY: no; the error says why. */
typedef int (*gate_check)(struct gate *g, const struct cgroup_ref *c, struct error *err);
/* On the cgroup c, the gate that looks at cgroups of that level: all hooks or none. `check` is
 * asked before anything is attached that was not there. */
int gate_link(struct gate *g, const struct cgroup_ref *c, uint32_t level, gate_check check,
	      struct error *err);
/* The gate alone: what else is on the cgroup stays. */
void gate_unlink(uint64_t cgroup_id);
/*
 * A slice's child has no gate of its own. It gets a DNS program instead, by whose link the kernel
 * tells when the child's last socket is gone; the program does nothing until a question is
 * redirected.
 */
int gate_link_witness(struct gate *g, const struct cgroup_ref *c, struct error *err);

/* The record of a slice, which is locked since then. */
void gate_put_slice(struct gate *g, const struct cgroup_ref *slice, uint64_t since_ns);

/* Does the kernel attribute a packet to its cgroup? Where it does not (net_cls or net_prio of v1 in
 * use before v5.15) nothing may be granted. */
int gate_prove(struct gate *g, struct error *err);

/*
 * Pins of another version are replaced. The first instance is loaded with maps of its own.
 * Fail-closed: every gate is replaced by one without records, then the maps' pins, the header last.
 * A crash anywhere in between leaves another version's pins again, and all shut.
 */
int gate_upgrade(struct gate *g, struct error *err);
