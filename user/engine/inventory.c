/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engines say, written into the table; their processes; the beginning and the end. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/privilege.h"
#include "engine/inventory_internal.h"
#include "watch/watch.h"

#define FIRST_WAIT_NS (2 * NS_PER_SEC) /* below a lease: a new daemon is to adopt it */
#define RESTART_NS    (1 * NS_PER_SEC) /* after which a dead child is started again */
#define SEEK_NS	      (1 * NS_PER_SEC)

static int on_engine_again(sd_event_source *s, uint64_t usec, void *arg);

/* ------ records that can not be used ------ */

static void note_place(const char *id, const char *path, void *arg)
{
	struct inventory *v = arg;
	struct inventory_entry *e = *inventory_entry(v, ENGINE_CONTAINER, id);

	if (!e || !*e->item.unusable || !strcmp(e->item.cgroup, path))
		return;
	snprintf(e->item.cgroup, sizeof(e->item.cgroup), "%s", path);
	inventory_tell_watches(v, &e->item);
}

static int on_seek(sd_event_source *s, uint64_t usec, void *arg)
{
	struct inventory *v = arg;
	const struct inventory_watch *any = v->watches;
	const struct engine_item *i;

	while (any && !any->sought)
		any = any->next;
	if (!any)
		return 0;
	privilege_long_work(true);
	seek_containers(v->root, note_place, v);
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		if (w->sought && w->listener->sought && (i = inventory_find(v, w->kind, w->name)))
			w->listener->sought(w->owner, i);
	privilege_long_work(false);
	set_timer(v->loop, &v->seek, now_boot_ns() + SEEK_NS, on_seek, v);
	return 0;
}

void inventory_seek(struct inventory_watch *w)
{
	struct inventory *v = w->inventory;

	w->sought = true;
	set_timer(v->loop, &v->seek, now_boot_ns(), on_seek, v);
}

static void say_unusable(const struct engine_item *i)
{
	log_line(LOG_LEVEL_ERR, "%s '%s': what the engine says of it can not be used: %s: %s",
		 i->kind == ENGINE_UNIT ? "unit" : "container", quote(i->name), quote(i->unusable),
		 i->kind == ENGINE_UNIT ? "it is NOT leashed"
		 : i->labelled		? "it is shut where it is found, and the others go on"
			       : "it has no label of ours; named in the file it is shut where "
				 "it is found");
}

/* ------ what it says ------ */

static void engine_stop_child(struct inventory_source *s)
{
	s->fd = sd_event_source_disable_unref(s->fd);
	engine_stop(s->engine);
	s->engine = NULL;
}

/* The child says everything anew. */
static void engine_start_over(struct inventory_source *s, const char *why)
{
	engine_stop_child(s);
	for (enum engine_kind kind = ENGINE_CONTAINER; kind < KINDS; kind++)
		if (kind == ENGINE_CONTAINER || s == s->inventory->sources)
			inventory_engine_is(s, kind, false, why);
	set_timer(s->inventory->loop, &s->again, now_boot_ns() + RESTART_NS, on_engine_again, s);
}

static void say_namesake(struct inventory *v, const struct inventory_entry *e)
{
	for (const struct inventory_entry *k = v->entries; k; k = k->next)
		if (k->of != e->of && k->item.kind == e->item.kind &&
		    !strcmp(k->item.name, e->item.name))
			log_line(LOG_LEVEL_WARNING,
				 "two engines have a container '%s': by that name the file means "
				 "%s's",
				 quote(e->item.name), (k->of < e->of ? k : e)->of->where);
}

static void take_item(struct inventory_source *s, const struct engine_item *item)
{
	struct inventory *v = s->inventory;
	struct inventory_entry *e = *inventory_entry(v, item->kind, item->id);
	bool first = !e, was_labelled = e && (e->item.n_labels || e->item.labelled);
	bool was_unusable = e && *e->item.unusable;
	bool news = *item->unusable && (first || strcmp(e->item.unusable, item->unusable));

	e = inventory_keep(v, s, item);
	if (!e)
		return engine_start_over(s, "no memory");
	if (*item->unusable)
		e->item.labelled |= was_labelled;
	if (first)
		say_namesake(v, e);
	if (news)
		say_unusable(&e->item);
	inventory_tell_watches(v, &e->item);
	if (was_unusable && !*item->unusable)
		v->containers->usable(v->arg, &e->item);
	if (s->up[ENGINE_CONTAINER] || *item->unusable)
		inventory_tell_container(v, e, first);
	if (s->up[ENGINE_CONTAINER] && first && item->kind == ENGINE_CONTAINER)
		v->containers->came(v->arg, &e->item);
}

