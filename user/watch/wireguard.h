/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * WireGuard's own state: which port it listens on and where its peers are. From the kernel by
 * generic netlink, from a user-space implementation by its UAPI socket.
 */
#ifndef VPNLEASH_WIREGUARD_H
#define VPNLEASH_WIREGUARD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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
	pid_t pid; /* of the user-space implementation, 0: the kernel, or not known */
};

/* genl_fd: a NETLINK_GENERIC socket of the netns. -ENODEV: no kernel WireGuard of that index. */
int wireguard_kernel(int genl_fd, uint32_t ifindex, struct wireguard *ret);
/*
 * DIR/IFNAME.sock. Whoever answers must be a process of the netns with that inode: the directory
 * is shared between netns. diag_fd: a NETLINK_SOCK_DIAG socket of it, -1: none, which finds one
 * that forked as well (ret->pid is 0 then). -ENOENT: no socket; -EXDEV: somebody else's;
 * -ETIMEDOUT: it does not answer within 50 ms, as a stopped process never does.
 */
int wireguard_userspace(const char *dir, const char *ifname, uint64_t netns_ino, int diag_fd,
			struct wireguard *ret);

/* Pure part, for the tests: the text of an answer. 0 or -EBADMSG. */
int wireguard_parse(char *text, struct wireguard *ret);

#endif
