/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who lives in a network namespace, what a process holds open, and which sockets are open there. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cgroup.h"

struct netns_process {
	pid_t pid;
	char comm[16];
	char cgroup[PATH_MAX]; /* below the cgroup v2 root, as from cgroup_path() */
};

/* Each process with a thread in that netns, none that has ended: one lives as long as any of its
 * threads. f ends the walk by a return other than 0, which is returned. */
int netns_processes(uint64_t netns_ino, int (*f)(const struct netns_process *p, void *arg),
		    void *arg);
/* The cgroup of one process. 0 or -Exxx. */
int process_cgroup(pid_t pid, char ret[PATH_MAX]);
/* The same of the process of that pidfd, and of no other that has its number by now: -ESRCH. */
int process_cgroup_held(pid_t pid, int pidfd, char ret[PATH_MAX]);
bool process_lives_in(pid_t pid, uint64_t netns_ino); /* with a thread */

pid_t process_parent(pid_t pid); /* 0: it is not there (any more) */
bool process_is_new(pid_t pid);	 /* started within the last second or two */

/* Does a signal wait for it that asks it to end: SIGTERM, SIGINT, SIGQUIT, systemd's SIGRTMIN+3? */
bool process_is_to_end(pid_t pid);

#define DESCRIPTORS 16384 /* of one process that are looked at */

/* What a process holds open, by the kernel's word. */
struct descriptor {
	uint64_t socket;    /* its inode, as sock_diag has it; 0: no socket */
	char tun[IFNAMSIZ]; /* the device that it reads and writes; "": no tun */
};

/* Calls f for each socket and tun. A process that has ended holds nothing. -E2BIG: there are more;
 * -Exxx: they can not be read. */
int descriptors_each(pid_t pid, void (*f)(const struct descriptor *d, void *arg), void *arg);

struct open_socket {
	uint8_t protocol;
	uint8_t local[16], remote[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint16_t local_port, remote_port;
	uint64_t cookie;
	uint32_t ifindex;   /* bound to, 0: none */
	uint64_t inode;	    /* of its descriptor, 0: it has none (any more) */
	uint64_t cgroup_id; /* of who opened it; 0: the kernel does not say */
};

/* Every TCP and UDP socket of the netns in which diag_fd (NETLINK_SOCK_DIAG) was opened. */
int sockets_each(int diag_fd, void (*f)(const struct open_socket *s, void *arg), void *arg);

/* Ends that very socket (SOCK_DESTROY): its owner gets ECONNABORTED. -EOPNOTSUPP: the kernel lacks
 * CONFIG_INET_DIAG_DESTROY. */
int socket_end(int diag_fd, const struct open_socket *s);
