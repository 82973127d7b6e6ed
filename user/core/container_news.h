/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told of a workload's container or unit, and what its table is told of that: it is there,
 * somebody ends it, how a stop went, the engine is gone. Its cgroup is where the engine says.
 */
#pragma once

struct workload;
struct inventory_listener;

extern const struct inventory_listener container_news; /* of which a workload is the owner */

void container_look(struct workload *w); /* at what nobody tells: once a second at least */
void container_rename(struct workload *w, const char *name);
