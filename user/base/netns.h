/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces by file descriptor. Nobody lives in another namespace here: the daemon goes
 * in, opens a socket, comes back and keeps the socket, which belongs to that namespace for life
 * and needs no privilege any more. Entering needs CAP_SYS_ADMIN.
 *
 * An open descriptor (of a namespace or of a socket in it) keeps the namespace alive, also when its
 * container is long gone. That a namespace is dead is for those to find out who know its owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

/*
 * `where` is "host" (the namespace that this process is in) or a file: /run/netns/NAME,
 * /proc/PID/ns/net, an engine's SandboxKey. -ENOENT: not there (yet), also while `ip netns add` has
 * made the file and not mounted it; -EINVAL: there, and not a network namespace.
 */
int netns_open(const char *where, int *ret_fd, struct error *err);

/* The first for which f is true of those that can be found, each once: ours, those of /run/netns,
 * of processes. A descriptor or -ENOENT. */
int netns_find(bool (*f)(int netns_fd, void *arg), void *arg);

/* Inode on nsfs: an identity while the namespace lives, reused afterwards. 0: not a descriptor. */
uint64_t netns_ino(int netns_fd);

/* Never reused. -ENOPROTOOPT before 5.14: the caller has another way. */
int netns_cookie(int netns_fd, uint64_t *ret_cookie);

/*
 * Run f(arg) with this thread in the namespace; returns what f returns, or -Exxx if the way in is
 * closed (f did not run). Aborts when the way back is closed: a daemon that goes on in somebody
 * else's namespace would judge by the wrong routes.
 */
int netns_call(int netns_fd, int (*f)(void *), void *arg);

/* socket(2) in the namespace, close-on-exec. The descriptor or -Exxx. */
int netns_socket(int netns_fd, int domain, int type, int protocol);
