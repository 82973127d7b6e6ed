/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See edge.h. */
#include "core/edge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if_arp.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "act/guard.h"
#include "base/netns.h"
#include "base/privilege.h"
#include "core/state.h"
#include "out/report.h"
#include "watch/process.h"
#include "watch/underlay.h"
#include "watch/wireguard.h"

#define UNDERLAYS     32
#define RULES	      (2 * RULES_ENDPOINTS + 2 * WIREGUARD_PEERS + RULES_HOSTS + 2 * LEARNED)
#define LEARNED	      16
#define SOCKETS	      1024
#define EXCEPTIONS    512
#define RECENT_NS     (5 * NS_PER_SEC) /* a socket that was used so lately is in use */
#define BOOTSTRAP_NS  (3 * NS_PER_SEC) /* so long without a daemon; looked at once a second */
#define USERSPACE_DIR "/run/wireguard"

/* A sentence that says all, without errno's. Names in it are as the kernel has them: it goes into
 * why_detail, which is escaped where it leaves. */
#define SAY(err, r, remedy, ...) (fail(err, EXIT_FAILURE_, 0, remedy, __VA_ARGS__), (r))

struct underlay {
	struct link link;
	struct guard_spec spec;
	int peer_fd; /* of the netns of its other end, -1: ours */
};

struct edge {
	struct tunnel *tunnel;
	struct guards *guards;
	/* ours, where the host's ends of veths mostly are */
	int home_fd, home_rtnl;
	uint32_t home_ino;
	uint64_t home_cookie;
	/* in the guarded netns */
	int rtnl, genl, diag;

	size_t n, n_present;
	struct underlay known[UNDERLAYS];   /* guarded */
	struct underlay present[UNDERLAYS]; /* as last read */
	bool weak;			    /* the host's netns */
	bool denied;			    /* there: no workload gets a packet socket */
	char unguardable[160];		    /* a link that leads out and has no end; or "" */
	bool complete;

	struct wireguard wireguard;
	bool is_wireguard;
	size_t n_learned;
	struct vpn_endpoint learned[LEARNED]; /* from the VPN's sockets, at the last grant */
	size_t n_rules;
	struct address_rule rules[RULES];

	struct cgroup_ref vpn; /* level 0: not known */
	pid_t vpn_pid;	       /* a process of it, as last seen; 0: none */
	int observers[4];
	bool open;
	char why[256];
};

static struct daemon *daemon_of(const struct edge *e)
{
	return e->tunnel->daemon;
}

static bool is_mapped(const uint8_t address[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

	return !memcmp(address, mapped, sizeof(mapped));
}

/* ------ open, close ------ */

static bool wants_guard(const struct tunnel *t)
{
	return !t->config.guard_off;
}

static void stop_observing(struct edge *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->observers); i++)
		close_fd(&e->observers[i]);
	memset(e->observers, -1, sizeof(e->observers));
}

static void forget(struct underlay *u)
{
	if (u->peer_fd >= 0)
		close_fd(&u->peer_fd);
}

void edge_close(struct edge *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++)
		forget(&e->known[i]);
	stop_observing(e);
	if (e->vpn.level)
		close_fd(&e->vpn.fd);
	close_fd(&e->home_fd);
	close_fd(&e->home_rtnl);
	close_fd(&e->rtnl);
	close_fd(&e->genl);
	close_fd(&e->diag);
	free(e);
}

