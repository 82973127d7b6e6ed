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

#define WIRE_NAME_SIZE 256 /* of a name that is asked for, with its NUL */

/* How a target is probed. */
enum wire_way {
	WIRE_ICMP = 1, /* an echo request by a raw socket */
	WIRE_DNS = 2,  /* a question by a connected UDP socket */
	WIRE_TCP = 3,  /* a TCP socket that is connecting already: one probe, and its WIRE_SET asks
			  it */
};

enum wire_op {
	WIRE_READY = 1,	 /* from prober, once: value is 0, or the errno at which it gave up */
	WIRE_SET = 2,	 /* to prober, with one socket by SCM_RIGHTS: value is the IPv4 address */
	WIRE_ASK = 3,	 /* to prober: send the probe of that number now */
	WIRE_DROP = 4,	 /* to prober: close its sockets and forget */
	WIRE_SEEN = 5,	 /* from prober: value is the boot time in ns at which the answer came in */
	WIRE_FAILED = 6, /* from prober: value is why the probe of that number failed */
};

#define WIRE_RCODE \
	4096 /* WIRE_FAILED: up to here an errno, and from here on what a resolver said */

struct wire {
	uint32_t op;	 /* enum wire_op */
	uint32_t target; /* the daemon's number for a tunnel's probe; any value */
	uint64_t value;	 /* as the op says, else 0; an address is in network byte order */
	uint32_t number; /* of the probe: WIRE_ASK, _SEEN, _FAILED, and _SET of WIRE_TCP; else 0 */
	uint32_t way;	 /* enum wire_way, of WIRE_SET; else 0 */
	char name[WIRE_NAME_SIZE]; /* WIRE_SET of WIRE_DNS: the name to ask for; else empty */
};
_Static_assert(sizeof(struct wire) == 24 + WIRE_NAME_SIZE, "no padding: every byte of it travels");

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

/* A question: header, the longest name, type and class. */
#define WIRE_QUESTION_SIZE (12 + 255 + 4)

/*
 * The question for the address of a name ("." is the root), and its length; 0: it is no name. The
 * echo's id is the question's, and its token says which letters are capitals: an answer has the
 * same ones, and who has not read the question guesses both.
 */
size_t wire_question(const char *name, const struct wire_echo *echo,
		     uint8_t ret[WIRE_QUESTION_SIZE]);

/* Is that the answer to this question, byte by byte? What it is answered with is not read. Its
 * response code, or -EBADMSG. */
int wire_answer_parse(const void *buf, size_t len, const uint8_t *question, size_t n);

/* Of an answer to a question of n bytes: the first address in it, through whatever aliases. 0, or
 * -EBADMSG: it is malformed, or there is none of a host elsewhere. */
int wire_answer_address(const void *buf, size_t len, size_t n, struct in_addr *ret);

/* The last so many probes can still be answered, for 10 s, each once: at five a second all of
 * them. */
#define WIRE_WINDOW    64
#define WIRE_WINDOW_NS 10000000000ULL

struct wire_window {
	struct wire_probe {
		struct wire_echo echo;
		uint32_t number;  /* the daemon's */
		uint64_t sent_ns; /* boot time; 0: not sent, or answered */
	} probes[WIRE_WINDOW];
};

void wire_window_sent(struct wire_window *w, const struct wire_echo *echo, uint32_t number,
		      uint64_t sent_ns);

/* Is this, come in at t_ns (boot time), the first answer to a probe of the window? Strikes it. */
bool wire_window_answered(struct wire_window *w, const struct wire_echo *echo, uint64_t t_ns,
			  uint32_t *ret_number);

/* The same of an answer to a question for that name: its response code, or -EBADMSG. */
int wire_window_named(struct wire_window *w, const char *name, const void *buf, size_t len,
		      uint64_t t_ns, uint32_t *ret_number);
