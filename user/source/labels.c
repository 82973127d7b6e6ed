/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers that ask for a leash by their labels. A label speaks for the container that wears it
 * and for nobody else: which netns it means is the engine's word, and what an image brings along is
 * nobody's. The file comes first: a container that it names has no labels, a tunnel of it has its
 * own keys. Wrong labels leave a container locked, and say why.
 */
#include "source/labels.h"

#include <stdlib.h>
#include <string.h>

#include "base/privilege.h"
#include "config/config.h"
#include "core/container.h"
#include "core/container_news.h"
#include "core/leash.h"
#include "core/marks.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "source/labelled_tunnel.h"

#define AGAIN_NS (1 * NS_PER_SEC) /* until who could not be leashed as it wants is judged anew */

static int on_labels_again(sd_event_source *s, uint64_t usec, void *arg);

static void place_of(const struct engine_item *i, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "container:%s", i->id);
}

/* The netns that the container shares, the host's or another's; else its own, and false. */
static bool shared_netns(const struct daemon *d, const struct engine_item *i, char ret[PATH_MAX])
{
	const char *shared = engine_shares(i);
	const struct engine_item *owner;

	if (!strcmp(i->network_mode, "host")) {
		snprintf(ret, PATH_MAX, "host");
		return true;
	}
	if (!strncmp(i->network_mode, "ns:/", 4)) { /* Podman's */
		snprintf(ret, PATH_MAX, "%s", i->network_mode + 3);
		return true;
	}
	if (!shared) {
		place_of(i, ret);
		return false;
	}
	owner = inventory_find(d->inventory, ENGINE_CONTAINER, shared);
	if (owner)
		place_of(owner, ret);
	else
		snprintf(ret, PATH_MAX, "%s", i->network_mode);
	return true;
}

static struct workload *workload_of(const struct daemon *d, const char *id)
{
	for_each_workload(d, w)
		if (w->origin == OF_LABELS && !strcmp(w->given + 10, id))
			return w;
	return NULL;
}

/* By the engine; NULL: it is gone. */
static const struct engine_item *item_of(const struct workload *w)
{
	return inventory_find(w->daemon->inventory, ENGINE_CONTAINER, w->given + 10);
}

/* Also one that is put aside: the name is its own still. */
static bool in_file(const struct daemon *d, const struct engine_item *i)
{
	char called[ENGINE_NAME_LEN];
	const char *name;

	container_name(i, called);
	for_each_workload(d, w)
		if (w->origin != OF_LABELS && place_kind(w->given, &name) == PLACE_CONTAINER &&
		    (!strcmp(name, i->id) || !strcmp(name, called)))
			return true;
	return false;
}

static bool asks_for_a_leash(const struct engine_label *l)
{
	return !strcmp(l->key, "interface") || !strcmp(l->key, "tunnel");
}

/* Those that count, for config_from_labels(). Their number, or -Exxx. What the image has too may
 * be the operator's word or not: the engine shows one label. Where a leash is possible, a container
 * that may have asked for one is not let go without. */
static int labels_collect(const struct daemon *d, const struct engine_item *i,
			  struct config_label ret[ENGINE_LABELS], bool first, struct error *err)
{
	char netns[PATH_MAX];
	const struct engine_label *doubt = NULL;
	bool asked = false;
	int n = 0;

	for (size_t k = 0; k < i->n_labels; k++) {
		const struct engine_label *l = &i->labels[k];

		if (l->from_image) {
			if (first)
				log_line(LOG_LEVEL_WARNING,
					 "container '%s': label vpnleash.%s comes from its image "
					 "and is ignored",
					 quote(i->name), quote(l->key));
			if (asks_for_a_leash(l))
				doubt = l;
			continue;
		}
		if (l->too_long)
			return fail(err, ERROR_INPUT, 0, "see vpnleash.conf(5)",
				    "label 'vpnleash.%s' is too long, or no text", quote(l->key));
		asked |= asks_for_a_leash(l);
		ret[n++] = (struct config_label) { l->key, l->value };
	}
	if (asked)
		doubt = NULL;
	if (!n && ((!doubt && !i->labels_left_out) || !shared_netns(d, i, netns)))
		return 0;
	if (i->labels_left_out)
		return fail(err, ERROR_INPUT, 0, "see vpnleash.conf(5)", "more than %d labels",
			    ENGINE_LABELS);
	if (doubt)
		return fail(
			err, ERROR_INPUT, 0, "name the container in the file instead",
			"its image has the label 'vpnleash.%s' too, and nobody can tell them apart",
			quote(doubt->key));
	if (i->image_unknown)
		return fail(
			err, ERROR_INPUT, 0,
			"let GET /images/ through to the engine, or name the container in the file",
			"the engine does not show its image, whose labels do not count");
	return n;
}

