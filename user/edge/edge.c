/* SPDX-License-Identifier: GPL-2.0-or-later */
/* */
#include <errno.h>
#include <linux/netlink.h>
#include <net/if_arp.h>
#include <stdlib.h>

#include "act/counters.h"
#include "base/netns.h"
#include "base/nl.h"
#include "base/privilege.h"
#include "edge/edge_internal.h"
#include "report/report.h"
#include "watch/process.h"

/* ------ open, close ------ */

void edge_close(struct edge *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++)
		close_fd(e->known[i].peer_fd);
	uapi_stop(e->uapi);
	if (e->vpn_cgroup.level)
		close_fd(e->vpn_cgroup.fd);
	close_fd(e->home_fd);
	close_fd(e->home_rtnl);
	close_fd(e->rtnl);
	close_fd(e->genl);
	close_fd(e->diag);
	free(e);
}

static void find_guarding(const struct edge *e, void *arg)
{
	const struct edge **found = arg;

	if (!e->weak)
		*found = e;
}

int edge_open(struct edge **ret, struct vpn *vpn, struct error *err)
{
	const struct edge_place *p = vpn_place(vpn);
	const struct edge *other = NULL;
	struct edge *e;
	int r;

	*ret = NULL;
	if (p->config->guard_off)
		return 0;
	p->calls->each_edge(p->owner, find_guarding, &other);
	if (other)
		return SAY(err, -EBUSY, "one tunnel for each netns, or guard = off",
			   "the netns is guarded for tunnel '%s'",
			   quote(other->place->config->name));
	e = calloc(1, sizeof(*e));
	if (!e)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "guard the netns");
	*e = (struct edge) { .place = p,
			     .vpn = vpn,
			     .home_fd = -1,
			     .home_rtnl = nl_open(-1, NETLINK_ROUTE),
			     .rtnl = nl_open(p->netns_fd, NETLINK_ROUTE),
			     .genl = nl_open(p->netns_fd, NETLINK_GENERIC),
			     .diag = nl_open(p->netns_fd, NETLINK_SOCK_DIAG) };
	r = netns_open("host", &e->home_fd, err);
	if (!r && (e->home_rtnl < 0 || e->rtnl < 0 || e->genl < 0 || e->diag < 0))
		r = fail(err, ERROR_OTHER, -EMFILE, NULL, "open netlink to guard '%s'",
			 p->config->netns);
	if (r) {
		edge_close(e);
		return r;
	}
	e->home_ino = (uint32_t)netns_ino(e->home_fd);
	e->weak = e->home_ino == (uint32_t)p->netns_ino; /* whatever it is called */
	/* before v5.14 there is none, and nothing there asks for it: clsact hands over the slot */
	netns_cookie(e->home_fd, &e->home_cookie);
	*ret = e;
	return 0;
}

/* ------ what leads out ------ */

/* The netns of the other end: ours in the usual case, else somebody's that can be found. */
static int find_peer(struct edge *e, struct underlay *u, struct error *err)
{
	int32_t ours;

	u->peer_fd = -1;
	if (!nsid_of(e->rtnl, e->home_fd, &ours) && ours == u->link.peer_nsid) {
		u->spec.outside =
			(struct device) { -1, e->home_ino, e->home_cookie, u->link.peer_ifindex };
		return 0;
	}
	privilege_long_work(true); /* all of /proc */
	u->peer_fd = netns_by_nsid(e->rtnl, u->link.peer_nsid);
	privilege_long_work(false);
	if (u->peer_fd < 0)
		return SAY(err, -ENOENT,
			   "start vpnleash in the netns of the host or of that engine",
			   "interface %s: the netns of its other end can not be reached",
			   quote(u->link.name));
	u->spec.outside = (struct device) { u->peer_fd, (uint32_t)netns_ino(u->peer_fd), 0,
					    u->link.peer_ifindex };
	netns_cookie(u->peer_fd, &u->spec.outside.netns_cookie);
	return 0;
}

