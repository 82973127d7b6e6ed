/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only fork and exec of the daemon and its commands (the prober and the sender of prove.h fork
 * themselves). A child dies with the *thread* that started it (PR_SET_PDEATHSIG).
 */
#ifndef VPNLEASH_CHILD_H
#define VPNLEASH_CHILD_H

#include <sys/types.h>

/* Run f(arg) in a forked child and wait; what f returned (0..125), or -Exxx. */
int child_call(int (*f)(void *arg), void *arg);

struct child {
	pid_t pid; /* 0: none, or reaped */
	int pidfd; /* readable when it has ended */
};
#define CHILD_NONE ((struct child) { .pidfd = -1 })

/* f(arg) in a forked child, which ends with what f returns; nobody waits. 0 or -Exxx. */
int child_start(struct child *ret, int (*f)(void *arg), void *arg);
/* argv[0] by PATH, with no signal blocked, nothing on stdin, and `out` (-1: as we have them) as
 * stdout and stderr. A program that is not there is a child that ends with 127. 0 or -Exxx. */
int child_spawn(struct child *ret, char *const argv[], int out);
/* Reaps: its exit code; -ECHILD: a signal ended it; -ETIMEDOUT (timeout_ms -1: never). */
int child_wait(struct child *c, int timeout_ms);
/* By SIGKILL, reaped; the first process of a pid namespace takes all others with it. Idempotent. */
void child_kill(struct child *c);

/* For a child that is to have less than we have: a fork inherits mappings, and one of the leases
 * would be the whole daemon's power in the wrong hands. Unmaps what is shared and can be written,
 * or is a BPF map. 0 or -Exxx. */
int child_drop_shared_memory(void);

#endif
