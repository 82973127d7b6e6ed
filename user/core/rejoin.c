/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See rejoin.h. How far it got is not written down anywhere: what the engine has says what is next,
 * so that this daemon or the next one goes on from wherever one was ended.
 *
 *	the old one has the name	it is stopped, and put aside: NAME.vpnleash-old
 *	it is aside			the new one is made, called NAME
 *	and the new one is there	its workload starts that one when its tunnel is up
 *	and it runs			the old one is removed
 *
 * If the new one can not be made or started, or its own network was removed, the way goes back: it
 * is removed, and the old one has its name again. The new one tells by a label whose place it has,
 * and the old one is called after it: by one of both alone nothing is removed.
 */
#include "core/rejoin.h"

#include <errno.h>
#include <string.h>

#include "base/loop.h"
#include "core/container.h"
#include "core/marks.h"
#include "core/registry.h"
#include "core/workload.h"

/* Compose makes anew whom it wants to before it starts any; who does it in turns comes first too */
#define FIRST_NS (5 * NS_PER_SEC)
#define SOON_NS	 (100 * NS_PER_MSEC) /* after an answer the engine tells what has become of it */
#define SAME_NS	 (5 * NS_PER_SEC)    /* until the same is asked for again */
#define AGAIN_NS (60 * NS_PER_SEC)   /* until what could not be made is tried again */

static const struct engine_item *find(const struct workload *w, const char *name)
{
	return inventory_find(w->daemon->inventory, ENGINE_CONTAINER, name);
}

/* In whose place it was made, as long as that one is there. */
static const struct engine_item *old_of(const struct workload *w, const struct engine_item *i)
{
	const struct engine_item *old = *i->replaces ? find(w, i->replaces) : NULL;
	char name[ENGINE_NAME_LEN];

	return old && container_is_aside(old) && engine_shares(i) &&
			       !strcmp(container_name(old, name), i->name)
		       ? old
		       : NULL;
}

static struct workload *workload_of(const struct daemon *d, const struct engine_item *i)
{
	for_each_workload(d, w)
		if (w->container.kind == i->kind && !strcmp(w->container.id, i->id))
			return w;
	return NULL;
}

static int on_rejoin(sd_event_source *s, uint64_t usec, void *arg)
{
	rejoin_look(arg);
	return 0;
}

static void look_soon(struct workload *w)
{
	set_timer(w->daemon->loop, &w->container.rejoin.timer, now_boot_ns() + SOON_NS, on_rejoin,
		  w);
}

static void ask(struct workload *w, enum engine_verb verb, const struct engine_item *i,
		const char *name, const char *network)
{
	struct workload_rejoin *r = &w->container.rejoin;
	uint64_t now = now_boot_ns();
	struct engine_change c;

	memset(&c, 0, sizeof(c)); /* it is compared as a whole */
	c.verb = verb;
	snprintf(c.id, sizeof(c.id), "%.64s", i->id);
	snprintf(c.name, sizeof(c.name), "%s", name);
	snprintf(c.network, sizeof(c.network), "%.64s", network);
	if (!memcmp(&c, &r->asked, sizeof(c)) && now - r->asked_ns < SAME_NS)
		return; /* it failed, or what has become of it is not told yet */
	if (inventory_change(&w->container.watch, &c))
		return;
	r->asked = c;
	r->asked_ns = now;
	r->pending = true;
}

/* ------ it can not be ------ */

static void fails_with(struct workload *w, const char *vpn, const char *error)
{
	struct workload_rejoin *r = &w->container.rejoin;

	snprintf(r->failed_with, sizeof(r->failed_with), "%.64s", vpn);
	snprintf(r->error, sizeof(r->error), "%s", error);
	r->again_ns = now_boot_ns() + AGAIN_NS;
	container_in_trouble(w, "it could not be made anew", quote(r->error));
	look_soon(w);
}

/* Not with that one, and not yet again. */
static bool has_failed(const struct workload *w, const char *vpn)
{
	const struct workload_rejoin *r = &w->container.rejoin;

	return !strcmp(r->failed_with, vpn) && now_boot_ns() < r->again_ns;
}

bool rejoin_start_failed(struct workload *w, int result, const char *error)
{
	const struct engine_item *i = container_item(w), *old = i ? old_of(w, i) : NULL;
	struct workload *other = old ? workload_of(w->daemon, old) : NULL;

	if (!old || result == -ENOTCONN || result == -EIO)
		return false;
	fails_with(w, engine_shares(i), *error ? error : strerror(-result));
	if (other) /* who has labels is another workload */
		fails_with(other, engine_shares(i), w->container.rejoin.error);
	return true;
}

bool rejoin_done(struct workload *w, int result, const char *error)
{
	struct workload_rejoin *r = &w->container.rejoin;

	if (!r->pending)
		return false;
	r->pending = false;
	if (!result || result == -ENOENT || result == -ENOTCONN)
		look_soon(w);
	else if (r->asked.verb == ENGINE_REMOVE)
		container_in_trouble(w, "what it was made anew from is left behind",
				     *error ? quote(error) : strerror(-result));
	else
		fails_with(w, r->vpn, *error ? error : strerror(-result));
	return true;
}

