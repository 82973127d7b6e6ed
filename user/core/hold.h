/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is held: one file for each workload below /var/lib/vpnleash/held, named after it. It
 * survives everything; only `release` ends it. What can not be read counts as held.
 */
#ifndef VPNLEASH_HOLD_H
#define VPNLEASH_HOLD_H

#include <stdbool.h>

#include "base/util.h"

bool hold_is(const char *workload);
int hold_set(const char *workload, struct error *err);	 /* on disk when it returns */
int hold_clear(const char *workload, struct error *err); /* 0 also if it was not held */

#endif
