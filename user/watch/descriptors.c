/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* "iff:\tNAME" of tun_chr_show_fdinfo(), drivers/net/tun.c; NAME may be empty. */
static void read_tun(int proc, const char *number, char ret[IFNAMSIZ])
{
	char path[64], text[512], *line;

	snprintf(path, sizeof(path), "fdinfo/%.20s", number);
	if (read_small(proc, path, text, sizeof(text)) < 0)
		return;
	line = strstr(text, "\niff:\t");
	if (line)
		snprintf(ret, IFNAMSIZ, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
}

static void read_descriptor(int proc, int fds, const char *number, struct descriptor *ret)
{
	char target[64];
	ssize_t n = readlinkat(fds, number, target, sizeof(target) - 1);

	memset(ret, 0, sizeof(*ret));
	if (n < 0)
		return;
	target[n] = '\0';
	if (sscanf(target, "socket:[%lu]", &ret->socket) != 1 && strstr(target, "/tun"))
		read_tun(proc, number, ret->tun);
}

int descriptors_each(pid_t pid, void (*f)(const struct descriptor *d, void *arg), void *arg)
{
	_cleanup_dir DIR *d = NULL;
	_cleanup_fd int proc = -1;
	struct dirent *e;
	char path[64];
	int fds, n = 0;

	/* by one descriptor of the process: its number may be another's a moment later */
	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds = proc < 0 ? -1 : openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fds < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	d = fdopendir(fds);
	if (!d) {
		close_fd(fds);
		return -ENOMEM;
	}
	while ((e = readdir(d)) && n++ < DESCRIPTORS) {
		struct descriptor held;

		if (e->d_name[0] == '.')
			continue;
		read_descriptor(proc, dirfd(d), e->d_name, &held);
		if (held.socket || *held.tun)
			f(&held, arg);
	}
	return e ? -E2BIG : 0;
}