/* What was known of it before is better than nothing: it goes on by that. */
static void take_unknown(struct inventory_source *s, const struct engine_event *e)
{
	struct inventory_entry *known =
		*e->id ? *inventory_entry(s->inventory, ENGINE_CONTAINER, e->id) : NULL;

	if (!*e->id) {
		log_line(LOG_LEVEL_ERR, "an entry of the engine's list of containers has no id: "
					"nothing can be done about it");
	} else if (known && !*known->item.unusable) {
		known->told = true;
		log_line(LOG_LEVEL_ERR, "container '%.12s': %s: it is taken for what it was", e->id,
			 quote(e->item.unusable));
	} else {
		take_item(s, &e->item);
	}
}

/* A signal is on its way to that container. */
static void tell_ending(struct inventory *v, const char *id)
{
	const struct engine_item *i = inventory_find(v, ENGINE_CONTAINER, id);

	for (struct inventory_watch *w = v->watches; i && w; w = w->next)
		if (w->kind == ENGINE_CONTAINER && w->listener->ending &&
		    inventory_find(v, w->kind, w->name) == i)
			w->listener->ending(w->owner);
}

static void tell_done(struct inventory *v, const struct engine_event *e)
{
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		if (w->request && w->request == e->request) {
			w->request = 0;
			w->listener->done(w->owner, e->result, e->error);
		}
}

static void source_listed(struct inventory_source *s, const struct engine_event *e)
{
	struct inventory *v = s->inventory;

	inventory_listed(s, e->of);
	for (struct inventory_entry *k = v->entries; k; k = k->next)
		if (k->of == s && k->item.kind == e->of)
			inventory_tell_container(v, k, true);
	if (e->of == ENGINE_CONTAINER) {
		if (*e->error && strcmp(e->error, s->trouble))
			log_line(LOG_LEVEL_WARNING, "engine '%s': %s", quote(s->where),
				 quote(e->error));
		memcpy(s->trouble, e->error, sizeof(s->trouble));
		s->absent = false;
	}
	inventory_engine_is(s, e->of, true, NULL);
	s->settled[e->of] = true;
}

static void source_down(struct inventory_source *s, const struct engine_event *e)
{
	if (e->of == ENGINE_CONTAINER) {
		memcpy(s->trouble, e->error, sizeof(s->trouble));
		s->absent = !*e->error;
	}
	inventory_engine_is(s, e->of, false, e->error);	       /* once for each reason */
	if (e->result == -EPIPE && s == s->inventory->sources) /* it knows of no unit */
		inventory_watch_units(s->inventory);
	s->settled[e->of] = true;
}

static void take_event(struct inventory_source *s, const struct engine_event *e)
{
	struct inventory *v = s->inventory;
	struct inventory_entry **p;

	switch (e->kind) {
	case ENGINE_UP:
		for (struct inventory_entry *k = v->entries; k; k = k->next)
			k->told &= k->of != s || k->item.kind != e->of;
		break;
	case ENGINE_LISTED:
		source_listed(s, e);
		break;
	case ENGINE_DOWN:
		source_down(s, e);
		break;
	case ENGINE_UNKNOWN:
		take_unknown(s, e);
		break;
	case ENGINE_ITEM:
		take_item(s, &e->item);
		break;
	case ENGINE_GONE:
		p = inventory_entry(v, ENGINE_CONTAINER, e->id);
		if (*p)
			inventory_gone(v, p);
		break;
	case ENGINE_KILL:
		tell_ending(v, e->id);
		break;
	case ENGINE_DIED: /* an ITEM says how it is now */
		p = inventory_entry(v, ENGINE_CONTAINER, e->id);
		if (*p)
			(*p)->let_go = false;
		break;
	case ENGINE_DONE:
		tell_done(v, e);
		break;
	}
}

/* ------ the child ------ */

