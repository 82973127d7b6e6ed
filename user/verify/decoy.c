/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verify/decoy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/nl.h"

#define READY_MS 10000

/* In a container that has no such device, and may not have: the machine's. */
static int open_tun(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct cgroup_root root;

	if (fd >= 0)
		return fd;
	if (!resolve_cgroup_root(&root, NULL)) {
		write_small(root.fd, "cgroup.procs", "0");
		close_fd(root.fd);
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL) < 0)
		return -errno;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* In the table `local`, which every netns asks first, whatever rules a VPN has made. */
static int route_to(int rtnl, uint32_t ifindex, int family, const char *address)
{
	struct nl_question q;
	struct rtmsg *rt =
		nl_begin(&q, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(*rt));
	size_t size = family == AF_INET ? 4 : 16;
	uint8_t bytes[16];

	inet_pton(family, address, bytes);
	*rt = (struct rtmsg) { .rtm_family = (unsigned char)family,
			       .rtm_dst_len = (unsigned char)(8 * size),
			       .rtm_table = RT_TABLE_LOCAL,
			       .rtm_protocol = RTPROT_STATIC,
			       .rtm_scope = RT_SCOPE_LINK,
			       .rtm_type = RTN_UNICAST };
	mnl_attr_put(&q.head, RTA_DST, size, bytes);
	mnl_attr_put_u32(&q.head, RTA_OIF, ifindex);
	return nl_ask(rtnl, &q.head, NULL, NULL);
}

static int furnish(int tun)
{
	struct ifreq device = { .ifr_name = DECOY_NAME,
				.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL };
	_cleanup_fd int rtnl = nl_open(-1, NETLINK_ROUTE);
	_cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t ifindex;
	int r;

	if (rtnl < 0 || fd < 0)
		return -EMFILE;
	if (ioctl(tun, TUNSETIFF, &device) < 0)
		return -errno;
	device.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &device) < 0 || ioctl(fd, SIOCGIFINDEX, &device) < 0)
		return -errno;
	ifindex = (uint32_t)device.ifr_ifindex;
	r = route_to(rtnl, ifindex, AF_INET, DECOY4);
	r = r ? r : route_to(rtnl, ifindex, AF_INET, NEIGHBOUR4);
	/* without IPv6 these kinds find no route, and the table says that none was seen */
	route_to(rtnl, ifindex, AF_INET6, DECOY6);
	route_to(rtnl, ifindex, AF_INET6, NEIGHBOUR6);
	return r;
}

struct start {
	int netns_fd, ready;
};

static int hold(void *arg)
{
	const struct start *s = arg;
	int tun = setns(s->netns_fd, CLONE_NEWNET) < 0 ? -errno : open_tun();
	int r = tun < 0 ? tun : furnish(tun), ready = s->ready;
	char packet[4096];

	if (write(ready, &r, sizeof(r)) != sizeof(r) || r)
		return 1;
	close_fd(ready);
	while (read(tun, packet, sizeof(packet)) > 0)
		;
	return 0;
}

int decoy_open(struct child *holder, int netns_fd, struct error *err)
{
	int ends[2], r, said = -EPIPE;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "make a pipe");
	r = child_start(holder, hold, &(struct start) { netns_fd, ends[1] });
	close_fd(ends[1]);
	if (!r && read(ends[0], &said, sizeof(said)) != sizeof(said))
		said = -EPIPE;
	close_fd(ends[0]);
	r = r ? r : said;
	if (r)
		child_kill(holder);
	return r ? fail(err, ERROR_PRIVILEGE, r,
			r == -EBUSY ? "another verify runs" : "modprobe tun", "make a decoy device")
		 : 0;
}
