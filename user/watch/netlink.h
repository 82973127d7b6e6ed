/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches one tunnel's link and route in one network namespace through rtnetlink.
 *
 * Tells, on change only:
 *   IN_LINK_READY  a tunnel of that name is up, and the route (if asked for) resolves to it
 *   IN_LINK_GONE   deleted, moved to another netns, renamed, or the name went to another device
 *   IN_LINK_WRONG  the device of that name is no tunnel: `ip link set eth0 name wg0` opens nothing
 *   IN_LINK_DOWN   there, and not up or without carrier
 *   IN_ROUTE_LOST  up, and the route resolves elsewhere or nowhere
 *   IN_BLIND       messages were lost or make no sense; the present state follows as soon as it is
 *                  known, told anew even if it is what it was before
 * Of several that hold at once the first in the order GONE, WRONG, DOWN, ROUTE_LOST is told. GONE,
 * WRONG and DOWN are decided from the kernel's message alone and told before the next one is read;
 * a link that bounced while nobody looked is told as DOWN and READY, for the bounce is a fact.
 * Interface names in `detail` are as the kernel has them: unescaped.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/watch.h"

struct nlmsghdr;
struct watch_netlink;

/* What makes a device this device, as last read. */
struct link_identity {
	uint32_t ifindex;
	uint32_t flags;			 /* IFF_* */
	uint16_t type;			 /* ARPHRD_* */
	char name[16];			 /* IFNAMSIZ */
	char kind[16];			 /* "tun", "wireguard"; empty: none, as with hardware */
	uint64_t rx_packets, tx_packets; /* that it has carried, as the kernel counts */
};

/*
 * `route` is an IPv4 or IPv6 literal that must resolve through the tunnel, or NULL. Tells the
 * present state before it returns. Both sockets are opened in the netns and kept (see netns.h).
 */
int watch_netlink_start(struct watch_netlink **ret, int netns_fd, const char *ifname,
			const char *route, watch_tell tell, void *owner, struct error *err);
void watch_netlink_stop(struct watch_netlink *w); /* NULL is fine */

int watch_netlink_fd(const struct watch_netlink *w);

/* The fd is readable. 0, or -ENOBUFS while blind: call again, or reread, to see again. */
int watch_netlink_ready(struct watch_netlink *w);

/*
 * Before each renewal, and about once a second in any state: reads what lies unread, then link and
 * route anew, synchronously (2 questions to the kernel). 0: READY, and that is the present truth;
 * -ENOLINK: not READY, the evidence is told; -ENOBUFS: blind, likewise told.
 */
int watch_netlink_reread(struct watch_netlink *w);

/* Was anything said of other links or of addresses since it was asked last? */
bool watch_netlink_others_changed(struct watch_netlink *w);

/* Does the route to that address, asked for now, lead by the tunnel? */
bool watch_netlink_leads(const struct watch_netlink *w, struct in_addr to);

/* -ENODEV: there is no device of that name. */
int watch_netlink_identity(const struct watch_netlink *w, struct link_identity *ret);

/*
 * Pure parts, for the tests. The messages' nlmsg_len has been checked against the buffer.
 * link_parse() and route_parse(): 0, -EBADMSG (truncated, no name, a name that is too long).
 */
bool link_is_tunnel(uint16_t type, const char *kind);
int link_parse(const struct nlmsghdr *nlh, struct link_identity *ret);
int route_parse(const struct nlmsghdr *nlh, uint32_t *ret_oif);
