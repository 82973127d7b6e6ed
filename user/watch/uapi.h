/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A conversation with a user-space WireGuard by its UAPI socket, in the loop's own time: nobody
 * waits for a process that is slow, stopped or hostile. The other end is asked nothing before it is
 * known whose it is.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "watch/wireguard.h"

struct uapi;

struct uapi_question {
	sd_event *loop;
	int64_t priority;
	int fd;	     /* a socket(AF_UNIX) that does not block; taken over, also on failure */
	int diag_fd; /* NETLINK_SOCK_DIAG, opened in the netns in which `fd` was */
	void *owner;
	/* Who holds the other end, the socket of that number (as /proc/PID/fd shows it)? listener:
	 * once listened there; it may have ended, or be another by now. */
	bool (*is_believed)(void *owner, pid_t listener, uint64_t inode);
	/* Once, by the loop. 0: `w` is the answer, and the connection stays, to be asked again;
	 * else it is gone by then: -EXDEV: not believed; -ETIMEDOUT; -EBADMSG; or -Exxx. */
	void (*done)(void *owner, int r, const struct wireguard *w);
};

/*
 * The socket at that path below root_fd, whoever made the path: it never leads out of that root,
 * and nothing is opened but the name itself. -ENOENT; -ENOTSOCK; or -Exxx.
 */
int uapi_find(int root_fd, const char *path);
/* socket_fd: of uapi_find(). *u: NULL, or one that does not ask now; it is replaced if it can not
 * be asked again. 0: done() will be called; else it will not, -ETIMEDOUT: as many wait for an
 * answer as may wait there, -ENOENT: nobody listens. */
int uapi_ask(struct uapi **u, int socket_fd, const struct uapi_question *q);
bool uapi_asks(const struct uapi *u); /* an answer is waited for; NULL is fine */
void uapi_stop(struct uapi *u);	      /* NULL is fine */
