/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What containers and units are now: a table kept by the engine's word, told to the tunnels and
 * workloads that live in them. With the engine out of reach the table stays as it was: cgroups,
 * namespaces and processes are watched without it. See state.h.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/privilege.h"
#include "engine/seek.h"
#include "core/state.h"

#define FIRST_WAIT_NS (2 * NS_PER_SEC) /* below a lease: a new daemon is to adopt it */
#define RESTART_NS    (1 * NS_PER_SEC) /* after which a dead child is started again */
#define TROUBLE_NS                                                                     \
	(1 * NS_PER_SEC) /* between two looks at what could not be leashed as it wants \
			  */
#define KINDS 3		 /* enum engine_kind, from 1 on */

/* An engine_item without the room for labels that it does not have. */
struct entry {
	struct entry *next;
	bool told;	  /* since the engine came up */
	bool let_go;	  /* detached: its labels are not looked at until it is started anew */
	pid_t let_go_pid; /* as it was then, -1: nobody knew */
	struct engine_item item;
};

struct containers {
	struct daemon *daemon;
	const char *where;
	struct engine *engine; /* NULL: the child is dead */
	sd_event_source *source, *again, *trouble;
	struct entry *entries;
	bool up[KINDS];
	bool settled[KINDS]; /* LISTED or DOWN was told: nothing is to be waited for */
	uint32_t last_request;
};

static int on_again(sd_event_source *s, uint64_t usec, void *arg);
static void stop_child(struct containers *c);

/* ------ the table ------ */

/* An id is nobody's name, whatever somebody calls a container. */
static bool is_called(const struct engine_item *i, const char *name)
{
	bool is_id = i->kind == ENGINE_CONTAINER && strlen(name) == 64 &&
		     strspn(name, "0123456789abcdef") == 64;

	return !strcmp(i->id, name) || (!is_id && !strcmp(i->name, name));
}

static struct entry **find(struct containers *c, enum engine_kind kind, const char *name)
{
	struct entry **p;

	for (p = &c->entries; *p; p = &(*p)->next)
		if ((*p)->item.kind == kind && is_called(&(*p)->item, name))
			break;
	return p;
}

const struct engine_item *containers_find(const struct daemon *d, enum engine_kind kind,
					  const char *name)
{
	struct entry *e = d->containers && *name ? *find(d->containers, kind, name) : NULL;

	return e ? &e->item : NULL;
}

void containers_each(const struct daemon *d, void (*f)(const struct engine_item *i, void *arg),
		     void *arg)
{
	struct entry *next;

	for (struct entry *e = d->containers ? d->containers->entries : NULL; e; e = next) {
		next = e->next;
		if (!e->let_go)
			f(&e->item, arg);
	}
}

