/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * WireGuard's own state: which port it listens on and where its peers are. From the kernel by
 * generic netlink, from a user-space implementation by its UAPI socket (uapi.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define WIREGUARD_PEERS 16 /* with an endpoint; a client has one or two */

struct vpn_endpoint {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t protocol;    /* IPPROTO_* */
	uint16_t port;
};

struct wireguard {
	uint16_t listen_port;
	size_t n;
	struct vpn_endpoint endpoints[WIREGUARD_PEERS];
	int64_t handshake_ns; /* the last one's, by the wall clock; 0: none, or a process's */
};

/* Is a link of that kind one that the kernel makes, and asked by generic netlink? Pure. */
bool wireguard_is_kernel(const char *kind);
/* genl_fd: a NETLINK_GENERIC socket of the netns. -ENODEV: no such link of that kind and index. */
int wireguard_kernel(int genl_fd, const char *kind, uint32_t ifindex, struct wireguard *ret);

/* The same, of one message of the answer, added to *w (pure). */
struct nlmsghdr;
void wireguard_told(const struct nlmsghdr *nlh, struct wireguard *w);

/* The text of a user-space implementation's answer (pure). 0 or -EBADMSG. */
int wireguard_parse(char *text, struct wireguard *ret);
