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

/* An engine, and the process that talks to it; the first's talks to systemd too. */
struct source {
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
struct entry {
	struct entry *next;
	const struct source *of;
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
	struct source sources[ENGINES];
	sd_event_source *seek;
	struct entry *entries;
	struct inventory_watch *watches;
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

/* A name that two engines have is the first engine's. None: the end. */
static struct entry **find_entry(struct inventory *v, enum engine_kind kind, const char *name)
{
	struct entry **p, **found = NULL;

	for (p = &v->entries; *p; p = &(*p)->next)
		if ((*p)->item.kind == kind && is_called(&(*p)->item, name) &&
		    (!found || (*p)->of < (*found)->of))
			found = p;
	return found ? found : p;
}

const struct engine_item *inventory_find(struct inventory *v, enum engine_kind kind,
					 const char *name)
{
	struct entry *e = *name ? *find_entry(v, kind, name) : NULL;

	return e ? &e->item : NULL;
}

static const struct source *source_of(const struct inventory *v, enum engine_kind kind,
				      const char *name)
{
	struct entry *e = *find_entry((struct inventory *)v, kind, name); /* it changes nothing */

	return e ? e->of : NULL;
}

const struct engine_item *inventory_beside(const struct inventory *v, const char *id,
					   const char *name)
{
	const struct source *of = source_of(v, ENGINE_CONTAINER, id);

	for (const struct entry *e = v->entries; e; e = e->next)
		if (e->of == of && e->item.kind == ENGINE_CONTAINER && is_called(&e->item, name))
			return &e->item;
	return NULL;
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

static struct entry *keep_entry(struct inventory *v, const struct source *of,
				const struct engine_item *item)
{
	struct entry **p = find_entry(v, item->kind, item->id), *old = *p;
	size_t size =
		offsetof(struct entry, item.labels) + item->n_labels * sizeof(item->labels[0]);
	struct entry *e = malloc(size > sizeof(*e) ? sizeof(*e) : size);

	if (!e)
		return NULL;
	memcpy(&e->item, item, size - offsetof(struct entry, item));
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

static void tell_watches(struct inventory *v, const struct engine_item *i)
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

static void engine_listed(struct source *s, enum engine_kind kind)
{
	struct inventory *v = s->inventory;

	for (struct entry **p = &v->entries; *p;)
		if ((*p)->of == s && (*p)->item.kind == kind && !(*p)->told)
			entry_gone(v, p);
		else
			p = &(*p)->next;
}

static void engine_is(struct source *s, enum engine_kind kind, bool there, const char *why)
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
		const struct source *of = source_of(v, w->kind, w->name);

		if (w->kind == kind && w->listener->engine && (!of || of == s))
			w->listener->engine(w->owner, there);
	}
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

static void engine_stop_child(struct source *s)
{
	s->fd = sd_event_source_disable_unref(s->fd);
	engine_stop(s->engine);
	s->engine = NULL;
}

/* The child says everything anew. */
static void engine_start_over(struct source *s, const char *why)
{
	engine_stop_child(s);
	for (enum engine_kind kind = ENGINE_CONTAINER; kind < KINDS; kind++)
		if (kind == ENGINE_CONTAINER || s == s->inventory->sources)
			engine_is(s, kind, false, why);
	set_timer(s->inventory->loop, &s->again, now_boot_ns() + RESTART_NS, on_engine_again, s);
}

static void say_namesake(struct inventory *v, const struct entry *e)
{
	for (const struct entry *k = v->entries; k; k = k->next)
		if (k->of != e->of && k->item.kind == e->item.kind &&
		    !strcmp(k->item.name, e->item.name))
			log_line(LOG_LEVEL_WARNING,
				 "two engines have a container '%s': by that name the file means "
				 "%s's",
				 quote(e->item.name), (k->of < e->of ? k : e)->of->where);
}

static void take_item(struct source *s, const struct engine_item *item)
{
	struct inventory *v = s->inventory;
	struct entry *e = *find_entry(v, item->kind, item->id);
	bool first = !e, was_labelled = e && (e->item.n_labels || e->item.labelled);
	bool was_unusable = e && *e->item.unusable;
	bool news = *item->unusable && (first || strcmp(e->item.unusable, item->unusable));

	e = keep_entry(v, s, item);
	if (!e)
		return engine_start_over(s, "no memory");
	if (*item->unusable)
		e->item.labelled |= was_labelled;
	if (first)
		say_namesake(v, e);
	if (news)
		say_unusable(&e->item);
	tell_watches(v, &e->item);
	if (was_unusable && !*item->unusable)
		v->containers->usable(v->arg, &e->item);
	if (s->up[ENGINE_CONTAINER] || *item->unusable)
		tell_of_container(v, e, first);
	if (s->up[ENGINE_CONTAINER] && first && item->kind == ENGINE_CONTAINER)
		v->containers->came(v->arg, &e->item);
}

/* What was known of it before is better than nothing: it goes on by that. */
static void take_unknown(struct source *s, const struct engine_event *e)
{
	struct entry *known = *e->id ? *find_entry(s->inventory, ENGINE_CONTAINER, e->id) : NULL;

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

static void source_listed(struct source *s, const struct engine_event *e)
{
	struct inventory *v = s->inventory;

	engine_listed(s, e->of);
	for (struct entry *k = v->entries; k; k = k->next)
		if (k->of == s && k->item.kind == e->of)
			tell_of_container(v, k, true);
	if (e->of == ENGINE_CONTAINER) {
		if (*e->error && strcmp(e->error, s->trouble))
			log_line(LOG_LEVEL_WARNING, "engine '%s': %s", quote(s->where),
				 quote(e->error));
		memcpy(s->trouble, e->error, sizeof(s->trouble));
		s->absent = false;
	}
	engine_is(s, e->of, true, NULL);
	s->settled[e->of] = true;
}

static void source_down(struct source *s, const struct engine_event *e)
{
	if (e->of == ENGINE_CONTAINER) {
		memcpy(s->trouble, e->error, sizeof(s->trouble));
		s->absent = !*e->error;
	}
	engine_is(s, e->of, false, e->error);		       /* once for each reason */
	if (e->result == -EPIPE && s == s->inventory->sources) /* it knows of no unit */
		watch_units(s->inventory);
	s->settled[e->of] = true;
}

static void take_event(struct source *s, const struct engine_event *e)
{
	struct inventory *v = s->inventory;
	struct entry **p;

	switch (e->kind) {
	case ENGINE_UP:
		for (struct entry *k = v->entries; k; k = k->next)
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
static void drain_engine(struct source *s)
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

static int engine_start_child(struct source *s, struct error *err)
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
		watch_units(v);
	return 0;
}

static int on_engine_again(sd_event_source *source, uint64_t usec, void *arg)
{
	struct source *s = arg;
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

static bool is_settled(const struct source *s)
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
		struct source *s = &v->sources[i];

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
			struct source *s = &v->sources[i];

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
	for (struct entry *e = v->entries, *next; e; e = next) {
		next = e->next;
		free(e);
	}
	free(v);
}

bool inventory_reachable(const struct inventory *v, enum engine_kind kind, const char *name)
{
	const struct source *of = source_of(v, kind, name);

	for (size_t i = 0; i < v->n_sources; i++) {
		const struct source *s = &v->sources[i];

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
	const struct source *of;

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
