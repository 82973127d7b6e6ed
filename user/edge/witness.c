/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What came past the guard, by the word of who stands behind it. */
#include <errno.h>

#include "edge/edge_internal.h"
#include "report/audit.h"

/* A frame too many is as hard a proof as a program that is off: the guard does not hold. */
int edge_hear_witness(struct edge *e, struct error *err)
{
	struct drop_event last, *told = NULL;
	uint64_t strays = 0;
	char packet[160];

	for (size_t i = 0; i < e->n; i++) {
		struct drop_event of;
		uint64_t n = guard_strays(e->place->guards, &e->known[i].spec, &of);

		if (n) {
			last = of;
			told = &last;
		}
		strays += n;
	}
	if (!told)
		return 0;
	audit_stray(e->place->audit, e->place->config->name, strays, told);
	return SAY(err, -ESTALE, NULL, "the witness saw %llu frames past the guard, last %s",
		   (unsigned long long)strays, audit_packet(packet, sizeof(packet), told));
}

struct witnessed edge_witnessed(const struct edge *e)
{
	struct witnessed all = { 0 }, w;

	for (size_t i = 0; i < e->n; i++) {
		if (!guard_witnessed(e->place->guards, &e->known[i].spec, &w))
			continue;
		all.frames += w.frames;
		all.excused += w.excused;
		all.strays += w.strays;
	}
	return all;
}
