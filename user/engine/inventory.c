/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/inventory.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/privilege.h"
#include "engine/engine_internal.h"
#include "watch/watch.h"

#define FIRST_WAIT_NS (2 * NS_PER_SEC) /* below a lease: a new daemon is to adopt it */
#define RESTART_NS    (1 * NS_PER_SEC) /* after which a dead child is started again */
#define SEEK_NS	      (1 * NS_PER_SEC)
#define KINDS	      3 /* enum engine_kind, from 1 on */

/* An engine_item without the room for labels that it does not have. */
struct entry {
	struct entry *next;
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
	const char *where;
	struct engine *engine; /* NULL: the child is dead */
	sd_event_source *source, *again, *seek;
	struct entry *entries;
	struct inventory_watch *watches;
	bool up[KINDS];
	bool settled[KINDS]; /* LISTED or DOWN was told: nothing is to be waited for */
	uint32_t last_request;
};

static int on_engine_again(sd_event_source *s, uint64_t usec, void *arg);

/* ------ the table ------ */

/* An id is nobody's name, whatever somebody calls a container. */
static bool is_called(const struct engine_item *i, const char *name)
{
	bool is_id = i->kind == ENGINE_CONTAINER && strlen(name) == 64 &&
		     strspn(name, "0123456789abcdef") == 64;

	return !strcmp(i->id, name) || (!is_id && !strcmp(i->name, name));
}

static struct entry **find_entry(struct inventory *v, enum engine_kind kind, const char *name)
{
	struct entry **p;

	for (p = &v->entries; *p; p = &(*p)->next)
		if ((*p)->item.kind == kind && is_called(&(*p)->item, name))
			break;
	return p;
}

const struct engine_item *inventory_find(struct inventory *v, enum engine_kind kind,
					 const char *name)
{
	struct entry *e = *name ? *find_entry(v, kind, name) : NULL;

	return e ? &e->item : NULL;
}

const struct engine_item *inventory_at(const struct inventory *v, const char *cgroup)
{
	for (const struct entry *e = v->entries; e; e = e->next)
		if (e->item.kind == ENGINE_CONTAINER && *e->item.cgroup &&
		    cgroup_is_below(cgroup, e->item.cgroup))
			return &e->item;
	return NULL;
}

void inventory_each(struct inventory *v, void (*f)(const struct engine_item *i, void *arg),
		    void *arg)
{
	for (struct entry *e = v->entries; e; e = e->next)
		if (!e->let_go)
			f(&e->item, arg);
}

void inventory_let_go(struct inventory *v, const char *id)
{
	struct entry *e = *find_entry(v, ENGINE_CONTAINER, id);

	if (!e)
		return;
	e->let_go = true;
	e->let_go_pid = *e->item.unusable ? -1 : e->item.pid;
}

/* What can not be used says nothing of its pid; its end is told. */
static void keep_let_go(struct entry *e, const struct entry *old)
{
	e->let_go_pid = old->let_go_pid;
	if (e->let_go_pid < 0 && !*e->item.unusable)
		e->let_go_pid = e->item.pid;
	e->let_go = old->let_go && (*e->item.unusable || e->item.pid == e->let_go_pid);
}

static struct entry *keep_entry(struct inventory *v, const struct engine_item *item)
{
	struct entry **p = find_entry(v, item->kind, item->id), *old = *p;
	size_t size =
		offsetof(struct entry, item.labels) + item->n_labels * sizeof(item->labels[0]);
	struct entry *e = malloc(size > sizeof(*e) ? sizeof(*e) : size);