/* ------ its workload ------ */

static int check_audit(const struct daemon *d, const struct tunnel *t, bool audit,
		       struct error *err)
{
	for_each_workload(d, w)
		if (w->tunnel == t && w->audit != audit)
			return fail(err, ERROR_INPUT, 0, "give both the same",
				    "workload '%s' shares its tunnel and differs in 'enforce'",
				    w->name);
	return 0;
}

static int labels_leash(struct daemon *d, const struct engine_item *i,
			const struct config_label *labels, size_t n, struct tunnel **ret_tunnel,
			struct workload_config *ret, struct error *err)
{
	char netns[PATH_MAX], place[PATH_MAX];
	struct config config;
	bool keys;
	int r;

	shared_netns(d, i, netns); /* its own: the VPN is to be in it */
	place_of(i, place);
	r = config_from_labels(ret->name, place, netns, labels, n, &config, &keys, err);
	if (r)
		return r;
	*ret = config.workloads[0];
	r = workload_check_hooks(ret, err);
	if (!r && *ret->tunnel_name)
		r = labelled_tunnel_named(d, ret->tunnel_name, netns, ret_tunnel, err);
	else if (!r)
		r = labelled_tunnel_own(d, &config.tunnels[0], keys, ret_tunnel, err);
	config_free(&config);
	return r ? r : check_audit(d, *ret_tunnel, ret->audit, err);
}

static void labels_try_again(struct daemon *d)
{
	set_timer(d->loop, &d->labels_timer, now_boot_ns(), on_labels_again, d);
}

static void labels_judge_later(struct daemon *d)
{
	d->unjudged = true;
	labels_try_again(d);
}

static int labels_add(struct daemon *d, const struct engine_item *i, struct tunnel *t,
		      const struct workload_config *config, const char *wrong)
{
	char place[PATH_MAX];
	struct workload *w;
	struct error err;
	int r;

	place_of(i, place);
	privilege_long_work(true); /* the first at its depth loads the gate for it */
	r = workload_new(d, OF_LABELS, config, place, t, &w, &err);
	if (!r) {
		snprintf(w->trouble, sizeof(w->trouble), "%s", wrong ? wrong : "");
		r = tunnel_add_workload(w, &err);
	}
	privilege_long_work(false);
	if (!r)
		return 0;
	if (may_log(&d->nowhere->log))
		log_line(LOG_LEVEL_ERR, "container '%s': %s: it is NOT leashed (it is tried again)",
			 quote(i->name), err.text);
	labels_judge_later(d);
	return r;
}

/* What the name of a workload has no room for is told by the id: two that begin alike are two, to
 * `hold` and to `detach` as well. */
static void labels_name(const struct engine_item *i, char ret[CONFIG_NAME_LEN])
{
	if (strlen(i->name) < CONFIG_NAME_LEN)
		memcpy(ret, i->name, strlen(i->name) + 1);
	else
		snprintf(ret, CONFIG_NAME_LEN, "%.50s~%.12s", i->name, i->id);
}

