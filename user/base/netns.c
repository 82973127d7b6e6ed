/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/netns.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* 0, -ENOENT for the empty file that `ip netns add` makes before it mounts, -EINVAL. */
static int check_netns(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* Asked first: the number of an ioctl means something else to another kind of file. */
	if (fs.f_type != NSFS_MAGIC)
		return S_ISREG(st.st_mode) && !st.st_size ? -ENOENT : -EINVAL;
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? 0 : -EINVAL;
}

int netns_open(const char *where, int *ret_fd, struct error *err)
{
	const char *path = strcmp(where, "host") ? where : "/proc/self/ns/net";
	/* Non-blocking, because a path from the configuration may be a FIFO. */
	_cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = fd < 0 ? -errno : check_netns(fd);

	if (r == -ESRCH) /* /proc/PID of a process that has just been reaped */
		r = -ENOENT;
	if (r == -ENOENT)
		return fail(err, ERROR_ABSENT, r, "is the VPN running?", "open netns '%s'", path);
	if (r == -EINVAL)
		return fail(err, ERROR_INPUT, r, "name a file such as /run/netns/NAME",
			    "'%s' is not a network namespace", path);
	if (r < 0)
		return fail(err, ERROR_PRIVILEGE, r, "needs root, and CAP_SYS_PTRACE for /proc/PID",
			    "open netns '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

uint64_t netns_ino(int netns_fd)
{
	struct stat st;

	return fstat(netns_fd, &st) < 0 ? 0 : st.st_ino;
}

struct walk {
	bool (*f)(int netns_fd, void *arg);
	void *arg;
	uint64_t seen[512];
	size_t n;
};

static int netns_visit(struct walk *w, const char *path)
{
	_cleanup_fd int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0) /* before it is opened: there are many processes */
		return -ENOENT;
	for (size_t i = 0; i < w->n; i++)
		if (w->seen[i] == st.st_ino)
			return -ENOENT;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || check_netns(fd))
		return -ENOENT;
	if (w->n < ARRAY_SIZE(w->seen))
		w->seen[w->n++] = st.st_ino;
	return w->f(fd, w->arg) ? TAKE_FD(fd) : -ENOENT;
}

int netns_find(bool (*f)(int netns_fd, void *arg), void *arg)
{
	static const struct {
		const char *dir, *format;
	} places[] = { { "/run/netns", "/run/netns/%s" }, { "/proc", "/proc/%s/ns/net" } };
	struct walk w = { .f = f, .arg = arg };
	int fd = netns_visit(&w, "/proc/self/ns/net");

	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(places); i++) {
		_cleanup_dir DIR *d = opendir(places[i].dir);
		struct dirent *e;

		while (fd < 0 && d && (e = readdir(d))) {
			char path[300];

			if (e->d_name[0] == '.' || (i && !isdigit((unsigned char)e->d_name[0])))
				continue;
			snprintf(path, sizeof(path), places[i].format, e->d_name);
			fd = netns_visit(&w, path);
		}
	}
	return fd;
}

int netns_call(int netns_fd, int (*f)(void *), void *arg)
{
	_cleanup_fd int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (home < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	r = f(arg);
	if (setns(home, CLONE_NEWNET) < 0) {
		log_line(LOG_LEVEL_ERR,
			 "return from another network namespace: %s (ended, so that nothing is "
			 "judged by its routes; start it again)",
			 strerror(errno));
		abort();
	}
	return r;
}

struct socket_args {
	int domain, type, protocol;
};

static int open_socket(void *arg)
{
	const struct socket_args *a = arg;
	int fd = socket(a->domain, a->type | SOCK_CLOEXEC, a->protocol);

	return fd < 0 ? -errno : fd;
}

int netns_socket(int netns_fd, int domain, int type, int protocol)
{
	struct socket_args args = { .domain = domain, .type = type, .protocol = protocol };

	return netns_call(netns_fd, open_socket, &args);
}

int netns_cookie(int netns_fd, uint64_t *ret_cookie)
{
	_cleanup_fd int fd = netns_socket(netns_fd, AF_UNIX, SOCK_DGRAM, 0);
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		return -errno;
	*ret_cookie = cookie;
	return 0;
}
