/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process holds open, by the kernel's word: its sockets, and the tun devices that end in
 * it. */
#pragma once

#include <net/if.h>
#include <stdint.h>
#include <sys/types.h>

#define DESCRIPTORS 16384 /* of one process that are looked at */

struct descriptor {
	uint64_t socket;    /* its inode, as sock_diag has it; 0: no socket */
	char tun[IFNAMSIZ]; /* the device that it reads and writes; "": no tun */
};

/* Calls f for each socket and tun. A process that has ended holds nothing. -E2BIG: there are more;
 * -Exxx: they can not be read. */
int descriptors_each(pid_t pid, void (*f)(const struct descriptor *d, void *arg), void *arg);
