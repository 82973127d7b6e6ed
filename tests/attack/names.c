/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names as programs ask them. Built three times: against glibc, against musl, and (WITH_CARES)
 * against c-ares; a case builds the latter two itself.
 *
 *   names ask NAME                   by the library and its resolv.conf; prints the address
 *   names sendmmsg SERVER NAME       two questions in one call of an unconnected socket; prints
 *                                    `ANSWER from SOURCE`, of the second;
 *                                    waits for $PATIENCE seconds (2)
 *   names flood SERVER SECONDS RATE  that many questions a second by one unconnected socket, none
 *                                    twice; prints `sent N answered N strange N late N`
 *   names serve ADDRESS              answers them; prints `got N` when it is told to end
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_CARES
#include <ares.h>
#include <sys/select.h>
#endif

static int none(const char *why)
{
	printf("none: %s\n", why);
	return 1;
}

static int say(const void *address)
{
	char text[INET_ADDRSTRLEN];

	printf("%s\n", inet_ntop(AF_INET, address, text, sizeof(text)));
	return 0;
}

/* ------ by a library ------ */

#ifdef WITH_CARES
static void found(void *arg, int status, int timeouts, struct hostent *host)
{
	*(int *)arg =
		status == ARES_SUCCESS ? say(host->h_addr_list[0]) : none(ares_strerror(status));
}

static int ask(const char *name)
{
	ares_channel channel;
	int result = 1;

	if (ares_library_init(ARES_LIB_INIT_ALL) || ares_init(&channel))
		return none("c-ares");
	ares_gethostbyname(channel, name, AF_INET, found, &result);
	for (;;) {
		struct timeval second = { 1, 0 }, left;
		fd_set in, out;
		int n;

		FD_ZERO(&in);
		FD_ZERO(&out);
		n = ares_fds(channel, &in, &out);
		if (!n)
			break;
		select(n, &in, &out, NULL, ares_timeout(channel, &second, &left));
		ares_process(channel, &in, &out);
	}
	ares_destroy(channel);
	return result;
}
#else
static int ask(const char *name)
{
	const struct addrinfo wanted = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct addrinfo *got;
	int r = getaddrinfo(name, NULL, &wanted, &got);

	return r ? none(gai_strerror(r))
		 : say(&((const struct sockaddr_in *)(const void *)got->ai_addr)->sin_addr);
}
#endif

/* ------ by hand ------ */