/* said: why it is locked, as that was said last; "" if it was not. */
static void labels_judge(struct daemon *d, const struct engine_item *i, bool first,
			 const char *said)
{
	struct config_label labels[ENGINE_LABELS];
	struct workload *w = workload_of(d, i->id);
	_cleanup_free struct workload_config *config = NULL;
	struct tunnel *t = NULL;
	struct error err = { 0 };
	char name[CONFIG_NAME_LEN];
	int n;

	labels_name(i, name);
	if (w) { /* a container's labels never change, its name may */
		if (strcmp(w->name, name) && !*i->unusable)
			container_rename(w, name);
		return;
	}
	if (in_file(d, i)) {
		if (first)
			log_line(LOG_LEVEL_NOTICE,
				 "container '%s' is in the file: its labels are ignored",
				 quote(i->name));
		return;
	}
	if (*i->unusable) /* shut: it is not known what it is to be leashed to */
		n = fail(&err, ERROR_INPUT, 0, NULL,
			 "what the engine says of it can not be used: %s", quote(i->unusable));
	else
		n = labels_collect(d, i, labels, first, &err);
	if (!n)
		return;
	config = calloc(1, sizeof(*config));
	if (!config) {
		labels_judge_later(d);
		return;
	}
	memcpy(config->name, name, sizeof(config->name));
	if (n < 0 || labels_leash(d, i, labels, (size_t)n, &t, config, &err)) {
		if (!*i->unusable && strncmp(said, err.text, sizeof(w->trouble) - 1))
			log_line(LOG_LEVEL_ERR, "container '%s': %s: it stays locked",
				 quote(i->name), err.text);
		memcpy(config->name, name, sizeof(config->name));
		config->audit = config->ipv6 = false;
		/* whoever starts it is to see it run, and fail */
		config->on_failure = ON_FAILURE_BLOCK;
		config->stop_after_ns = STOP_NEVER;
		labels_add(d, i, d->nowhere, config, err.text);
		w = workload_of(d, i->id);
		if (w && err.kind != ERROR_INPUT) { /* nothing is wrong with its labels */
			w->again = true;
			labels_try_again(d);
		}
	} else if (!labels_add(d, i, t, config, NULL)) {
		log_line(LOG_LEVEL_NOTICE, "container '%s' is leashed to '%s' by its labels",
			 quote(i->name), t->config.interface);
	}
}

static bool is_there(const struct daemon *d, const struct tunnel *t)
{
	return t == d->nowhere || is_among(d->tunnels, d->n_tunnels, t);
}

static void remove_workload(struct daemon *d, struct workload *w)
{
	struct tunnel *t = w->tunnel;

	daemon_remove_workload(d, w);
	workload_free(w);
	if (is_there(d, t)) /* not one that a reload has replaced */
		tunnel_workloads_changed(t);
	if (t->of_labels)
		labelled_tunnel_drop(d, t);
}

/* What a unit of systemd has made anew takes the place of the one that was stopped. */
static void labels_replace_parked(struct daemon *d, const struct engine_item *i)
{
	for (size_t k = d->n_workloads; k-- > 0;) {
		struct workload *w = d->workloads[k];

		if (w->origin == OF_LABELS && container_is_parked(w) && workload_of(d, i->id) &&
		    !strcmp(w->container.unit, i->unit))
			remove_workload(d, w);
	}
}

/* Its unit is in the network of whoever has that name when it starts. */
static void labels_follow_vpn(struct workload *w)
{
	struct daemon *d = w->daemon;
	_cleanup_free struct tunnel_config *config = NULL;
	struct tunnel *old = w->tunnel, *new = NULL;
	const struct engine_item *owner;
	const char *place;
	struct error err;

	if (!old->of_labels || place_kind(old->config.netns, &place) != PLACE_CONTAINER ||
	    inventory_find(d->inventory, ENGINE_CONTAINER, place))
		return;
	owner = inventory_find(d->inventory, ENGINE_CONTAINER, old->owner.name);
	config = owner ? malloc(sizeof(*config)) : NULL;
	if (!config)
		return;
	memcpy(config, &old->config, sizeof(*config));
	place_of(owner, config->netns);
	if (labelled_tunnel_own(d, config, false, &new, &err)) {
		container_in_trouble(w, "it can not follow its VPN's container", err.text);
		return;
	}
	workload_move(w, new);
	labelled_tunnel_drop(d, old);
	workload_tunnel_changed(w); /* which may be up already */
}

/* Those that wait for a VPN whose container was made anew. Engines tell in any order: the old one's
 * end may come last, and the new one's name after its id. */
static void labels_follow_vpns(struct daemon *d)
{
	for (size_t k = 0; k < d->n_workloads; k++)
		if (d->workloads[k]->origin == OF_LABELS && container_is_parked(d->workloads[k]))
			labels_follow_vpn(d->workloads[k]);
}

/* Those that share the new one's network may have been judged without it. */
static void labels_owner_came(void *arg, const struct engine_item *owner)
{
	struct daemon *d = arg;
	size_t i = 0;

	/* those that are judged anew come last */
	for (size_t left = d->n_workloads; left; left--) {
		struct workload *w = d->workloads[i];
		const struct engine_item *item =
			w->origin == OF_LABELS && w->tunnel == d->nowhere ? item_of(w) : NULL;
		const char *shared = item ? engine_shares(item) : NULL;

		if (shared && !strcmp(shared, owner->id)) {
			remove_workload(d, w);
			labels_judge(d, item, false, "");
		} else {
			i++;
		}
	}
}

