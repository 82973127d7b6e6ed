/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine's child and the inventory have of others in this room; docker.h is for commands
 * too. */
#pragma once

#include "base/cgroup.h"
#include "engine/docker.h"

/* systemd's units, over the system bus; in the child, which may wait. */
struct units;

struct units *units_open(engine_tell tell, void *owner); /* NULL: no memory */
/* What to wait for before units_turn(): *ret, and a time in ms (-1: no limit) is returned. */
int units_prepare(struct units *u, struct pollfd *ret);
void units_turn(struct units *u);
/* Told now, and from now on. */
void units_watch(struct units *u, const char *name);
/* Answered by ENGINE_DONE when systemd's job has ended. */
void units_ask(struct units *u, bool start, const char *name, uint32_t request);

/* Where containers live, by the kernel's own tree, as engines call a container's cgroup after its
 * id: for one of which the engine's record can not be used. Calls f for each cgroup that is called
 * like a container's. What lies below one is the container's to name, what lies below a directory
 * that is not root's its owner's: neither is looked at. */
void seek_containers(const struct cgroup_root *root,
		     void (*f)(const char *id, const char *path, void *arg), void *arg);
