/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sender and the capture behind every leak proof: leak tests, demo, drill, verify.
 *
 * A run has one random marker. A *sender* is a child process in the workload's cgroup and network
 * namespace that sends every *kind* of packet a program could try to get past its tunnel. A
 * *capture* counts, at another place, which kinds arrived. A *fence* is a packet that must arrive:
 * once the capture has seen it, what was sent before it has been seen as well or never will be.
 * "Seen 0" means something only if a control run has seen the kind, the fence came through and the
 * capture lost no frame; the last two are errors here, the first is the caller's to run.
 *
 * The marker is looked for in clear. A test bed whose tunnel does not encrypt shows it on the
 * underlay, and that is counted as the leak it is.
 *
 * IPv6 addresses of the client must be past duplicate address detection ("ip addr add … nodad"):
 * a tentative address sends nothing, and the control sees nothing.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/child.h"
#include "base/util.h"

#define KINDS_LIMIT  64	  /* a set of kinds is a uint64_t, bit i for kind i */
#define STRAYS_LIMIT 16	  /* distinct unrecognised flows that a capture remembers */
#define FENCE_LIMIT  1024 /* tokens of one fence and address family, one for each CPU */

struct address {
	int family; /* AF_INET, AF_INET6; 0: not given */
	uint8_t bytes[16];
};

/* What a run sends to. Filled by the caller, read by sender and capture; never changes in a run.
 * Ports are in host order. */
struct targets {
	uint64_t marker;	   /* from targets_init(); in every payload */
	uint16_t port;		   /* kind i goes to port + i (multicast: to 6771) */
	struct address outside[2]; /* IPv4, IPv6: beyond the tunnel, routed as the netns routes */
	struct address onlink[2];  /* IPv4, IPv6: a neighbour on the underlay */
	struct address fence[2];   /* IPv4, IPv6: where fences go; mostly equal to onlink */
	uint16_t fence_port;	   /* 0: port; the VPN's where a guard drops all else */
	bool frames;		   /* fences from a packet socket, past no route or firewall … */
	bool past_qdisc;	   /* … nor the qdisc: past a guard inside */
	uint8_t next_hop[6];	   /* to where packet sockets send */
	uint16_t endpoint_port;	   /* UDP to it, unmarked, is the VPN's own; 0: none */
	char underlay[IFNAMSIZ];   /* name in the client's netns */
};

/* A random marker and the port that follows from it, everything else "not given". 0 or -Exxx. */
int targets_init(struct targets *t, struct error *err);

/* Numeric address of that family (0: either). 0 or -EINVAL. */
int address_parse(const char *text, int family, struct address *ret);

/* ---- kinds ---- */

enum destination { TO_OUTSIDE, TO_ONLINK, TO_MULTICAST, TO_BROADCAST };

/* From which socket the sender fires: every other packet from one of its own and from one that is
 * kept for the whole run, so that both old and new sockets are tried; or only one of the two. */
enum socket_life { LIFE_BOTH, LIFE_FRESH, LIFE_KEPT };

struct shot; /* one packet about to be sent; prove/ */

struct kind {
	const char *name;	    /* "udp4"; [a-z0-9], what --kinds and the reports call it */
	const char *what;	    /* one line for people */
	int family, type, protocol; /* of socket(2) */
	enum destination to;
	enum socket_life life;
	size_t length; /* payload bytes; 0: the default of 64 */
	uint16_t port; /* 0: one of its own */
	bool apart;    /* not of "all": no socket that a gate sees, or somebody answers it */
	bool inexact;  /* frames seen are not packets sent: fragments, segments, a TCP stream */
	int (*setup)(int fd, const struct shot *s);    /* socket options; 0 or -Exxx; or NULL */
	ssize_t (*fire)(int fd, const struct shot *s); /* sends; < 0: errno; NULL: sendto() */
};

/* The table: kind i, NULL beyond its end. */
const struct kind *kind_at(unsigned int i);

/* "all" (those that a gate holds) or names separated by commas → set. 0 or -EINVAL with the unknown
 * name. */
int kinds_parse(const char *list, uint64_t *ret, struct error *err);

/* Fill `length` bytes (a multiple of 16) with marker, kind and sequence over and over, so that
 * each fragment and each segment of it can be recognised. */
void marker_fill(void *to, size_t length, uint64_t marker, unsigned int kind, uint32_t sequence);

/* ---- sender ---- */

struct sending {
	int cgroup_fd;		  /* directory, joined before the first socket is made; -1: stay */
	int netns_fd;		  /* -1: stay */
	uint64_t kinds;		  /* set */
	unsigned int count;	  /* packets of each kind; 0: until stopped */
	unsigned int interval_ms; /* between packets of one kind */
	unsigned int max_seconds; /* the child ends by itself after this, always */
};

/* Written by the child alone, in shared memory; may be read at any time. `attempted` is raised
 * before a packet is sent and `ok` after it, so that a child that is killed has sent at most
 * `attempted`. A kind that was skipped has proven nothing. Read the tallies before raising a
 * fence: what they count has then been seen; packets sent meanwhile may be seen as well. */
struct tally {
	uint64_t attempted;
	uint64_t ok;	/* the kernel took it; a TCP SYN that the gate drops counts as taken */
	int last_errno; /* of the last packet that it did not take; 0: none */
	int skip_errno; /* why this kernel or these targets cannot make the kind; 0: it was tried */
};

