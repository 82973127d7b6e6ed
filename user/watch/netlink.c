/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two sockets: `events` is subscribed and only read; `requests` asks and gets its answer at once,
 * since rtnetlink works in the context of the asker. Subscribed first, asked then: whatever the
 * answer does not show yet lies in `events`. And since a batch is read to its end before READY is
 * told, no message older than an answer can make a link look ready.
 */
#include "watch/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>

#include "base/nl.h"

/* 500 unread link toggles overflow the default. */
#define EVENTS_RCVBUF (4 << 20)

struct watch_netlink {
	int events, requests;
	char name[IFNAMSIZ];
	char route[INET6_ADDRSTRLEN]; /* empty: none */
	int route_family;
	struct in6_addr route_address; /* or an in_addr in its first bytes */
	struct link_identity link;     /* ifindex 0: no device of that name */
	bool route_stale;	       /* something arrived that may have changed the lookup */
	bool blind;
	bool others_changed;
	enum input told;
	watch_tell tell;
	void *owner;
};

bool link_is_tunnel(uint16_t type, const char *kind)
{
	/* These take the type of what is beneath them, or have none, and still are an underlay. */
	static const char *const underlays[] = { "bond",    "team", "veth",    "netkit",
						 "macvlan", "vlan", "macvtap", "ipvlan",
						 "ipvtap",  "wwan", "rmnet" };

	/* Every virtual device has a kind; a modem (qmi_wwan, raw IP) is ARPHRD_NONE without. */
	if (!*kind)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(underlays); i++)
		if (!strcmp(kind, underlays[i]))
			return false;
	switch (type) {
	case ARPHRD_NONE:
	case ARPHRD_PPP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
	case ARPHRD_RAWIP:
		return true;
	case ARPHRD_ETHER:
		return !strcmp(kind, "tun"); /* tap */
	default:
		return false;
	}
}

int link_parse(const struct nlmsghdr *nlh, struct link_identity *ret)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *in, *name = NULL, *kind = NULL;
	struct rtnl_link_stats64 stats = { 0 };
	struct link_identity link = { 0 };

	if (!nl_has(nlh, sizeof(*ifi)) || ifi->ifi_index <= 0)
		return -EBADMSG;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) == IFLA_IFNAME)
			name = attr;
		if (mnl_attr_get_type(attr) == IFLA_STATS64) /* it grows with the kernel */
			memcpy(&stats, mnl_attr_get_payload(attr),
			       MIN(sizeof(stats), mnl_attr_get_payload_len(attr)));
		if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
			mnl_attr_for_each_nested(in, attr)
				if (mnl_attr_get_type(in) == IFLA_INFO_KIND)
					kind = in;
	}
	if (!name || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0 ||
	    (kind && mnl_attr_validate(kind, MNL_TYPE_NUL_STRING) < 0))
		return -EBADMSG;
	link.ifindex = (uint32_t)ifi->ifi_index;
	link.flags = ifi->ifi_flags;
	link.type = ifi->ifi_type;
	link.rx_packets = stats.rx_packets;
	link.tx_packets = stats.tx_packets;
	/* A kind may be longer, in a module that nobody here knows: then its beginning. */
	snprintf(link.kind, sizeof(link.kind), "%s", kind ? mnl_attr_get_str(kind) : "");
	if ((size_t)snprintf(link.name, sizeof(link.name), "%s", mnl_attr_get_str(name)) >=
		    sizeof(link.name) ||
	    !*link.name)
		return -EBADMSG;
	*ret = link;
	return 0;
}

int route_parse(const struct nlmsghdr *nlh, uint32_t *ret_oif)
{
	return nlh->nlmsg_type == RTM_NEWROUTE &&
			       nl_u32(nlh, sizeof(struct rtmsg), RTA_OIF, ret_oif)
		       ? 0
		       : -EBADMSG;
}

struct link_answer {
	struct link_identity link;
	int r; /* of the parsing; -EBADMSG: no such message came */
};

