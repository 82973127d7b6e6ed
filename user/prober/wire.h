/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What travels between daemon and prober, and between prober and the world: pure encode and parse.
 * Both sides of the daemon's socketpair treat what they read as hostile; a record is one datagram
 * of fixed size. Nothing here knows descriptors or clocks.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_op {
	WIRE_READY = 1, /* from prober, once: value is 0, or the errno at which it gave up */
	WIRE_SET = 2,	/* to prober, with one socket by SCM_RIGHTS: value is the IPv4 address */
	WIRE_ASK = 3,	/* to prober: send one probe now */
	WIRE_DROP = 4,	/* to prober: close the socket and forget */
	WIRE_SEEN = 5,	/* from prober: value is the boot time in ns at which the answer came in */
};

struct wire {
	uint32_t op;	 /* enum wire_op */
	uint32_t target; /* the daemon's number for a tunnel's probe; any value */
	uint64_t value;	 /* as the op says, else 0; an address is in network byte order */
};
_Static_assert(sizeof(struct wire) == 16, "no padding: every byte of it travels");

/* 0, or -EBADMSG for any size, op or value that no honest other side would send. */
int wire_parse(const void *buf, size_t len, struct wire *ret);

#define WIRE_TOKEN_SIZE 8
/* ICMP header and token. An answer is this and the IP header, to the byte. */
#define WIRE_ECHO_SIZE (8 + WIRE_TOKEN_SIZE)

struct wire_echo {
	uint16_t id, seq; /* host byte order */
	uint8_t token[WIRE_TOKEN_SIZE];
};

void wire_echo_request(const struct wire_echo *echo, uint8_t ret[WIRE_ECHO_SIZE]);

/*
 * An IPv4 packet as a raw ICMP socket returns it. 0: an echo reply from `from`, well-formed,
 * unfragmented, of exactly our length, and its checksum is right (raw sockets get a packet before
 * the kernel has verified that); -EBADMSG otherwise.
 */
int wire_echo_parse(const void *buf, size_t len, struct in_addr from, struct wire_echo *ret);

#define WIRE_WINDOW    8	      /* the last so many probes can still be answered, */
#define WIRE_WINDOW_NS 10000000000ULL /* for 10 s, each once */

struct wire_window {
	struct wire_probe {
		struct wire_echo echo;
		uint64_t sent_ns; /* boot time; 0: not sent, or answered */
	} probes[WIRE_WINDOW];
};

void wire_window_sent(struct wire_window *w, const struct wire_echo *echo, uint64_t sent_ns);

/* Is this, come in at t_ns (boot time), the first answer to a probe of the window? Strikes it. */
bool wire_window_answered(struct wire_window *w, const struct wire_echo *echo, uint64_t t_ns);