struct sender {
	struct child child;
	struct sender_shared *shared;
	const struct tally *tally; /* by kind; valid until sender_free() */
};

/*
 * Fork the child; 0 once it is in its place and about to send. -Exxx with a sentence if it could
 * not get there, -ETIMEDOUT if it has not within 10 s (as in a frozen cgroup). It may be frozen at
 * any time: nothing here waits for it without a bound.
 */
int sender_start(struct sender *s, const struct sending *plan, const struct targets *t,
		 struct error *err);
/* 0: has ended by itself; -ETIMEDOUT: still at it; -ECANCELED: was killed. Reaps. */
int sender_wait(struct sender *s, unsigned int timeout_ms, struct error *err);
void sender_stop(struct sender *s); /* kill and reap, frozen or not; tallies stay; idempotent */
void sender_free(struct sender *s); /* stop and forget; safe on a zeroed sender */

/* Why the kind was skipped, for people; "" if it was not. Returns buf. */
const char *skip_reason(const struct kind *k, const struct tally *t, char *buf, size_t size);

/* Listeners for the flow4 and flow6 kinds in the netns that owns the outside addresses. They are
 * never accepted from: the kernel completes the handshakes and acknowledges 64 MiB per flow.
 * ret[0], ret[1] are the IPv4 and IPv6 listener; -1 where the family is missing. 0 or -Exxx. */
int sink_open(int netns_fd, const struct targets *t, int ret[2], struct error *err);

/* ---- what a frame is; pure ---- */

enum link_type { LINK_ETHERNET, LINK_RAW_IP };

enum frame_class {
	FRAME_STRAY,	/* none of ours: show it */
	FRAME_KIND,	/* .kind and .sequence say which packet of the sender; sequence 0 for TCP */
	FRAME_FENCE,	/* .sequence says which token */
	FRAME_ANSWER,	/* comes from one of the targets */
	FRAME_ENDPOINT, /* UDP to the VPN endpoint's port, no marker in it */
	FRAME_CLASSES,
};

struct frame {
	enum frame_class class;
	unsigned int kind;
	uint32_t sequence;
	uint16_t ethertype;	 /* innermost; 0: the frame was too short to have one */
	struct address from, to; /* of IP or ARP; family 0: not that far, or neither */
	uint8_t protocol;	 /* IP's, behind extension headers */
	bool fragment;		 /* not the first one: no ports */
	bool has_ports;
	uint16_t from_port, to_port;
	uint8_t detail; /* ICMP type, TCP flags */
};

/* Reads the `length` captured bytes at most; the marker is looked for in the first 1600. */
struct frame classify(const void *bytes, size_t length, enum link_type link,
		      const struct targets *t);

/* "udp 10.9.0.3→10.9.0.1:53", "icmp6/133 fe80::1→ff02::2", "ethertype 0x88cc". Returns buf. */
const char *frame_describe(const struct frame *f, char *buf, size_t size);

/* ---- capture ---- */

struct seen {
	uint64_t frames;
	/* Boot time, by the kernel's receive stamp, thus not by when the capture was drained. The
	 * stamp is wall-clock: a clock step between receipt and drain moves it. 0: never. */
	uint64_t first_ns, last_ns;
};

struct stray {
	char text[128];
	uint64_t frames;
};

struct capture {
	int fd; /* poll for POLLIN, then capture_drain(); -1: closed */
	enum link_type link;
	bool outgoing;		       /* owner: also count what the interface's own netns sends */
	const struct address *clients; /* owner: strays only from these; NULL: from anybody */
	size_t n_clients;
	const struct targets *targets;
	uint64_t opened_ns;
	uint64_t frames, bytes;		 /* all that were not ignored as outgoing */
	uint64_t classes[FRAME_CLASSES]; /* frames of each class */
	struct seen seen[KINDS_LIMIT];	 /* by kind */
	struct stray strays[STRAYS_LIMIT];
	size_t n_strays;
	uint64_t more_strays; /* frames of flows beyond the first 16 */
	uint64_t drops;	      /* frames that the kernel could not keep for us */
	unsigned int downs;   /* times the interface went down; deleted, it stays deaf */
	uint16_t fence_serial;
	bool fence_got[2][FENCE_LIMIT]; /* IPv4, IPv6 */
	unsigned int fence_count[2];
};

/* Start counting on interface `ifname` of that netns (-1: ours). `t` must outlive the capture; set
 * `outgoing` and `clients` afterwards, before the first drain. 0 or -Exxx. */
int capture_open(struct capture *c, int netns_fd, const char *ifname, const struct targets *t,
		 struct error *err);
/* Take what has arrived, without waiting. 0, or -ENOBUFS if frames were lost since it was opened
 * (from then on always: a zero proves nothing any more), or another -Exxx. */
int capture_drain(struct capture *c, struct error *err);
/*
 * Wait until everything that left `client_netns_fd` (-1: ours) for the underlay before this call
 * has been counted. Sends from the calling thread, which must not be leashed, one token on every
 * CPU: a packet on veth waits in the queue of the CPU that sent it, and a token on another CPU
 * would overtake it. Tokens go to targets.fence, which should be the neighbour through which the
 * rest goes, as packets also wait for that neighbour's address. At most 6 s; -ETIMEDOUT then.
 */
int capture_fence(struct capture *c, int client_netns_fd, struct error *err);
void capture_close(struct capture *c); /* counts stay; idempotent */
