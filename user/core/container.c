/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See container.h. */
#include "core/container.h"

#include <string.h>
#include <sys/stat.h>

#include "core/state.h"
#include "edge/bootstrap.h"
#include "watch/process.h"

#define ORPHAN_NS (60 * NS_PER_SEC) /* started anew in its tunnel's netns at most so often */

void container_in_trouble(struct workload *w, const char *what, const char *why)
{
	char text[sizeof(w->trouble)], shown[300];

	snprintf(text, sizeof(text), "%s: %s", what, escape(shown, sizeof(shown), why));
	if (!strcmp(text, w->trouble))
		return;
	memcpy(w->trouble, text, sizeof(text));
	log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, text);
}

const char *container_to_type(const struct workload *w, char *buf, size_t size)
{
	const struct engine_item *i = inventory_find(w->daemon->inventory, w->kind, w->id);
	const char *owner = i ? engine_shares(i) : NULL;
	char project[300], service[300];

	if (!owner || inventory_find(w->daemon->inventory, w->kind, owner))
		return NULL;
	if (*i->compose_service)
		snprintf(buf, size, "docker compose -p %s up -d --force-recreate --no-deps %s",
			 escape(project, sizeof(project), i->compose_project),
			 escape(service, sizeof(service), i->compose_service));
	else
		snprintf(buf, size, "make it anew, with the network of the new one");
	return buf;
}

bool container_say_removed(struct workload *w)
{
	char command[300];

	if (!container_to_type(w, command, sizeof(command)))
		return false;
	container_in_trouble(w, "the container whose network it shares was removed", command);
	return true;
}

int container_stop(struct workload *w)
{
	w->stopping = true;
	return inventory_ask_stop(&w->watch, w->id);
}

bool container_start(struct workload *w)
{
	if (w->running || w->stopping || container_say_removed(w))
		return false;
	edge_shut(w->tunnel->edge);
	if (!w->watch.request && inventory_ask_start(&w->watch, w->id))
		container_in_trouble(w, "it can not be started", "the engine does not answer");
	return true;
}

/* Left behind in a netns that is no longer its tunnel's: the VPN's container was restarted. An
 * engine puts who shares another's netns into that one's present netns, whenever it starts. */
bool container_is_orphaned(const struct workload *w)
{
	const struct engine_item *i = inventory_find(w->daemon->inventory, w->kind, w->id);
	char path[64];
	struct stat st;

	if (!w->running || !w->pid || !i || !engine_shares(i))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", w->pid);
	return !stat(path, &st) && st.st_ino != w->tunnel->netns_ino;
}

enum input container_of_orphan(struct workload *w)
{
	uint64_t now = now_boot_ns();

	if (w->orphaned_of == w->tunnel->netns_cookie && now - w->orphaned_ns < ORPHAN_NS)
		container_in_trouble(w, "it is not in its tunnel's network namespace",
				     "and a start did not bring it there");
	else if (!inventory_reachable(w->daemon->inventory, w->kind))
		container_in_trouble(w, "it is not in its tunnel's network namespace any more",
				     "and the engine does not answer");
	else {
		w->orphaned_ns = now;
		w->orphaned_of = w->tunnel->netns_cookie;
		return IN_ORPHANED;
	}
	return IN_TUNNEL_DOWN_BLOCK;
}

/* An engine that is still starting it would wait for the frozen for ever. What it said of an
 * earlier start is known by the process, which is not in this cgroup. */
bool container_has_started(const struct workload *w)
{
	char path[PATH_MAX];
	size_t n = strlen(w->path);

	if (!w->pid) /* a unit may have none; a container's has ended, and the next is to come */
		return w->running && w->kind == ENGINE_UNIT;
	if (!w->running)
		return false;
	return !process_cgroup(w->pid, path) && !strncmp(path, w->path, n) &&
	       (!path[n] || path[n] == '/');
}
