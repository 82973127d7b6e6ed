/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A workload's container or unit: asked about and asked to do something (stopped, started, where it
 * is). What is told of it: container_news.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct engine_item;
struct workload;

#define CONTAINER_COMMAND_LEN 4096

const struct engine_item *container_item(const struct workload *w); /* by the engine; or NULL */
/* Said once, and by `status` and `why` as long as it is so. Names in `why` are escaped. */
void container_in_trouble(struct workload *w, const char *what, const char *why);
/* Made to share the network of a container that was removed meanwhile: no start brings it into that
 * of the next. What to type, in buf; NULL: not so. */
const char *container_to_type(const struct workload *w, char *buf, size_t size);
bool container_say_removed(struct workload *w); /* that; whether it is so */

/* Is there somebody to ask to stop or start it? */
bool container_reachable(const struct workload *w);
/* A stop would be its end: its engine removes it, and no unit brings it back. */
bool container_is_lost_by_stop(const struct workload *w);
/* Stopped through its unit, and so removed: the unit makes another when it is started. */
bool container_is_parked(const struct workload *w);

/* Asked of engine or systemd, which say later how it went. 0 or -Exxx. */
int container_stop(struct workload *w);
/* Whether it is to be asked for again, if it does not come. */
bool container_start(struct workload *w);

/* An engine that is still starting it would wait for the frozen for ever. */
bool container_has_started(const struct workload *w);
/* Compose made it, to start it when the VPN's container is healthy, and has not. */
bool container_is_left(const struct workload *w);
/* Left behind in a netns that is no longer its tunnel's: the VPN's container was restarted. */
bool container_is_orphaned(const struct workload *w);
bool container_may_move(const struct workload *w); /* by a start; not at once again */
void container_moves(struct workload *w);
void container_say_orphaned(struct workload *w); /* it may not */
