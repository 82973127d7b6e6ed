/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The links of a network namespace, and which of them can carry a frame out of it. Read with a
 * rtnetlink socket that was opened in the namespace (netns_socket()). Names, kinds and addresses
 * are whoever's may set them inside: foreign text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "vpnleash/abi.h"

struct link {
	uint32_t ifindex, flags; /* IFF_* */
	uint16_t type;		 /* ARPHRD_* */
	char name[16], kind[16]; /* kind empty: none, as with hardware */
	uint32_t mode;		 /* of a macvlan or ipvlan: IFLA_*VLAN_MODE */
	uint8_t mac[6];
	uint32_t peer_ifindex; /* IFLA_LINK: a veth's other end, a macvlan's parent; 0: none */
	uint32_t master;       /* the bridge that it is a port of; 0: none */
	bool elsewhere;	       /* in another netns */
	int32_t peer_nsid;     /* that netns' id in this one; -1: it has none */
	size_t n_addresses;
	struct guard_address addresses[VPNLEASH_ADDRESSES]; /* more than these are left out */
};

struct links {
	size_t n;
	struct link *links;
};

/* All links with their addresses, at one moment. 0 or -Exxx. */
int links_read(int rtnl_fd, struct links *ret, struct error *err);
void links_free(struct links *l);

enum link_place {
	LINK_INSIDE,	 /* what goes in comes out in this netns, to leave by another link */
	LINK_GUARDABLE,	 /* a veth whose other end is elsewhere */
	LINK_MACVLAN,	 /* one whose parent is elsewhere, and others' too */
	LINK_IPVLAN,	 /* likewise, with its parent's MAC */
	LINK_UNGUARDABLE /* leads out, and has no end to sit on */
};
/* Pure. A kind that is not known is UNGUARDABLE while it is up. */
enum link_place link_place(const struct link *l);
/* How a guard of that link can be got past, and what helps, in a sentence that begins with its name
 * (quoted); "": in no way that is known. */
void link_weakness(char *buf, size_t size, const struct link *l);

/* OpenVPN's data channel in the kernel: v6.16's, or the module of before. Pure. */
bool openvpn_is_kernel(const char *kind);

/* The id that the socket's netns has for that one: -1, none assigned; nothing of it is seen then.
 */
int nsid_of(int rtnl_fd, int netns_fd, int32_t *ret);
/* The netns of which the socket's has that id, of those that netns_find() finds; -ENOENT. */
int netns_by_nsid(int rtnl_fd, int32_t nsid);

/* IPv4 gateway of a default route by that interface, network order; 0: none. */
uint32_t default_gateway(int rtnl_fd, uint32_t ifindex);