int edge_open(struct edge **ret, struct tunnel *t, struct error *err)
{
	struct edge *e;
	int r;

	*ret = NULL;
	if (!wants_guard(t))
		return 0;
	for (size_t i = 0; i < t->daemon->n_tunnels; i++) {
		const struct tunnel *other = t->daemon->tunnels[i];

		if (other != t && other->edge && !other->edge->weak &&
		    other->netns_cookie == t->netns_cookie)
			return SAY(err, -EBUSY, "one tunnel for each netns, or guard = off",
				   "the netns is guarded for tunnel %s", other->config.name);
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "guard the netns");
	e->tunnel = t;
	e->guards = t->daemon->guards;
	e->home_fd = -1;
	memset(e->observers, -1, sizeof(e->observers));
	e->home_rtnl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	e->rtnl = netns_socket(t->netns_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	e->genl = netns_socket(t->netns_fd, AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	e->diag = netns_socket(t->netns_fd, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	r = netns_open("host", &e->home_fd, err);
	if (!r && (e->home_rtnl < 0 || e->rtnl < 0 || e->genl < 0 || e->diag < 0))
		r = fail(err, EXIT_FAILURE_, -EMFILE, NULL, "open netlink to guard '%s'",
			 t->config.netns);
	if (r) {
		edge_close(e);
		return r;
	}
	e->home_ino = (uint32_t)netns_ino(e->home_fd);
	e->weak = e->home_ino == (uint32_t)t->netns_ino; /* whatever it is called */
	/* before v5.14 there is none, and nothing there asks for it: clsact hands over the slot */
	netns_cookie(e->home_fd, &e->home_cookie);
	*ret = e;
	return 0;
}

/* ------ what leads out ------ */

struct by_nsid {
	int rtnl;
	int32_t nsid;
	int fd;
};

static int has_nsid(int netns_fd, void *arg)
{
	struct by_nsid *b = arg;
	int32_t nsid;

	if (nsid_of(b->rtnl, netns_fd, &nsid) || nsid != b->nsid)
		return 0;
	b->fd = netns_fd;
	return 1;
}

/* The netns of the other end: ours in the usual case, else somebody's that can be found. */
static int find_peer(struct edge *e, struct underlay *u, struct error *err)
{
	struct by_nsid b = { .rtnl = e->rtnl, .nsid = u->link.peer_nsid, .fd = -1 };
	int32_t ours;

	u->peer_fd = -1;
	if (!nsid_of(e->rtnl, e->home_fd, &ours) && ours == u->link.peer_nsid) {
		u->spec.outside =
			(struct device) { -1, e->home_ino, e->home_cookie, u->link.peer_ifindex };
		return 0;
	}
	privilege_long_work(true); /* all of /proc */
	netns_each(has_nsid, &b);
	privilege_long_work(false);
	if (b.fd < 0)
		return SAY(err, -ENOENT,
			   "start vpnleash in the netns of the host or of that engine",
			   "interface %s: the netns of its other end can not be reached",
			   u->link.name);
	u->peer_fd = b.fd;
	u->spec.outside =
		(struct device) { b.fd, (uint32_t)netns_ino(b.fd), 0, u->link.peer_ifindex };
	netns_cookie(b.fd, &u->spec.outside.netns_cookie);
	return 0;
}

/* Is that device there really the other end? An index may have been given away meanwhile. */
static int check_peer(struct edge *e, const struct underlay *u, struct error *err)
{
	_cleanup_fd int there =
		u->peer_fd < 0 ? -1 : netns_socket(u->peer_fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	int rtnl = u->peer_fd < 0 ? e->home_rtnl : there;
	struct links l;
	int32_t us = -1;
	int r = links_read(rtnl, &l, err);
	bool found = false;

	if (r)
		return r;
	nsid_of(rtnl, e->tunnel->netns_fd, &us);
	for (size_t i = 0; i < l.n; i++)
		found |= l.links[i].ifindex == u->link.peer_ifindex &&
			 !strcmp(l.links[i].kind, "veth") && l.links[i].peer_nsid == us &&
			 l.links[i].peer_ifindex == u->link.ifindex;
	links_free(&l);
	return found ? 0
		     : SAY(err, -ESTALE, NULL, "the other end of %s is being changed",
			   u->link.name);
}

static uint32_t guard_flags(const struct edge *e)
{
	const struct daemon *d = daemon_of(e);
	uint32_t flags = 0;
	bool audit = false;

	for (size_t i = 0; i < d->n_members; i++)
		if (d->members[i]->tunnel == e->tunnel)
			audit = d->members[i]->audit;
	for (size_t i = 0; i < e->n_rules; i++)
		if (e->rules[i].key.kind == ADDRESS_ENDPOINT && !is_mapped(e->rules[i].key.address))
			flags |= GUARD_IPV6;
	if (audit)
		flags |= GUARD_AUDIT;
	if (e->tunnel->config.bootstrap.n)
		flags |= GUARD_BOOTSTRAP_HOSTS;
	return flags;
}

static void fill_spec(struct edge *e, struct underlay *u)
{
	struct guard_spec *s = &u->spec;

	s->inside = (struct device) { e->tunnel->netns_fd, (uint32_t)e->tunnel->netns_ino,
				      e->tunnel->netns_cookie, u->link.ifindex };
	s->weak = e->weak;
	s->levels = 0;
	for (size_t i = 0; e->weak && i < daemon_of(e)->n_members; i++) {
		const struct member *m = daemon_of(e)->members[i];
		const struct cgroup_ref *c = m->cgroup ? watch_cgroup_ref(m->cgroup) : NULL;

		if (m->tunnel == e->tunnel && c && c->level < 16)
			s->levels |= 1U << c->level;
	}
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

static int read_present(struct edge *e, struct error *err)
{
	struct links l;
	int r = links_read(e->rtnl, &l, err);

	if (r)
		return r;
	e->n_present = 0;
	e->unguardable[0] = '\0';
	for (size_t i = 0; i < l.n; i++) {
		const struct link *link = &l.links[i];

		if (e->weak) { /* as many as there is room for: it can not be all that counts */
			if (link_place(link) != LINK_INSIDE && link->type == ARPHRD_ETHER &&
			    e->n_present < UNDERLAYS &&
			    strcmp(link->name, e->tunnel->config.interface))
				e->present[e->n_present++] =
					(struct underlay) { .link = *link, .peer_fd = -1 };
			continue;
		}
		switch (link_place(link)) {
		case LINK_INSIDE:
			break;
		case LINK_GUARDABLE:
			if (e->n_present < UNDERLAYS)
				e->present[e->n_present++] =
					(struct underlay) { .link = *link, .peer_fd = -1 };
			else
				snprintf(e->unguardable, sizeof(e->unguardable),
					 "more than %d interfaces lead out", UNDERLAYS);
			break;
		case LINK_UNGUARDABLE:
			if (!strcmp(link->name, e->tunnel->config.interface))
				break; /* the tunnel: its outer packets leave elsewhere */
			snprintf(e->unguardable, sizeof(e->unguardable),
				 "interface %s (%s) leads out and can not be guarded", link->name,
				 *link->kind ? link->kind : "hardware");
			break;
		}
	}
	links_free(&l);
	return 0;
}

static int all_guardable(const struct edge *e, struct error *err)
{
	return *e->unguardable
		       ? SAY(err, -EOPNOTSUPP, "use a bridge network (veth), or guard = off", "%s",
			     e->unguardable)
		       : 0;
}

static const struct underlay *find_known(const struct edge *e, const struct link *link)
{
	for (size_t i = 0; i < e->n; i++)
		if (same_device(&e->known[i].link, link))
			return &e->known[i];
	return NULL;
}

/* ------ endpoints ------ */

static void add_rule(struct edge *e, enum address_kind kind, uint8_t protocol, uint16_t port,
		     const uint8_t address[16], unsigned int prefix, enum endpoint_source source)
{
	if (e->n_rules < RULES)
		address_rule(&e->rules[e->n_rules++], e->tunnel->netns_cookie, kind, protocol, port,
			     address, prefix, true, source);
}

static void add_endpoint(struct edge *e, uint8_t protocol, uint16_t port, const uint8_t address[16],
			 unsigned int prefix, enum endpoint_source source)
{
	add_rule(e, ADDRESS_ENDPOINT, protocol, port, address, prefix, source);
	add_rule(e, ADDRESS_HOST, protocol, 0, address, prefix, source);
}

/* A process that is stopped does not answer: then what it said last still holds. */
static void ask_wireguard(struct edge *e)
{
	struct tunnel *t = e->tunnel;
	struct link_identity link;
	struct wireguard w = { 0 };
	char dir[64];
	int r = -ENODEV;

	if (watch_netlink_identity(t->link, &link))
		return; /* no tunnel: a new one will find its server where the old one was */
	if (!strcmp(link.kind, "wireguard"))
		r = wireguard_kernel(e->genl, link.ifindex, &w);
	else if (e->vpn_pid) { /* of a container: the socket is in its file system */
		snprintf(dir, sizeof(dir), "/proc/%d/root" USERSPACE_DIR, e->vpn_pid);
		r = wireguard_userspace(dir, link.name, t->netns_ino, &w);
	}
	if (r && r != -ETIMEDOUT)
		r = wireguard_userspace(USERSPACE_DIR, link.name, t->netns_ino, &w);
	if (!r) {
		e->wireguard = w;
		e->is_wireguard = true;
	}
}

/* The rules of a netns are those of all its tunnels: in the host's there may be several. */
static int publish_endpoints(struct edge *e)
{
	const struct daemon *d = daemon_of(e);
	struct address_rule *all = calloc(d->n_tunnels + 1, sizeof(e->rules));
	size_t n = 0;
	int r = all ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < d->n_tunnels; i++) {
		const struct edge *other = d->tunnels[i]->edge;

		if (other && other != e && d->tunnels[i]->netns_cookie == e->tunnel->netns_cookie) {
			memcpy(all + n, other->rules, other->n_rules * sizeof(*all));
			n += other->n_rules;
		}
	}
	if (!r) {
		memcpy(all + n, e->rules, e->n_rules * sizeof(*all));
		r = guard_rules(e->guards, TRIE_ENDPOINTS, e->tunnel->netns_cookie, all,
				n + e->n_rules);
	}
	free(all);
	return r;
}

static void write_endpoints(struct edge *e)
{
	const struct tunnel_config *c = &e->tunnel->config;
	int r;

	e->n_rules = 0;
	for (size_t i = 0; i < c->endpoints.n; i++) {
		const struct endpoint_rule *p = &c->endpoints.rule[i];

		add_endpoint(e, p->protocol, p->port, p->to.address, p->to.length, FROM_CONFIG);
	}
	for (size_t i = 0; !c->endpoints.n && i < e->wireguard.n; i++) {
		const struct vpn_endpoint *p = &e->wireguard.endpoints[i];

		add_endpoint(e, p->protocol, p->port, p->address, 128, FROM_WIREGUARD);
	}
	for (size_t i = 0; !c->endpoints.n && !e->is_wireguard && i < e->n_learned; i++) {
		const struct vpn_endpoint *p = &e->learned[i];

		add_endpoint(e, p->protocol, p->port, p->address, 128, FROM_SOCKET);
	}
	for (size_t i = 0; i < c->bootstrap.n; i++)
		add_rule(e, ADDRESS_BOOTSTRAP, 0, 0, c->bootstrap.host[i].address,
			 c->bootstrap.host[i].length, FROM_CONFIG);
	r = publish_endpoints(e);
	if (r && may_log(&e->tunnel->log))
		log_line(LOG_LEVEL_ERR, "tunnel '%s': write its endpoints: %s",
			 e->tunnel->config.interface, strerror(-r));
}

static bool has_endpoint(const struct edge *e)
{
	for (size_t i = 0; i < e->n_rules; i++)
		if (e->rules[i].key.kind == ADDRESS_ENDPOINT)
			return true;
	return false;
}

/* What an earlier daemon learnt, while its lease lives. */
static void adopt_learned(struct edge *e)
{
	struct address_rule rules[2 * LEARNED];
	size_t n = guard_rules_read(e->guards, TRIE_ENDPOINTS, e->tunnel->netns_cookie, rules,
				    ARRAY_SIZE(rules));

	for (size_t i = 0; i < n && e->n_learned < LEARNED; i++) {
		struct vpn_endpoint *p = &e->learned[e->n_learned];

		if (rules[i].value.source != FROM_SOCKET || rules[i].key.kind != ADDRESS_ENDPOINT)
			continue;
		*p = (struct vpn_endpoint) { .protocol = rules[i].key.protocol,
					     .port = ntohs(rules[i].key.port) };
		memcpy(p->address, rules[i].key.address, 16);
		e->n_learned++;
	}
}

struct learning {
	struct edge *edge;
	size_t n_sockets;
	struct open_socket *sockets;
	uint64_t now_ns;
};

static void note_socket(const struct open_socket *s, void *arg)
{
	struct learning *l = arg;

	if (l->n_sockets < SOCKETS)
		l->sockets[l->n_sockets++] = *s;
}

/* When the guard last saw something leave on that socket's connection. */
static uint64_t last_left(struct edge *e, const struct open_socket *s)
{
	uint64_t newest = 0;

	for (size_t i = 0; i < e->n; i++) {
		struct flow_key key = { .netns_cookie = e->tunnel->netns_cookie,
					.ifindex = e->known[i].link.ifindex,
					.local_port = htons(s->local_port),
					.remote_port = htons(s->remote_port),
					.protocol = s->protocol,
					.outbound = 1 };
		uint64_t seen;

		memcpy(key.local, s->local, 16);
		memcpy(key.remote, s->remote, 16);
		seen = guard_flow_seen(e->guards, &key);
		newest = seen > newest ? seen : newest;
	}
	return newest;
}

static void learn(const struct observed_key *key, uint64_t at_ns, void *arg)
{
	struct learning *l = arg;
	struct edge *e = l->edge;
	uint16_t port = ntohs(key->port);

	if (e->n_learned == LEARNED || port == 53 || port == 853 ||
	    (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP))
		return;
	for (size_t i = 0; i < l->n_sockets; i++) {
		const struct open_socket *s = &l->sockets[i];
		uint64_t used = at_ns, left;

		if (s->cookie != key->socket_cookie)
			continue;
		left = last_left(e, s);
		used = left > used ? left : used;
		if (l->now_ns - used > RECENT_NS && l->now_ns > used)
			return;
		e->learned[e->n_learned] =
			(struct vpn_endpoint) { .protocol = key->protocol, .port = port };
		memcpy(e->learned[e->n_learned++].address, key->address, 16);
		return;
	}
}

/* Where the VPN's open sockets go that were used just now. */
static void learn_endpoints(struct edge *e)
{
	struct learning l = { .edge = e, .now_ns = now_boot_ns() };

	l.sockets = calloc(SOCKETS, sizeof(*l.sockets));
	if (!l.sockets || sockets_each(e->diag, note_socket, &l)) {
		free(l.sockets);
		return;
	}
	e->n_learned = 0;
	guard_each_observed(e->guards, learn, &l);
	free(l.sockets);
}

/* ------ LAN exceptions ------ */

struct exceptions {
	size_t n;
	struct address_rule rules[EXCEPTIONS];
};

static void except(struct edge *e, struct exceptions *x, enum address_kind kind,
		   const struct allow_rule *a, const uint8_t address[16], unsigned int prefix,
		   bool allowed)
{
	if (x->n < EXCEPTIONS)
		address_rule(&x->rules[x->n++], e->tunnel->netns_cookie, kind, a->protocol, a->port,
			     address, prefix, allowed, FROM_CONFIG);
}

static bool on_link(const struct underlay *u, const uint8_t address[16])
{
	for (size_t i = 0; i < u->link.n_addresses; i++) {
		const struct guard_address *own = &u->link.addresses[i];
		bool same = is_mapped(own->address) && is_mapped(address);

		for (size_t b = 0; same && b < 4; b++)
			same = !((own->address[12 + b] ^ address[12 + b]) & own->prefix_mask[b]);
		if (same)
			return true;
	}
	return false;
}

/* As which the host, and docker-proxy for whoever comes to the host, appear on an underlay. */
static void except_host(struct edge *e, struct exceptions *x, const struct allow_rule *a,
			const struct links *home)
{
	for (size_t u = 0; u < e->n; u++) {
		uint32_t gateway = default_gateway(e->rtnl, e->known[u].link.ifindex);
		uint8_t mapped[16] = { [10] = 0xff, 0xff };

		memcpy(mapped + 12, &gateway, 4);
		if (gateway)
			except(e, x, ADDRESS_REMOTE, a, mapped, 128, a->from_host);
		for (size_t i = 0; i < home->n; i++)
			for (size_t k = 0; k < home->links[i].n_addresses; k++)
				if (on_link(&e->known[u], home->links[i].addresses[k].address))
					except(e, x, ADDRESS_REMOTE, a,
					       home->links[i].addresses[k].address, 128,
					       a->from_host);
	}
}

static void add_exceptions(struct edge *e, struct exceptions *x, const struct allow_rules *allow,
			   const struct links *home)
{
	for (size_t i = 0; i < allow->n; i++) {
		const struct allow_rule *a = &allow->rule[i];

		for (size_t k = 0; k < a->n_from; k++)
			except(e, x, ADDRESS_REMOTE, a, a->from[k].address, a->from[k].length,
			       true);
		except_host(e, x, a, home);
		/* the VPN's server is nobody's LAN client, wherever it is */
		for (size_t k = 0; k < e->n_rules; k++)
			if (e->rules[k].key.kind == ADDRESS_ENDPOINT)
				except(e, x, ADDRESS_REMOTE, a, e->rules[k].key.address,
				       e->rules[k].key.prefixlen - ADDRESS_KEY_BITS, false);
		for (size_t u = 0; u < e->n; u++)
			for (size_t k = 0; k < e->known[u].link.n_addresses; k++)
				if (is_mapped(e->known[u].link.addresses[k].address))
					except(e, x, ADDRESS_OWN, a,
					       e->known[u].link.addresses[k].address, 128, true);
	}
}

void edge_exceptions(struct edge *e)
{
	struct exceptions *x = calloc(1, sizeof(*x));
	const struct daemon *d = daemon_of(e);
	struct links home = { 0 };
	struct error err;

	if (!x || links_read(e->home_rtnl, &home, &err)) {
		free(x);
		return;
	}
	for (size_t i = 0; i < d->n_tunnels; i++)
		if (d->tunnels[i]->netns_cookie == e->tunnel->netns_cookie)
			add_exceptions(e, x, &d->tunnels[i]->config.allow, &home);
	for (size_t i = 0; i < d->n_members; i++)
		if (d->members[i]->tunnel->netns_cookie == e->tunnel->netns_cookie)
			add_exceptions(e, x, &d->members[i]->allow, &home);
	guard_rules(e->guards, TRIE_EXCEPTIONS, e->tunnel->netns_cookie, x->rules, x->n);
	links_free(&home);
	free(x);
}

/* ------ reading and completing ------ */

static void find_vpn(struct edge *e);

int edge_read(struct edge *e, struct error *err)
{
	int r;

	if (!e->n && !e->n_learned)
		adopt_learned(e);
	if (!e->vpn_pid)
		find_vpn(e);
	ask_wireguard(e);
	write_endpoints(e);
	r = read_present(e, err);
	if (r) {
		e->complete = false;
		return r;
	}
	for (size_t i = 0; i < e->n_present; i++) {
		const struct underlay *u = find_known(e, &e->present[i].link);

		if (u && !strcmp(u->link.name, e->present[i].link.name))
			continue;
		e->complete = false;
		return SAY(err, -ESTALE, NULL, "interface %s is new%s", e->present[i].link.name,
			   u ? " by name" : "");
	}
	if (e->n_present != e->n) {
		e->complete = false;
		return SAY(err, -ESTALE, NULL, "an interface that led out is gone");
	}
	/* the same devices: what else changed about them is written down and costs no lease */
	for (size_t i = 0; i < e->n_present; i++) {
		struct underlay *u = (struct underlay *)find_known(e, &e->present[i].link);
		struct guard_spec was = u->spec;

		u->link = e->present[i].link;
		fill_spec(e, u);
		if (same_record(&was, &u->spec))
			continue;
		r = guard_put(e->guards, &u->spec, err);
		if (r) {
			e->complete = false;
			return r;
		}
		edge_exceptions(e);
	}
	if (e->complete && *e->unguardable) {
		e->complete = false;
		return SAY(err, -ESTALE, NULL, "%s", e->unguardable);
	}
	return e->complete ? edge_verify(e, err) : SAY(err, -ESTALE, NULL, "not all is in place");
}

/* In the host's netns, where no edge stops a packet socket. */
static void deny_packets(struct edge *e)
{
	const struct daemon *d = daemon_of(e);

	e->denied = true;
	for (size_t i = 0; i < d->n_members; i++) {
		const struct member *m = d->members[i];
		const struct cgroup_ref *c = m->cgroup ? watch_cgroup_ref(m->cgroup) : NULL;

		if (m->tunnel == e->tunnel && c && m->bound && !m->audit && gate_deny_packets(c))
			e->denied = false;
	}
}

int edge_verify(struct edge *e, struct error *err)
{
	const char *which;

	for (size_t i = 0; i < e->n; i++)
		if (guard_check(e->guards, &e->known[i].spec, &which)) {
			e->complete = false;
			edge_shut(e);
			return SAY(err, -ESTALE, NULL, "%s is off interface %s, or not the first",
				   which, e->known[i].link.name);
		}
	return 0;
}

int edge_complete(struct edge *e, struct error *err)
{
	struct underlay was[UNDERLAYS];
	size_t n_was = e->n;
	int r = 0;

	edge_shut(e);
	memcpy(was, e->known, sizeof(was));
	e->n = 0;
	for (size_t i = 0; i < e->n_present; i++) {
		struct underlay *u = &e->known[e->n], *before = NULL;
		struct error why;
		int failed = 0;

		for (size_t k = 0; k < n_was; k++)
			if (same_device(&was[k].link, &e->present[i].link))
				before = &was[k];
		*u = before ? *before : e->present[i];
		u->link = e->present[i].link;
		if (before)
			before->link.ifindex = 0; /* taken over */
		else if (!e->weak)
			failed = find_peer(e, u, &why);
		if (!failed && !before && !e->weak)
			failed = check_peer(e, u, &why);
		fill_spec(e, u);
		if (!failed)
			failed = guard_put(e->guards, &u->spec, &why);
		if (failed && !before)
			forget(u);
		else
			e->n++;
		if (failed && !r) { /* guard the others all the same */
			r = failed;
			*err = why;
		}
	}
	for (size_t k = 0; k < n_was; k++)
		if (was[k].link.ifindex) {
			guard_lost(e->guards, &was[k].spec);
			forget(&was[k]);
		}
	if (r)
		return r;
	edge_exceptions(e);
	if (e->weak)
		deny_packets(e);
	e->complete = true;
	/* once more: it may have changed while we were at it */
	r = read_present(e, err);
	for (size_t i = 0; !r && i < e->n_present; i++)
		if (!find_known(e, &e->present[i].link))
			r = SAY(err, -ESTALE, NULL, "the links are changing");
	if (!r)
		r = all_guardable(e, err);
	if (!r)
		r = edge_verify(e, err);
	e->complete = !r;
	return r;
}

/* ------ bootstrap ------ */

static bool is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

static bool is_leashed(const struct daemon *d, const char *path)
{
	for (size_t i = 0; i < d->n_members; i++)
		if (is_below(path, d->members[i]->path) || is_below(d->members[i]->path, path))
			return true;
	return false;
}

/* The VPN's cgroup is this one: its sockets may bootstrap, and are watched for endpoints. */
static void vpn_is(struct edge *e, const char *path)
{
	struct cgroup_ref c;
	struct error err;

	if (!strcmp(path, "/") || is_leashed(daemon_of(e), path) ||
	    resolve_cgroup(&daemon_of(e)->root, path, &c, &err))
		return;
	if (e->vpn.level && e->vpn.id == c.id) { /* by its id: one may be made anew */
		close_fd(&c.fd);
		return;
	}
	stop_observing(e);
	if (e->vpn.level)
		close_fd(&e->vpn.fd);
	e->vpn = c;
}

/* Only a VPN that says nowhere else where its server is, and only while it looks for it. */
static void observe(struct edge *e)
{
	struct error err;

	if (e->observers[0] >= 0 || !e->vpn.level || e->is_wireguard ||
	    e->tunnel->config.endpoints.n)
		return;
	if (guard_observe(e->guards, e->vpn.fd, e->observers, &err) && may_log(&e->tunnel->log))
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
}

static int note_vpn(const struct netns_process *p, void *arg)
{
	struct edge *e = arg;

	if (strcmp(p->comm, e->tunnel->config.process))
		return 0;
	e->vpn_pid = p->pid;
	vpn_is(e, p->cgroup);
	return 1;
}

/* All of /proc, however large: not a thing to do in real time. */
static int each_process(const struct edge *e, int (*f)(const struct netns_process *p, void *arg),
			void *arg)
{
	int r;

	privilege_long_work(true);
	r = netns_processes(e->tunnel->netns_ino, f, arg);
	privilege_long_work(false);
	return r;
}

static void find_vpn(struct edge *e)
{
	const struct tunnel_config *c = &e->tunnel->config;
	char path[PATH_MAX], end;
	int pid;

	if (*c->process)
		each_process(e, note_vpn, e);
	else if (sscanf(c->netns, "/proc/%d/ns/ne%c", &pid, &end) == 2 && end == 't' &&
		 !process_cgroup(pid, path)) {
		e->vpn_pid = pid;
		vpn_is(e, path);
	} else if (e->wireguard.pid && !process_cgroup(e->wireguard.pid, path))
		vpn_is(e, path);
}

static bool is_frozen(const struct daemon *d, const char *path)
{
	char events[PATH_MAX + 32], text[128];
	_cleanup_fd int fd = -1;
	ssize_t n;

	snprintf(events, sizeof(events), "%s/cgroup.events", path + 1);
	fd = openat(d->root.fd, events, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "frozen 1");
}

static int find_awake(const struct netns_process *p, void *arg)
{
	struct edge *e = arg;
	bool leashed = is_leashed(daemon_of(e), p->cgroup);
	char comm[64], cgroup[128];

	if ((e->vpn.level && is_below(p->cgroup, e->vpn.path)) ||
	    is_frozen(daemon_of(e), p->cgroup))
		return 0;
	snprintf(e->why, sizeof(e->why), "process '%s' (%d) in cgroup '%.100s' is not frozen%s",
		 escape(comm, sizeof(comm), p->comm), p->pid,
		 escape(cgroup, sizeof(cgroup), p->cgroup),
		 leashed	? ": set on-failure = freeze, or bootstrap = IP,…"
		 : e->vpn.level ? ": leash it, or set bootstrap = IP,…"
				: " and the VPN's cgroup is not known: set process = NAME, or "
				  "bootstrap = IP,…");
	return 1;
}

static void set_bootstrap(struct edge *e, uint64_t until_ns)
{
	e->open = until_ns;
	for (size_t i = 0; i < e->n; i++)
		guard_bootstrap(e->guards, &e->known[i].spec, until_ns,
				e->vpn.level ? e->vpn.id : 0, e->vpn.level);
}

void edge_shut(struct edge *e)
{
	if (e)
		set_bootstrap(e, 0);
}

void edge_bootstrap(struct edge *e)
{
	e->why[0] = '\0';
	if (e->weak) /* the VPN is free there, as everybody is */
		return;
	find_vpn(e);
	observe(e);
	if (!e->complete) {
		snprintf(e->why, sizeof(e->why), "the guard is not complete");
		return edge_shut(e);
	}
	if (!e->tunnel->config.bootstrap.n && each_process(e, find_awake, e) != 0)
		return edge_shut(e);
	set_bootstrap(e, now_boot_ns() + BOOTSTRAP_NS);
}

int edge_settle(struct edge *e, struct error *err)
{
	if (e->weak)
		return 0;
	edge_shut(e);
	if (!e->is_wireguard && !e->tunnel->config.endpoints.n)
		learn_endpoints(e);
	write_endpoints(e);
	stop_observing(e); /* from here on the set does not grow */
	if (!has_endpoint(e))
		return SAY(err, -ENOENT, "set process = NAME of the VPN, or endpoint = IP:PORT/udp",
			   "no endpoint of the VPN is known");
	return 0;
}

/* ------ for status ------ */

bool edge_is_complete(const struct edge *e)
{
	return e->complete;
}

bool edge_is_weak(const struct edge *e)
{
	return e->weak;
}

bool edge_denies_packets(const struct edge *e)
{
	return e->denied;
}

bool edge_is_open(const struct edge *e)
{
	return e->open;
}

const char *edge_why(const struct edge *e)
{
	return e->why;
}

size_t edge_underlays(const struct edge *e, const char **ret_names, size_t max)
{
	size_t n = e->n < max ? e->n : max;

	for (size_t i = 0; i < n; i++)
		ret_names[i] = e->known[i].link.name;
	return n;
}

size_t edge_endpoints(const struct edge *e, char (*ret)[80], size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_rules && n < max; i++) {
		const struct address_key *k = &e->rules[i].key;
		bool v4 = is_mapped(k->address);
		unsigned int prefix = k->prefixlen - ADDRESS_KEY_BITS - (v4 ? 96 : 0);
		char address[INET6_ADDRSTRLEN], length[8] = "";

		if (k->kind != ADDRESS_ENDPOINT)
			continue;
		inet_ntop(v4 ? AF_INET : AF_INET6, k->address + (v4 ? 12 : 0), address,
			  sizeof(address));
		if (prefix != (v4 ? 32 : 128))
			snprintf(length, sizeof(length), "/%u", prefix);
		snprintf(ret[n++], sizeof(ret[0]), "%s%s%s%s:%u/%s", v4 ? "" : "[", address, length,
			 v4 ? "" : "]", ntohs(k->port), k->protocol == IPPROTO_TCP ? "tcp" : "udp");
	}
	return n;
}

void edge_drops(const struct edge *e, uint64_t ret_dropped[VPNLEASH_REASON_MAX])
{
	uint64_t dropped[VPNLEASH_REASON_MAX];

	memset(ret_dropped, 0, sizeof(dropped));
	for (size_t i = 0; i < e->n; i++) {
		report_read_guard_drops(gate_pins(daemon_of(e)->gate),
					guard_slot(e->guards, &e->known[i].spec), dropped);
		for (size_t r = 0; r < VPNLEASH_REASON_MAX; r++)
			ret_dropped[r] += dropped[r];
	}
}

bool edge_has_slot(const struct edge *e, unsigned int slot)
{
	for (size_t i = 0; i < e->n; i++)
		if (guard_slot(e->guards, &e->known[i].spec) == slot)
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

	if ((e->vpn.level && is_below(p->cgroup, e->vpn.path)) ||
	    is_leashed(daemon_of(e), p->cgroup))
		return 0;
	for (size_t i = 0; i < c->n; i++)
		if (!strncmp(c->ret[i], p->cgroup, sizeof(c->ret[0]) - 1))
			return 0;
	snprintf(c->ret[c->n++], sizeof(c->ret[0]), "%.255s", p->cgroup);
	return c->n == c->max;
}

size_t edge_also_confined(const struct edge *e, char (*ret)[256], size_t max)
{
	struct confined c = { .edge = e, .ret = ret, .max = max };

	each_process(e, note_confined, &c);
	return c.n;
}
