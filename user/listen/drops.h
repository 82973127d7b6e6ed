/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many packets were dropped in each of the last steps of time, by reason, for the page's chart:
 * the differences between the exact counts of one report of `status` and the next.
 */
#pragma once

#include <jansson.h>

#include "base/util.h"
#include "vpnleash/reasons.h"

#define DROPS_STEPS   180
#define DROPS_STEP_NS (10 * NS_PER_SEC)

struct drops {
	json_t *before; /* name or cgroup id → counts by reason, of the report before; NULL: none */
	uint64_t step;					   /* the newest */
	uint64_t counts[DROPS_STEPS][VPNLEASH_REASON_MAX]; /* step % DROPS_STEPS */
};

/* The first report gives only what the next is compared with. */
void drops_add(struct drops *d, const json_t *report, uint64_t now_ns);
/* {"step_ms": N, "reasons": {name: {"counts": [the oldest step, …, the newest], "means":
 * sentence}}}: reasons that occurred. */
json_t *drops_json(const struct drops *d);
void drops_free(struct drops *d);