/* Does that device name the underlay back? A macvlan's parent names none: it can not be gone while
 * the macvlan is there, and a MAC of its own is all that tells the two apart. */
static bool is_peer(const struct underlay *u, const struct link *there, int32_t us)
{
	if (there->ifindex != u->link.peer_ifindex)
		return false;
	if (u->spec.kind == KIND_MACVLAN)
		return memcmp(there->mac, u->link.mac, sizeof(there->mac));
	return !strcmp(there->kind, "veth") && there->peer_nsid == us &&
	       there->peer_ifindex == u->link.ifindex;
}

/* Is that device there really the other end? An index may have been given away meanwhile. */
static int check_peer(struct edge *e, const struct underlay *u, struct error *err)
{
	_cleanup_fd int there = u->peer_fd < 0 ? -1 : nl_open(u->peer_fd, NETLINK_ROUTE);
	int rtnl = u->peer_fd < 0 ? e->home_rtnl : there;
	struct links l;
	int32_t us = -1;
	int r = links_read(rtnl, &l, err);
	bool found = false;

	if (r)
		return r;
	nsid_of(rtnl, e->place->netns_fd, &us);
	for (size_t i = 0; i < l.n; i++)
		found |= is_peer(u, &l.links[i], us);
	links_free(&l);
	return found ? 0
		     : SAY(err, -ESTALE, NULL, "the other end of %s is being changed",
			   quote(u->link.name));
}

static void note_audit(const struct cgroup_ref *c, bool audit, void *arg)
{
	bool *has = arg;

	has[audit] = true;
}

static uint32_t guard_flags(const struct edge *e)
{
	bool has[2] = { false }; /* enforced, audited */
	uint32_t flags = 0;

	e->place->calls->each_workload(e->place->owner, note_audit, has);
	for (size_t i = 0; i < e->n_rules; i++)
		if (e->rules[i].key.kind == ADDRESS_ENDPOINT && !is_mapped(e->rules[i].key.address))
			flags |= GUARD_IPV6;
	if (has[true] && !has[false])
		flags |= GUARD_AUDIT;
	if (e->place->config->bootstrap.n)
		flags |= GUARD_BOOTSTRAP_HOSTS;
	if (e->place->config->endpoint_process)
		flags |= GUARD_PROCESS;
	return flags;
}

static enum guard_kind kind_of(const struct edge *e, const struct link *link)
{
	enum link_place place = link_place(link);

	return e->weak		       ? KIND_HOST
	       : place == LINK_MACVLAN ? KIND_MACVLAN
	       : place == LINK_IPVLAN  ? KIND_IPVLAN
				       : KIND_VETH;
}

static void fill_spec(struct edge *e, struct underlay *u)
{
	struct guard_spec *s = &u->spec;

	s->inside = (struct device) { e->place->netns_fd, (uint32_t)e->place->netns_ino,
				      e->place->netns_cookie, u->link.ifindex };
	s->kind = kind_of(e, &u->link);
	s->levels = e->weak ? *e->place->levels : 0;
	s->flags = guard_flags(e);
	/* there, of which of them? endpoints do */
	s->listen_port = htons(e->is_wireguard && !e->weak ? e->wireguard.listen_port : 0);
	s->n_addresses = u->link.n_addresses;
	memcpy(s->mac, u->link.mac, sizeof(s->mac));
	memset(s->addresses, 0, sizeof(s->addresses));
	memcpy(s->addresses, u->link.addresses, u->link.n_addresses * sizeof(s->addresses[0]));
}

static bool same_device(const struct link *a, const struct link *b)
{
	return a->ifindex == b->ifindex && a->peer_ifindex == b->peer_ifindex &&
	       a->peer_nsid == b->peer_nsid;
}

static bool same_record(const struct guard_spec *a, const struct guard_spec *b)
{
	return a->flags == b->flags && a->levels == b->levels && a->listen_port == b->listen_port &&
	       a->n_addresses == b->n_addresses && !memcmp(a->mac, b->mac, sizeof(a->mac)) &&
	       !memcmp(a->addresses, b->addresses, sizeof(a->addresses));
}

