/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define RETRIES 8 /* EAGAIN: a directory was moved meanwhile, and ".." may have led outside */

int open_in_root(pid_t pid, const char *path, int flags)
{
	struct open_how how = { .flags = (__u64)(flags | O_CLOEXEC |
						 (flags & O_PATH ? 0 : O_NONBLOCK | O_NOCTTY)),
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	_cleanup_fd int root = -1;
	char name[64];
	long fd = -1;

	snprintf(name, sizeof(name), "/proc/%d/root", pid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	for (int i = 0; i < RETRIES; i++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

ssize_t read_in_root(pid_t pid, const char *path, char *buf, size_t size)
{
	_cleanup_fd int seen = open_in_root(pid, path, O_PATH), fd = -1;
	char name[64];
	struct stat st;
	ssize_t n;

	if (seen < 0)
		return seen;
	if (fstat(seen, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", seen);
	/* non-blocking: its owner may hold a lease on it (F_SETLEASE), and let us wait 45 s */
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}
