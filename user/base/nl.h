/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel by netlink: the only place of the program where such a socket is opened or read. With
 * CAP_NET_ADMIN in a netns, as a VPN's container has it, one may write to every socket there, and
 * look up its port: what says that a message is the kernel's is its sender's port, 0, alone.
 */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>

/*
 * A socket of that netns (-1: of ours), bound and connected to the kernel, which then refuses what
 * others address to it (ECONNREFUSED); what they send to a group still comes. The descriptor or
 * -Exxx.
 */
int nl_open(int netns_fd, int protocol);

/* One message of the kernel's, its length; 0: somebody else's, to be skipped; -EAGAIN: no more;
 * -EMSGSIZE, -ENOBUFS: something was lost; -EBADMSG: its lengths are not so; -Exxx. */
ssize_t nl_receive(int fd, void *buf, size_t size);

/* Is its payload at least the family's own header, of that size, and padded as the kernel's are?
 * Of one that is not libmnl would read past the end. */
bool nl_has(const struct nlmsghdr *nlh, size_t header);

/* The number in the last attribute of that type, behind the family's header of that size; false:
 * there is none, or it is none. */
bool nl_u32(const struct nlmsghdr *nlh, size_t header, uint16_t type, uint32_t *ret);

/* The largest that the kernel makes of one message (NLMSG_GOODSIZE is 8 KiB, VFs add more). */
#define NL_MESSAGE_SIZE 32768

struct nl_question {
	struct nlmsghdr head;
	char rest[496];
};
/* Begins the question anew; returns the family's own header in it, of that size. */
void *nl_begin(struct nl_question *ret, uint16_t type, uint16_t flags, size_t size);

/*
 * Sends *nlh (its sequence number is set here) and calls each(message, arg), NULL: none, for the
 * messages of the answer, to the end of a dump; its MNL_CB_ERROR is -EBADMSG, or what it has put
 * into errno. The kernel answers in the asker's context: what is not there at once will not come,
 * so this never waits. 0 or -Exxx, -EINTR for a dump that changed meanwhile.
 */
int nl_ask(int fd, struct nlmsghdr *nlh, mnl_cb_t each, void *arg);
