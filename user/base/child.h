/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only fork and exec of the daemon and its commands (the prober forks itself). */
#ifndef VPNLEASH_CHILD_H
#define VPNLEASH_CHILD_H

#include <sys/types.h>

/* Run f(arg) in a forked child and wait; what f returned (0..125), or -Exxx. */
int child_call(int (*f)(void *arg), void *arg);

#endif
