/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may be heard on a netlink socket of ours, by somebody with CAP_NET_ADMIN in its netns. */
#include "base/nl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t port_of(int fd)
{
	struct sockaddr_nl self;
	socklen_t size = sizeof(self);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &size), 0);
	return self.nl_pid;
}

/* A link message as the kernel's, from a socket of somebody. 0 or -Exxx. */
static int forge(int protocol, uint32_t port, uint32_t groups, uint32_t seq)
{
	const struct sockaddr_nl to = { .nl_family = AF_NETLINK,
					.nl_pid = port,
					.nl_groups = groups };
	_Alignas(struct nlmsghdr) char buf[256] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	int fd = socket(AF_NETLINK, SOCK_RAW, protocol), r;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_seq = seq;
	nlh->nlmsg_pid = groups ? 0 : port;
	ifi->ifi_index = 4711;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "forged");
	r = sendto(fd, nlh, nlh->nlmsg_len, 0, (const struct sockaddr *)&to, sizeof(to)) < 0
		    ? -errno
		    : 0;
	close(fd);
	return r;
}

static int note_index(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

	*(int *)arg = ifi->ifi_index;
	return MNL_CB_OK;
}

static struct nlmsghdr *ask_for_loopback(char buf[256])
{
	struct nlmsghdr *nlh;

	memset(buf, 0, 256);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "lo");
	return nlh;
}

static void others_are_refused(void **state)
{
	static const int protocols[] = { NETLINK_ROUTE, NETLINK_GENERIC, NETLINK_SOCK_DIAG };
	char buf[256];

	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
		int fd = nl_open(-1, protocols[i]),
		    plain = socket(AF_NETLINK, SOCK_RAW, protocols[i]);
		const struct sockaddr_nl any = { .nl_family = AF_NETLINK };

		/* control: whoever is not connected gets it */
		assert_int_equal(bind(plain, (const struct sockaddr *)&any, sizeof(any)), 0);
		assert_int_equal(forge(protocols[i], port_of(plain), 0, 1), 0);
		assert_true(recv(plain, buf, sizeof(buf), MSG_DONTWAIT) > 0);
		assert_true(fd >= 0);
		assert_int_equal(forge(protocols[i], port_of(fd), 0, 1), -ECONNREFUSED);
		assert_int_equal(nl_receive(fd, buf, sizeof(buf)), -EAGAIN);
		close(fd);
		close(plain);
	}
}

static void what_others_send_is_skipped(void **state)
{
	const struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), index = 0;
	_Alignas(struct nlmsghdr) char buf[256];

	/* as if the kernel had refused nobody */
	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)), 0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(forge(NETLINK_ROUTE, port_of(fd), 0, i), 0);
	assert_int_equal(nl_ask(fd, ask_for_loopback(buf), note_index, &index), 0);
	assert_int_equal(index, 1);
	assert_int_equal(forge(NETLINK_ROUTE, port_of(fd), 0, 1), 0);
	assert_int_equal(nl_receive(fd, buf, sizeof(buf)), 0);
	assert_int_equal(nl_receive(fd, buf, sizeof(buf)), -EAGAIN);
	/* a flood is no answer either */
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(forge(NETLINK_ROUTE, port_of(fd), 0, i), 0);
	index = 0;
	assert_int_equal(nl_ask(fd, ask_for_loopback(buf), note_index, &index), -EBADMSG);
	assert_int_equal(index, 0);
	close(fd);
}

static void groups_hear_the_kernel_only(void **state)
{
	int fd = nl_open(-1, NETLINK_ROUTE), group = RTNLGRP_LINK, s;
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	char buf[4096];

	assert_int_equal(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)),
			 0);
	assert_int_equal(forge(NETLINK_ROUTE, 0, 1 << (RTNLGRP_LINK - 1), 0), 0);
	assert_int_equal(nl_receive(fd, buf, sizeof(buf)), 0);
	s = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(s, SIOCSIFFLAGS, &r), 0);
	assert_true(nl_receive(fd, buf, sizeof(buf)) > 0); /* the control */
	close(s);
	close(fd);
}

static void numbers_can_not_be_guessed(void **state)
{
	int fd = nl_open(-1, NETLINK_ROUTE), near = 0, index;
	_Alignas(struct nlmsghdr) char buf[256];
	uint32_t last = 0;

	for (int i = 0; i < 8; i++) {
		struct nlmsghdr *nlh = ask_for_loopback(buf);

		assert_int_equal(nl_ask(fd, nlh, note_index, &index), 0);
		near += nlh->nlmsg_seq - last < 65536;
		last = nlh->nlmsg_seq;
	}
	assert_in_range(near, 0, 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(what_others_send_is_skipped),
		cmocka_unit_test(groups_hear_the_kernel_only),
		cmocka_unit_test(numbers_can_not_be_guessed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests_name("nl", tests, NULL, NULL);
}
