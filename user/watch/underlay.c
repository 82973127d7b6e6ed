/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/underlay.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/netns.h"
#include "base/nl.h"

#define LINKS_MAX 1024
#define RETRIES	  8

enum link_place link_place(const struct link *l)
{
	/* What ends in the netns where it is, and sends what it carries as that netns' own. */
	static const char *const inside[] = {
		"tun",	     "dummy",  "bridge", "ifb",	   "bond",    "team",
		"vrf",	     "ipip",   "sit",	 "gre",	   "gretap",  "erspan",
		"ip6tnl",    "ip6gre", "vti",	 "vti6",   "xfrm",    "ip6gretap",
		"ip6erspan", "vxlan",  "vlan",	 "geneve", "bareudp", "macvlan",
		"macvtap",   "ipvlan", "ipvtap", "ppp",	   "nlmon",   "veth",
	};
	if (l->flags & IFF_LOOPBACK)
		return LINK_INSIDE;
	if (l->elsewhere && l->peer_nsid >= 0 && !strcmp(l->kind, "veth"))
		return LINK_GUARDABLE;
	/* passthru has its parent's own MAC; ipvlan's l3 and l3s go round the hooks that are used
	 */
	if (l->elsewhere && l->peer_nsid >= 0 && !strcmp(l->kind, "macvlan") &&
	    (l->mode == MACVLAN_MODE_PRIVATE || l->mode == MACVLAN_MODE_VEPA ||
	     l->mode == MACVLAN_MODE_BRIDGE))
		return LINK_MACVLAN;
	if (l->elsewhere && !strcmp(l->kind, "ipvlan") && l->mode == IPVLAN_MODE_L2)
		return LINK_IPVLAN;
	for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
		if (!strcmp(l->kind, inside[i]))
			return l->elsewhere ? LINK_UNGUARDABLE : LINK_INSIDE;
	/* hardware, netkit, whatever is invented next; a WireGuard or OpenVPN of the kernel's
	 * beside the tunnel, which do not tell where their packets leave. What is down sends
	 * nothing. */
	return l->flags & IFF_UP ? LINK_UNGUARDABLE : LINK_INSIDE;
}

bool openvpn_is_kernel(const char *kind)
{
	return !strcmp(kind, "ovpn") || !strncmp(kind, "ovpn-dco", 8);
}

void link_weakness(char *buf, size_t size, const struct link *l)
{
	switch (link_place(l)) {
	case LINK_MACVLAN:
		snprintf(buf, size,
			 "%s (macvlan) has a parent that others use too: who has CAP_NET_ADMIN in "
			 "the netns gets past its guard, who has CAP_NET_RAW to other macvlans of "
			 "that parent (give both to the VPN alone; or use a bridge network)",
			 quote(l->name));
		return;
	case LINK_IPVLAN:
		snprintf(buf, size,
			 "%s (ipvlan) has its parent's MAC, and can be guarded inside alone: who "
			 "has CAP_NET_RAW or CAP_NET_ADMIN in the netns gets past its guard (give "
			 "both to the VPN alone, cap_drop: [NET_RAW]; or use macvlan or a bridge "
			 "network)",
			 quote(l->name));
		return;
	default:
		*buf = '\0';
	}
}

static void copy_text(char to[16], const struct nlattr *attr)
{
	snprintf(to, 16, "%.*s", (int)mnl_attr_get_payload_len(attr),
		 (const char *)mnl_attr_get_payload(attr));
}

/* Both kinds have the mode as the first of their attributes. */
static void read_kind(struct link *link, const struct nlattr *info)
{
	const struct nlattr *attr, *data = NULL;

	_Static_assert(IFLA_MACVLAN_MODE == 1 && IFLA_IPVLAN_MODE == 1, "");
	link->mode = UINT32_MAX;
	mnl_attr_for_each_nested(attr, info) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			copy_text(link->kind, attr);
		if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (!data || (strcmp(link->kind, "macvlan") && strcmp(link->kind, "ipvlan")))
		return;
	mnl_attr_for_each_nested(attr, data) {
		if (mnl_attr_get_type(attr) != 1)
			continue;
		if (!mnl_attr_validate(attr, MNL_TYPE_U32))
			link->mode = mnl_attr_get_u32(attr);
		else if (!mnl_attr_validate(attr, MNL_TYPE_U16))
			link->mode = mnl_attr_get_u16(attr);
	}
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct links *l = arg;
	const struct nlattr *attr;
	struct link *link;

	if (!nl_has(nlh, sizeof(*ifi))) /* skipped, it would be a way out without a guard */
		return MNL_CB_ERROR;
	if (nlh->nlmsg_type != RTM_NEWLINK || ifi->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	if (l->n == LINKS_MAX) {
		errno = E2BIG;
		return MNL_CB_ERROR;
	}
	link = &l->links[l->n++];
	*link = (struct link) { .ifindex = (uint32_t)ifi->ifi_index,
				.flags = ifi->ifi_flags,
				.type = ifi->ifi_type,
				.peer_nsid = -1 };
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			copy_text(link->name, attr);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(attr) == sizeof(link->mac))
				memcpy(link->mac, mnl_attr_get_payload(attr), sizeof(link->mac));
			break;
		case IFLA_LINK:
			if (!mnl_attr_validate(attr, MNL_TYPE_U32))
				link->peer_ifindex = mnl_attr_get_u32(attr);
			break;
		case IFLA_MASTER:
			if (!mnl_attr_validate(attr, MNL_TYPE_U32))
				link->master = mnl_attr_get_u32(attr);
			break;
		case IFLA_LINK_NETNSID:
			link->elsewhere = true; /* also where it has no id */
			if (!mnl_attr_validate(attr, MNL_TYPE_U32))
				link->peer_nsid = (int32_t)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			read_kind(link, attr);
			break;
		}
	}
	return MNL_CB_OK;
}