static bool add_present(struct edge *e, const struct link *link)
{
	if (e->n_present == UNDERLAYS)
		return false;
	e->present[e->n_present++] = (struct underlay) { .link = *link, .peer_fd = -1 };
	return true;
}

static void note_present(struct edge *e, const struct links *l, const struct link *link)
{
	bool is_tunnel = !strcmp(link->name, e->place->config->interface);
	enum link_place place = link_place(link);

	if (place == LINK_INSIDE)
		return;
	if (e->weak) { /* as many as there is room for: it can not be all that counts */
		if (link->type == ARPHRD_ETHER && !is_tunnel)
			add_present(e, link);
	} else if (place != LINK_UNGUARDABLE) {
		if (!add_present(e, link))
			snprintf(e->unguardable, sizeof(e->unguardable),
				 "more than %d interfaces lead out", UNDERLAYS);
	} else if (!is_tunnel && !edge_leaves_here(e, l, link)) { /* nor here, if it was moved */
		snprintf(e->unguardable, sizeof(e->unguardable),
			 "interface %s (%s) leads out and can not be guarded", quote(link->name),
			 *link->kind ? quote(link->kind) : "hardware");
	}
}

static int read_present(struct edge *e, struct error *err)
{
	struct links l;
	int r = links_read(e->rtnl, &l, err);

	if (r)
		return r;
	e->n_present = 0;
	e->unguardable[0] = '\0';
	for (size_t i = 0; i < l.n; i++)
		note_present(e, &l, &l.links[i]);
	links_free(&l);
	return 0;
}

static struct underlay *find_underlay(struct underlay *u, size_t n, const struct link *link)
{
	for (size_t i = 0; i < n; i++)
		if (same_device(&u[i].link, link))
			return &u[i];
	return NULL;
}

/* ------ reading and completing ------ */

/* Is what leads out what is guarded? What else changed about it is written down, and costs no
 * lease. */
static int follow_present(struct edge *e, struct error *err)
{
	for (size_t i = 0; i < e->n_present; i++) {
		const struct link *link = &e->present[i].link;
		const struct underlay *u = find_underlay(e->known, e->n, link);

		if (!u || strcmp(u->link.name, link->name))
			return SAY(err, -ESTALE, NULL, "interface %s is new%s", quote(link->name),
				   u ? " by name" : "");
	}
	if (e->n_present != e->n)
		return SAY(err, -ESTALE, NULL, "an interface that led out is gone");
	for (size_t i = 0; i < e->n_present; i++) {
		struct underlay *u = find_underlay(e->known, e->n, &e->present[i].link);
		struct guard_spec was = u->spec;
		int r;

		u->link = e->present[i].link;
		fill_spec(e, u);
		if (same_record(&was, &u->spec))
			continue;
		r = guard_put(e->place->guards, &u->spec, err);
		if (r)
			return r;
		edge_exceptions(e);
	}
	return e->complete && *e->unguardable ? SAY(err, -ESTALE, NULL, "%s", e->unguardable) : 0;
}

int edge_read(struct edge *e, bool lease_lives, struct error *err)
{
	int r;

	if (lease_lives && !e->n && !e->n_learned)
		edge_adopt_learned(e);
	edge_find_vpn(e);
	edge_ask_wireguard(e);
	edge_write_endpoints(e);
	edge_follow_endpoints(e);
	r = read_present(e, err);
	r = r ? r : follow_present(e, err);
	if (r) {
		e->complete = false;
		return r;
	}
	return e->complete ? edge_verify(e, err) : SAY(err, -ESTALE, NULL, "not all is in place");
}

/* Where no edge stops every packet socket. */
static void deny_packets(const struct cgroup_ref *c, bool audit, void *arg)
{
	struct edge *e = arg;

	if (c && !audit && gate_deny_packets(e->place->gate, c))
		e->denied = false;
}

static void deny_packets_of_all(struct edge *e)
{
	e->denied = true;
	e->place->calls->each_workload(e->place->owner, deny_packets, e);
}

