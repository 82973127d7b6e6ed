/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN's own need of the underlay before its tunnel exists: what it sends is noted and
 * passes. See edge.h.
 */
#include <errno.h>

#include "edge/edge_internal.h"

#define BOOTSTRAP_NS (3 * NS_PER_SEC) /* so long without a daemon; looked at once a second */

/* 0 or -Exxx: then it may still be open. What was noted is kept. */
static int write_bootstrap(struct edge *e, uint64_t until_ns)
{
	int result = 0;

	e->open = until_ns;
	for (size_t i = 0; i < e->n; i++) {
		int r = guard_bootstrap(
			e->place->guards, &e->known[i].spec, until_ns, e->bootstrap_since_ns,
			e->vpn_cgroup.level ? e->vpn_cgroup.id : 0, e->vpn_cgroup.level);

		result = r ? r : result;
	}
	return result;
}

void edge_forget(struct edge *e)
{
	e->bootstrap_since_ns = 0;
	write_bootstrap(e, 0);
}

void edge_shut(struct edge *e)
{
	if (e && !e->place->config->endpoint_process)
		edge_forget(e);
}

void edge_leashed(struct edge *e, const char *cgroup)
{
	if (e && e->vpn_cgroup.level &&
	    (cgroup_is_below(cgroup, e->vpn_cgroup.path) ||
	     cgroup_is_below(e->vpn_cgroup.path, cgroup)))
		edge_forget(e);
}

/* ------ who the VPN is ------ */

static void vpn_cgroup_is(struct edge *e, const struct cgroup_ref *c)
{
	bool was_known = e->vpn_cgroup.level;

	if (c && was_known && e->vpn_cgroup.id == c->id) { /* the path may be another cgroup's */
		close(c->fd);
		return;
	}
	if (was_known)
		close(e->vpn_cgroup.fd);
	e->vpn_cgroup = c ? *c : (struct cgroup_ref) { .fd = -1 };
	edge_forget(e);	      /* what was noted was another's */
	if (c && e->complete) /* only now can others' sockets be told from the VPN's */
		edge_sweep(e);
}

void edge_find_vpn(struct edge *e)
{
	const char *cgroup = vpn_cgroup(e->vpn);
	struct cgroup_ref c;
	bool known = *cgroup && !place_is_leashed(e->place, cgroup) &&
		     !resolve_cgroup(e->place->root, cgroup, &c, NULL);

	if (known || e->vpn_cgroup.level)
		vpn_cgroup_is(e, known ? &c : NULL);
}

/* ------ open, and shut for a grant ------ */

/* Why the VPN may not use the underlay now; NULL: it may. */
static const char *obstacle(const struct edge *e)
{
	if (!e->complete)
		return "the guard is not complete";
	if (!e->vpn_cgroup.level && !e->place->config->bootstrap.n)
		return "the VPN's cgroup is not known (name it: netns = container:NAME, or process "
		       "= NAME; or set bootstrap = IP,…)";
	return NULL;
}

/* OpenVPN whose data the kernel carries, in packets that are no socket's of the VPN: they are not
 * noted, and would prove nothing. What its process talks to is its server before that. */
static bool is_offloaded(const struct edge *e)
{
	struct link_identity link;

	return !watch_netlink_identity(e->place->link, &link) && openvpn_is_kernel(link.kind);
}

void edge_bootstrap(struct edge *e, bool lease_lives)
{
	bool process = e->place->config->endpoint_process;
	struct error ignored; /* edge_settle() says it */
	const char *why;

	e->why[0] = '\0';
	if (e->weak || edge_is_closed(e)) /* the VPN is free there, as everybody is; or elsewhere */
		return;
	if (lease_lives && !process)
		return;
	edge_find_vpn(e);
	if (e->n_learned || is_offloaded(e)) {
		/* the last VPN's server: from here on only what is noted passes */
		e->n_learned = 0;
		if (is_offloaded(e))
			edge_learn(e, &ignored);
		edge_write_endpoints(e);
		edge_follow_endpoints(e);
	}
	why = obstacle(e);
	if (why) {
		snprintf(e->why, sizeof(e->why), "%s", why);
		return edge_forget(e);
	}
	if (!e->bootstrap_since_ns)
		e->bootstrap_since_ns = now_boot_ns();
	write_bootstrap(e, now_boot_ns() + BOOTSTRAP_NS);
}

static bool has_endpoint(const struct edge *e)
{
	for (size_t i = 0; i < e->n_rules; i++)
		if (e->rules[i].key.kind == ADDRESS_ENDPOINT)
			return true;
	return false;
}

static int no_endpoint(const struct edge *e, struct error *err)
{
	const char *why = *vpn_why(e->vpn) ? vpn_why(e->vpn) : e->wireguard_why;

	if (*why) /* what to do is in there */
		return SAY(err, -ENOENT, NULL, "no endpoint of the VPN is known: %s", why);
	return SAY(
		err, -ENOENT,
		"set endpoint = IP:PORT/udp; or process = NAME of the VPN, if it is not found by "
		"its container",
		"no endpoint of the VPN is known");
}

int edge_settle(struct edge *e, struct error *err)
{
	int r;

	if (e->weak || edge_is_closed(e))
		return 0;
	if (e->place->config->endpoint_process)
		return e->open ? 0 : no_endpoint(e, err);
	if (edge_asks(e) && !e->was_asked && !e->place->config->endpoints.n)
		return SAY(err, -EAGAIN, NULL, "WireGuard is being asked for its peers");
	r = write_bootstrap(e, 0); /* from here on no flow is noted nor answered */
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "shut the edge");
	if (!e->is_wireguard)
		e->wireguard = (struct wireguard) { 0 }; /* a device's that is gone */
	if (!e->is_wireguard && !e->place->config->endpoints.n) {
		r = edge_learn(e, err);
		if (r)
			return r;
	}
	r = edge_write_endpoints(e);
	if (r) /* and what no longer is one may still pass */
		return fail(err, ERROR_OTHER, r, NULL, "write the VPN's endpoints");
	edge_follow_endpoints(e);
	if (!has_endpoint(e))
		return no_endpoint(e, err);
	edge_forget(e);
	return 0;
}
