/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A watcher turns one source into facts and holds no opinion. Its start function subscribes before
 * it reads the present state and reports that state as evidence, so that a daemon started late and
 * one started early know the same. ready() reads until EAGAIN, at most WATCH_BOUND messages; a
 * source that overflowed, closed or returned garbage is IN_BLIND, as is a bound that is hit.
 */
#pragma once

#include <stdint.h>

#include "vpnleash/states.h"

#define WATCH_BOUND 4096

struct evidence {
	enum input what;
	uint32_t ifindex; /* of the device spoken of, 0 if none */
	uint64_t seen_ns; /* boot time: when the fact was read (IN_SEEN: of the sign of life) */
	char detail[96];  /* for people: "eth0 is a veth", "1.1.1.1 goes by eth0"; may be empty */
};

/* Told synchronously, from within start and ready functions. */
typedef void (*watch_tell)(void *owner, const struct evidence *e);