static const struct underlay *weakest(const struct edge *e)
{
	const struct underlay *u = &e->known[0];

	for (size_t i = 1; i < e->n; i++)
		if (e->known[i].spec.kind > u->spec.kind)
			u = &e->known[i];
	return e->n ? u : NULL;
}

/* What somebody with rights in the netns can do past this guard, and what helps. Said anew when it
 * is another. */
static void note_weakness(struct edge *e)
{
	const struct underlay *u = weakest(e);
	char said[sizeof(e->weakness)];

	snprintf(said, sizeof(said), "%s", e->weakness);
	e->weakness[0] = '\0';
	if (e->weak || (u && u->spec.kind != KIND_VETH))
		deny_packets_of_all(e);
	if (e->weak)
		snprintf(e->weakness, sizeof(e->weakness),
			 "degraded: in the host's netns the kernel's own answers, forwarding, %s "
			 "pass (give VPN and workload a netns of their own%s)",
			 e->denied ? "and foreign sockets"
				   : "foreign sockets and packet sockets past the qdisc",
			 e->denied ? "" : "; or start the kernel with bpf in lsm=");
	else if (u)
		link_weakness(e->weakness, sizeof(e->weakness), &u->link);
	if (*e->weakness && strcmp(said, e->weakness))
		log_line(LOG_LEVEL_WARNING, "tunnel '%s': guard weak: %s",
			 e->place->config->interface, e->weakness);
}

void edge_workloads_changed(struct edge *e)
{
	if (!e || !e->complete)
		return;
	edge_exceptions(e);
	note_weakness(e);
}

void edge_bound(struct edge *e, const struct cgroup_ref *c, bool audit)
{
	if (e && e->complete && *e->weakness)
		deny_packets(c, audit, e);
	edge_sweep(e);
}

int edge_verify(struct edge *e, struct error *err)
{
	const char *which;

	for (size_t i = 0; i < e->n; i++)
		if (guard_check(e->place->guards, &e->known[i].spec, &which)) {
			e->complete = false;
			edge_forget(e);
			return SAY(err, -ESTALE, NULL, "%s is off interface %s, or not the first",
				   which, quote(e->known[i].link.name));
		}
	return edge_hear_witness(e, err);
}

static int guard_underlay(struct edge *e, struct underlay *u, bool is_new, struct error *err)
{
	int r = 0;

	u->spec.kind = kind_of(e, &u->link);
	if (is_new && (u->spec.kind == KIND_VETH || u->spec.kind == KIND_MACVLAN)) {
		r = find_peer(e, u, err);
		r = r ? r : check_peer(e, u, err);
	}
	fill_spec(e, u);
	return r ? r : guard_put(e->place->guards, &u->spec, err);
}

/* Also after a failure, which is the first one's: the others are guarded all the same. */
static int guard_present(struct edge *e, struct error *err)
{
	struct guards *guards = e->place->guards;
	struct underlay was[UNDERLAYS];
	size_t n_was = e->n;
	int result = 0;

	memcpy(was, e->known, sizeof(was));
	e->n = 0;
	for (size_t i = 0; i < e->n_present; i++) {
		const struct link *link = &e->present[i].link;
		struct underlay *u = &e->known[e->n], *before = find_underlay(was, n_was, link);
		struct error why;
		int r;

		*u = before ? *before : e->present[i];
		u->link = *link;
		if (before)
			before->link.ifindex = 0; /* taken over */
		r = guard_underlay(e, u, !before, &why);
		if (r && !before) { /* gone half-way: its record and its pins go too */
			guard_lost(guards, &u->spec, false);
			u->peer_fd = close_fd(u->peer_fd);
		} else {
			e->n++;
		}
		if (r && !result) {
			result = r;
			*err = why;
		}
	}
	for (size_t i = 0; i < n_was; i++)
		if (was[i].link.ifindex) {
			guard_lost(guards, &was[i].spec, true);
			close_fd(was[i].peer_fd);
		}
	return result;
}

