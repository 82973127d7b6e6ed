/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/refused.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "report/report.h"

#define REMEMBERED_NS (600 * NS_PER_SEC)
#define ROUTELESS_NS  (60 * NS_PER_SEC) /* nobody tells that there is a route by now */

/* Whose `allow` it is to be: of the workload that listens; of one by labels, as its netns is a
 * container's; NULL: the tunnel's. */
static const struct workload *whose(const struct tunnel *t, const struct refused *r)
{
	const struct daemon *d = t->daemon;
	char path[PATH_MAX];
	bool known = !cgroup_path_of_id(&d->root, r->listener, path);

	for_each_workload(d, w)
		if (w->tunnel == t && known && *w->path && cgroup_is_below(path, w->path))
			return w;
	for_each_workload(d, w)
		if (w->tunnel == t && t->of_labels)
			return w;
	return NULL;
}

static bool route_of(const struct tunnel *t, const struct refused *r, char buf[REFUSED_LEN])
{
	char way[ALLOW_LEN], address[INET_ADDRSTRLEN];

	if (!edge_way_out(t->edge, way))
		return false;
	inet_ntop(AF_INET, r->client + 12, address, sizeof(address));
	snprintf(buf, REFUSED_LEN, "nsenter --net=%s ip route add %s %s", quote(t->where), address,
		 quote(way));
	return true;
}

/* The line as it is to be typed. False: there is nothing to be added. */
static bool line_of(const struct tunnel *t, const struct refused *r, char buf[REFUSED_LEN])
{
	const struct workload *w = whose(t, r);
	char allow[ALLOW_LEN], text[256];
	struct allow_rules label;

	if (r->unanswered)
		return route_of(t, r, buf);
	if (!edge_would_allow(t->edge, r, allow))
		return false;
	if (w && w->origin == OF_LABELS) { /* one label has them all */
		memcpy(&label, &w->allow, sizeof(label));
		if (allow_add(&label, allow, NULL))
			return false;
		snprintf(buf, REFUSED_LEN, "label vpnleash.allow: \"%s\" of %s",
			 allow_text(&label, text, sizeof(text)), quote(w->name));
	} else if (!t->daemon->file) {
		snprintf(buf, REFUSED_LEN, "--allow '%s'", allow);
	} else {
		bool of_workload = w && w->origin == OF_FILE;

		snprintf(buf, REFUSED_LEN, "[%s %s] allow = %s",
			 of_workload ? "workload" : "tunnel",
			 quote(of_workload ? w->name : t->config.name), allow);
	}
	return true;
}

static bool same_client(const struct refused *a, const struct refused *b)
{
	return a->port == b->port && a->unanswered == b->unanswered &&
	       !memcmp(a->client, b->client, sizeof(a->client));
}

/* One for each port, the latest; of more ports than there is room for, the latest too. */
static struct refused *place_for(struct tunnel *t, uint16_t port)
{
	struct refused *oldest = t->refused;

	for (size_t i = 0; i < ARRAY_SIZE(t->refused); i++) {
		if (t->refused[i].port == port)
			return &t->refused[i];
		if (t->refused[i].at_ns < oldest->at_ns)
			oldest = &t->refused[i];
	}
	return oldest;
}

const char *refused_note(struct daemon *d, struct tunnel *t, const struct drop_event *e,
			 char buf[REFUSED_LEN])
{
	struct refused r, *place;
	bool is_one;

	if (!t->edge)
		return NULL;
	is_one = edge_refused(t->edge, e, &r);
	place = place_for(t, r.port);
	if (!is_one && (!place->at_ns || !same_client(place, &r)))
		return NULL;
	if (is_one)
		*place = r;
	else
		place->at_ns = r.at_ns;
	return line_of(t, place, buf) ? buf : NULL;
}

json_t *refused_list(const struct tunnel *t)
{
	uint64_t now = now_boot_ns();
	json_t *list = json_array();

	for (size_t i = 0; t->edge && i < ARRAY_SIZE(t->refused); i++) {
		const struct refused *r = &t->refused[i];
		uint64_t remembered_ns = r->unanswered ? ROUTELESS_NS : REMEMBERED_NS;
		char address[INET_ADDRSTRLEN], line[REFUSED_LEN], said[REFUSED_LEN + 150];

		if (!r->at_ns || now - r->at_ns > remembered_ns || !line_of(t, r, line))
			continue;
		inet_ntop(AF_INET, r->client + 12, address, sizeof(address));
		snprintf(said, sizeof(said), "tcp/%u to %s, %llus ago; %s: %s", r->port, address,
			 (unsigned long long)((now - r->at_ns) / NS_PER_SEC),
			 r->unanswered ? "its answer would go into the tunnel, until you type"
				       : "it comes in with",
			 line);
		json_array_append_new(list, json_string(said));
	}
	return list;
}