static int note_link(const struct nlmsghdr *nlh, void *arg)
{
	struct link_answer *a = arg;

	a->r = nlh->nlmsg_type == RTM_NEWLINK ? link_parse(nlh, &a->link) : -EBADMSG;
	return MNL_CB_OK;
}

/* By name, or by ifindex where name is NULL. */
static int ask_link(struct watch_netlink *w, const char *name, uint32_t ifindex,
		    struct link_identity *ret)
{
	struct nl_question q;
	struct ifinfomsg *ifi = nl_begin(&q, RTM_GETLINK, 0, sizeof(*ifi));
	struct link_answer a = { .r = -EBADMSG };
	int r;

	ifi->ifi_index = (int)ifindex;
	if (name)
		mnl_attr_put_strz(&q.head, IFLA_IFNAME, name);
	r = nl_ask(w->requests, &q.head, note_link, &a);
	if (r == 0)
		r = a.r;
	if (r < 0)
		return r;
	/* v5.5: the kernel finds a device by its alternative names too. */
	if (name && strcmp(name, a.link.name))
		return -ENODEV;
	*ret = a.link;
	return 0;
}

struct route_answer {
	uint32_t oif;
	int r;
};

static int note_route(const struct nlmsghdr *nlh, void *arg)
{
	struct route_answer *a = arg;

	a->r = route_parse(nlh, &a->oif);
	return MNL_CB_OK;
}

static int ask_route(const struct watch_netlink *w, int family, const void *address,
		     uint32_t *ret_oif)
{
	struct nl_question q;
	struct rtmsg *rt = nl_begin(&q, RTM_GETROUTE, 0, sizeof(*rt));
	size_t size = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
	struct route_answer a = { .r = -EBADMSG };
	int r;

	rt->rtm_family = (unsigned char)family;
	rt->rtm_dst_len = (unsigned char)(size * 8);
	mnl_attr_put(&q.head, RTA_DST, size, address);
	r = nl_ask(w->requests, &q.head, note_route, &a);
	if (r == 0)
		r = a.r;
	if (r == 0)
		*ret_oif = a.oif;
	return r;
}

/* On change only. An ifindex can not change without a GONE in between. */
static __attribute__((format(printf, 4, 5))) void netlink_tell(struct watch_netlink *w,
							       enum input what, uint32_t ifindex,
							       const char *format, ...)
{
	struct evidence e = { .what = what, .ifindex = ifindex, .seen_ns = now_boot_ns() };
	va_list ap;

	if (w->told == what)
		return;
	va_start(ap, format);
	vsnprintf(e.detail, sizeof(e.detail), format, ap);
	va_end(ap);
	w->told = what;
	w->tell(w->owner, &e);
}

static void netlink_go_blind(struct watch_netlink *w, int r)
{
	w->others_changed = true;
	w->blind = true;
	netlink_tell(w, IN_BLIND, w->link.ifindex, "rtnetlink: %s", strerror(-r));
}

static bool link_is_up(const struct link_identity *link)
{
	return (link->flags & (IFF_UP | IFF_LOWER_UP)) == (IFF_UP | IFF_LOWER_UP);
}

/* The device of our name is now this one. Hard evidence is told at once, good news by
 * netlink_settle(). */
static void link_is(struct watch_netlink *w, const struct link_identity *link)
{
	const char *kind = *link->kind ? link->kind : "physical device";

	if (w->link.ifindex && w->link.ifindex != link->ifindex)
		netlink_tell(w, IN_LINK_GONE, w->link.ifindex, "%s is another device", w->name);
	w->link = *link;
	w->route_stale = true;
	if (!link_is_tunnel(link->type, link->kind))
		netlink_tell(w, IN_LINK_WRONG, link->ifindex, "%s is a%s %s", w->name,
			     strchr("aeiou", *kind) ? "n" : "", kind);
	else if (!link_is_up(link))
		netlink_tell(w, IN_LINK_DOWN, link->ifindex, "%s %s", w->name,
			     link->flags & IFF_UP ? "has no carrier" : "is down");
}

