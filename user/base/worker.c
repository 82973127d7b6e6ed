/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

#define START_TIMEOUT_MS 5000
#define END_TIMEOUT_MS	 1000

/* ------ the child ------ */

struct task {
	const char *name;
	int fd;
	int (*f)(void *arg);
	void *arg;
};

#ifdef COVERAGE /* of the build that counts which lines ran: `make coverage` */
#define IS_COUNTERS(line) strstr(line, ".profraw")
#else
#define IS_COUNTERS(line) false
#endif

/* Unmaps what is shared and can be written, or is a BPF map. */
static int drop_shared_memory(void)
{
	_cleanup_file FILE *maps = fopen("/proc/self/maps", "re");
	char line[4400], mode[5];
	unsigned long from, to;

	if (!maps)
		return -errno;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && mode[3] == 's' &&
		    (mode[1] == 'w' || strstr(line, "bpf")) && !IS_COUNTERS(line) &&
		    munmap((void *)from, to - from) < 0)
			return -errno;
	return 0;
}

static int worker_begin(void *arg)
{
	const struct task *t = arg;

	prctl(PR_SET_NAME, t->name);
	if (drop_shared_memory() || dup2(t->fd, WORKER_FD) < 0 ||
	    close_range(WORKER_FD + 1, ~0U, 0) < 0)
		return 1;
	return t->f(t->arg);
}

/* ------ the parent ------ */

int worker_start(struct worker *ret, const char *name, int (*f)(void *arg), void *arg)
{
	struct task task = { .name = name, .f = f, .arg = arg };
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	task.fd = pair[1];
	r = child_start(&ret->child, worker_begin, &task);
	close(pair[1]);
	if (r)
		close(pair[0]);
	else
		ret->fd = pair[0];
	return r;
}

int worker_await(const struct worker *w)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, START_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n ? -errno : -ETIMEDOUT;
}

void worker_end(struct worker *w)
{
	if (!w->child.pid)
		return;
	shutdown(w->fd, SHUT_RDWR);
	child_wait(&w->child, END_TIMEOUT_MS);
	worker_stop(w);
	w->fd = close_fd(w->fd);
}

void worker_stop(struct worker *w)
{
	if (!w->child.pid)
		return;
	w->fd = close_fd(w->fd);
	child_kill(&w->child);
}

/* ------ records ------ */

union one_fd {
	struct cmsghdr head;
	char space[CMSG_SPACE(sizeof(int))];
};

int send_record(int fd, const void *record, size_t size, int passed_fd)
{
	struct iovec iov = { .iov_base = (void *)record, .iov_len = size };
	union one_fd control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
					   .cmsg_level = SOL_SOCKET,
					   .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (passed_fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &passed_fd, sizeof(passed_fd));
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
	}
	if (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

ssize_t receive_record(int fd, void *record, size_t size, int *ret_fd)
{
	struct iovec iov = { .iov_base = record, .iov_len = size };
	union one_fd control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	const struct cmsghdr *c;
	ssize_t n;

	if (ret_fd) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		*ret_fd = -1;
	}
	n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
	c = CMSG_FIRSTHDR(&m);
	if (ret_fd && c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return n;
}