/* Once more: it may have changed while it was guarded. */
static int confirm_present(struct edge *e, struct error *err)
{
	int r = read_present(e, err);

	if (r)
		return r;
	for (size_t i = 0; i < e->n_present; i++)
		if (!find_underlay(e->known, e->n, &e->present[i].link))
			return SAY(err, -ESTALE, NULL, "the links are changing");
	if (*e->unguardable)
		return SAY(err, -EOPNOTSUPP, "use a bridge network (veth), or guard = off", "%s",
			   e->unguardable);
	return edge_verify(e, err);
}

int edge_complete(struct edge *e, struct error *err)
{
	int r;

	edge_forget(e);
	r = guard_present(e, err);
	edge_exceptions(e); /* also then: what was taken back is so at once */
	if (r)
		return r;
	note_weakness(e);
	r = confirm_present(e, err);
	e->complete = !r;
	if (!r)
		edge_sweep(e);
	return r;
}

void edge_device_gone(struct edge *e)
{
	struct error err;

	if (!e)
		return;
	uapi_stop(e->uapi); /* what it still says is of the device that is gone */
	e->uapi = NULL;
	e->was_asked = false;
	if (!e->is_wireguard)
		return;
	e->is_wireguard = false; /* its endpoints stay: a new one will find its server there */
	for (size_t i = 0; i < e->n; i++) {
		fill_spec(e, &e->known[i]);
		if (guard_put(e->place->guards, &e->known[i].spec, &err))
			e->complete = false;
	}
}

/* ------ for status ------ */

struct edge_state edge_state(const struct edge *e)
{
	return (struct edge_state) { .complete = e->complete,
				     .host = e->weak,
				     .closed = edge_is_closed(e),
				     .open = e->open,
				     .weakness = e->weakness };
}

const char *edge_why(const struct edge *e)
{
	if (edge_is_closed(e))
		return "";
	return *vpn_why(e->vpn) ? vpn_why(e->vpn) : *e->wireguard_why ? e->wireguard_why : e->why;
}

size_t edge_underlays(const struct edge *e, const char **ret_names, size_t max)
{
	size_t n = e->n < max ? e->n : max;

	for (size_t i = 0; i < n; i++)
		ret_names[i] = e->known[i].link.name;
	return n;
}

void edge_drops(const struct edge *e, const struct pins *pins,
		uint64_t ret_dropped[VPNLEASH_REASON_MAX])
{
	memset(ret_dropped, 0, sizeof(*ret_dropped) * VPNLEASH_REASON_MAX);
	for (size_t i = 0; i < e->n; i++)
		counters_add_guard(pins, guard_slot(e->place->guards, &e->known[i].spec),
				   ret_dropped);
}

bool edge_has_slot(const struct edge *e, unsigned int slot)
{
	for (size_t i = 0; i < e->n; i++)
		if (guard_slot(e->place->guards, &e->known[i].spec) == slot)
			return true;
	return false;
}

struct confined {
	const struct edge *edge;
	char (*ret)[256];
	size_t n, max;
};

static int note_confined(const struct netns_process *p, void *arg)
{
	struct confined *c = arg;
	const struct edge *e = c->edge;

	const char *container = e->place->calls->container_at(e->place->owner, p->cgroup);
	const char *who = container ? container : p->cgroup;

	if ((e->vpn_cgroup.level && cgroup_is_below(p->cgroup, e->vpn_cgroup.path)) ||
	    place_is_leashed(e->place, p->cgroup))
		return 0;
	/* A program that an engine starts in a container (its health check, too) is in the netns
	 * for some milliseconds before it is in the container's cgroup. */
	if (!container && process_is_new(p->pid))
		return 0;
	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->ret[i], who, sizeof(c->ret[0]) - 1))
			return 0;
	snprintf(c->ret[c->n++], sizeof(c->ret[0]), "%.255s", who);
	return c->n == c->max;
}

size_t edge_also_confined(const struct edge *e, char (*ret)[256], size_t max)
{
	struct confined c = { .edge = e, .ret = ret, .max = max };

	netns_processes(e->place->netns_ino, note_confined, &c);
	return c.n;
}
