/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind gate.h share; only they load and attach the cgroup programs by libbpf. */
#pragma once

#include <bpf/bpf.h>

#include "act/gate.h"

#define GATE_LEVELS	 16 /* depths in use at once; a deeper variety of cgroup trees is unheard of */
#define GATE_HOOKS	 3
#define GATE_REMEDY_LOAD "see: vpnleash doctor"

/* All of the object, in the order of attaching. The gate's are loaded for a depth of cgroups. */
enum gate_program {
	GATE_EGRESS,
	GATE_INGRESS,
	GATE_SOCKET,
	/* answers before questions: a question must not be redirected whose answer is not
	   understood */
	DNS_RECVMSG4,
	DNS_RECVMSG6,
	DNS_GETPEERNAME4,
	DNS_GETPEERNAME6,
	DNS_CONNECT4,
	DNS_CONNECT6,
	DNS_SENDMSG4,
	DNS_SENDMSG6,
	DENY_PACKET,
	GUARD_PEER_INGRESS,
	WITNESS_PEER,
	GUARD_PEER_EGRESS,
	GUARD_INSIDE,
	GUARD_INSIDE_INGRESS,
	GUARD_PARENT_INGRESS,
	GUARD_PARENT_EGRESS,
	GUARD_ALONE,
	GUARD_WEAK,
	GATE_PROGRAMS
};

struct gate {
	const struct cgroup_root *root;
	struct pins pins;
	bool pinned;		 /* the maps are: programs may be pinned, and adopted */
	uint32_t level;		 /* the depth for which the gate is loaded and proven first */
	bool known;		 /* the next two are: by what was loaded or adopted first */
	bool netns_by_socket;	 /* how this kernel tells a packet's netns */
	uint64_t note_secret[2]; /* one: who notes and who takes may be loaded one by one */
	/* Descriptors, 0: not loaded. All with the same maps. By depth of the cgroup, as `level` is
	 * fixed when a program is loaded; those that look at no cgroup's depth are in [0]. */
	int programs[GATE_LEVELS][GATE_PROGRAMS];
};

/* ------ gate_programs.c ------ */

const char *gate_program_name(enum gate_program p);
enum bpf_attach_type gate_program_type(enum gate_program p);

/* ------ gate_load.c ------ */

/* Nothing is loaded yet. NULL: no memory. */
struct gate *gate_new(const struct cgroup_root *root, uint32_t level);
/* What a daemon begins with. With the pinned maps, else with new ones of its own. */
int gate_load(struct gate *g, struct error *err);
/* Have these (a bit each) loaded, of that depth; those that are not are loaded at once. */
int gate_want(struct gate *g, uint32_t level, uint32_t programs, struct error *err);
/* Of the gate's own, as many as this kernel needs. */
size_t gate_hooks(const struct gate *g);

/* ------ gate_pins.c: programs that are loaded once for all daemons of this build ------ */

/* The pinned one (level 0: of no depth), if it is what would be loaded: else 0. */
int gate_adopt(struct gate *g, uint32_t level, enum gate_program p);
/* Those (a bit each) that are loaded. A pin that can not be made costs the next start some time. */
void gate_pin_programs(const struct gate *g, uint32_t level, uint32_t which);

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
 * Pins of another version are replaced. What was loaded has maps of its own.
 * Fail-closed: every gate is replaced by one without records, then the maps' pins, the header last.
 * A crash anywhere in between leaves another version's pins again, and all shut.
 */
int gate_upgrade(struct gate *g, struct error *err);
