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

#define PROBER_TARGETS 64

struct prober;

struct prober_seen {
	uint32_t target;
	uint64_t t_ns; /* boot time at which the answer came in; never in the future */
};

/* Returns when the child has dropped everything, or with the error at which it could not. */
int prober_start(struct prober **ret, struct error *err);
void prober_stop(struct prober *p); /* NULL is fine */

/*
 * An ICMP socket for prober_set(): in the netns, bound to the interface (a packet goes by it or not
 * at all, also when it is deleted), connected to the target, for echo replies only. Its source
 * address is fixed here: make a new one when the link becomes ready again. The fd or -Exxx.
 */
int prober_icmp_socket(int netns_fd, unsigned ifindex, struct in_addr to, struct error *err);

/*
 * None of these blocks. 0; -EAGAIN: the prober does not keep up (as good as silence); -EPIPE: it is
 * dead. prober_set() replaces an older socket of that target, forgets its unanswered probes and
 * leaves `fd` to the caller; any error: try again, with -ENOSPC when one of PROBER_TARGETS targets
 * has been dropped.
 */
int prober_set(struct prober *p, uint32_t target, int fd, struct in_addr to, struct error *err);
int prober_ask(struct prober *p, uint32_t target);
int prober_drop(struct prober *p, uint32_t target);

/* One answer to one probe of a target that is set. -EAGAIN: no more; -EPIPE; -EBADMSG: garbage. */
int prober_read(struct prober *p, struct prober_seen *ret);

int prober_fd(const struct prober *p);
