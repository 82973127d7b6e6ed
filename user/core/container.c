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

#define NETWORK_OF_THE_NEW "make it anew, with the network of the new one"

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

static bool owner_was_removed(const struct workload *w, const struct engine_item *i)
{
	const char *owner = i ? engine_shares(i) : NULL;

	return owner && !inventory_find(w->daemon->inventory, w->container.kind, owner);
}

const char *container_to_type(const struct workload *w, char *buf, size_t size)
{
	const struct engine_item *i = container_item(w);
	FILE *out;

	if (!owner_was_removed(w, i))
		return NULL;
	out = *i->compose_service ? fmemopen(buf, size, "w") : NULL;
	if (!out)
		return NETWORK_OF_THE_NEW;
	fputs("docker compose", out);
	add_files(out, i);
	fputs(" -p ", out);
	add_word(out, i->compose_project);
	fputs(" up -d --force-recreate --no-deps ", out);
	add_word(out, i->compose_service);
	return fclose(out) ? NETWORK_OF_THE_NEW : buf; /* it does not fit */
}

bool container_say_removed(struct workload *w)
{
	if (!owner_was_removed(w, container_item(w)))
		return false;
	container_in_trouble(w, "the container whose network it shares was removed",
			     "it has to be made anew (vpnleash why has the command)");
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
	w->container.stopping = true;
	return container_ask(w, false);
}

bool container_start(struct workload *w)
{
	const struct engine_item *i = container_item(w);

	if (w->container.running || w->container.stopping || container_say_removed(w))
		return false;
	/* its unit has just made it, and starts it itself */
	if (i && *i->unit && !*w->container.unit)
		return false;
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

/* An engine puts who shares another's netns into that one's present netns, whenever it starts. */
bool container_is_orphaned(const struct workload *w)
{
	const struct engine_item *i = container_item(w);
	char path[64];
	struct stat st;

	if (!w->container.running || !w->container.pid || !i || !engine_shares(i))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", w->container.pid);
	return !stat(path, &st) && st.st_ino != w->tunnel->netns_ino;
}

/* Not again, if a start has just not brought it there. */
static bool was_moved(const struct workload *w)
{
	return w->container.orphaned_of == w->tunnel->netns_cookie &&
	       now_boot_ns() - w->container.orphaned_ns < ORPHAN_NS;
}

bool container_may_move(const struct workload *w)
{
	return !was_moved(w) && !container_is_lost_by_stop(w) && container_reachable(w);
}

void container_moves(struct workload *w)
{
	w->container.orphaned_ns = now_boot_ns();
	w->container.orphaned_of = w->tunnel->netns_cookie;
}

void container_say_orphaned(struct workload *w)
{
	if (container_is_lost_by_stop(w))
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
