/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the five files behind prove.h share among themselves. */
#pragma once

#include <errno.h>
#include <sys/socket.h>

#include "base/netns.h"
#include "prove/prove.h"

#define LENGTH_DEFAULT 64
#define LENGTH_MAX     4096
#define KIND_FENCE     0xffff
#define MULTICAST_PORT 6771 /* BEP 14, local service discovery: what a torrent client does send */
#define CAPTURE_BUFFER (64 << 20)
#define REMEDY_ROOT    "needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN; run with sudo"

/* The payload is this, repeated. All in network order. */
struct unit {
	uint64_t marker;
	uint16_t kind;
	uint16_t zero;
	uint32_t sequence;
};
_Static_assert(sizeof(struct unit) == 16 && LENGTH_DEFAULT % 16 == 0, "units fill a payload");

struct shot {
	const struct kind *kind;
	const struct targets *targets;
	int ifindex; /* of the underlay, 0 if it is not there */
	uint16_t port;
	struct sockaddr_storage to;
	socklen_t to_size;
	const void *payload;
	size_t length;
	bool patient; /* a single run may wait a second for its connection */
};

/* Bytes of an address of that family. */
static inline size_t address_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

bool address_equal(const struct address *a, const struct address *b);
/* Fills *ret for bind(), connect(), sendto(); returns its length. */
socklen_t address_socket(const struct address *a, uint16_t port, int ifindex,
			 struct sockaddr_storage *ret);

/* Where packets of that kind go; of family 0 if the targets have no such address. */
const struct address *kind_address(const struct kind *k, const struct targets *t);
/* To where the shot is aimed. */
ssize_t fire_bytes(int fd, const struct shot *s, const void *bytes, size_t length, int flags);

/* An Ethernet frame out of targets.underlay, by a packet socket: IPv4 with UDP to an address; or of
 * that type with anything in it. Bytes or -1 with errno. */
ssize_t frame_send_udp(int fd, const struct targets *t, const struct address *to, uint16_t port,
		       const void *payload, size_t length);
ssize_t frame_send(int fd, const struct targets *t, uint16_t ethertype, const void *body,
		   size_t length);
int frame_past_qdisc(int fd);

/* setsockopt(2): 0 or -Exxx. */
int set_option(int fd, int level, int name, const void *value, socklen_t size);
int set_int(int fd, int level, int name, int value);

/* A non-blocking socket of that netns (-1: ours), or -Exxx. */
static inline int socket_in(int netns_fd, int family, int type, int protocol)
{
	type |= SOCK_NONBLOCK | SOCK_CLOEXEC;
	if (netns_fd < 0) {
		int fd = socket(family, type, protocol);

		return fd < 0 ? -errno : fd;
	}
	return netns_socket(netns_fd, family, type, protocol);
}
