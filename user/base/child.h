/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fork, exec and wait. Only act/hooks.c forks by itself: its programs are ended as a group. A child
 * dies with the *thread* that started it (PR_SET_PDEATHSIG).
 */
#pragma once

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