void rejoin_worked(struct workload *w)
{
	w->container.rejoin.error[0] = w->container.rejoin.failed_with[0] = '\0';
}

/* ------ step by step ------ */

/* In whose network it could be. */
static const struct engine_item *find_vpn(struct workload *w, const struct engine_item *i)
{
	struct workload_rejoin *r = &w->container.rejoin;
	const struct engine_item *vpn = NULL;
	const char *name;

	if (w->recreate && !w->held && container_network_removed(w, i)) {
		name = container_network_name(w, i);
		vpn = name ? inventory_beside(w->daemon->inventory, i->id, name) : NULL;
	}
	if (!vpn || !vpn->running || vpn == i || has_failed(w, vpn->id))
		return NULL;
	if (strcmp(r->vpn, vpn->id)) {
		snprintf(r->vpn, sizeof(r->vpn), "%.64s", vpn->id);
		r->vpn_ns = now_boot_ns();
	}
	return vpn;
}

/* What an operator stopped or paused stays so. */
static void put_aside(struct workload *w, const struct engine_item *i)
{
	bool wanted = i->running || w->state == WORKLOAD_STOPPED || container_is_left(w);
	const struct engine_item *vpn = i->auto_remove || i->paused ? NULL : find_vpn(w, i);
	char name[ENGINE_NAME_LEN];

	if (!vpn || !wanted || now_boot_ns() - w->container.rejoin.vpn_ns < FIRST_NS)
		return;
	if (snprintf(name, sizeof(name), "%s" CONTAINER_ASIDE, i->name) >= (int)sizeof(name)) {
		fails_with(w, vpn->id, "its name is too long");
	} else if (!i->running) {
		log_line(LOG_LEVEL_NOTICE, "workload '%s': it is made anew, in the network of '%s'",
			 w->name, quote(vpn->name));
		ask(w, ENGINE_RENAME, i, name, "");
	} else if (container_may_move(w)) {
		container_moves(w);
		workload_input(w, IN_ORPHANED);
	}
}

static void make_anew(struct workload *w, const struct engine_item *old)
{
	const struct engine_item *vpn = find_vpn(w, old), *other;
	char name[ENGINE_NAME_LEN];
	struct error err;

	container_name(old, name);
	other = inventory_beside(w->daemon->inventory, old->id, name);
	if (other && !strcmp(other->replaces, old->id))
		return; /* that one's workload goes on */
	if (other) {
		container_in_trouble(w, "another container has its name by now",
				     "docker rm removes this one, which was to be made anew");
		return;
	}
	if (w->state == WORKLOAD_WAITING) /* it was to run */
		workload_input(w, IN_TAKEN_DOWN);
	if (vpn) {
		ask(w, ENGINE_REMAKE, old, name, vpn->id);
		return;
	}
	/* for the next daemon, to which it is known by the one or the other */
	if (mark_set(MARK_WANTED, w->name, &err) || mark_set(MARK_WANTED, name, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	ask(w, ENGINE_RENAME, old, name, "");
}

static void take_its_place(struct workload *w, const struct engine_item *i,
			   const struct engine_item *old)
{
	struct workload *other = workload_of(w->daemon, old);
	struct error err;

	if (i->running && !old->running) {
		log_line(LOG_LEVEL_NOTICE, "workload '%s': it was made anew", w->name);
		if (other && other != w)
			mark_clear(MARK_WANTED, other->name, &err);
		ask(w, ENGINE_REMOVE, old, "", "");
	} else if (!i->running &&
		   (has_failed(w, engine_shares(i)) || container_network_removed(w, i))) {
		ask(w, ENGINE_REMOVE, i, "", "");
	} else if (!i->running && !w->held) {
		if (w->state == WORKLOAD_WAITING)
			workload_input(w, IN_TAKEN_DOWN);
		workload_tunnel_changed(w); /* which may have been up all the time */
	}
}

void rejoin_look(struct workload *w)
{
	const struct engine_item *i = container_item(w), *old;
	char name[ENGINE_NAME_LEN + sizeof(CONTAINER_ASIDE)];

	if (w->container.kind != ENGINE_CONTAINER || !w->daemon->running ||
	    w->container.watch.request ||
	    !inventory_reachable(w->daemon->inventory, ENGINE_CONTAINER, w->container.watch.name))
		return;
	if (!i) { /* the file's, of which an earlier daemon has taken the name */
		snprintf(name, sizeof(name), "%s" CONTAINER_ASIDE, w->container.watch.name);
		i = find(w, name);
	}
	if (!i || *i->unusable)
		return;
	old = old_of(w, i);
	if (old)
		take_its_place(w, i, old);
	else if (container_is_aside(i))
		make_anew(w, i);
	else
		put_aside(w, i);
}
