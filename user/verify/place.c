/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verify/place.h"

#include <errno.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/netns.h"
#include "base/nl.h"
#include "verify/decoy.h"
#include "watch/underlay.h"

static struct way *add_way(struct place *p, const char *name, const char *address4,
			   const char *address6)
{
	struct way *w = &p->ways[p->n_ways++];

	snprintf(w->name, sizeof(w->name), "%s", name);
	w->targets = p->targets;
	w->capture.fd = -1;
	address_parse(address4, AF_INET, &w->targets.outside[0]);
	address_parse(address6, AF_INET6, &w->targets.outside[1]);
	w->targets.fence[0] = w->targets.outside[0];
	snprintf(w->targets.underlay, sizeof(w->targets.underlay), "%s", name);
	return w;
}

static void open_decoy(struct place *p)
{
	struct way *w = add_way(p, DECOY_NAME, DECOY4, DECOY6);

	address_parse(NEIGHBOUR4, AF_INET, &w->targets.onlink[0]);
	address_parse(NEIGHBOUR6, AF_INET6, &w->targets.onlink[1]);
	if (!decoy_open(&p->decoy, p->netns_fd, &w->unseen) &&
	    !capture_open(&w->capture, p->netns_fd, DECOY_NAME, &w->targets, &w->unseen))
		w->capture.outgoing = true;
}

/* ------ what lies beyond an end ------ */

static void add_beyond(struct place *p, int netns_fd, const struct link *l, const char *what)
{
	struct beyond *b = &p->beyond[p->n_beyond];
	struct error ignored;

	if (p->n_beyond == BEYOND)
		return;
	for (size_t i = 0; i < p->n_beyond; i++)
		if (!strcmp(p->beyond[i].name, l->name) &&
		    netns_ino(p->beyond[i].netns_fd) == netns_ino(netns_fd))
			return;
	*b = (struct beyond) { .what = what, .netns_fd = -1, .targets = p->targets };
	snprintf(b->name, sizeof(b->name), "%s", l->name);
	snprintf(b->targets.underlay, sizeof(b->targets.underlay), "%s", l->name);
	address_parse(ELSEWHERE4, AF_INET, &b->targets.fence[0]);
	b->targets.frames = true;
	memcpy(b->targets.next_hop, l->mac, sizeof(l->mac)); /* to itself: no switch passes it on */
	if (capture_open(&b->capture, netns_fd, l->name, &b->targets, &ignored))
		return;
	b->capture.outgoing = true;
	b->netns_fd = dup(netns_fd);
	/* it stands in for what nothing here may send: proof that this capture sees */
	b->fenced = l->type == ARPHRD_ETHER && !capture_fence(&b->capture, b->netns_fd, &ignored);
	p->n_beyond++;
}

/* Of a veth's other end: its bridge, and where the host's default routes leave. */
static void watch_beyond(struct place *p, int netns_fd, int rtnl, const struct links *l,
			 const struct link *end)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct link *link = &l->links[i];

		if (end->master && link->ifindex == end->master)
			add_beyond(p, netns_fd, link, "bridge");
		else if (link->flags & IFF_UP && default_gateway(rtnl, link->ifindex))
			add_beyond(p, netns_fd, link, "uplink");
	}
}

/* ------ underlays ------ */

static const struct link *find_link(const struct links *l, uint32_t ifindex)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->links[i].ifindex == ifindex)
			return &l->links[i];
	return NULL;
}

