/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * first ADDRESS TEXT: one datagram to ADDRESS as the first thing that this process does, then one
 * every 10 ms for half a second. Says when it was born, in ns of boot time, and exits with 0. For
 * containers: linked statically, so that it runs in any image.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7000) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct timespec born, pause = { .tv_nsec = 10000000 };

	if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || fd < 0)
		return 2;
	sendto(fd, argv[2], strlen(argv[2]), 0, (struct sockaddr *)&to, sizeof(to));
	clock_gettime(CLOCK_BOOTTIME, &born);
	for (int i = 0; i < 50; i++) {
		nanosleep(&pause, NULL);
		sendto(fd, argv[2], strlen(argv[2]), 0, (struct sockaddr *)&to, sizeof(to));
	}
	printf("born %lld%09ld\n", (long long)born.tv_sec, born.tv_nsec);
	return 0;
}
