/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/container.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "act/gate.h"
#include "core/marks.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "edge/edge.h"
#include "watch/cgroup.h"
#include "watch/process.h"

#define ORPHAN_NS (60 * NS_PER_SEC) /* started anew in its tunnel's netns at most so often */

const struct engine_item *container_item(const struct workload *w)
{
	return inventory_find(w->daemon->inventory, w->container.kind, w->container.id);
}

void container_in_trouble(struct workload *w, const char *what, const char *why)
{
	char text[sizeof(w->trouble)];

	snprintf(text, sizeof(text), "%s: %s", what, why);
	make_harmless(text);
	if (!strcmp(text, w->trouble))
		return;
	memcpy(w->trouble, text, sizeof(text));
	log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, text);
}

/* A label is anybody's text, and the command is pasted by root: the shell sees one word. */
static void add_word(FILE *out, const char *text)
{
	if (*text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"0123456789_./-")]) {
		fputs(text, out);
		return;
	}
	fputs("$'", out);
	for (const char *c = text; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '\'' || *c == '\\')
			fprintf(out, "\\%03o", (unsigned char)*c);
		else
			fputc(*c, out);
	fputc('\'', out);
}

/* From whatever directory it is typed. */
static void add_files(FILE *out, const struct engine_item *i)
{
	char files[sizeof(i->compose_files)], *rest = files, *file;

	memcpy(files, i->compose_files, sizeof(files));
	if (*i->compose_dir) {
		fputs(" --project-directory ", out);
		add_word(out, i->compose_dir);
	}
	while (*files == '/' && (file = strsep(&rest, ","))) {
		fputs(" -f ", out);
		add_word(out, file);
	}
}

bool container_is_aside(const struct engine_item *i)
{
	size_t n = strlen(i->name), end = strlen(CONTAINER_ASIDE);

	return n > end && !strcmp(i->name + n - end, CONTAINER_ASIDE);
}

const char *container_name(const struct engine_item *i, char buf[ENGINE_NAME_LEN])
{
	memcpy(buf, i->name, sizeof(i->name));
	if (container_is_aside(i))
		buf[strlen(buf) - strlen(CONTAINER_ASIDE)] = '\0';
	return buf;
}

bool container_network_removed(const struct workload *w, const struct engine_item *i)
{
	const char *owner = i ? engine_shares(i) : NULL;

	return owner && !inventory_find(w->daemon->inventory, w->container.kind, owner);
}

/* In whose place it was made, if that one is there still: never both run, and it may be needed
 * again. */
static const struct engine_item *old_one(const struct workload *w, const struct engine_item *i)
{
	return i && *i->replaces ? inventory_find(w->daemon->inventory, i->kind, i->replaces)
				 : NULL;
}

/* By its id, as a container of that name may be another one by now. */
static void read_shared(struct workload *w, const char *owner, const char *name)
{
	struct workload_container *c = &w->container;
	char text[ENGINE_HEX_LEN + ENGINE_NAME_LEN], *space;

	mark_read(MARK_NETWORK, name, text, sizeof(text));
	space = strchr(text, ' ');
	if (!space || strlen(owner) != (size_t)(space - text) ||
	    strncmp(text, owner, strlen(owner)))
		return;
	snprintf(c->shares, sizeof(c->shares), "%s", owner);
	snprintf(c->shared, sizeof(c->shared), "%.255s", space + 1);
}