static int watch_end(struct place *p, struct way *w, const struct link *link, int netns_fd)
{
	_cleanup_fd int rtnl = nl_open(netns_fd, NETLINK_ROUTE);
	const struct link *end, *bridge;
	struct links l;
	int r = links_read(rtnl, &l, &w->unseen);

	if (r)
		return r;
	end = find_link(&l, link->peer_ifindex);
	r = end ? capture_open(&w->capture, netns_fd, end->name, &w->targets, &w->unseen)
		: fail(&w->unseen, ERROR_OTHER, -ENODEV, NULL, "find its other end");
	if (!r && !strcmp(link->kind, "veth")) {
		bridge = find_link(&l, end->master);
		memcpy(w->targets.next_hop, bridge ? bridge->mac : end->mac, sizeof(end->mac));
		w->targets.past_qdisc = w->before_guard = true;
		watch_beyond(p, netns_fd, rtnl, &l, end);
	} else if (!r) {
		memcpy(w->targets.next_hop, end->mac, sizeof(end->mac));
		w->capture.outgoing = true; /* of a parent: what its macvlans send leaves by it */
	}
	links_free(&l);
	return r;
}

static void open_underlay(struct place *p, int rtnl, const struct link *link)
{
	struct way *w = add_way(p, link->name, ELSEWHERE4, ELSEWHERE6);

	w->targets.frames = true;
	if (link->elsewhere) {
		_cleanup_fd int netns_fd = netns_by_nsid(rtnl, link->peer_nsid);

		if (netns_fd < 0)
			fail(&w->unseen, ERROR_OTHER, netns_fd,
			     "run it in the network namespace of the host or of that engine",
			     "find the other end of '%s'", quote(link->name));
		else
			watch_end(p, w, link, netns_fd);
		return;
	}
	memcpy(w->targets.next_hop, link->mac, sizeof(link->mac));
	if (!capture_open(&w->capture, p->netns_fd, link->name, &w->targets, &w->unseen))
		w->capture.outgoing = true;
}

static int open_underlays(struct place *p, uint32_t tunnel_ifindex, struct error *err)
{
	_cleanup_fd int rtnl = nl_open(p->netns_fd, NETLINK_ROUTE);
	struct links l;
	int r = rtnl < 0 ? fail(err, ERROR_OTHER, rtnl, NULL, "open netlink")
			 : links_read(rtnl, &l, err);

	if (r)
		return r;
	for (size_t i = 0; i < l.n; i++) {
		const struct link *link = &l.links[i];

		if (link->ifindex == tunnel_ifindex)
			snprintf(p->tunnel_name, sizeof(p->tunnel_name), "%s", link->name);
		else if (link_place(link) != LINK_INSIDE && link->flags & IFF_UP &&
			 link->type == ARPHRD_ETHER && p->n_ways < WAYS)
			open_underlay(p, rtnl, link);
	}
	links_free(&l);
	return 0;
}

int place_open(struct place *p, int netns_fd, uint32_t tunnel_ifindex, struct error *err)
{
	int r;

	*p = (struct place) { .netns_fd = netns_fd, .decoy = CHILD_NONE, .tunnel.fd = -1 };
	r = targets_init(&p->targets, err);
	if (r)
		return r;
	open_decoy(p);
	r = open_underlays(p, tunnel_ifindex, err);
	if (r || !*p->tunnel_name)
		return r;
	r = capture_open(&p->tunnel, netns_fd, p->tunnel_name, &p->targets, err);
	p->tunnel.outgoing = true;
	return r;
}

void place_close(struct place *p)
{
	for (size_t i = 0; i < p->n_ways; i++)
		capture_close(&p->ways[i].capture);
	for (size_t i = 0; i < p->n_beyond; i++) {
		capture_close(&p->beyond[i].capture);
		close_fd(p->beyond[i].netns_fd);
	}
	capture_close(&p->tunnel);
	child_kill(&p->decoy);
}

int place_settle(struct place *p, struct way *w, struct error *err)
{
	int r;

	if (w->capture.fd < 0)
		return 0;
	r = capture_fence(&w->capture, p->netns_fd, &w->unseen);
	w->fenced = !r;
	/* a veth hands over in order: what the fence followed went on, or did not, before it */
	r = capture_drain(&w->capture, err);
	for (size_t i = 0; !r && i < p->n_beyond; i++)
		r = capture_drain(&p->beyond[i].capture, err);
	return r || p->tunnel.fd < 0 ? r : capture_drain(&p->tunnel, err);
}