static void add_address(struct link *link, uint8_t family, uint8_t prefix, const void *bytes)
{
	struct guard_address *a;

	if (link->n_addresses == ARRAY_SIZE(link->addresses))
		return;
	a = &link->addresses[link->n_addresses++];
	a->prefix = family == AF_INET ? 96 + prefix : prefix;
	map_address(a->address, family, bytes);
}

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *address = NULL;
	struct links *l = arg;

	if (!nl_has(nlh, sizeof(*ifa)))
		return MNL_CB_ERROR;
	if (nlh->nlmsg_type != RTM_NEWADDR ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*ifa)) {
		/* IFA_ADDRESS is the other end's where there is one */
		if (mnl_attr_get_type(attr) == IFA_LOCAL ||
		    (mnl_attr_get_type(attr) == IFA_ADDRESS && !address))
			address = attr;
	}
	if (!address || mnl_attr_get_payload_len(address) != (ifa->ifa_family == AF_INET ? 4 : 16))
		return MNL_CB_OK;
	for (size_t i = 0; i < l->n; i++)
		if (l->links[i].ifindex == ifa->ifa_index)
			add_address(&l->links[i], ifa->ifa_family, ifa->ifa_prefixlen,
				    mnl_attr_get_payload(address));
	return MNL_CB_OK;
}

static int dump_netns(int fd, uint16_t type, mnl_cb_t each, void *arg)
{
	struct nl_question q;

	nl_begin(&q, type, NLM_F_DUMP,
		 type == RTM_GETLINK	? sizeof(struct ifinfomsg)
		 : type == RTM_GETROUTE ? sizeof(struct rtmsg)
					: sizeof(struct ifaddrmsg));
	return nl_ask(fd, &q.head, each, arg);
}

int links_read(int rtnl_fd, struct links *ret, struct error *err)
{
	struct links l = { .links = calloc(LINKS_MAX, sizeof(*l.links)) };
	int r = l.links ? -EINTR : -ENOMEM;

	/* EINTR: something changed while the kernel told it */
	for (int i = 0; r == -EINTR && i < RETRIES; i++) {
		l.n = 0;
		r = dump_netns(rtnl_fd, RTM_GETLINK, on_link, &l);
		if (!r)
			r = dump_netns(rtnl_fd, RTM_GETADDR, on_address, &l);
	}
	if (r) {
		links_free(&l);
		return fail(err, ERROR_OTHER, r, NULL, "read the links of the netns");
	}
	*ret = l;
	return 0;
}

void links_free(struct links *l)
{
	free(l->links);
	*l = (struct links) { 0 };
}

static int on_nsid(const struct nlmsghdr *nlh, void *arg)
{
	nl_u32(nlh, sizeof(struct rtgenmsg), NETNSA_NSID, arg);
	return MNL_CB_OK;
}

int nsid_of(int rtnl_fd, int netns_fd, int32_t *ret)
{
	struct nl_question q;

	nl_begin(&q, RTM_GETNSID, 0, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(&q.head, NETNSA_FD, (uint32_t)netns_fd);
	*ret = -1;
	return nl_ask(rtnl_fd, &q.head, on_nsid, ret);
}

struct by_nsid {
	int rtnl;
	int32_t nsid;
};

static bool has_nsid(int netns_fd, void *arg)
{
	const struct by_nsid *b = arg;
	int32_t nsid;

	return !nsid_of(b->rtnl, netns_fd, &nsid) && nsid == b->nsid;
}

int netns_by_nsid(int rtnl_fd, int32_t nsid)
{
	return netns_find(has_nsid, &(struct by_nsid) { rtnl_fd, nsid });
}

struct gateway {
	uint32_t ifindex, address;
};

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	uint32_t oif, gateway;
	struct gateway *g = arg;

	if (!nl_has(nlh, sizeof(*rt)) || rt->rtm_family != AF_INET || rt->rtm_dst_len ||
	    rt->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	if (nl_u32(nlh, sizeof(*rt), RTA_OIF, &oif) && oif == g->ifindex &&
	    nl_u32(nlh, sizeof(*rt), RTA_GATEWAY, &gateway) && gateway)
		g->address = gateway;
	return MNL_CB_OK;
}

uint32_t default_gateway(int rtnl_fd, uint32_t ifindex)
{
	struct gateway g = { .ifindex = ifindex };

	return dump_netns(rtnl_fd, RTM_GETROUTE, on_route, &g) ? 0 : g.address;
}
