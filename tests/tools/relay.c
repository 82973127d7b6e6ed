/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relay NETNS-FILE TUN NETNS-FILE TUN: a tunnel without the VPN. Two tun devices, and what goes
 * into one comes out of the other, for measures in which WireGuard's own cost would drown the rest.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int make_tun(const char *netns, const char *name)
{
	struct ifreq q = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		err(1, "enter %s", netns);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &q) < 0)
		err(1, "make %s", name);
	return fd;
}

int main(int argc, char **argv)
{
	struct pollfd p[2];

	if (argc != 5)
		errx(2, "usage: relay NETNS-FILE TUN NETNS-FILE TUN");
	for (int i = 0; i < 2; i++)
		p[i] = (struct pollfd) { make_tun(argv[1 + 2 * i], argv[2 + 2 * i]), POLLIN, 0 };
	puts("relaying");
	fflush(stdout);
	while (poll(p, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			uint8_t packet[65536];
			ssize_t n;

			while ((n = read(p[i].fd, packet, sizeof(packet))) > 0)
				if (write(p[!i].fd, packet, (size_t)n) < 0)
					warn("write"); /* the other end is down, say */
		}
	err(1, "poll");
}
