/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pinned links of one cgroup: its gate, and the programs that redirect its DNS questions. A
 * link that is there already is updated in place; nothing is detached to be attached again.
 */
#ifndef VPNLEASH_GATE_LINKS_H
#define VPNLEASH_GATE_LINKS_H

#include "act/gate_load.h"
#include "base/cgroup.h"

/* May there be a gate on c? -EBUSY: no; the error says why. */
typedef int (*gate_check)(struct gate *g, const struct cgroup_root *root,
			  const struct cgroup_ref *c, struct error *err);

/* On the cgroup c, the gate that looks at cgroups of that level: all hooks or none. `check` is
 * asked before anything is attached that was not there. */
int gate_link(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
	      uint32_t level, gate_check check, struct error *err);
/* The gate alone: what else is on the cgroup stays. */
void gate_unlink(uint64_t cgroup_id);
/*
 * A slice's child has no gate of its own. It gets a DNS program instead, by whose link the kernel
 * tells when the child's last socket is gone; the program does nothing until a question is
 * redirected.
 */
int gate_link_witness(struct gate *g, const struct cgroup_ref *c, struct error *err);

/* Where the cgroup's questions to port 53 go from now on; see struct resolver. After gate_attach().
 */
int gate_resolve_by(struct gate *g, const struct cgroup_ref *c, const struct resolver *r,
		    struct error *err);
/* No packet sockets for the cgroup from now on: what they send passes no cgroup hook. Needs BPF
 * among the kernel's LSMs. -EOPNOTSUPP: this kernel does not have it, or was not started with it.
 */
int gate_deny_packets(const struct cgroup_ref *c);

/* All that is attached to the cgroup comes off. */
int gate_detach(uint64_t cgroup_id, struct error *err);

#endif
