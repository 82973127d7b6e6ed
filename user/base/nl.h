/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to the kernel by netlink, and all of its answer. */
#ifndef VPNLEASH_NL_H
#define VPNLEASH_NL_H

#include <libmnl/libmnl.h>

/*
 * Sends *nlh (its sequence number is set here) and calls each(message, arg), NULL: none, for the
 * messages of the answer, to the end of a dump. The kernel answers in the asker's context: what is
 * not there at once will not come, so this never waits. What is not the kernel's is skipped: with
 * CAP_NET_ADMIN in a netns one may write to the sockets there. 0 or -Exxx, -EINTR for a dump that
 * changed meanwhile.
 */
int nl_ask(int fd, struct nlmsghdr *nlh, mnl_cb_t each, void *arg);

#endif
