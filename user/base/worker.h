/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A forked child at the other end of a socket of whole records, with less than its parent has: of
 * all descriptors that socket and the standard ones, and no memory that is shared and can be
 * written. A fork inherits mappings, and one of the leases would be the whole daemon's power in the
 * wrong hands.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/child.h"

struct worker {
	int fd; /* the parent's end; SOCK_SEQPACKET */
	struct child child;
};

#define WORKER_FD 3 /* the child's end */

/* f(arg) in a child of that name, which ends with what f returns. 0 or -Exxx. */
int worker_start(struct worker *ret, const char *name, int (*f)(void *arg), void *arg);
/* Until the child has sent its first record, or has ended, for at most 5 s. 0 or -Exxx. */
int worker_await(const struct worker *w);
/* By the end of its socket, so that it may end what it has started; after a second as
 * worker_stop(). */
void worker_end(struct worker *w);
/* By SIGKILL, reaped. Idempotent. */
void worker_stop(struct worker *w);

/* One record, with a descriptor (-1: none). Never waits. 0; -EAGAIN: no room; -EPIPE: the other end
 * is gone. */
int send_record(int fd, const void *record, size_t size, int passed_fd);
/*
 * The next record: its bytes, which are more than `size` if it is cut; -EAGAIN: there is none;
 * -EPIPE: nor will there be. A descriptor that came with it goes to *ret_fd, else -1. ret_fd NULL:
 * none is taken, the kernel closes it.
 */
ssize_t receive_record(int fd, void *record, size_t size, int *ret_fd);