union server {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t set_server(union server *s, const char *text)
{
	memset(s, 0, sizeof(*s));
	if (inet_pton(AF_INET6, text, &s->v6.sin6_addr) == 1) {
		s->v6.sin6_family = AF_INET6;
		s->v6.sin6_port = htons(53);
		return sizeof(s->v6);
	}
	inet_pton(AF_INET, text, &s->v4.sin_addr);
	s->v4.sin_family = AF_INET;
	s->v4.sin_port = htons(53);
	return sizeof(s->v4);
}

static const char *address_text(const union server *s, char text[INET6_ADDRSTRLEN])
{
	return s->any.sa_family == AF_INET6
		       ? inet_ntop(AF_INET6, &s->v6.sin6_addr, text, INET6_ADDRSTRLEN)
		       : inet_ntop(AF_INET, &s->v4.sin_addr, text, INET6_ADDRSTRLEN);
}

/* The A question for `name`. Its length. */
static size_t question(uint8_t q[512], uint16_t id, const char *name)
{
	static const uint8_t head[] = { 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	static const uint8_t tail[] = { 0, 0, 1, 0, 1 };
	size_t n = sizeof(head);

	memcpy(q, head, sizeof(head));
	q[0] = (uint8_t)(id >> 8);
	q[1] = (uint8_t)id;
	while (*name) {
		size_t label = strcspn(name, ".");

		q[n++] = (uint8_t)label;
		memcpy(q + n, name, label);
		n += label;
		name += label + (name[label] == '.');
	}
	memcpy(q + n, tail, sizeof(tail));
	return n + sizeof(tail);
}

static int by_sendmmsg(const char *server, const char *name)
{
	const char *seconds = getenv("PATIENCE");
	const struct timeval patience = { seconds ? atoi(seconds) : 2, 0 };
	char text[INET6_ADDRSTRLEN];
	union server to, from = { 0 };
	socklen_t length = set_server(&to, server), from_length = sizeof(from);
	struct mmsghdr m[2] = { 0 };
	struct iovec iov[2];
	uint8_t q[2][512];
	ssize_t n = 0;
	int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (unsigned int i = 0; i < 2; i++) {
		iov[i] = (struct iovec) { q[i], question(q[i], (uint16_t)i, name) };
		m[i].msg_hdr.msg_name = &to;
		m[i].msg_hdr.msg_namelen = length;
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	if (sendmmsg(fd, m, 2, 0) != 2)
		return none(strerror(errno));
	for (int i = 0; i < 2; i++) {
		n = recvfrom(fd, q[0], sizeof(q[0]), 0, &from.any, &from_length);
		if (n < 16)
			return none(n < 0 ? strerror(errno) : "too short");
	}
	printf("%d.%d.%d.%d from %s\n", q[0][n - 4], q[0][n - 3], q[0][n - 2], q[0][n - 1],
	       address_text(&from, text));
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Answers that are there; one that is not from whom was asked is strange. */
static void collect(int fd, const union server *asked, uint64_t *answered, uint64_t *strange)
{
	union server from;
	socklen_t length = sizeof(from);
	uint8_t a[512];

	while (recvfrom(fd, a, sizeof(a), MSG_DONTWAIT, &from.any, &length) > 0) {
		if (from.v4.sin_addr.s_addr == asked->v4.sin_addr.s_addr)
			++*answered;
		else
			++*strange;
		length = sizeof(from);
	}
}

static int flood(const char *server, uint64_t seconds, uint64_t rate)
{
	const uint64_t start = now_ns(), end = start + seconds * 1000000000u;
	uint64_t sent = 0, answered = 0, strange = 0, heard;
	const int large = 32 << 20;
	union server to;
	socklen_t length = set_server(&to, server);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof(large));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large));
	for (uint64_t now = start; now < end; now = now_ns()) {
		uint64_t due = (now - start) * rate / 1000000000u;
		uint8_t q[512];
		char name[64];

		for (; sent < due; sent++) {
			size_t n;

			snprintf(name, sizeof(name), "n%llu.flood.example",
				 (unsigned long long)sent);
			n = question(q, (uint16_t)sent, name);
			if (sendto(fd, q, n, 0, &to.any, length) < 0)
				return none(strerror(errno));
		}
		collect(fd, &to, &answered, &strange);
		poll(&p, 1, 1);
	}
	/* what is still on its way: until nothing has come for a second */
	for (heard = answered; answered + strange < sent && poll(&p, 1, 1000) > 0;)
		collect(fd, &to, &answered, &strange);
	printf("sent %llu answered %llu strange %llu late %llu\n", (unsigned long long)sent,
	       (unsigned long long)answered, (unsigned long long)strange,
	       (unsigned long long)(answered - heard));
	return 0;
}

static volatile sig_atomic_t over;

static void end(int sig)
{
	over = 1;
}

static int serve(const char *address)
{
	static const uint8_t answer[] = { 0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4 };
	const struct sigaction ending = { .sa_handler = end };
	const int large = 32 << 20;
	union server at, from;
	socklen_t length = set_server(&at, address), from_length = sizeof(from);
	int fd = socket(at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned long long got = 0;
	uint8_t q[512];

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof(large));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large));
	if (bind(fd, &at.any, length) < 0)
		return none(strerror(errno));
	sigaction(SIGTERM, &ending, NULL);
	puts("serving");
	fflush(stdout);
	while (!over) {
		ssize_t n = recvfrom(fd, q, 400, 0, &from.any, &from_length);

		if (n < 0)
			continue;
		got++;
		q[2] = 0x81; /* an answer, with one record */
		q[3] = 0x80;
		q[7] = 1;
		memcpy(q + n, answer, sizeof(answer));
		memcpy(q + n + sizeof(answer), &at.v4.sin_addr, 4);
		sendto(fd, q, (size_t)n + sizeof(answer) + 4, 0, &from.any, from_length);
		from_length = sizeof(from);
	}
	printf("got %llu\n", got);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "ask"))
		return ask(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "sendmmsg"))
		return by_sendmmsg(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "flood"))
		return flood(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	fputs("usage: names ask NAME | sendmmsg SERVER NAME | flood SERVER SECONDS RATE | "
	      "serve ADDRESS\n",
	      stderr);
	return 2;
}