static void link_is_gone(struct watch_netlink *w, const char *how)
{
	uint32_t ifindex = w->link.ifindex;

	memset(&w->link, 0, sizeof(w->link));
	netlink_tell(w, IN_LINK_GONE, ifindex, "%s %s", w->name, how);
}

/* What is told at the end of a batch: the route, looked up once, and only if it could matter. */
static void netlink_settle(struct watch_netlink *w)
{
	uint32_t oif = w->link.ifindex;
	struct link_identity other;
	int r = 0;

	if (w->blind || !w->route_stale || !link_is_up(&w->link) ||
	    !link_is_tunnel(w->link.type, w->link.kind))
		return;
	if (*w->route)
		r = ask_route(w, w->route_family, &w->route_address, &oif);
	w->route_stale = false;
	if (r < 0) {
		netlink_tell(w, IN_ROUTE_LOST, w->link.ifindex, "no route to %s", w->route);
	} else if (oif == w->link.ifindex) {
		netlink_tell(w, IN_LINK_READY, oif, "%s is up", w->name);
	} else if (w->told != IN_ROUTE_LOST) { /* the name costs a question: once */
		r = ask_link(w, NULL, oif, &other);
		netlink_tell(w, IN_ROUTE_LOST, w->link.ifindex, "%s goes by %s", w->route,
			     r < 0 ? "another interface" : other.name);
	}
}

/* Ask for everything. A name is one device or none, so no dump is needed. */
static void read_present(struct watch_netlink *w)
{
	struct link_identity link;
	int r = ask_link(w, w->name, 0, &link);

	if (r == 0)
		link_is(w, &link);
	else if (r == -ENODEV)
		link_is_gone(w, "is gone");
	else
		netlink_go_blind(w, r);
	netlink_settle(w);
}

static int on_message(struct watch_netlink *w, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct link_identity link;
	int r;

	/*
	 * Routes, rules, addresses, nexthops: what they say is not followed, but asked. Another
	 * link counts as well: one that goes down takes its routes along without a word.
	 */
	w->route_stale = true;
	if (nlh->nlmsg_type == RTM_NEWADDR || nlh->nlmsg_type == RTM_DELADDR)
		w->others_changed = true;
	if (nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
		return 0;
	w->others_changed = true;
	/* A bridge announces its ports in this group as well, and their end as RTM_DELLINK. */
	if (nl_has(nlh, sizeof(*ifi)) && ifi->ifi_family != AF_UNSPEC)
		return 0;
	r = link_parse(nlh, &link);
	if (r < 0)
		return r;
	if (nlh->nlmsg_type == RTM_DELLINK) {
		if (link.ifindex == w->link.ifindex)
			link_is_gone(w, "is gone");
	} else if (!strcmp(link.name, w->name)) {
		if (link.ifindex == w->link.ifindex && !*link.kind) /* wireless events have none */
			memcpy(link.kind, w->link.kind, sizeof(link.kind));
		link_is(w, &link);
	} else if (link.ifindex == w->link.ifindex) {
		link_is_gone(w, "was renamed");
	}
	return 0;
}

/* Follow what was told to us; whatever is not understood ends in blindness, never in a guess. */
static void netlink_follow(struct watch_netlink *w)
{
	_Alignas(struct nlmsghdr) char buf[NL_MESSAGE_SIZE];

	for (int i = 0; i < WATCH_BOUND; i++) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		ssize_t n = nl_receive(w->events, buf, sizeof(buf));
		int left = (int)n, r = n < 0 ? (int)n : 0;

		if (r == -EAGAIN)
			return netlink_settle(w);
		for (; r == 0 && left > 0; nlh = mnl_nlmsg_next(nlh, &left))
			if ((r = on_message(w, nlh)) < 0)
				break;
		if (r < 0)
			return netlink_go_blind(w, r);
	}
	netlink_go_blind(w, -ENOBUFS);
}

/*
 * After an overflow the newest messages are the lost ones, so those still queued must not be
 * believed after the present state has been read: throw away all, then ask.
 */
