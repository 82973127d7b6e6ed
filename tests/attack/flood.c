/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flood: NUMBER datagrams of 64 bytes to ADDRESS by INTERFACE, as fast as sendmmsg allows, over all
 * CPUs. Says "sent N refused N ms N": N of them left, N met EPERM; another error ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH	64
#define SENDERS 2

static int open_socket(const char *interface, const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface)) < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("flood");
		exit(1);
	}
	return fd;
}

static void flood(int fd, long number, long ret[2])
{
	char payload[64] = "flood";
	struct iovec iov = { payload, sizeof(payload) };
	struct mmsghdr batch[BATCH] = { 0 };

	for (int i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr) { .msg_iov = &iov, .msg_iovlen = 1 };
	while (number > 0) {
		/* stops at the first that is refused, and says so only when it is the first */
		int n = sendmmsg(fd, batch, number < BATCH ? (unsigned int)number : BATCH, 0);

		if (n < 0 && errno == ENOBUFS)
			continue;
		if (n < 0 && errno != EPERM) {
			perror("flood");
			exit(1);
		}
		ret[n < 0] += n < 0 ? 1 : n;
		number -= n < 0 ? 1 : n;
	}
}

int main(int argc, char **argv)
{
	struct timespec begin, end;
	long total[2] = { 0 }, part[2];
	int results[2], failed = 0, status;

	if (argc != 4 || pipe(results) < 0) {
		fprintf(stderr, "usage: flood INTERFACE ADDRESS NUMBER\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (long i = 0; i < SENDERS; i++) {
		if (fork())
			continue;
		memset(part, 0, sizeof(part));
		flood(open_socket(argv[1], argv[2]), atol(argv[3]) / SENDERS, part);
		exit(write(results[1], part, sizeof(part)) != sizeof(part));
	}
	while (wait(&status) > 0)
		failed |= status;
	close(results[1]);
	while (read(results[0], part, sizeof(part)) == sizeof(part))
		for (int i = 0; i < 2; i++)
			total[i] += part[i];
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("sent %ld refused %ld ms %ld\n", total[0], total[1],
	       (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
	return failed != 0;
}
