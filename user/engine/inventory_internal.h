/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of what runs, as its two files see it: inventory_table.c, which says who is in it and
 * tells whom it concerns, and inventory.c, which writes into it what the engines say. */
#pragma once

#include "engine/engine_internal.h"
#include "engine/inventory.h"

#define KINDS 3 /* enum engine_kind, from 1 on */

/* An engine, and the process that talks to it; the first's talks to systemd too. */
struct inventory_source {
	struct inventory *inventory;
	char where[ENGINE_WHERE_LEN];
	struct engine *engine; /* NULL: the child is dead */
	sd_event_source *fd, *again;
	bool up[KINDS];
	bool settled[KINDS]; /* LISTED or DOWN was told: nothing is to be waited for */
	bool absent;	     /* there never was a socket */
	char trouble[ENGINE_ERROR_LEN];
};

/* An engine_item without the room for labels that it does not have. */
struct inventory_entry {
	struct inventory_entry *next;
	const struct inventory_source *of;
	bool told;	  /* since the engine came up */
	bool let_go;	  /* nobody is told of it until it is started anew */
	pid_t let_go_pid; /* as it was then, -1: nobody knew */
	struct engine_item item;
};

struct inventory {
	sd_event *loop;
	const struct cgroup_root *root;
	const struct inventory_containers *containers;
	void *arg;
	size_t n_sources;
	struct inventory_source sources[ENGINES];
	sd_event_source *seek;
	struct inventory_entry *entries;
	struct inventory_watch *watches;
	uint32_t last_request;
};

struct inventory_entry **inventory_entry(struct inventory *v, enum engine_kind kind,
					 const char *name);
struct inventory_entry *inventory_keep(struct inventory *v, const struct inventory_source *of,
				       const struct engine_item *item);
void inventory_tell_watches(struct inventory *v, const struct engine_item *i);
void inventory_watch_units(struct inventory *v);
void inventory_gone(struct inventory *v, struct inventory_entry **p);
void inventory_listed(struct inventory_source *s, enum engine_kind kind);
void inventory_engine_is(struct inventory_source *s, enum engine_kind kind, bool there,
			 const char *why);
void inventory_tell_container(struct inventory *v, const struct inventory_entry *e, bool first);
