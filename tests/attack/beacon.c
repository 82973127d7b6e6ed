/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * beacon ADDRESS TEXT [MS]: sends before it does anything else: TEXT as a datagram, and a TCP
 * connection asked for, by the route and by each interface but loopback. Once, or every MS
 * milliseconds until SIGTERM. Linked statically: it is the first process of containers that have
 * nothing else.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/lib/tool.h"

#define PORT 7000

static void end(int signal)
{
	_exit(0);
}

/* interface NULL: by the route. A refusal is what is hoped for: it is told by what is seen. */
static void send_by(const char *interface, const struct sockaddr_in *to, const char *text)
{
	int udp = socket(AF_INET, SOCK_DGRAM, 0),
	    tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (udp < 0 || tcp < 0)
		die("make a socket");
	if (!interface || (!setsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, interface, IFNAMSIZ) &&
			   !setsockopt(tcp, SOL_SOCKET, SO_BINDTODEVICE, interface, IFNAMSIZ))) {
		(void)sendto(udp, text, strlen(text), 0, (const struct sockaddr *)to, sizeof(*to));
		(void)connect(tcp, (const struct sockaddr *)to, sizeof(*to));
	}
	close(udp);
	close(tcp);
}

static void send_by_all(const struct sockaddr_in *to, const char *text)
{
	struct if_nameindex *all;

	send_by(NULL, to, text); /* the very first */
	all = if_nameindex();
	for (struct if_nameindex *i = all; i && i->if_index; i++) {
		char name[IFNAMSIZ] = "";

		memcpy(name, i->if_name, strnlen(i->if_name, IFNAMSIZ - 1));
		if (strcmp(name, "lo"))
			send_by(name, to, text);
	}
	if_freenameindex(all);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	if (argc < 3 || argc > 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fputs("usage: beacon ADDRESS TEXT [MS]\n", stderr);
		return 2;
	}
	send_by_all(&to, argv[2]);
	signal(SIGTERM, end); /* nobody's default for a container's first process */
	if (argc == 3)
		return 0;
	for (;;) {
		usleep((useconds_t)atoi(argv[3]) * 1000);
		send_by_all(&to, argv[2]);
	}
}
