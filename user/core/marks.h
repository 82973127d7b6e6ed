/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must outlive daemon and machine, by workload *name*: one file for each mark, below
 * /var/lib/vpnleash. A hold is on disk when the call returns; that something is to run is written
 * within the file system's own time, as a disk that hangs must not cost a lease.
 */
#pragma once

#include "base/util.h"

enum mark {
	MARK_HELD,   /* an operator holds it: never admitted. What can not be read is held. */
	MARK_WANTED, /* it is to run: started again when its tunnel is up, whoever took it down but
			an operator. What can not be read is not wanted. */
	MARK_UNIT, /* not a workload's name but a unit's, which runs one in a locked slice: stopped
		      by us, and with it the container removed. Started when vpnleash is */
	MARK_NETWORK, /* whose network it shares: a text */
};

bool mark_is(enum mark mark, const char *workload);
/* Each name that has it. */
void mark_each(enum mark mark, void (*f)(const char *name, void *arg), void *arg);
/* 0 or -Exxx. Idempotent. */
int mark_set(enum mark mark, const char *workload, struct error *err);
int mark_write(enum mark mark, const char *workload, const char *text, struct error *err);
/* Its text; "": there is none, or not all of it. */
void mark_read(enum mark mark, const char *workload, char *buf, size_t size);
int mark_clear(enum mark mark, const char *workload, struct error *err);
