/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A workload's container or unit: asked about and asked to do something (stopped, started, where it
 * is). What is told of it: container_news.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/engine.h"

struct tunnel;
struct workload;

#define CONTAINER_COMMAND_LEN 4096

const struct engine_item *container_item(const struct workload *w); /* by the engine; or NULL */
/* Said once, and by `status` and `why` as long as it is so. Names in `why` are escaped. */
void container_in_trouble(struct workload *w, const char *what, const char *why);
/* Who is called NAME CONTAINER_ASIDE was put aside by us, for one that is called NAME. */
#define CONTAINER_ASIDE ".vpnleash-old"
bool container_is_aside(const struct engine_item *i);
/* What it is called, or was before. Returns buf. */
const char *container_name(const struct engine_item *i, char buf[ENGINE_NAME_LEN]);

/* Made to share the network of a container that was removed meanwhile: no start brings it into that
 * of the next. */
bool container_network_removed(const struct workload *w, const struct engine_item *i);
/* What that one is called, or was; NULL: nobody knows. Looked at as long as it is there. */
const char *container_network_name(struct workload *w, const struct engine_item *i);
/* What to type, in buf; NULL: not so. */
const char *container_to_type(const struct workload *w, char *buf, size_t size);
bool container_say_removed(struct workload *w); /* that it was; whether it is so */

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
/* In another netns than its tunnel's: it never was there, or the VPN's container was restarted and
 * has left it behind. */
bool container_is_elsewhere(const struct workload *w);
bool container_is_misplaced(const struct workload *w); /* no start will bring it there */
bool container_may_move(const struct workload *w);     /* by a start; not at once again */
void container_moves(struct workload *w);
void container_say_elsewhere(struct workload *w); /* it may not */
#define CONTAINER_TO_THE_VPN "network_mode: service:VPN"
const char *container_network(const struct tunnel *t); /* the mode that puts it there */
