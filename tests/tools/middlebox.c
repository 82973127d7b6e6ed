/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * middlebox PORT SERVER-PORT DELAY JITTER LOSS KBIT QUEUE: a slow, lossy, narrow line for UDP: what
 * comes to PORT goes to 127.0.0.1:SERVER-PORT, and what that answers goes back. Each way DELAY ±
 * JITTER ms later, LOSS of a hundred never, KBIT a second (0: no limit) behind a queue of QUEUE
 * bytes. It is at first none of these; with SIGUSR1 all of them, with the next one cut. Says
 * "clean", "disturbed", "cut".
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define LATER 2048 /* packets under way each way; more are lost */
#define MTU   2048

struct way {
	int from, to;
	uint64_t free_us; /* when the last one has left the queue */
	unsigned int n;
	struct later {
		uint64_t due_us; /* 0: free */
		ssize_t n;
		uint8_t packet[MTU];
	} later[LATER];
};

static struct way ways[2];
static long delay_ms, jitter_ms, loss, kbit, queue;
static volatile sig_atomic_t stage;

static void on_signal(int signal)
{
	stage++;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int udp(const char *to, int port, bool server)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, to, &a.sin_addr);
	if (fd < 0 || (server ? bind : connect)(fd, (void *)&a, sizeof(a)) < 0)
		err(1, "%s:%d", to, port);
	return fd;
}

/* When it comes out at the other end; 0: never. */
static uint64_t due(struct way *w, ssize_t n, uint64_t now)
{
	if (!stage)
		return now;
	if (stage > 1 || random() % 100 < loss)
		return 0;
	if (kbit) {
		uint64_t begin = w->free_us > now ? w->free_us : now;

		if ((begin - now) * (uint64_t)kbit / 8000 + (uint64_t)n > (uint64_t)queue)
			return 0;
		w->free_us = begin + (uint64_t)n * 8000 / (uint64_t)kbit;
		now = w->free_us;
	}
	return now + (uint64_t)(delay_ms - jitter_ms + random() % (2 * jitter_ms + 1)) * 1000;
}

/* The client's address is that of its last packet. */
static void take(struct way *w, bool of_client)
{
	static uint8_t packet[MTU];
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	uint64_t now = now_us(), at;
	ssize_t n;

	while ((n = recvfrom(w->from, packet, sizeof(packet), 0, (void *)&from, &size)) >= 0) {
		if (of_client && connect(w->from, (void *)&from, size) < 0)
			err(1, "connect");
		at = due(w, n, now);
		for (size_t i = 0; at && i < LATER; i++) {
			struct later *l = &w->later[i];

			if (l->due_us)
				continue;
			l->due_us = at;
			l->n = n;
			memcpy(l->packet, packet, (size_t)n);
			w->n++;
			break;
		}
	}
}

/* The earliest that is left, UINT64_MAX: none. */
static uint64_t give(struct way *w, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; w->n && i < LATER; i++) {
		struct later *l = &w->later[i];

		if (l->due_us && (l->due_us <= now || stage > 1)) {
			if (stage < 2 && send(w->to, l->packet, (size_t)l->n, 0) < 0 &&
			    errno != ECONNREFUSED)
				warn("send");
			l->due_us = 0;
			w->n--;
		} else if (l->due_us && l->due_us < next) {
			next = l->due_us;
		}
	}
	return next;
}

int main(int argc, char **argv)
{
	static const char *const said[] = { "clean", "disturbed", "cut" };
	struct pollfd p[2];
	sigset_t none, usr1;
	int told = -1;

	if (argc != 8)
		errx(2, "usage: middlebox PORT SERVER-PORT DELAY JITTER LOSS KBIT QUEUE");
	delay_ms = atol(argv[3]), jitter_ms = atol(argv[4]), loss = atol(argv[5]);
	kbit = atol(argv[6]), queue = atol(argv[7]);
	ways[0].from = ways[1].to = udp("0.0.0.0", atoi(argv[1]), true);
	ways[0].to = ways[1].from = udp("127.0.0.1", atoi(argv[2]), false);
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	signal(SIGUSR1, on_signal);
	for (;;) {
		uint64_t now = now_us(), a = give(&ways[0], now), b = give(&ways[1], now),
			 next = a < b ? a : b, wait = next > now ? next - now : 0;
		struct timespec t = { (time_t)(wait / 1000000), (long)(wait % 1000000) * 1000 };

		if (told != stage) {
			told = stage;
			puts(said[told > 2 ? 2 : told]);
			fflush(stdout);
		}
		for (int i = 0; i < 2; i++)
			p[i] = (struct pollfd) { ways[i].from, POLLIN, 0 };
		if (ppoll(p, 2, next == UINT64_MAX ? NULL : &t, &none) < 0 && errno != EINTR)
			err(1, "poll");
		take(&ways[0], true);
		take(&ways[1], false);
	}
}
