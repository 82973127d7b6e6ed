/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is in the table, who is told of him, and whose engine is asked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/inventory_internal.h"

/* ------ the table ------ */

/* An id is nobody's name, whatever somebody calls a container. */
static bool is_called(const struct engine_item *i, const char *name)
{
	bool is_id = i->kind == ENGINE_CONTAINER && strlen(name) == 64 &&
		     strspn(name, "0123456789abcdef") == 64;

	return !strcmp(i->id, name) || (!is_id && !strcmp(i->name, name));
}

/* A name that two engines have is the first engine's. None: the end. */
struct inventory_entry **inventory_entry(struct inventory *v, enum engine_kind kind,
					 const char *name)
{
	struct inventory_entry **p, **found = NULL;

	for (p = &v->entries; *p; p = &(*p)->next)
		if ((*p)->item.kind == kind && is_called(&(*p)->item, name) &&
		    (!found || (*p)->of < (*found)->of))
			found = p;
	return found ? found : p;
}

const struct engine_item *inventory_find(struct inventory *v, enum engine_kind kind,
					 const char *name)
{
	struct inventory_entry *e = *name ? *inventory_entry(v, kind, name) : NULL;

	return e ? &e->item : NULL;
}

static const struct inventory_source *source_of(const struct inventory *v, enum engine_kind kind,
						const char *name)
{
	struct inventory_entry *e =
		*inventory_entry((struct inventory *)v, kind, name); /* it changes nothing */

	return e ? e->of : NULL;
}

const struct engine_item *inventory_beside(const struct inventory *v, const char *id,
					   const char *name)
{
	const struct inventory_source *of = source_of(v, ENGINE_CONTAINER, id);

	for (const struct inventory_entry *e = v->entries; e; e = e->next)
		if (e->of == of && e->item.kind == ENGINE_CONTAINER && is_called(&e->item, name))
			return &e->item;
	return NULL;
}

const struct engine_item *inventory_at(const struct inventory *v, const char *cgroup)
{
	for (const struct inventory_entry *e = v->entries; e; e = e->next)
		if (e->item.kind == ENGINE_CONTAINER && *e->item.cgroup &&
		    cgroup_is_below(cgroup, e->item.cgroup))
			return &e->item;
	return NULL;
}

void inventory_each(struct inventory *v, void (*f)(const struct engine_item *i, void *arg),
		    void *arg)
{
	for (struct inventory_entry *e = v->entries; e; e = e->next)
		if (!e->let_go)
			f(&e->item, arg);
}

void inventory_let_go(struct inventory *v, const char *id)
{
	struct inventory_entry *e = *inventory_entry(v, ENGINE_CONTAINER, id);

	if (!e)
		return;
	e->let_go = true;
	e->let_go_pid = *e->item.unusable ? -1 : e->item.pid;
}

/* What can not be used says nothing of its pid; its end is told. */
static void keep_let_go(struct inventory_entry *e, const struct inventory_entry *old)
{
	e->let_go_pid = old->let_go_pid;
	if (e->let_go_pid < 0 && !*e->item.unusable)
		e->let_go_pid = e->item.pid;
	e->let_go = old->let_go && (*e->item.unusable || e->item.pid == e->let_go_pid);
}

struct inventory_entry *inventory_keep(struct inventory *v, const struct inventory_source *of,
				       const struct engine_item *item)
{
	struct inventory_entry **p = inventory_entry(v, item->kind, item->id), *old = *p;
	size_t size = offsetof(struct inventory_entry, item.labels) +
		      item->n_labels * sizeof(item->labels[0]);
	struct inventory_entry *e = malloc(size > sizeof(*e) ? sizeof(*e) : size);

	if (!e)
		return NULL;
	memcpy(&e->item, item, size - offsetof(struct inventory_entry, item));
	e->next = old ? old->next : NULL;
	e->of = of;
	e->let_go = false;
	if (old)
		keep_let_go(e, old);
	e->told = true;
	*p = e;
	free(old);
	return e;
}

/* ------ told to whom it concerns ------ */

void inventory_tell(struct inventory_watch *w)
{
	const struct engine_item *i =
		w->inventory ? inventory_find(w->inventory, w->kind, w->name) : NULL;

	if (i)
		w->listener->item(w->owner, i);
}

void inventory_tell_watches(struct inventory *v, const struct engine_item *i)
{
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		if (w->kind == i->kind && is_called(i, w->name))
			w->listener->item(w->owner, inventory_find(v, w->kind, w->name));
}

static void watch_unit(struct inventory *v, const struct inventory_watch *w)
{
	if (v->sources->engine && w->kind == ENGINE_UNIT)
		engine_watch_unit(v->sources->engine, w->name);
}

void inventory_watch_units(struct inventory *v)
{
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		watch_unit(v, w);
}

