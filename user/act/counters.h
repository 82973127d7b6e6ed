/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was dropped, by reason: the rows of `near_counters` and the hash `counters` together. */
#pragma once

#include <stdint.h>

#include "act/pins.h"
#include "vpnleash/reasons.h"

/* A row of its own for a record that has none, all zero; 0: none is free near its place. */
uint8_t counters_take_row(const struct pins *p, uint64_t cgroup_id);
/* Once its record is gone. */
void counters_forget(const struct pins *p, uint64_t cgroup_id, uint8_t row);
/* By the gate. */
void counters_read(const struct pins *p, uint64_t cgroup_id,
		   uint64_t ret_dropped[VPNLEASH_REASON_MAX]);
/* By that guard, whoever sent it. */
void counters_add_guard(const struct pins *p, unsigned int guard,
			uint64_t dropped[VPNLEASH_REASON_MAX]);