void containers_let_go(struct daemon *d, const char *id)
{
	struct entry *e = d->containers ? *find(d->containers, ENGINE_CONTAINER, id) : NULL;

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

static struct entry *keep(struct containers *c, const struct engine_item *item)
{
	struct entry **p = find(c, item->kind, item->id), *old = *p;
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

static bool is_of(enum engine_kind kind, const char *place_text, const struct engine_item *i)
{
	const char *name;
	enum place_kind place = place_kind(place_text, &name);

	return place == (kind == ENGINE_UNIT ? PLACE_UNIT : PLACE_CONTAINER) && is_called(i, name);
}

static const struct engine_item *place_item(const struct daemon *d, const char *text)
{
	const char *name;
	enum place_kind kind = place_kind(text, &name);

	return kind == PLACE_CONTAINER ? containers_find(d, ENGINE_CONTAINER, name)
	       : kind == PLACE_UNIT    ? containers_find(d, ENGINE_UNIT, name)
				       : NULL;
}

/* Whom it concerns is told who answers to that name now: it, another that has it by now, or nobody.
 */
static void tell(struct daemon *d, const struct engine_item *i)
{
	for_each_tunnel(d, t)
		if (is_of(i->kind, t->config.netns, i))
			tunnel_owner_is(t, place_item(d, t->config.netns));
	for_each_workload(d, w)
		if (w->started && w->kind == i->kind && is_of(i->kind, w->given, i))
			workload_item_is(w, place_item(d, w->given));
}

static void watch_unit(struct daemon *d, const char *text)
{
	const char *name;

	if (d->containers && d->containers->engine && place_kind(text, &name) == PLACE_UNIT)
		engine_watch_unit(d->containers->engine, name);
}

static void watch_units(struct daemon *d)
{
	for_each_tunnel(d, t)
		watch_unit(d, t->config.netns);
	for_each_workload(d, w)
		watch_unit(d, w->given);
}

void containers_watch_tunnel(struct tunnel *t)
{
	const struct engine_item *i = place_item(t->daemon, t->config.netns);

	watch_unit(t->daemon, t->config.netns);
	if (i)
		tunnel_owner_is(t, i);
}

void containers_watch_workload(struct workload *w)
{
	const struct engine_item *i = place_item(w->daemon, w->given);

	watch_unit(w->daemon, w->given);
	if (i)
		workload_item_is(w, i);
}

static void gone(struct containers *c, struct entry **p)
{
	struct entry *e = *p;

	*p = e->next;
	tell(c->daemon, &e->item);
	if (e->item.kind == ENGINE_CONTAINER)
		labels_gone(c->daemon, e->item.id);
	free(e);
}

static void listed(struct containers *c, enum engine_kind kind)
{
	for (struct entry **p = &c->entries; *p;)
		if ((*p)->item.kind == kind && !(*p)->told)
			gone(c, p);
		else
			p = &(*p)->next;
}

static void engine_is(struct containers *c, enum engine_kind kind, bool there, const char *why)
{
	struct daemon *d = c->daemon;

	/* that there never was one is no news */
	if (!there && *why && (c->up[kind] || !c->settled[kind]))
		log_line(LOG_LEVEL_WARNING,
			 "the %s is out of reach: %s (gate and freezer go on without it; stop and "
			 "start wait for it)",
			 kind == ENGINE_UNIT ? "system bus" : "engine", quote(why));
	c->up[kind] = there;
	for_each_workload(d, w)
		if (w->kind == kind)
			workload_engine_is(w, there);
}

static void look_at_labels(struct containers *c, const struct entry *e, bool first)
{
	bool asks = e->item.n_labels || (*e->item.unusable && e->item.labelled);

	if (e->item.kind == ENGINE_CONTAINER && asks && !e->let_go)
		labels_are(c->daemon, &e->item, first);
}

/* ------ records that can not be used ------ */

static void note_place(const char *id, const char *path, void *arg)
{
	struct containers *c = arg;
	struct entry *e = *find(c, ENGINE_CONTAINER, id);

	if (!e || !*e->item.unusable || !strcmp(e->item.cgroup, path))
		return;
	snprintf(e->item.cgroup, sizeof(e->item.cgroup), "%s", path);
	tell(c->daemon, &e->item);
}

static bool any_unusable(const struct daemon *d)
{
	for_each_workload(d, w)
		if (w->unusable && w->kind == ENGINE_CONTAINER)
			return true;
	return false;
}

/* What runs where nobody finds it is free, and that must be seen. */
static void say_whether_found(struct daemon *d)
{
	for_each_workload(d, w) {
		const struct engine_item *item =
			w->unusable ? containers_find(d, w->kind, w->id) : NULL;

		if (!item || w->kind != ENGINE_CONTAINER)
			continue;
		/* found, and it could not be leashed: that is said already */
		if (!w->bound && (w->cgroup ? watch_cgroup_ref(w->cgroup) != NULL : *item->cgroup))
			continue;
		workload_is_unusable(w, item->unusable);
	}
}

static int on_trouble(sd_event_source *s, uint64_t usec, void *arg)
{
	struct containers *c = arg;
	bool unusable = any_unusable(c->daemon), more;

	privilege_long_work(true);
	if (unusable) {
		seek_containers(&c->daemon->root, note_place, c);
		say_whether_found(c->daemon);
	}
	more = labels_retry(c->daemon);
	privilege_long_work(false);
	tunnels_unguard(c->daemon); /* the last whose netns nobody knew may be known, or gone */
	if (unusable || more)
		set_timer(c->daemon->loop, &c->trouble, now_boot_ns() + TROUBLE_NS, on_trouble, c);
	return 0;
}

void containers_in_trouble(struct daemon *d)
{
	if (d->containers)
		set_timer(d->loop, &d->containers->trouble, now_boot_ns(), on_trouble,
			  d->containers);
}

static void say_unusable(const struct engine_item *i)
{
	char name[300], why[400];

	log_line(LOG_LEVEL_ERR, "%s '%s': what the engine says of it can not be used: %s: %s",
		 i->kind == ENGINE_UNIT ? "unit" : "container", escape(name, sizeof(name), i->name),
		 escape(why, sizeof(why), i->unusable),
		 i->kind == ENGINE_UNIT ? "it is NOT leashed"
		 : i->labelled		? "it is shut where it is found, and the others go on"
			       : "it has no label of ours; named in the file it is shut where "
				 "it is found");
}

/* ------ what it says ------ */

/* The child says everything anew. */
static void start_over(struct containers *c, const char *why)
{
	stop_child(c);
	for (enum engine_kind kind = ENGINE_CONTAINER; kind < KINDS; kind++)
		engine_is(c, kind, false, why);
	set_timer(c->daemon->loop, &c->again, now_boot_ns() + RESTART_NS, on_again, c);
}

static void take_item(struct containers *c, const struct engine_item *item)
{
	struct daemon *d = c->daemon;
	struct entry *e = *find(c, item->kind, item->id);
	bool first = !e, was_labelled = e && (e->item.n_labels || e->item.labelled);
	bool was_unusable = e && *e->item.unusable;
	bool news = *item->unusable && (first || strcmp(e->item.unusable, item->unusable));

	e = keep(c, item);
	if (!e) {
		start_over(c, "no memory");
		return;
	}
	if (*item->unusable) {
		e->item.labelled |= was_labelled;
		if (news)
			say_unusable(&e->item);
		containers_in_trouble(d);
	}
	tell(d, &e->item);
	if (was_unusable && !*item->unusable)
		labels_usable(d, &e->item);
	/* while it lists, not all that a label may refer to is known; to be shut needs nobody */
	if (c->up[ENGINE_CONTAINER] || *item->unusable)
		look_at_labels(c, e, first);
	if (c->up[ENGINE_CONTAINER] && first && item->kind == ENGINE_CONTAINER)
		labels_owner_is(d, &e->item);
}

/* What was known of it before is better than nothing: it goes on by that. */
static void take_unknown(struct containers *c, const struct engine_event *e)
{
	struct entry *known = *e->id ? *find(c, ENGINE_CONTAINER, e->id) : NULL;

	if (!*e->id) {
		log_line(LOG_LEVEL_ERR, "an entry of the engine's list of containers has no id: "
					"nothing can be done about it");
	} else if (known && !*known->item.unusable) {
		known->told = true;
		log_line(LOG_LEVEL_ERR, "container '%.12s': %s: it is taken for what it was", e->id,
			 quote(e->item.unusable));
	} else {
		take_item(c, &e->item);
	}
}

static void take(struct containers *c, const struct engine_event *e)
{
	struct daemon *d = c->daemon;
	struct entry **p, *kept;

	switch (e->kind) {
	case ENGINE_UP:
		for (struct entry *k = c->entries; k; k = k->next)
			k->told &= k->item.kind != e->of;
		break;
	case ENGINE_LISTED:
		listed(c, e->of);
		for (kept = c->entries; kept; kept = kept->next)
			if (kept->item.kind == e->of)
				look_at_labels(c, kept, true);
		engine_is(c, e->of, true, NULL);
		c->settled[e->of] = true;
		break;
	case ENGINE_DOWN:
		engine_is(c, e->of, false, e->error);
		if (e->result == -EPIPE) /* a new process, that knows of no unit */
			watch_units(d);
		c->settled[e->of] = true;
		break;
	case ENGINE_UNKNOWN:
		take_unknown(c, e);
		break;
	case ENGINE_ITEM:
		take_item(c, &e->item);
		break;
	case ENGINE_GONE:
		p = find(c, ENGINE_CONTAINER, e->id);
		if (*p)
			gone(c, p);
		break;
	case ENGINE_KILL:
		for_each_workload(d, w)
			if (w->kind == ENGINE_CONTAINER && !strcmp(w->id, e->id))
				workload_ending(w);
		break;
	case ENGINE_DIED: /* an ITEM says how it is now */
		p = find(c, ENGINE_CONTAINER, e->id);
		if (*p)
			(*p)->let_go = false;
		break;
	case ENGINE_DONE:
		for_each_workload(d, w)
			if (w->request && w->request == e->request)
				workload_done(w, e->result, e->error);
		break;
	}
}

/* ------ the child ------ */

static int start_child(struct containers *c, struct error *err);

static int on_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct containers *c = arg;
	struct error err;

	if (start_child(c, &err)) {
		log_line(LOG_LEVEL_ERR, "%s", err.text);
		set_timer(c->daemon->loop, &c->again, now_boot_ns() + RESTART_NS, on_again, c);
	}
	return 0;
}

static void stop_child(struct containers *c)
{
	sd_event_source_disable_unref(c->source);
	c->source = NULL;
	engine_stop(c->engine);
	c->engine = NULL;
}

/* Everything that the child has to say now; bounded, as there is more to do than to listen. */
static void drain(struct containers *c)
{
	static struct engine_event e; /* large */
	int r = 0;

	for (int i = 0; i < WATCH_BOUND && c->engine && !(r = engine_read(c->engine, &e)); i++)
		take(c, &e);
	if (!r || r == -EAGAIN)
		return;
	start_over(c, "the process that talks to it has ended");
}

static int on_engine(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	drain(arg);
	return 0;
}

static int start_child(struct containers *c, struct error *err)
{
	struct daemon *d = c->daemon;
	int r = engine_start(&c->engine, c->where, err);

	if (r)
		return r;
	r = sd_event_add_io(d->loop, &c->source, engine_fd(c->engine), EPOLLIN, on_engine, c);
	if (r < 0) {
		stop_child(c);
		return fail(err, EXIT_FAILURE_, r, NULL, "listen to the engine");
	}
	/* its word is never needed to keep a lease right */
	sd_event_source_set_priority(c->source, PRIORITY_TIMERS);
	watch_units(d);
	return 0;
}

static bool uses_units(const struct daemon *d)
{
	const char *name;

	for_each_tunnel(d, t)
		if (place_kind(t->config.netns, &name) == PLACE_UNIT)
			return true;
	for_each_workload(d, w)
		if (w->kind == ENGINE_UNIT)
			return true;
	return false;
}

int containers_start(struct daemon *d, const char *engine, struct error *err)
{
	struct containers *c = calloc(1, sizeof(*c));
	uint64_t end = now_boot_ns() + FIRST_WAIT_NS, now;
	int r;

	if (!c)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	*c = (struct containers) { .daemon = d, .where = engine };
	c->settled[ENGINE_CONTAINER] = !strcmp(engine, "none");
	c->settled[ENGINE_UNIT] = !uses_units(d);
	d->containers = c;
	if (c->settled[ENGINE_CONTAINER] && c->settled[ENGINE_UNIT])
		return 0;
	r = start_child(c, err);
	while (!r && c->engine && (now = now_boot_ns()) < end &&
	       !(c->settled[ENGINE_CONTAINER] && c->settled[ENGINE_UNIT])) {
		struct pollfd p = { .fd = engine_fd(c->engine), .events = POLLIN };

		if (poll(&p, 1, (int)((end - now) / NS_PER_MSEC) + 1) > 0)
			drain(c);
	}
	return r;
}

void containers_stop(struct daemon *d)
{
	struct containers *c = d->containers;

	if (!c)
		return;
	stop_child(c);
	sd_event_source_disable_unref(c->again);
	sd_event_source_disable_unref(c->trouble);
	for (struct entry *e = c->entries, *next; e; e = next) {
		next = e->next;
		free(e);
	}
	free(c);
	d->containers = NULL;
}

bool containers_reachable(const struct daemon *d, enum engine_kind kind)
{
	return d->containers && d->containers->engine && d->containers->up[kind];
}

static int ask(struct workload *w,
	       int (*f)(struct engine *e, enum engine_kind kind, const char *id, uint32_t request))
{
	struct containers *c = w->daemon->containers;
	int r;

	if (!containers_reachable(w->daemon, w->kind) || !*w->id)
		return -ENOTCONN;
	if (!++c->last_request)
		c->last_request = 1;
	r = f(c->engine, w->kind, w->id, c->last_request);
	if (!r)
		w->request = c->last_request;
	return r;
}

int containers_ask_stop(struct workload *w)
{
	return ask(w, engine_stop_item);
}

int containers_ask_start(struct workload *w)
{
	return ask(w, engine_start_item);
}
