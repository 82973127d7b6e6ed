/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One failure, brought about, timed and put back. What is told of the gate is the kernel's: the
 * mapped lease, `frozen 1`, the stamp of what passed.
 *
 * A child of our own, the keeper, brings it about and puts it back, when it is told to or when we
 * are no more, however we ended; if the keeper is killed we do. Only with both killed it stays so:
 * then the workload is blocked.
 */
#pragma once

#include <jansson.h>
#include <signal.h>

#include "act/pins.h"
#include "drill/failure.h"

struct drill {
	struct broken broken;
	struct pins pins;
	const volatile struct lease *leases; /* the map itself */
	const char *workload, *tunnel;	     /* as `status` has them */
	uint64_t cgroup_id, patience_ns;
	unsigned int slot;
	int events;	    /* cgroup.events */
	bool wait_for_stop; /* each failure lasts until the workload is stopped */
	const volatile sig_atomic_t *interrupted;
	/* before it begins, and what is to be typed is known */
	void (*announce)(const struct drill *d, const struct failure *f);
};

/* Of `status`: the workload, and the tunnel that it is leashed to. What is left open is closed by
 * drill_close(), also after a failure. */
int drill_open(struct drill *d, const json_t *workload, const json_t *tunnel, struct error *err);
void drill_close(struct drill *d);

struct rehearsal {
	char refused[512]; /* why it was not brought about; "": it was */
	char wrong[512];   /* what did not go as promised; "": nothing */
	/* since it began; 0: did not happen */
	uint64_t shut_ns, frozen_ns, stopped_ns;
	uint64_t open_ns, gap_ns; /* since it was put back; that much of it is caution */
	/* from when the gate was shut until it was put back */
	bool passed;
	uint64_t dropped; /* packets */
};

/* 0; -EINTR: it was interrupted, and put back; -Exxx: it could not be put back. */
int drill_rehearse(struct drill *d, const struct failure *f, struct rehearsal *ret,
		   struct error *err);
