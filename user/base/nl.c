/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/nl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/netns.h"

#define STRANGERS 64 /* messages of others, or of earlier questions, that are skipped */

int nl_open(int netns_fd, int protocol)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_cleanup_fd int fd = netns_fd < 0 ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
					  : netns_socket(netns_fd, AF_NETLINK, SOCK_RAW, protocol);

	if (fd < 0)
		return netns_fd < 0 ? -errno : fd;
	/* to bind is to connect as well: the kernel gives a port to whom has none */
	if (connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* libmnl follows a length of 2 GiB to where it points. */
static bool is_whole(const char *at, size_t n)
{
	while (n) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)at;

		if (n < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > n)
			return false;
		if (NLMSG_ALIGN(nlh->nlmsg_len) >= n)
			break;
		at += NLMSG_ALIGN(nlh->nlmsg_len);
		n -= NLMSG_ALIGN(nlh->nlmsg_len);
	}
	return true;
}

ssize_t nl_receive(int fd, void *buf, size_t size)
{
	static bool said;
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0) {
		if (!said)
			log_line(LOG_LEVEL_WARNING,
				 "netlink: messages that are not the kernel's, from port %u, are "
				 "ignored (somebody with CAP_NET_ADMIN in a tunnel's network sends "
				 "them)",
				 from.nl_pid);
		said = true;
		return 0;
	}
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return is_whole(buf, (size_t)n) ? n : -EBADMSG;
}

void *nl_begin(struct nl_question *ret, uint16_t type, uint16_t flags, size_t size)
{
	memset(ret, 0, sizeof(*ret));
	mnl_nlmsg_put_header(ret);
	ret->head.nlmsg_type = type;
	ret->head.nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(&ret->head, size);
}

bool nl_has(const struct nlmsghdr *nlh, size_t header)
{
	return nlh->nlmsg_len % NLMSG_ALIGNTO == 0 && mnl_nlmsg_get_payload_len(nlh) >= header;
}

bool nl_u32(const struct nlmsghdr *nlh, size_t header, uint16_t type, uint32_t *ret)
{
	const struct nlattr *attr, *found = NULL;

	if (!nl_has(nlh, header))
		return false;
	mnl_attr_for_each(attr, nlh, header)
		if (mnl_attr_get_type(attr) == type)
			found = attr;
	if (!found || mnl_attr_validate(found, MNL_TYPE_U32) < 0)
		return false;
	*ret = mnl_attr_get_u32(found);
	return true;
}

static int send_question(int fd, struct nlmsghdr *nlh, uint32_t *ret_port)
{
	struct sockaddr_nl self;
	socklen_t size = sizeof(self);

	/* GRND_INSECURE: before there is entropy a stranger's guess is refused by its sender */
	if (getrandom(&nlh->nlmsg_seq, sizeof(nlh->nlmsg_seq), GRND_INSECURE) < 0 ||
	    send(fd, nlh, nlh->nlmsg_len, 0) < 0 ||
	    getsockname(fd, (struct sockaddr *)&self, &size) < 0)
		return -errno;
	*ret_port = self.nl_pid;
	return 0;
}

int nl_ask(int fd, struct nlmsghdr *nlh, mnl_cb_t each, void *arg)
{
	_Alignas(struct nlmsghdr) char buf[NL_MESSAGE_SIZE];
	const struct nlmsghdr *first = (const struct nlmsghdr *)buf;
	uint32_t port = 0;
	int r = send_question(fd, nlh, &port), strangers = 0;

	if (r)
		return r;
	for (r = MNL_CB_OK; r > MNL_CB_STOP;) {
		ssize_t n = nl_receive(fd, buf, sizeof(buf));

		if (n < 0) {
			r = n == -EAGAIN ? -EBADMSG : (int)n;
		} else if (n < (ssize_t)sizeof(*first) || first->nlmsg_seq != nlh->nlmsg_seq ||
			   first->nlmsg_pid != port) {
			if (++strangers > STRANGERS)
				r = -EBADMSG;
		} else {
			errno = EBADMSG;
			r = mnl_cb_run(buf, (size_t)n, nlh->nlmsg_seq, port, each, arg);
			if (r < 0)
				r = -errno;
			else if (r > 0 && !(nlh->nlmsg_flags & NLM_F_DUMP))
				r = 0; /* one answer, without an end */
		}
	}
	explicit_bzero(buf, sizeof(buf)); /* WireGuard tells its private key as well */
	return r;
}