static void netlink_recover(struct watch_netlink *w)
{
	for (int i = 0; i < WATCH_BOUND; i++) {
		if (recv(w->events, NULL, 0, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
			w->blind = false;
			return read_present(w);
		}
	}
}

int watch_netlink_ready(struct watch_netlink *w)
{
	if (!w->blind)
		netlink_follow(w);
	if (w->blind)
		netlink_recover(w);
	return w->blind ? -ENOBUFS : 0;
}

int watch_netlink_reread(struct watch_netlink *w)
{
	int r = watch_netlink_ready(w);

	if (r < 0)
		return r;
	read_present(w);
	return w->blind ? -ENOBUFS : w->told == IN_LINK_READY ? 0 : -ENOLINK;
}

int watch_netlink_fd(const struct watch_netlink *w)
{
	return w->events;
}

bool watch_netlink_leads(const struct watch_netlink *w, struct in_addr to)
{
	uint32_t oif;

	return !ask_route(w, AF_INET, &to, &oif) && oif == w->link.ifindex;
}

int watch_netlink_identity(const struct watch_netlink *w, struct link_identity *ret)
{
	if (!w->link.ifindex)
		return -ENODEV;
	*ret = w->link;
	return 0;
}

/* Also what a lookup depends on: rules, addresses (a deleted one takes routes along), nexthops. */
static int netlink_subscribe(int fd)
{
	static const int groups[] = { RTNLGRP_LINK,	   RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
				      RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,  RTNLGRP_IPV4_IFADDR,
				      RTNLGRP_IPV6_IFADDR, RTNLGRP_NEXTHOP };
	int size = EVENTS_RCVBUF;

	/* A member that is not bound, see nl_open(), would hear nothing: its port is 0, the
	 * sender, who is skipped. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		return -errno;
	for (const int *g = groups; g < groups + ARRAY_SIZE(groups); g++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, g, sizeof(*g)) < 0)
			return -errno;
	return 0;
}

int watch_netlink_start(struct watch_netlink **ret, int netns_fd, const char *ifname,
			const char *route, watch_tell tell, void *owner, struct error *err)
{
	int family = route && strchr(route, ':') ? AF_INET6 : AF_INET, r;
	struct in6_addr address = { 0 };
	struct watch_netlink *w;

	if (!*ifname || strlen(ifname) >= sizeof(w->name))
		return fail(err, ERROR_INPUT, -EINVAL, "1 to 15 bytes", "interface '%s'", ifname);
	if (route && inet_pton(family, route, &address) != 1)
		return fail(err, ERROR_INPUT, -EINVAL, "IPv4 or IPv6 address", "route '%s'", route);
	w = calloc(1, sizeof(*w));
	if (!w)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "watch interface '%s'", ifname);
	*w = (struct watch_netlink) {
		.route_family = family, .route_address = address, .tell = tell, .owner = owner
	};
	strcpy(w->name, ifname);
	if (route)
		inet_ntop(family, &address, w->route, sizeof(w->route));
	w->events = nl_open(netns_fd, NETLINK_ROUTE);
	w->requests = nl_open(netns_fd, NETLINK_ROUTE);
	r = w->events < 0     ? w->events
	    : w->requests < 0 ? w->requests
			      : netlink_subscribe(w->events);
	if (r < 0) {
		watch_netlink_stop(w);
		return fail(err, ERROR_PRIVILEGE, r, "needs CAP_SYS_ADMIN and CAP_NET_ADMIN",
			    "open rtnetlink to watch interface '%s'", ifname);
	}
	read_present(w);
	*ret = w;
	return 0;
}

bool watch_netlink_others_changed(struct watch_netlink *w)
{
	bool changed = w->others_changed;

	w->others_changed = false;
	return changed;
}

void watch_netlink_stop(struct watch_netlink *w)
{
	if (!w)
		return;
	w->events = close_fd(w->events);
	w->requests = close_fd(w->requests);
	free(w);
}