	if (!e)
		return NULL;
	memcpy(&e->item, item, size - offsetof(struct entry, item));
	e->next = old ? old->next : NULL;
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

static void tell_watches(struct inventory *v, const struct engine_item *i)
{
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		if (w->kind == i->kind && is_called(i, w->name))
			w->listener->item(w->owner, inventory_find(v, w->kind, w->name));
}

static void watch_unit(struct inventory *v, const struct inventory_watch *w)
{
	if (v->engine && w->kind == ENGINE_UNIT)
		engine_watch_unit(v->engine, w->name);
}

static void watch_units(struct inventory *v)
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

static void entry_gone(struct inventory *v, struct entry **p)
{
	struct entry *e = *p;

	*p = e->next;
	tell_watches(v, &e->item);
	if (e->item.kind == ENGINE_CONTAINER)
		v->containers->gone(v->arg, e->item.id);
	free(e);
}

static void engine_listed(struct inventory *v, enum engine_kind kind)
{
	for (struct entry **p = &v->entries; *p;)
		if ((*p)->item.kind == kind && !(*p)->told)
			entry_gone(v, p);
		else
			p = &(*p)->next;
}

static void engine_is(struct inventory *v, enum engine_kind kind, bool there, const char *why)
{
	/* that there never was one is no news */
	if (!there && *why && (v->up[kind] || !v->settled[kind]))
		log_line(LOG_LEVEL_WARNING,
			 "the %s is out of reach: %s (gate and freezer go on without it; stop and "
			 "start wait for it)",
			 kind == ENGINE_UNIT ? "system bus" : "engine", quote(why));
	v->up[kind] = there;
	for (struct inventory_watch *w = v->watches; w; w = w->next)
		if (w->kind == kind && w->listener->engine)
			w->listener->engine(w->owner, there);
}

static void tell_of_container(struct inventory *v, const struct entry *e, bool first)
{
	if (e->item.kind == ENGINE_CONTAINER && !e->let_go)
		v->containers->is(v->arg, &e->item, first);
}

/* ------ records that can not be used ------ */

static void note_place(const char *id, const char *path, void *arg)
{
	struct inventory *v = arg;
	struct entry *e = *find_entry(v, ENGINE_CONTAINER, id);

	if (!e || !*e->item.unusable || !strcmp(e->item.cgroup, path))
		return;
	snprintf(e->item.cgroup, sizeof(e->item.cgroup), "%s", path);
	tell_watches(v, &e->item);
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

static void engine_stop_child(struct inventory *v)
{
	v->source = sd_event_source_disable_unref(v->source);
	engine_stop(v->engine);
	v->engine = NULL;
}

/* The child says everything anew. */
static void engine_start_over(struct inventory *v, const char *why)
{
	engine_stop_child(v);
	for (enum engine_kind kind = ENGINE_CONTAINER; kind < KINDS; kind++)
		engine_is(v, kind, false, why);
	set_timer(v->loop, &v->again, now_boot_ns() + RESTART_NS, on_engine_again, v);
}

static void take_item(struct inventory *v, const struct engine_item *item)
{
	struct entry *e = *find_entry(v, item->kind, item->id);
	bool first = !e, was_labelled = e && (e->item.n_labels || e->item.labelled);
	bool was_unusable = e && *e->item.unusable;
	bool news = *item->unusable && (first || strcmp(e->item.unusable, item->unusable));

	e = keep_entry(v, item);
	if (!e)
		return engine_start_over(v, "no memory");
	if (*item->unusable)
		e->item.labelled |= was_labelled;
	if (news)
		say_unusable(&e->item);
	tell_watches(v, &e->item);
	if (was_unusable && !*item->unusable)
		v->containers->usable(v->arg, &e->item);
	if (v->up[ENGINE_CONTAINER] || *item->unusable)
		tell_of_container(v, e, first);
	if (v->up[ENGINE_CONTAINER] && first && item->kind == ENGINE_CONTAINER)
		v->containers->came(v->arg, &e->item);
}

/* What was known of it before is better than nothing: it goes on by that. */
static void take_unknown(struct inventory *v, const struct engine_event *e)
{
	struct entry *known = *e->id ? *find_entry(v, ENGINE_CONTAINER, e->id) : NULL;

	if (!*e->id) {
		log_line(LOG_LEVEL_ERR, "an entry of the engine's list of containers has no id: "
					"nothing can be done about it");
	} else if (known && !*known->item.unusable) {
		known->told = true;
		log_line(LOG_LEVEL_ERR, "container '%.12s': %s: it is taken for what it was", e->id,
			 quote(e->item.unusable));
	} else {
		take_item(v, &e->item);
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

static void take_event(struct inventory *v, const struct engine_event *e)
{
	struct entry **p;

	switch (e->kind) {
	case ENGINE_UP:
		for (struct entry *k = v->entries; k; k = k->next)
			k->told &= k->item.kind != e->of;
		break;
	case ENGINE_LISTED:
		engine_listed(v, e->of);
		for (struct entry *k = v->entries; k; k = k->next)
			if (k->item.kind == e->of)
				tell_of_container(v, k, true);
		engine_is(v, e->of, true, NULL);
		v->settled[e->of] = true;
		break;
	case ENGINE_DOWN:
		engine_is(v, e->of, false, e->error);
		if (e->result == -EPIPE) /* a new process, that knows of no unit */
			watch_units(v);
		v->settled[e->of] = true;
		break;
	case ENGINE_UNKNOWN:
		take_unknown(v, e);
		break;
	case ENGINE_ITEM:
		take_item(v, &e->item);
		break;
	case ENGINE_GONE:
		p = find_entry(v, ENGINE_CONTAINER, e->id);
		if (*p)
			entry_gone(v, p);
		break;
	case ENGINE_KILL:
		tell_ending(v, e->id);
		break;
	case ENGINE_DIED: /* an ITEM says how it is now */
		p = find_entry(v, ENGINE_CONTAINER, e->id);
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
static void drain_engine(struct inventory *v)
{
	static struct engine_event e; /* large */
	int r = 0;

	for (int i = 0; i < WATCH_BOUND && v->engine && !(r = engine_read(v->engine, &e)); i++)
		take_event(v, &e);
	if (r && r != -EAGAIN)
		engine_start_over(v, "the process that talks to it has ended");
}

static int on_engine(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	drain_engine(arg);
	return 0;
}

static int engine_start_child(struct inventory *v, struct error *err)
{
	int r = engine_start(&v->engine, v->where, err);

	if (r)
		return r;
	r = sd_event_add_io(v->loop, &v->source, engine_fd(v->engine), EPOLLIN, on_engine, v);
	if (r < 0) {
		engine_stop_child(v);
		return fail(err, ERROR_OTHER, r, NULL, "listen to the engine");
	}
	/* its word is never needed to keep a lease right */
	sd_event_source_set_priority(v->source, PRIORITY_TIMERS);
	watch_units(v);
	return 0;
}

static int on_engine_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct inventory *v = arg;
	struct error err;

	if (engine_start_child(v, &err)) {
		log_line(LOG_LEVEL_ERR, "%s", err.text);
		set_timer(v->loop, &v->again, now_boot_ns() + RESTART_NS, on_engine_again, v);
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

int inventory_start(struct inventory *v, const char *where, struct error *err)
{
	uint64_t end = now_boot_ns() + FIRST_WAIT_NS, now;
	int r;

	v->where = where;
	v->settled[ENGINE_CONTAINER] = !strcmp(where, "none");
	v->settled[ENGINE_UNIT] = true;
	for (const struct inventory_watch *w = v->watches; w; w = w->next)
		v->settled[ENGINE_UNIT] &= w->kind != ENGINE_UNIT;
	if (v->settled[ENGINE_CONTAINER] && v->settled[ENGINE_UNIT])
		return 0;
	r = engine_start_child(v, err);
	while (!r && v->engine && (now = now_boot_ns()) < end &&
	       !(v->settled[ENGINE_CONTAINER] && v->settled[ENGINE_UNIT])) {
		struct pollfd p = { .fd = engine_fd(v->engine), .events = POLLIN };

		if (poll(&p, 1, (int)((end - now) / NS_PER_MSEC) + 1) > 0)
			drain_engine(v);
	}
	return r;
}

void inventory_free(struct inventory *v)
{
	if (!v)
		return;
	engine_stop_child(v);
	sd_event_source_disable_unref(v->again);
	sd_event_source_disable_unref(v->seek);
	for (struct entry *e = v->entries, *next; e; e = next) {
		next = e->next;
		free(e);
	}
	free(v);
}

bool inventory_reachable(const struct inventory *v, enum engine_kind kind)
{
	return v->engine && v->up[kind];
}

int inventory_ask(struct inventory_watch *w, bool start, const char *id)
{
	struct inventory *v = w->inventory;
	int r;

	if (!v || !inventory_reachable(v, w->kind) || !*id)
		return -ENOTCONN;
	if (!++v->last_request)
		v->last_request = 1;
	r = engine_ask_item(v->engine, start, w->kind, id, v->last_request);
	if (!r)
		w->request = v->last_request;
	return r;
}
