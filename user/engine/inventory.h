/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What containers and units are now: a table kept by the word of engines and of systemd, told to
 * who watches one of them by name, and to one who wants to know of every container. What an engine
 * has said stays as it was with that engine out of reach, and each is asked about its own
 * containers.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cgroup.h"
#include "engine/engine.h"

struct inventory;

/* None of these may end a watch but its own owner's. */
struct inventory_listener {
	/* Who answers to that name now: it, another that has it by now, or nobody (NULL). */
	void (*item)(void *owner, const struct engine_item *item);
	/* the others may be NULL: */
	void (*ending)(void *owner); /* somebody has sent it a signal */
	void (*done)(void *owner, int result, const char *error); /* what the owner asked for */
	void (*engine)(void *owner, bool there);
	void (*sought)(void *owner, const struct engine_item *item); /* see inventory_seek() */
};

/* Part of its owner, who clears it; the inventory's, but where it says so. */
struct inventory_watch {
	struct inventory_watch *next;
	struct inventory *inventory; /* NULL: not watched */
	enum engine_kind kind;
	const char *name; /* or id; the owner's, for as long as it is watched */
	const struct inventory_listener *listener;
	void *owner;
	bool first;	  /* the owner's: told before those that are not */
	bool sought;	  /* the owner's to clear: see inventory_seek() */
	uint32_t request; /* stop or start that was asked for, 0: none; the owner's to clear */
};

/* Told of every container, after who watches it, unless it is let go. */
struct inventory_containers {
	/* Its record could not be used, and can be now. Also of one that is let go. */
	void (*usable)(void *arg, const struct engine_item *item);
	/* first: it was not known before, or the engine is there (again). While the engine lists,
	 * not all that a label may refer to is known: then only of what can not be used. */
	void (*is)(void *arg, const struct engine_item *item, bool first);
	void (*came)(void *arg, const struct engine_item *item); /* while the engine is there */
	void (*gone)(void *arg, const char *id);		 /* also of one that is let go */
};

int inventory_new(struct inventory **ret, sd_event *loop, const struct cgroup_root *root,
		  const struct inventory_containers *containers, void *arg, struct error *err);
/* engines: the key `engine`. Waits for what is there to be told, not for long: a lease that runs is
 * to be adopted. */
int inventory_start(struct inventory *v, const char *engines, struct error *err);
void inventory_free(struct inventory *v); /* NULL is fine; nobody watches any more */

void inventory_watch(struct inventory *v, struct inventory_watch *w, enum engine_kind kind,
		     const char *name, const struct inventory_listener *listener, void *owner);
void inventory_unwatch(struct inventory_watch *w); /* one that is not watched is fine */
/* What is known of it already is told (once more). */
void inventory_tell(struct inventory_watch *w);

/* By name or id; NULL: there is none. Valid until the loop goes on. */
const struct engine_item *inventory_find(struct inventory *v, enum engine_kind kind,
					 const char *name);
/* Of the engine that has `id`: the container of that name. NULL: it has none. As valid. */
const struct engine_item *inventory_beside(const struct inventory *v, const char *id,
					   const char *name);
/* The container that has the cgroup, or one above it; NULL: none. As valid. */
const struct engine_item *inventory_at(const struct inventory *v, const char *cgroup);
/* Who has it; of one that is not known, or "": any. */
bool inventory_reachable(const struct inventory *v, enum engine_kind kind, const char *name);
/* Every engine that there is has told its containers, and there is one, but for engine = none. One
 * whose socket has gone has not. */
bool inventory_complete(const struct inventory *v);
/* Those that there are, or were. trouble: why it does not answer, or what it refuses; "". */
void inventory_each_engine(const struct inventory *v,
			   void (*f)(const char *where, bool up, const char *trouble, void *arg),
			   void *arg);
/* Every item that is not let go. */
void inventory_each(struct inventory *v, void (*f)(const struct engine_item *i, void *arg),
		    void *arg);
/* A container of which nobody is to be told as long as it runs on as it does. */
void inventory_let_go(struct inventory *v, const char *id);

/* The engine is asked to start or stop it; w->request is set, and `done` says how it went. 0 or
 * -Exxx. */
int inventory_ask(struct inventory_watch *w, bool start, const char *id);
int inventory_change(struct inventory_watch *w, const struct engine_change *c);
/* The container's record can not be used. Its cgroup is looked for by the kernel's tree, now and
 * once a second for as long as w->sought; found, it is told as the item's. */
void inventory_seek(struct inventory_watch *w);
