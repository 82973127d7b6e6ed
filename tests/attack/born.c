/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * born PARENT NETNS INTERFACE ADDRESS NUMBER TEXT: NUMBER times a cgroup is made below PARENT, a
 * process is born in it that sends one datagram TEXT-i by INTERFACE as the first thing it does, and
 * the cgroup is removed again, over three names, so that names come back as other cgroups. Says
 * "sent N refused N", the latter being EPERM; another error ends it.
 */
#include <arpa/inet.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/lib/tool.h"

#define PORT 7000

/* In the cgroup from its first instruction (v5.7: CLONE_INTO_CGROUP). */
static pid_t be_born(int cgroup_fd)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP,
				   .exit_signal = SIGCHLD,
				   .cgroup = (uint64_t)cgroup_fd };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* 0: sent, 1: EPERM, else died. */
static int send_one(const char *interface, const struct sockaddr_in *to, const char *text)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface,
				 (socklen_t)strlen(interface)) < 0)
		die("make a socket");
	if (sendto(fd, text, strlen(text), 0, (const struct sockaddr *)to, sizeof(*to)) >= 0)
		return 0;
	if (errno != EPERM)
		die("send");
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int sent = 0, refused = 0, parent;

	if (argc != 7 || inet_pton(AF_INET, argv[4], &to.sin_addr) != 1) {
		fputs("usage: born PARENT NETNS INTERFACE ADDRESS NUMBER TEXT\n", stderr);
		return 2;
	}
	parent = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		die("open %s", argv[1]);
	enter_netns(argv[2]);
	for (int i = 0; i < atoi(argv[5]); i++) {
		char name[32], text[64];
		int status, fd;
		pid_t pid;

		snprintf(name, sizeof(name), "born-%d", i % 3);
		snprintf(text, sizeof(text), "%s-%d", argv[6], i);
		if (mkdirat(parent, name, 0755) < 0)
			die("make %s", name);
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		pid = be_born(fd);
		if (pid < 0)
			die("be born in %s", name);
		if (pid == 0)
			_exit(send_one(argv[3], &to, text));
		if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
			die("wait for the child");
		close(fd);
		/* a cgroup is empty a moment after its last process was reaped */
		for (int tries = 0; unlinkat(parent, name, AT_REMOVEDIR) < 0; tries++) {
			if (errno != EBUSY || tries == 1000)
				die("remove %s", name);
			usleep(1000);
		}
		sent += WEXITSTATUS(status) == 0;
		refused += WEXITSTATUS(status) == 1;
		if (sent + refused != i + 1)
			return 1;
	}
	printf("sent %d refused %d\n", sent, refused);
	return 0;
}