void inventory_watch(struct inventory *v, struct inventory_watch *w, enum engine_kind kind,
		     const char *name, const struct inventory_listener *listener, void *owner)
{
	struct inventory_watch **p = &v->watches;

	while (*p && !w->first)
		p = &(*p)->next;
	w->inventory = v;
	w->kind = kind;
	w->name = name;
	w->listener = listener;
	w->owner = owner;
	w->next = *p;
	*p = w;
	watch_unit(v, w);
}

void inventory_unwatch(struct inventory_watch *w)
{
	struct inventory_watch **p;

	if (!w->inventory)
		return;
	for (p = &w->inventory->watches; *p != w;)
		p = &(*p)->next;
	*p = w->next;
	w->inventory = NULL;
}

void inventory_gone(struct inventory *v, struct inventory_entry **p)
{
	struct inventory_entry *e = *p;

	*p = e->next;
	inventory_tell_watches(v, &e->item);
	if (e->item.kind == ENGINE_CONTAINER)
		v->containers->gone(v->arg, e->item.id);
	free(e);
}

void inventory_listed(struct inventory_source *s, enum engine_kind kind)
{
	struct inventory *v = s->inventory;

	for (struct inventory_entry **p = &v->entries; *p;)
		if ((*p)->of == s && (*p)->item.kind == kind && !(*p)->told)
			inventory_gone(v, p);
		else
			p = &(*p)->next;
}

void inventory_engine_is(struct inventory_source *s, enum engine_kind kind, bool there,
			 const char *why)
{
	struct inventory *v = s->inventory;

	/* that there never was one is no news */
	if (!there && *why && (s->up[kind] || !s->settled[kind] || kind == ENGINE_CONTAINER))
		log_line(LOG_LEVEL_WARNING,
			 "the %s is out of reach: %s (gate and freezer go on without it; stop and "
			 "start wait for it)",
			 kind == ENGINE_UNIT ? "system bus" : "engine", quote(why));
	s->up[kind] = there;
	for (struct inventory_watch *w = v->watches; w; w = w->next) {
		const struct inventory_source *of = source_of(v, w->kind, w->name);

		if (w->kind == kind && w->listener->engine && (!of || of == s))
			w->listener->engine(w->owner, there);
	}
}

void inventory_tell_container(struct inventory *v, const struct inventory_entry *e, bool first)
{
	if (e->item.kind == ENGINE_CONTAINER && !e->let_go)
		v->containers->is(v->arg, &e->item, first);
}

/* ------ asked ------ */

bool inventory_reachable(const struct inventory *v, enum engine_kind kind, const char *name)
{
	const struct inventory_source *of = source_of(v, kind, name);

	for (size_t i = 0; i < v->n_sources; i++) {
		const struct inventory_source *s = &v->sources[i];

		if (s->engine && s->up[kind] && (!of || s == of))
			return true;
	}
	return false;
}

bool inventory_complete(const struct inventory *v)
{
	bool any = !strcmp(v->sources->where, "none");

	for (size_t i = 0; i < v->n_sources; i++) {
		any |= v->sources[i].up[ENGINE_CONTAINER];
		if (!v->sources[i].up[ENGINE_CONTAINER] && !v->sources[i].absent)
			return false;
	}
	return any;
}

void inventory_each_engine(const struct inventory *v,
			   void (*f)(const char *where, bool up, const char *trouble, void *arg),
			   void *arg)
{
	for (size_t i = 0; i < v->n_sources; i++)
		if (!v->sources[i].absent)
			f(v->sources[i].where, v->sources[i].up[ENGINE_CONTAINER],
			  v->sources[i].trouble, arg);
}

/* Whose engine can be asked, for another request of w's; NULL: nobody's. */
static struct engine *whom_to_ask(const struct inventory_watch *w, const char *id)
{
	struct inventory *v = w->inventory;
	const struct inventory_source *of;

	if (!v || !inventory_reachable(v, w->kind, id))
		return NULL;
	of = source_of(v, w->kind, id);
	if (!++v->last_request)
		v->last_request = 1;
	return of ? of->engine : v->sources->engine;
}

static int asked(struct inventory_watch *w, int r)
{
	if (!r)
		w->request = w->inventory->last_request;
	return r;
}

int inventory_ask(struct inventory_watch *w, bool start, const char *id)
{
	struct engine *e = *id ? whom_to_ask(w, id) : NULL;

	if (!e)
		return -ENOTCONN;
	return asked(w, engine_ask_item(e, start, w->kind, id, w->inventory->last_request));
}

int inventory_change(struct inventory_watch *w, const struct engine_change *c)
{
	struct engine *e = whom_to_ask(w, c->id);

	return e ? asked(w, engine_ask_change(e, c, w->inventory->last_request)) : -ENOTCONN;
}
