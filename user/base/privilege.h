/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon takes before it serves (real-time scheduling, locked memory), and what it gives
 * up for good: every capability that it does not need, new privileges, and every system call that
 * it does not make. Children inherit all of it but the scheduling.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

#include "base/util.h"

/* As many descriptors as are allowed: each workload needs some, and 1024 is the usual limit. */
void privilege_files(void);

/* What the machine refuses is a line in the log: the gate does not depend on it. */
void privilege_take(void);

/* 0; or -Exxx with ERROR_PRIVILEGE: then less than all of it may have been given up. */
int privilege_drop(struct error *err);

/* Whoever calls another system call than those of the filter (bpf/syscalls.c) is ended. The last
 * step, after no_new_privs; all or nothing: 0 or -Exxx. */
int privilege_filter(const struct sock_filter *filter, size_t n);
#define PRIVILEGE_FILTER(f) privilege_filter(f, sizeof(f) / sizeof((f)[0]))

/*
 * Around work that may need a CPU for longer than the real-time budget and that no lease waits
 * for, such as the load of another instance of the gate: done by ordinary scheduling. It nests.
 */
void privilege_long_work(bool begins);

/* From time to time: a turn that overran its real-time budget made the process an ordinary one.
 * That is said, and it is a real-time process again. */
void privilege_again(void);

/* In a child that is to have nothing: no user but nobody, no capability, no new privileges; it ends
 * with `parent`. 0 or -Exxx. */
int privilege_give_up(pid_t parent);
