/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nl.h. */
#include "base/nl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_SIZE 32768 /* the kernel makes no larger message (NLMSG_GOODSIZE, and VFs) */
#define STRANGERS   64	  /* messages of others, or of earlier questions, that are skipped */

/* One datagram of the kernel's: its length, or -Exxx; 0: somebody else's. */
static ssize_t receive(int fd, char *buf)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = ANSWER_SIZE };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return msg.msg_namelen == sizeof(from) && from.nl_pid == 0 ? n : 0;
}

int nl_ask(int fd, struct nlmsghdr *nlh, mnl_cb_t each, void *arg)
{
	static uint32_t sequence;
	char *buf = malloc(ANSWER_SIZE);
	int r = 1, strangers = 0;

	if (!buf)
		return -ENOMEM;
	nlh->nlmsg_seq = ++sequence;
	if (send(fd, nlh, nlh->nlmsg_len, 0) < 0)
		r = -errno;
	while (r > 0) {
		ssize_t n = receive(fd, buf);
		const struct nlmsghdr *first = (const struct nlmsghdr *)buf;

		if (n < 0) {
			r = (int)n;
		} else if (n < (ssize_t)sizeof(*first) || first->nlmsg_seq != nlh->nlmsg_seq) {
			if (++strangers > STRANGERS)
				r = -EBADMSG;
		} else {
			errno = EBADMSG;
			r = mnl_cb_run(buf, (size_t)n, nlh->nlmsg_seq, 0, each, arg);
			if (r < 0)
				r = -errno;
			else if (r > 0 && !(nlh->nlmsg_flags & NLM_F_DUMP))
				r = 0; /* one answer, without an end */
		}
	}
	explicit_bzero(buf, ANSWER_SIZE); /* WireGuard tells its private key as well */
	free(buf);
	return r;
}
