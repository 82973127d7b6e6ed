/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pins of another version of vpnleash are replaced; what is leashed stays shut meanwhile. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "act/gate_internal.h"

struct noted {
	uint64_t cgroup_id;
	struct pins_record record;
};

struct replacing {
	struct gate *gate;
	struct error *err;
	struct noted *noted;
	size_t n;
};

static bool was_slice(const struct replacing *r, uint64_t cgroup_id)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->noted[i].cgroup_id == cgroup_id)
			return r->noted[i].record.flags & WORKLOAD_SLICE;
	return false;
}

/* Of its gate. The depth of a removed cgroup is not known: the deepest instance finds no ancestor
 * of its sockets there, so no record, and drops. */
static uint32_t level_of(const struct replacing *r, uint64_t cgroup_id)
{
	struct cgroup_ref c;

	if (resolve_cgroup_of_id(r->gate->root, cgroup_id, &c))
		return GATE_LEVELS - 1;
	close_fd(c.fd);
	return c.level + was_slice(r, cgroup_id);
}

static int update_link(struct replacing *r, const char *hook, uint64_t cgroup_id, int program)
{
	_cleanup_fd int link = pins_open_link(hook, cgroup_id);

	if (link < 0 || bpf_link_update(link, program, NULL) < 0)
		return fail(r->err, ERROR_OTHER, link < 0 ? link : -errno, NULL,
			    "replace %s of cgroup %llu", hook, (unsigned long long)cgroup_id);
	return 0;
}

/* From here on the cgroup's packets meet the new gate, which has no record of it: all are dropped.
 */
static int replace_link(uint64_t cgroup_id, void *arg)
{
	struct replacing *r = arg;
	uint32_t level;
	const int *programs;
	int e;

	if (!pins_in_force(cgroup_id)) /* removed, and without a socket left */
		return pins_remove_links(cgroup_id, r->err);
	level = level_of(r, cgroup_id);
	e = gate_load_level(r->gate, level, r->err);
	if (e)
		return e;
	programs = r->gate->programs[level];
	e = update_link(r, "gate_egress", cgroup_id, programs[GATE_EGRESS]);
	return e ? e : update_link(r, "gate_ingress", cgroup_id, programs[GATE_INGRESS]);
}

static int note_record(uint64_t cgroup_id, const struct pins_record *record, void *arg)
{
	struct replacing *r = arg;
	struct noted *more = realloc(r->noted, (r->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	r->noted = more;
	r->noted[r->n++] = (struct noted) { cgroup_id, *record };
	return 0;
}

/*
 * What the other version noted and must not be forgotten: that it froze a cgroup, which is ours to
 * thaw now; that `vpnleash exec` made one; that it locked a slice; and, for the weak guard, that a
 * removed cgroup has sockets left.
 */
static void take_over(struct replacing *r, const struct noted *noted)
{
	const struct pins_record *was = &noted->record;
	struct workload_record w = { .cgroup_tag = (uint32_t)noted->cgroup_id,
				     .flags = was->flags & WORKLOAD_FROZEN_BY_US,
				     .level = (uint32_t)was->level,
				     .since_ns = now_boot_ns() };
	struct cgroup_ref c;
	int gone = resolve_cgroup_of_id(r->gate->root, noted->cgroup_id, &c);

	/* before ABI 4 there was no flag for it */
	if (!gone && fgetxattr(c.fd, EXEC_XATTR, NULL, 0) >= 0)
		w.flags |= WORKLOAD_EXEC;
	if (gone ? pins_in_force(noted->cgroup_id) : w.flags) {
		memcpy(w.name, was->name, sizeof(w.name));
		bpf_map_update_elem(r->gate->pins.workloads, &noted->cgroup_id, &w, BPF_ANY);
	} else if (!gone && was->flags & WORKLOAD_SLICE) {
		gate_put_slice(r->gate, &c, w.since_ns);
	}
	if (!gone)
		close_fd(c.fd);
}

static int replace_pins(struct replacing *r)
{
	struct gate *g = r->gate;
	int e = pins_each_record_of_other(note_record, r);

	if (e)
		return e;
	e = pins_each_link("gate_egress", replace_link, r, r->err);
	if (e)
		return e;
	e = pins_create(&g->pins, r->err);
	if (e)
		return e;
	for (size_t i = 0; i < r->n; i++)
		take_over(r, &r->noted[i]);
	return 0;
}

int gate_upgrade(struct gate *g, struct error *err)
{
	struct replacing r = { .gate = g, .err = err };
	int e = replace_pins(&r);

	free(r.noted);
	if (!e)
		log_line(LOG_LEVEL_NOTICE, "pins of another version are replaced: all is shut");
	return e;
}
