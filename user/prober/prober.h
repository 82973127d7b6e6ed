/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prober: a forked child without any privilege that sends probes and parses the answers, so
 * that no byte from the network reaches the daemon. It gets sockets that are already opened in the
 * tunnel's netns and bound to the tunnel, and says "seen at t". Hung, killed or fooled into
 * rejecting, it is silent, and silence lets the lease run out.
 *
 * Fork it first. It must have CAP_SETUID, CAP_SETGID and CAP_SETPCAP to get rid of everything, and
 * a fork inherits mappings: a shared one, such as the leases', is unmapped in the child.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "base/util.h"
#include "prober/wire.h"

#define PROBER_TARGETS 256

struct prober;

struct prober_target {
	enum wire_way way;
	struct in_addr to;
	uint16_t port;	  /* WIRE_TCP */
	const char *name; /* WIRE_DNS: what is asked for */
};

/* What became of a probe. */
struct prober_news {
	uint32_t target, number;
	uint64_t t_ns; /* boot time at which the answer came in, never in the future; 0: it failed,
			*/
	int error;     /* by this errno, or WIRE_RCODE and what the resolver said */
};

/* Returns when the child has dropped everything, or with the error at which it could not. */
int prober_start(struct prober **ret, struct error *err);
void prober_stop(struct prober *p); /* NULL is fine */

/*
 * A socket for prober_set(): in the netns, bound to the interface (a packet goes by it or not at
 * all, also when it is deleted), connected to the target; of WIRE_TCP it is connecting, and is one
 * probe. Its source address is fixed here: make a new one when the link becomes ready again. The fd
 * or -Exxx.
 */
int prober_socket(int netns_fd, unsigned ifindex, const struct prober_target *to,
		  struct error *err);

/*
 * None of these blocks. 0; -EAGAIN: the prober does not keep up (as good as silence); -EPIPE: it is
 * dead. prober_set() replaces an older socket of that target and forgets its unanswered probes (of
 * WIRE_TCP it is one probe more, of that number), and leaves `fd` to the caller; any error: try
 * again, with -ENOSPC when one of PROBER_TARGETS targets has been dropped.
 */
int prober_set(struct prober *p, uint32_t target, int fd, const struct prober_target *to,
	       uint32_t number, struct error *err);
int prober_ask(struct prober *p, uint32_t target, uint32_t number);
int prober_drop(struct prober *p, uint32_t target);

/* Of one probe of a target that is set. -EAGAIN: no more; -EPIPE; -EBADMSG: garbage. */
int prober_read(struct prober *p, struct prober_news *ret);

int prober_fd(const struct prober *p);
