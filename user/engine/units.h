/* SPDX-License-Identifier: GPL-2.0-or-later */
/* systemd's units, over the system bus; in the engine's child (see engine.h), which may wait. */
#ifndef VPNLEASH_UNITS_H
#define VPNLEASH_UNITS_H

#include <poll.h>

#include "engine/docker.h"

struct units;

struct units *units_open(engine_tell tell, void *owner); /* NULL: no memory */
/* What to wait for before units_turn(): *ret, and a time in ms (-1: no limit) is returned. */
int units_prepare(struct units *u, struct pollfd *ret);
void units_turn(struct units *u);
/* Told now, and from now on. */
void units_watch(struct units *u, const char *name);
/* Answered by ENGINE_DONE when systemd's job has ended. */
void units_ask(struct units *u, bool start, const char *name, uint32_t request);

#endif