/* Everything that the child has to say now; bounded, as there is more to do than to listen. */
static void drain_engine(struct inventory_source *s)
{
	static struct engine_event e; /* large */
	int r = 0;

	for (int i = 0; i < WATCH_BOUND && s->engine && !(r = engine_read(s->engine, &e)); i++)
		take_event(s, &e);
	if (r && r != -EAGAIN)
		engine_start_over(s, "the process that talks to it has ended");
}

static int on_engine(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	drain_engine(arg);
	return 0;
}

static int engine_start_child(struct inventory_source *s, struct error *err)
{
	struct inventory *v = s->inventory;
	int r = engine_start(&s->engine, s->where, err);

	if (r)
		return r;
	r = sd_event_add_io(v->loop, &s->fd, engine_fd(s->engine), EPOLLIN, on_engine, s);
	if (r < 0) {
		engine_stop_child(s);
		return fail(err, ERROR_OTHER, r, NULL, "listen to the engine");
	}
	/* its word is never needed to keep a lease right */
	sd_event_source_set_priority(s->fd, PRIORITY_TIMERS);
	if (s == v->sources)
		inventory_watch_units(v);
	return 0;
}

static int on_engine_again(sd_event_source *source, uint64_t usec, void *arg)
{
	struct inventory_source *s = arg;
	struct error err;

	if (engine_start_child(s, &err)) {
		log_line(LOG_LEVEL_ERR, "%s", err.text);
		set_timer(s->inventory->loop, &s->again, now_boot_ns() + RESTART_NS,
			  on_engine_again, s);
	}
	return 0;
}

/* ------ the beginning, and the end ------ */

int inventory_new(struct inventory **ret, sd_event *loop, const struct cgroup_root *root,
		  const struct inventory_containers *containers, void *arg, struct error *err)
{
	struct inventory *v = calloc(1, sizeof(*v));

	if (!v)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	*v = (struct inventory) {
		.loop = loop, .root = root, .containers = containers, .arg = arg
	};
	*ret = v;
	return 0;
}

static bool is_settled(const struct inventory_source *s)
{
	return !s->engine || (s->settled[ENGINE_CONTAINER] && s->settled[ENGINE_UNIT]);
}

/* Without an engine there is one all the same, for systemd. */
static void make_sources(struct inventory *v, const char *engines)
{
	char where[ENGINES][ENGINE_WHERE_LEN] = { "none" };
	size_t n = docker_split(engines, where);

	v->n_sources = n ? n : 1;
	for (size_t i = 0; i < v->n_sources; i++) {
		struct inventory_source *s = &v->sources[i];

		s->inventory = v;
		memcpy(s->where, where[i], sizeof(s->where));
		s->settled[ENGINE_CONTAINER] = s->absent = !n;
		s->settled[ENGINE_UNIT] = true;
	}
	for (const struct inventory_watch *w = v->watches; w; w = w->next)
		v->sources->settled[ENGINE_UNIT] &= w->kind != ENGINE_UNIT;
}

int inventory_start(struct inventory *v, const char *engines, struct error *err)
{
	uint64_t end = now_boot_ns() + FIRST_WAIT_NS, now;
	int r = 0;

	make_sources(v, engines);
	for (size_t i = 0; !r && i < v->n_sources; i++)
		if (!(v->sources[i].settled[ENGINE_CONTAINER] &&
		      v->sources[i].settled[ENGINE_UNIT]))
			r = engine_start_child(&v->sources[i], err);
	while (!r && (now = now_boot_ns()) < end) {
		struct pollfd p[ENGINES];
		bool settled = true;

		for (size_t i = 0; i < v->n_sources; i++) {
			struct inventory_source *s = &v->sources[i];

			settled &= is_settled(s);
			p[i] = (struct pollfd) { .fd = s->engine ? engine_fd(s->engine) : -1,
						 .events = POLLIN };
		}
		if (settled)
			break;
		if (poll(p, v->n_sources, (int)((end - now) / NS_PER_MSEC) + 1) <= 0)
			continue;
		for (size_t i = 0; i < v->n_sources; i++)
			if (p[i].revents)
				drain_engine(&v->sources[i]);
	}
	return r;
}

void inventory_free(struct inventory *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_sources; i++) {
		engine_stop_child(&v->sources[i]);
		sd_event_source_disable_unref(v->sources[i].again);
	}
	sd_event_source_disable_unref(v->seek);
	for (struct inventory_entry *e = v->entries, *next; e; e = next) {
		next = e->next;
		free(e);
	}
	free(v);
}
