/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of the operator that are run when a workload changes its state. By a process of its own,
 * forked before the daemon gives up execve(2): it waits for nobody, and what a program does with
 * its time, its output or its life concerns no lease.
 *
 * As user "vpnleash" (nobody where there is none), without capabilities, with nothing on stdin and
 * an environment of PATH and what is documented in vpnleash.conf(5). At most HOOKS_AT_ONCE; each is
 * ended after 10 s, and of its output the first 64 KiB are logged, line by line. One that exits
 * with EX_TEMPFAIL is run again every 2 s, until the same workload has something newer to tell it,
 * or five minutes are over.
 */
#pragma once

#include "base/util.h"
#include "base/worker.h"

#define HOOKS_AT_ONCE 16
#define HOOK_VALUE    200

struct hook_call {
	char program[256]; /* a full path; see hooks_check() */
	pid_t vpn; /* first process of the VPN's container, 0: none: see hooks.c, forwarded_port()
		    */
	/* of the environment: VPNLEASH_WORKLOAD, _STATE, _FROM, _EVIDENCE, _INTERFACE; of one that
	 * runs in the VPN's network also _FORWARDED_PORT, where there is one */
	char workload[HOOK_VALUE], state[32], from[32], evidence[HOOK_VALUE], interface[32];
};

/* Their process: worker_end() ends it, and what hooks that still run have started. */
int hooks_start(struct worker *ret, struct error *err);
/* Never blocks. netns_fd -1: in the host's network, else in that one. 0, or -EAGAIN: too many are
 * waiting; -EPIPE: the process is gone. */
int hooks_call(const struct worker *h, const struct hook_call *call, int netns_fd);
/* Would it be run (see program_open())? Each run asks anew. */
int hooks_check(const char *program, struct error *err);
