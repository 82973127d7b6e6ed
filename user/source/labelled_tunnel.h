/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tunnel of a container that asks for a leash by labels: one of the file, or the labels' own.
 */
#pragma once

#include "core/tunnel.h"

/* That of the file, by its name. netns: which the container is in. */
int labelled_tunnel_named(struct daemon *d, const char *name, const char *netns,
			  struct tunnel **ret, struct error *err);
/* One of that interface and netns; NULL: there is none. */
struct tunnel *labelled_tunnel_like(const struct daemon *d, const struct tunnel_config *c);
/* That one, or a new one. keys: the labels give some of it, which the file's would not take. */
int labelled_tunnel_own(struct daemon *d, struct tunnel_config *c, bool keys, struct tunnel **ret,
			struct error *err);
/* It is removed if it has no workload left, and its guard if nobody else needs that. */
void labelled_tunnel_drop(struct daemon *d, struct tunnel *t);