static void write_shared(struct workload *w, const struct engine_item *vpn, const char *name)
{
	struct workload_container *c = &w->container;
	char text[ENGINE_HEX_LEN + ENGINE_NAME_LEN];
	struct error err;

	snprintf(c->shares, sizeof(c->shares), "%.64s", vpn->id);
	memcpy(c->shared, vpn->name, sizeof(c->shared));
	snprintf(text, sizeof(text), "%s %s", c->shares, c->shared);
	if (mark_write(MARK_NETWORK, name, text, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
}

static const char *network_name(const struct workload *w, const struct engine_item *i)
{
	const struct workload_container *c = &w->container;
	const char *owner = engine_shares(i), *given;
	const struct engine_item *vpn =
		owner ? inventory_find(w->daemon->inventory, c->kind, owner) : NULL;

	if (!owner)
		return NULL;
	if (!strcmp(c->shares, vpn ? vpn->id : owner))
		return c->shared;
	return place_kind(w->tunnel->config.netns, &given) == PLACE_CONTAINER &&
			       strcmp(given, owner)
		       ? given
		       : NULL;
}

const char *container_network_name(struct workload *w, const struct engine_item *i)
{
	struct workload_container *c = &w->container;
	const char *owner = engine_shares(i);
	const struct engine_item *vpn;
	char name[ENGINE_NAME_LEN];

	if (!owner)
		return NULL;
	container_name(i, name);
	vpn = inventory_find(w->daemon->inventory, c->kind, owner);
	if (!vpn && strcmp(c->shares, owner))
		read_shared(w, owner, name);
	else if (vpn && !old_one(w, i) &&
		 (strcmp(c->shares, vpn->id) || strcmp(c->shared, vpn->name)))
		write_shared(w, vpn, name);
	return network_name(w, i);
}

/* For Compose, where its files are on this host. */
static int write_compose(FILE *out, const struct engine_item *i)
{
	fputs("docker compose", out);
	add_files(out, i);
	fputs(" -p ", out);
	add_word(out, i->compose_project);
	fputs(" up -d --force-recreate --no-deps ", out);
	add_word(out, i->compose_service);
	return fclose(out);
}

const char *container_to_type(const struct workload *w, char *buf, size_t size)
{
	const struct engine_item *i = container_item(w);
	/* Portainer's files are in its own container: no command would find them */
	static const char portainer[] = "/data/compose/";
	const char *vpn;
	FILE *out;

	if (!container_network_removed(w, i))
		return NULL;
	vpn = network_name(w, i);
	if (w->recreate && !*w->container.rejoin.error && !i->auto_remove) {
		snprintf(buf, size, "start the container '%s': it is made anew by itself then",
			 vpn ? quote(vpn) : "VPN");
	} else if (!strncmp(i->compose_files, portainer, strlen(portainer))) {
		snprintf(buf, size, "in Portainer, open the stack '%s' and update it",
			 quote(i->compose_project));
	} else if (*w->container.unit && (out = fmemopen(buf, size, "w"))) {
		/* by the kernel's word: a label alone may say anything */
		fputs("systemctl restart ", out);
		add_word(out, w->container.unit);
		fclose(out);
	} else if (!*i->compose_service || !(out = fmemopen(buf, size, "w")) ||
		   write_compose(out, i)) {
		snprintf(buf, size,
			 "remove it, and make it anew with --network container:%s (rejoin = "
			 "recreate does that by itself)",
			 vpn ? quote(vpn) : "VPN");
	}
	return buf;
}

bool container_say_removed(struct workload *w)
{
	const struct engine_item *i = container_item(w);

	if (!container_network_removed(w, i))
		return false;
	if (*w->container.rejoin.error)
		container_in_trouble(w, "it could not be made anew",
				     quote(w->container.rejoin.error));
	else
		container_in_trouble(
			w, "the container whose network it shares was removed",
			!w->recreate ? "it has to be made anew (vpnleash why has the command)"
			: i->auto_remove
				? "it is made anew by hand only, as it is run with --rm"
				: "it is made anew as soon as the next one of that name runs");
	return true;
}

bool container_reachable(const struct workload *w)
{
	const struct workload_container *c = &w->container;

	return *c->unit ? inventory_reachable(w->daemon->inventory, ENGINE_UNIT, c->unit)
			: inventory_reachable(w->daemon->inventory, c->kind, c->id);
}

bool container_is_lost_by_stop(const struct workload *w)
{
	const struct engine_item *i = container_item(w);

	return i && i->auto_remove && !*w->container.unit;
}

bool container_is_parked(const struct workload *w)
{
	return w->state == WORKLOAD_STOPPED && *w->container.unit && !*w->container.id;
}

static int container_ask(struct workload *w, bool start)
{
	struct workload_container *c = &w->container;

	return *c->unit ? inventory_ask(&c->unit_watch, start, c->unit)
			: inventory_ask(&c->watch, start, c->id);
}

/* With its container all goes that is known of it. Another daemon starts it without knowing where
 * its tunnel is, so with no guard there: only if it is born shut. */
static void note_for_another(struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct error err = { 0 };

	if (c && gate_slice_above(gate_pins(w->daemon->gate), c->fd, NULL, NULL) == 1 &&
	    !mark_set(MARK_UNIT, w->container.unit, &err))
		return;
	log_line(LOG_LEVEL_WARNING,
		 "workload '%s': a restart of vpnleash would leave unit '%s' stopped: %s", w->name,
		 quote(w->container.unit),
		 *err.text ? err.text : "its container is in no locked slice");
}

int container_stop(struct workload *w)
{
	if (*w->container.unit)
		note_for_another(w);
	w->container.rejoin.pending = false; /* its answer is not waited for any more */
	w->container.stopping = true;
	return container_ask(w, false);
}

bool container_start(struct workload *w)
{
	const struct engine_item *i = container_item(w);

	if (w->container.running || w->container.stopping || container_say_removed(w))
		return false;
	/* a unit that has just made it starts it itself; if not, it is asked for then */
	if (i && *i->unit && !*w->container.unit &&
	    now_boot_ns() - w->changed_ns < WORKLOAD_AGAIN_NS)
		return true;
	i = old_one(w, i);
	if (i && i->running)
		return true;
	edge_shut(w->tunnel->edge);
	if (!w->container.watch.request && !w->container.unit_watch.request &&
	    container_ask(w, true))
		container_in_trouble(w, "it can not be started", "the engine does not answer");
	return true;
}

bool container_is_left(const struct workload *w)
{
	const struct engine_item *i = container_item(w);

	return i && i->left && engine_shares(i);
}

/* Before it has a process, by what the engine will do: a network of its own is not the host's. */
static bool will_be_elsewhere(const struct workload *w, const struct engine_item *i)
{
	const char *shared = engine_shares(i);

	if (shared)
		i = inventory_find(w->daemon->inventory, w->container.kind, shared);
	return !strcmp(w->tunnel->where, "host") && i && *i->network_mode &&
	       strcmp(i->network_mode, "host") && strncmp(i->network_mode, "ns:", 3);
}

bool container_is_elsewhere(const struct workload *w)
{
	const struct engine_item *i = container_item(w);
	char path[64];
	struct stat st;

	if (w->container.kind != ENGINE_CONTAINER || !i)
		return false;
	if (!w->container.running || !w->container.pid)
		return will_be_elsewhere(w, i);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", w->container.pid);
	if (stat(path, &st) < 0) /* it has ended, and that is not told yet, nor who comes next */
		return will_be_elsewhere(w, i);
	return st.st_ino != w->tunnel->netns_ino;
}

/* Not again, if a start has just not brought it there. */
static bool was_moved(const struct workload *w)
{
	return w->container.orphaned_of == w->tunnel->netns_cookie &&
	       now_boot_ns() - w->container.orphaned_ns < ORPHAN_NS;
}

/* An engine puts who shares another's netns, or that of a path, into the present one, whenever it
 * starts. */
static bool follows_its_tunnel(const struct workload *w)
{
	const struct engine_item *i = container_item(w);

	return (engine_shares(i) || !strncmp(i->network_mode, "ns:", 3)) &&
	       strcmp(w->tunnel->where, "host");
}

bool container_is_misplaced(const struct workload *w)
{
	return container_is_elsewhere(w) && !follows_its_tunnel(w);
}

bool container_may_move(const struct workload *w)
{
	return w->container.pid && follows_its_tunnel(w) && !was_moved(w) &&
	       !container_is_lost_by_stop(w) && container_reachable(w);
}

void container_moves(struct workload *w)
{
	w->container.orphaned_ns = now_boot_ns();
	w->container.orphaned_of = w->tunnel->netns_cookie;
}

const char *container_network(const struct tunnel *t)
{
	return strcmp(t->where, "host") ? CONTAINER_TO_THE_VPN
					: "network_mode: host; or the VPN a container, and "
					  "this one " CONTAINER_TO_THE_VPN;
}

void container_say_elsewhere(struct workload *w)
{
	bool host = !strcmp(w->tunnel->where, "host");
	char why[160];

	snprintf(why, sizeof(why), "nothing of it can pass (give it %s)",
		 container_network(w->tunnel));
	if (!follows_its_tunnel(w))
		container_in_trouble(w,
				     host ? "its tunnel is in the host's network, and it is not"
					  : "it is not in the network of its tunnel",
				     why);
	else if (container_is_lost_by_stop(w))
		container_in_trouble(w, "it is not in its tunnel's network namespace any more",
				     "its engine would remove it (--rm): make it anew");
	else if (was_moved(w))
		container_in_trouble(w, "it is not in its tunnel's network namespace",
				     "and a start did not bring it there");
	else
		container_in_trouble(w, "it is not in its tunnel's network namespace any more",
				     "and the engine does not answer");
}

/* What an engine said of an earlier start is known by the process, which is not in this cgroup. */
bool container_has_started(const struct workload *w)
{
	char path[PATH_MAX];

	if (!w->container.running)
		return false;
	if (!w->container.pid) /* a unit may have none; a container's next is to come */
		return w->container.kind == ENGINE_UNIT;
	return !process_cgroup(w->container.pid, path) && cgroup_is_below(path, w->path);
}