/* It was shut while it might have asked for a leash, and has not. */
static void labels_let_go(struct daemon *d, struct workload *w)
{
	struct error err;

	log_line(LOG_LEVEL_NOTICE, "workload '%s' does not ask for a leash: it is let go", w->name);
	if (mark_clear(MARK_WANTED, w->name, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
	daemon_remove_workload(d, w);
	workload_undo(w);
}

/* Leashed, or let go if it never asked for that. */
static void labels_usable(void *arg, const struct engine_item *item)
{
	struct config_label labels[ENGINE_LABELS];
	struct daemon *d = arg;
	struct workload *w = workload_of(d, item->id);
	struct error err;

	if (!w || w->tunnel != d->nowhere)
		return;
	/* what was shut before is shut for another reason, which nobody took back */
	if (!w->was_recorded && !in_file(d, item) &&
	    !labels_collect(d, item, labels, false, &err)) {
		labels_let_go(d, w);
		return;
	}
	remove_workload(d, w); /* its gate stays on, and is taken over shut */
	labels_judge(d, item, false, "");
}

static bool asks(const struct engine_item *i)
{
	return i->kind == ENGINE_CONTAINER && (i->n_labels || (*i->unusable && i->labelled));
}

static void labels_are(void *arg, const struct engine_item *i, bool first)
{
	labels_follow_vpns(arg);
	if (!asks(i))
		return;
	labels_judge(arg, i, first, "");
	if (i->in_unit)
		labels_replace_parked(arg, i);
	if (*i->unusable)
		labels_try_again(arg);
}

static void labels_look_once_more(const struct engine_item *i, void *arg)
{
	if (asks(i))
		labels_judge(arg, i, false, "");
}

/* Once more those that could not be leashed for want of something. Whether any is left. */
static bool labels_retry(struct daemon *d)
{
	char said[sizeof(((struct workload *)0)->trouble)];
	bool any = false, unjudged = d->unjudged;
	size_t i = 0;

	d->unjudged = false;
	if (unjudged)
		inventory_each(d->inventory, labels_look_once_more, d);
	/* those that are judged anew come last */
	for (size_t left = d->n_workloads; left; left--) {
		struct workload *w = d->workloads[i];
		const struct engine_item *item = w->again ? item_of(w) : NULL;

		any |= item != NULL;
		if (!item) {
			i++;
			continue;
		}
		memcpy(said, w->trouble, sizeof(said));
		remove_workload(d, w);
		labels_judge(d, item, false, said);
	}
	return any || d->unjudged;
}

static int on_labels_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;
	bool more;

	privilege_long_work(true);
	more = labels_retry(d);
	privilege_long_work(false);
	unguard(d); /* the last whose netns nobody knew may be known, or gone */
	if (more || any_without_netns(d))
		set_timer(d->loop, &d->labels_timer, now_boot_ns() + AGAIN_NS, on_labels_again, d);
	return 0;
}

void labels_detached(struct daemon *d)
{
	for (size_t i = d->n_tunnels; i-- > 0;)
		if (d->tunnels[i]->of_labels)
			labelled_tunnel_drop(d, d->tunnels[i]);
}

static void labels_gone(void *arg, const char *id)
{
	struct daemon *d = arg;
	struct workload *w = workload_of(d, id);

	labels_follow_vpns(d);
	if (!w || container_is_parked(w))
		return;
	leash_shut(w); /* its cgroup may be there a little longer */
	remove_workload(d, w);
}

const struct inventory_containers labels_news = {
	.usable = labels_usable,
	.is = labels_are,
	.came = labels_owner_came,
	.gone = labels_gone,
};

/* ------ after a reload ------ */

static void labels_look_again(const struct engine_item *i, void *arg)
{
	labels_are(arg, i, true);
}

void labels_again(struct daemon *d)
{
	for (size_t i = 0; i < d->n_workloads;) {
		struct workload *w = d->workloads[i];
		const struct engine_item *item = w->origin == OF_LABELS ? item_of(w) : NULL;
		struct tunnel *t;

		if (item && in_file(d, item)) {
			remove_workload(d, w);
			continue;
		}
		if (w->origin == OF_LABELS && !is_there(d, w->tunnel)) {
			t = labelled_tunnel_like(d, &w->tunnel->config);
			workload_move(w, t ? t : d->nowhere);
			snprintf(w->trouble, sizeof(w->trouble), "%s",
				 t ? "" : "its tunnel is no longer in the file");
		}
		i++;
	}
	inventory_each(d->inventory, labels_look_again, d);
}
