/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A link taken down and set up again as it was. The kernel forgets what hangs on a link that is
 * down: its routes, in every table, and IPv6's addresses. So they are read before, and told to the
 * kernel afterwards in its own words. Routes that the kernel makes by itself come by themselves.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/nl.h"
#include "drill/failure.h"

#ifndef RTA_NH_ID
#define RTA_NH_ID 30 /* v5.3 */
#endif

/* The last one first: of addresses the kernel lists the newest first. */
static int keep(struct broken *b, const struct nlmsghdr *nlh)
{
	size_t size = NLMSG_ALIGN(nlh->nlmsg_len);
	char *more = realloc(b->saved, b->n_saved + size);

	if (!more)
		return -ENOMEM;
	memmove(more + size, more, b->n_saved);
	memcpy(more, nlh, nlh->nlmsg_len);
	b->saved = more;
	b->n_saved += size;
	return 0;
}

static bool leads_there(const struct nlmsghdr *nlh, uint32_t ifindex)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct rtmsg)) {
		const struct rtnexthop *hop = mnl_attr_get_payload(attr);
		int left = mnl_attr_get_payload_len(attr);

		if (mnl_attr_get_type(attr) != RTA_MULTIPATH)
			continue;
		for (; RTNH_OK(hop, left); left -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
			if ((uint32_t)hop->rtnh_ifindex == ifindex)
				return true;
	}
	return false;
}

/* MNL_CB_ERROR with ENOTUNIQ: it can not be told to the kernel as it is. */
static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(nlh);
	struct broken *b = arg;
	uint32_t oif = 0, nexthop;

	if (route->rtm_protocol == RTPROT_KERNEL || route->rtm_flags & RTM_F_CLONED)
		return MNL_CB_OK;
	nl_u32(nlh, sizeof(*route), RTA_OIF, &oif);
	if (oif != b->ifindex && !leads_there(nlh, b->ifindex))
		return MNL_CB_OK;
	errno = ENOTUNIQ;
	if (oif != b->ifindex || nl_u32(nlh, sizeof(*route), RTA_NH_ID, &nexthop) ||
	    route->rtm_protocol == RTPROT_RA)
		return MNL_CB_ERROR;
	errno = ENOMEM;
	return keep(b, nlh) ? MNL_CB_ERROR : MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *address = mnl_nlmsg_get_payload(nlh);
	struct broken *b = arg;

	if (address->ifa_index != b->ifindex)
		return MNL_CB_OK;
	errno = ENOTUNIQ;
	if (!(address->ifa_flags & IFA_F_PERMANENT))
		return MNL_CB_ERROR;
	errno = ENOMEM;
	return keep(b, nlh) ? MNL_CB_ERROR : MNL_CB_OK;
}

static int dump(struct broken *b, uint16_t type, uint8_t family, size_t head, mnl_cb_t each)
{
	struct nl_question q;
	uint8_t *first = nl_begin(&q, type, NLM_F_DUMP, head); /* of both headers */

	*first = family;
	return nl_ask(b->netlink, &q.head, each, b);
}

int link_save(struct broken *b, struct error *err)
{
	int r = dump(b, RTM_GETADDR, AF_INET6, sizeof(struct ifaddrmsg), on_address);

	r = r < 0 ? r : dump(b, RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), on_route);
	r = r < 0 ? r : dump(b, RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), on_route);
	if (r == -ENOTUNIQ)
		return fail(err, ERROR_ABSENT, 0, NULL,
			    "its routes or addresses could not be put back as they are (several "
			    "ways, or they run out)");
	return r < 0 ? fail(err, ERROR_OTHER, r, NULL, "read its routes") : 0;
}

static int set_link(struct broken *b, unsigned int flags, const char *name)
{
	struct nl_question q;
	struct ifinfomsg *i = nl_begin(&q, RTM_NEWLINK, NLM_F_ACK, sizeof(*i));

	i->ifi_index = (int)b->ifindex;
	if (name)
		mnl_attr_put_strz(&q.head, IFLA_IFNAME, name);
	else
		i->ifi_change = IFF_UP;
	i->ifi_flags = flags;
	return nl_ask(b->netlink, &q.head, NULL, NULL);
}

int link_rename(struct broken *b, const char *name)
{
	return set_link(b, 0, name);
}

int link_down(struct broken *b)
{
	return set_link(b, 0, NULL);
}

static bool has_gateway(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr;
	bool has = false;

	mnl_attr_for_each(attr, nlh, sizeof(struct rtmsg))
		has |= mnl_attr_get_type(attr) == RTA_GATEWAY || mnl_attr_get_type(attr) == RTA_VIA;
	return has;
}

static int tell_again(struct broken *b, struct nlmsghdr *nlh)
{
	struct rtmsg *route = mnl_nlmsg_get_payload(nlh);
	int r;

	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	nlh->nlmsg_pid = 0;
	if (nlh->nlmsg_type == RTM_NEWROUTE)
		route->rtm_flags &= RTNH_F_ONLINK;
	r = nl_ask(b->netlink, nlh, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

int link_up(struct broken *b)
{
	int r = set_link(b, IFF_UP, NULL), left;

	/* a gateway must be on-link: addresses and plain routes come first */
	for (int gateways = 0; !r && gateways < 2; gateways++) {
		struct nlmsghdr *nlh = b->saved;

		for (left = (int)b->n_saved; !r && mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left))
			if ((nlh->nlmsg_type == RTM_NEWROUTE && has_gateway(nlh)) == gateways)
				r = tell_again(b, nlh);
	}
	return r;
}
