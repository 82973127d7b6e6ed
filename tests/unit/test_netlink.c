/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * user/watch/netlink.c: what counts as a tunnel, and the parsing of hand-made messages. With root,
 * also the watcher itself, on a tun device in a namespace of its own.
 */
#include "watch/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/netns.h"

static void tunnels_are_tunnels(void **state)
{
	assert_true(link_is_tunnel(ARPHRD_NONE, "tun"));
	assert_true(link_is_tunnel(ARPHRD_NONE, "wireguard"));
	assert_true(link_is_tunnel(ARPHRD_NONE, "amneziawg"));
	assert_true(link_is_tunnel(ARPHRD_NONE, "ovpn"));
	assert_true(link_is_tunnel(ARPHRD_NONE, "ovpn-dco"));
	assert_true(link_is_tunnel(ARPHRD_PPP, "ppp"));
	assert_true(link_is_tunnel(ARPHRD_TUNNEL, "ipip"));
	assert_true(link_is_tunnel(ARPHRD_TUNNEL6, "ip6tnl"));
	assert_true(link_is_tunnel(ARPHRD_SIT, "sit"));
	assert_true(link_is_tunnel(ARPHRD_IPGRE, "gre"));
	assert_true(link_is_tunnel(ARPHRD_IP6GRE, "ip6gre"));
	assert_true(link_is_tunnel(ARPHRD_ETHER, "tun")); /* tap */
}

static void everything_else_is_not(void **state)
{
	static const char *const ether[] = { "",       "veth",	"macvlan", "ipvlan", "vlan",
					     "bridge", "dummy", "netkit",  "vxlan",  "gretap" };
	static const char *const borrowed[] = { "",	"bond",	  "team", "veth",
						"vlan", "netkit", "wwan", "rmnet" };

	for (size_t i = 0; i < ARRAY_SIZE(ether); i++)
		assert_false(link_is_tunnel(ARPHRD_ETHER, ether[i]));
	for (size_t i = 0; i < ARRAY_SIZE(borrowed); i++)
		assert_false(link_is_tunnel(ARPHRD_NONE, borrowed[i]));
	assert_false(link_is_tunnel(ARPHRD_RAWIP, "")); /* a modem */
	assert_false(link_is_tunnel(ARPHRD_LOOPBACK, ""));
	assert_false(link_is_tunnel(ARPHRD_NETLINK, "nlmon"));
}

/* A message in a buffer of its own; name and kind may be NULL. The caller frees it. */
static struct nlmsghdr *link_message(const char *name, const char *kind)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(malloc(1024));
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	nlh->nlmsg_type = RTM_NEWLINK;
	ifi->ifi_index = 5;
	ifi->ifi_type = ARPHRD_NONE;
	ifi->ifi_flags = IFF_UP;
	mnl_attr_put_u32(nlh, IFLA_MTU, 1420);
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	if (kind) {
		struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);

		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
		mnl_attr_nest_end(nlh, info);
	}
	return nlh;
}

static int parse_and_free(struct nlmsghdr *nlh, struct link_identity *ret)
{
	int r = link_parse(nlh, ret);

	free(nlh);
	return r;
}

static void link_message_is_understood(void **state)
{
	struct link_identity link;

	assert_int_equal(parse_and_free(link_message("wg0", "wireguard"), &link), 0);
	assert_int_equal(link.ifindex, 5);
	assert_int_equal(link.type, ARPHRD_NONE);
	assert_int_equal(link.flags, IFF_UP);
	assert_string_equal(link.name, "wg0");
	assert_string_equal(link.kind, "wireguard");
	assert_int_equal(parse_and_free(link_message("eth0", NULL), &link), 0);
	assert_string_equal(link.kind, "");
	assert_int_equal(parse_and_free(link_message("fifteen-bytes-x", "tun"), &link), 0);
	assert_string_equal(link.name, "fifteen-bytes-x");
	assert_int_equal(parse_and_free(link_message("x0", "a-kind-of-seventeen"), &link), 0);
	assert_string_equal(link.kind, "a-kind-of-seven");
}

static void link_message_that_makes_no_sense_is_refused(void **state)
{
	struct link_identity link = { .ifindex = 99 };
	struct nlmsghdr *nlh;

	assert_int_equal(parse_and_free(link_message(NULL, "tun"), &link), -EBADMSG);
	assert_int_equal(parse_and_free(link_message("", "tun"), &link), -EBADMSG);
	assert_int_equal(parse_and_free(link_message("sixteen-bytes-xx", "tun"), &link), -EBADMSG);
	nlh = link_message(NULL, "tun");
	mnl_attr_put(nlh, IFLA_IFNAME, 3, "wg0"); /* no NUL */
	assert_int_equal(parse_and_free(nlh, &link), -EBADMSG);
	nlh = link_message("wg0", NULL);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_index = -1;
	assert_int_equal(parse_and_free(nlh, &link), -EBADMSG);
	assert_int_equal(link.ifindex, 99); /* untouched on failure */
}

static void truncated_messages_are_refused(void **state)
{
	struct nlmsghdr *whole = link_message("wg0", "wireguard");
	int refused = 0;

	for (uint32_t n = sizeof(*whole); n < whole->nlmsg_len; n++) {
		struct nlmsghdr *cut = malloc(n);
		struct link_identity link = { 0 };
		uint32_t oif;

		memcpy(cut, whole, n);
		cut->nlmsg_len = n;
		if (link_parse(cut, &link) < 0)
			refused++;
		else
			assert_string_equal(link.name, "wg0"); /* cut off after the name */
		cut->nlmsg_type = RTM_NEWROUTE;
		assert_int_equal(route_parse(cut, &oif), -EBADMSG);
		free(cut);
	}
	assert_in_range(refused, 32, whole->nlmsg_len - sizeof(*whole) - 1);
	free(whole);
}

