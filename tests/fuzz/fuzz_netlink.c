/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What rtnetlink, sock_diag and WireGuard's generic netlink say, from a socket on: base/nl.c reads
 * it. The first line is who asks; then a line for each datagram, as hexadecimal digits with
 * whatever between them: "e" one of the events, "a" an answer; "e!" says that some were lost.
 * Questions have the number 1, and port 2.
 */
#include "watch/process.h"

#include <sanitizer/asan_interface.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static ssize_t played_recvmsg(int fd, struct msghdr *m);
static ssize_t played_recv(int fd);

/* what is behind the end of a datagram is nobody's to read */
#define explicit_bzero(at, size) (ASAN_UNPOISON_MEMORY_REGION(at, size), memset(at, 0, size))
#define recvmsg(fd, m, flags)	 played_recvmsg(fd, m)
#define recv(fd, at, size, f)	 played_recv(fd)
#define send(fd, at, size, f)	 ((ssize_t)(size))
#define getsockname(fd, at, n)	 (((struct sockaddr_nl *)(at))->nl_pid = 2, *(n) > 0 ? 0 : -1)
#define getrandom(at, size, f)	 (memset(at, 0, size), *(uint8_t *)(at) = 1, (ssize_t)(size))
#include "base/nl.c"
#include "watch/netlink.c"
#undef explicit_bzero
#undef recvmsg
#undef recv
#undef send
#undef getsockname
#undef getrandom

#include <ctype.h>

#include "fuzz.h"
#include "watch/underlay.h"
#include "watch/wireguard.h"

enum { EVENTS = 100, ANSWERS }; /* no descriptors: they are only handed on */

static struct datagram {
	int fd; /* 0: read */
	bool lost;
	size_t n;
	uint8_t bytes[4096];
} played[64];
static size_t n_played, reads;

static struct datagram *next_of(int fd)
{
	for (struct datagram *d = played; d < played + n_played; d++)
		if (d->fd == fd)
			return d;
	errno = EAGAIN;
	return NULL;
}

static ssize_t played_recv(int fd)
{
	struct datagram *d = next_of(fd);

	if (!d)
		return -1;
	d->fd = 0;
	errno = ENOBUFS;
	return d->lost ? -1 : (ssize_t)d->n;
}

static ssize_t played_recvmsg(int fd, struct msghdr *m)
{
	struct datagram *d = next_of(fd);
	uint8_t *at = m->msg_iov->iov_base;
	size_t size = m->msg_iov->iov_len;

	ASAN_UNPOISON_MEMORY_REGION(at, size);
	reads++;
	if (!d)
		return -1;
	d->fd = 0;
	errno = ENOBUFS;
	if (d->lost)
		return -1;
	memcpy(at, d->bytes, d->n);
	ASAN_POISON_MEMORY_REGION(at + d->n, size - d->n);
	return (ssize_t)d->n;
}

static int digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10
					    : -1;
}

static void take_line(const char *line)
{
	struct datagram *d = &played[n_played];
	int high = -1;

	if ((*line != 'e' && *line != 'a') || n_played == ARRAY_SIZE(played))
		return;
	n_played++;
	d->fd = *line == 'e' ? EVENTS : ANSWERS;
	d->lost = line[1] == '!';
	d->n = 0;
	while (*++line) {
		int n = digit(*line);

		if (n >= 0 && high >= 0 && d->n < sizeof(d->bytes)) {
			d->bytes[d->n++] = (uint8_t)(high << 4 | n);
			high = -1;
		} else if (n >= 0) {
			high = n;
		}
	}
}

static void on_told(void *owner, const struct evidence *e)
{
	const struct watch_netlink *w = owner;

	MUST_END(e->detail);
	if (e->what == IN_LINK_READY)
		MUST(e->ifindex && e->ifindex == w->link.ifindex && link_is_up(&w->link) &&
		     link_is_tunnel(w->link.type, w->link.kind));
}

/* Present state, what happens meanwhile, and the look before a renewal. */
static void play_watch(void)
{
	struct watch_netlink w = { .events = EVENTS,
				   .requests = ANSWERS,
				   .name = "wg0",
				   .route = "198.51.100.1",
				   .route_family = AF_INET,
				   .tell = on_told,
				   .owner = &w };

	read_present(&w);
	MUST(!watch_netlink_ready(&w) || w.blind);
	if (!watch_netlink_reread(&w))
		MUST(w.told == IN_LINK_READY && !w.blind && !strcmp(w.link.name, "wg0"));
	MUST_END(w.link.name);
	MUST_END(w.link.kind);
}

static void play_links(void)
{
	struct links l;
	struct error err;

	if (links_read(ANSWERS, &l, &err)) {
		check_error(&err);
		return;
	}
	for (size_t i = 0; i < l.n; i++) {
		char text[400];

		MUST_END(l.links[i].name);
		MUST_END(l.links[i].kind);
		MUST(l.links[i].n_addresses <= ARRAY_SIZE(l.links[i].addresses));
		link_weakness(text, sizeof(text), &l.links[i]);
	}
	links_free(&l);
}

static void play_wireguard(void)
{
	struct wireguard w = { 0 };

	if (!wireguard_kernel(ANSWERS, "wireguard", 7, &w))
		MUST(w.n <= WIREGUARD_PEERS && w.handshake_ns >= 0);
}

static void on_socket_seen(const struct open_socket *s, void *n)
{
	MUST(s->protocol == IPPROTO_TCP || s->protocol == IPPROTO_UDP);
	++*(size_t *)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size), *save, *line = strtok_r(text, "\n", &save);
	const char *who = line ? line : "";
	size_t sockets = 0;
	int32_t nsid;

	n_played = reads = 0;
	while (line && (line = strtok_r(NULL, "\n", &save)))
		take_line(line);
	if (!strcmp(who, "watch"))
		play_watch();
	else if (!strcmp(who, "links"))
		play_links();
	else if (!strcmp(who, "gateway"))
		default_gateway(ANSWERS, 7);
	else if (!strcmp(who, "nsid"))
		nsid_of(ANSWERS, 9, &nsid);
	else if (!strcmp(who, "wireguard"))
		play_wireguard();
	else if (!strcmp(who, "sockets"))
		sockets_each(ANSWERS, on_socket_seen, &sockets);
	MUST(reads <= 8 * ARRAY_SIZE(played)); /* nobody waits for what does not come */
	free(text);
	return 0;
}
