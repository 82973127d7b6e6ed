/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the gate's drop events out of the pinned ring. Lossy by design: the counters are exact. */
#pragma once

#include "base/util.h"
#include "vpnleash/abi.h"

struct drops;

typedef void (*drops_tell)(void *owner, const struct drop_event *e);

int drops_start(struct drops **ret, int ring_fd, drops_tell tell, void *owner, struct error *err);
int drops_fd(const struct drops *d);
void drops_ready(struct drops *d); /* the fd is readable */
void drops_stop(struct drops *d);