static void route_message_is_understood(void **state)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(calloc(1, 256));
	uint32_t oif = 0;

	nlh->nlmsg_type = RTM_NEWROUTE;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct rtmsg));
	assert_int_equal(route_parse(nlh, &oif), -EBADMSG);
	mnl_attr_put_u32(nlh, RTA_OIF, 7);
	assert_int_equal(route_parse(nlh, &oif), 0);
	assert_int_equal(oif, 7);
	nlh->nlmsg_type = RTM_DELROUTE;
	assert_int_equal(route_parse(nlh, &oif), -EBADMSG);
	free(nlh);
}

static void garbage_harms_nobody(void **state)
{
	int taken = 0;

	srand(1);
	for (int i = 0; i < 100000; i++) {
		struct nlmsghdr *good = link_message("wg0", "wireguard");
		size_t len = good->nlmsg_len;
		struct nlmsghdr *nlh = malloc(len);
		struct link_identity link;
		uint32_t oif;

		memcpy(nlh, good, len);
		for (int j = i % 2 ? 64 : 1 + rand() % 4; j > 0; j--)
			((uint8_t *)nlh)[sizeof(*nlh) + (size_t)rand() % (len - sizeof(*nlh))] =
				(uint8_t)rand();
		taken += link_parse(nlh, &link) == 0;
		nlh->nlmsg_type = RTM_NEWROUTE;
		route_parse(nlh, &oif);
		free(nlh);
		free(good);
	}
	assert_in_range(taken, 10000, 90000); /* the control: not all was refused for its length */
}

/* What the watcher told, in order, as one string: "link_gone link_down …". */
struct story {
	char text[512];
	struct evidence last;
};

static void note(void *owner, const struct evidence *e)
{
#define X(NAME, name, text) [IN_##NAME] = #name,
	static const char *const names[IN_MAX] = { VPNLEASH_TUNNEL_INPUTS(X) };
#undef X
	struct story *s = owner;

	strcat(s->text, *s->text ? " " : "");
	strcat(s->text, names[e->what]);
	s->last = *e;
}

static void told(struct watch_netlink *w, struct story *s, const char *expected)
{
	struct pollfd pfd = { .fd = watch_netlink_fd(w), .events = POLLIN };

	/* Carrier comes late, by a work queue: wait as long as the story is too short. */
	do
		watch_netlink_ready(w);
	while (strlen(s->text) < strlen(expected) && poll(&pfd, 1, 3000) > 0);
	assert_string_equal(s->text, expected);
	memset(s->text, 0, sizeof(s->text));
}

static int open_tun(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(ifr.ifr_name, name);
	return fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) == 0 ? fd : -1;
}

static void set_up(const char *name, bool up)
{
	_cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_flags = up ? IFF_UP : 0 };

	strcpy(ifr.ifr_name, name);
	assert_return_code(ioctl(fd, SIOCSIFFLAGS, &ifr), errno);
}

static void rename_to(const char *name, const char *new_name)
{
	_cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, name);
	strcpy(ifr.ifr_newname, new_name);
	assert_return_code(ioctl(fd, SIOCSIFNAME, &ifr), errno);
}

static void link_is_followed_through_its_life(void **state)
{
	_cleanup_fd int home = -1, netns = -1, tun = -1, again = -1;
	struct watch_netlink *w;
	struct link_identity link;
	struct story s = { 0 };

	assert_int_equal(netns_open("host", &home, NULL), 0);
	if (unshare(CLONE_NEWNET) < 0)
		skip(); /* needs root */
	assert_int_equal(netns_open("host", &netns, NULL), 0);
	tun = open_tun("other");
	if (tun < 0) {
		setns(home, CLONE_NEWNET);
		skip(); /* needs /dev/net/tun */
	}
	assert_int_equal(watch_netlink_start(&w, netns, "wg0", NULL, note, &s, NULL), 0);
	told(w, &s, "link_gone");
	assert_int_equal(watch_netlink_reread(w), -ENOLINK);
	set_up("other", true);
	told(w, &s, ""); /* somebody else's */
	set_up("other", false);
	rename_to("other", "wg0");
	told(w, &s, "link_down");
	set_up("wg0", true);
	told(w, &s, "link_ready");
	assert_int_equal(watch_netlink_reread(w), 0);
	assert_int_equal(watch_netlink_identity(w, &link), 0);
	assert_int_equal(link.ifindex, s.last.ifindex);
	assert_string_equal(link.kind, "tun");
	set_up("wg0", false);
	set_up("wg0", true);
	told(w, &s, "link_down link_ready"); /* a bounce is a fact */
	rename_to("lo", "wg1");
	set_up("wg0", false);
	rename_to("wg0", "wg2");
	rename_to("wg1", "wg0");
	told(w, &s, "link_down link_gone link_wrong");
	assert_string_equal(s.last.detail, "wg0 is a physical device");
	rename_to("wg0", "lo");
	again = open_tun("wg0");
	told(w, &s, "link_gone link_down");
	assert_int_not_equal(s.last.ifindex, link.ifindex);
	watch_netlink_stop(w);
	assert_return_code(setns(home, CLONE_NEWNET), errno);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tunnels_are_tunnels),
		cmocka_unit_test(everything_else_is_not),
		cmocka_unit_test(link_message_is_understood),
		cmocka_unit_test(link_message_that_makes_no_sense_is_refused),
		cmocka_unit_test(truncated_messages_are_refused),
		cmocka_unit_test(route_message_is_understood),
		cmocka_unit_test(garbage_harms_nobody),
		cmocka_unit_test(link_is_followed_through_its_life),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("netlink", tests, NULL, NULL);
}
