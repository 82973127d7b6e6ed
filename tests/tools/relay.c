/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relay NETNS-FILE TUN NETNS-FILE TUN [DELAY JITTER LOSS]: a tunnel without the VPN. Two tun
 * devices, and what goes into one comes out of the other, for measures in which WireGuard's own
 * cost would drown the rest. DELAY ± JITTER ms later, if they are given, each on its own, and LOSS
 * of a hundred never.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LATER	4096 /* packets under way; more are lost */
#define MTU	1500
#define LOOK_MS 2

static struct later {
	uint64_t due_ms; /* 0: free */
	int to;
	ssize_t n;
	uint8_t packet[MTU];
} later[LATER];

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

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void send_now(int to, const uint8_t *packet, ssize_t n)
{
	if (write(to, packet, (size_t)n) < 0)
		warn("write"); /* the other end is down, say */
}

static void send_later(int to, const uint8_t *packet, ssize_t n, uint64_t due_ms)
{
	for (size_t i = 0; n <= MTU && i < LATER; i++)
		if (!later[i].due_ms) {
			later[i].due_ms = due_ms;
			later[i].to = to;
			later[i].n = n;
			memcpy(later[i].packet, packet, (size_t)n);
			return;
		}
}

static void send_due(uint64_t now)
{
	for (size_t i = 0; i < LATER; i++)
		if (later[i].due_ms && later[i].due_ms <= now) {
			send_now(later[i].to, later[i].packet, later[i].n);
			later[i].due_ms = 0;
		}
}

int main(int argc, char **argv)
{
	long delay = argc == 8 ? atol(argv[5]) : 0, jitter = argc == 8 ? atol(argv[6]) : 0,
	     loss = argc == 8 ? atol(argv[7]) : 0;
	struct pollfd p[2];

	if (argc != 5 && argc != 8)
		errx(2, "usage: relay NETNS-FILE TUN NETNS-FILE TUN [DELAY JITTER LOSS]");
	for (int i = 0; i < 2; i++)
		p[i] = (struct pollfd) { make_tun(argv[1 + 2 * i], argv[2 + 2 * i]), POLLIN, 0 };
	puts("relaying");
	fflush(stdout);
	while (poll(p, 2, argc == 8 ? LOOK_MS : -1) >= 0) {
		for (int i = 0; i < 2; i++) {
			uint8_t packet[65536];
			ssize_t n;

			while ((n = read(p[i].fd, packet, sizeof(packet))) > 0) {
				long after = delay - jitter + random() % (2 * jitter + 1);

				if (argc == 5)
					send_now(p[!i].fd, packet, n);
				else if (random() % 100 >= loss)
					send_later(p[!i].fd, packet, n, now_ms() + (uint64_t)after);
			}
		}
		send_due(now_ms());
	}
	err(1, "poll");
}
