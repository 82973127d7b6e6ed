/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/uapi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/nl.h"

#define DEADLINE_NS (500 * NS_PER_MSEC)
#define PAUSE_NS    (NS_PER_MSEC / 2) /* before the first look whether it was accepted; doubled */
#define ANSWER_MAX  65536

struct uapi {
	struct uapi_question q;
	sd_event_source *readable, *clock;
	uint64_t deadline_ns, pause_ns;
	dev_t device; /* of the name it is connected to */
	ino_t inode;
	bool rests; /* it has answered, and may be asked again */
	size_t at;
	char buf[ANSWER_MAX];
};

int uapi_find(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_fd int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISSOCK(st.st_mode) ? TAKE_FD(fd) : -ENOTSOCK;
}

/* The private key is in there. */
static void uapi_forget(struct uapi *u)
{
	explicit_bzero(u->buf, u->at);
	u->at = 0;
}

void uapi_stop(struct uapi *u)
{
	if (!u)
		return;
	sd_event_source_disable_unref(u->readable);
	sd_event_source_disable_unref(u->clock);
	u->q.fd = close_fd(u->q.fd);
	uapi_forget(u);
	free(u);
}

bool uapi_asks(const struct uapi *u)
{
	return u && !u->rests;
}

static int uapi_wait(struct uapi *u, uint64_t at_ns)
{
	sd_event_source_set_time(u->clock, at_ns / 1000);
	return sd_event_source_set_enabled(u->clock, SD_EVENT_ONESHOT);
}

/* To connect is to be waited for twice: until it was accepted, and for the answer. */
static void uapi_rest(struct uapi *u)
{
	sd_event_source_set_enabled(u->readable, SD_EVENT_OFF);
	sd_event_source_set_enabled(u->clock, SD_EVENT_OFF);
	uapi_forget(u);
	u->rests = true;
}

static void uapi_end(struct uapi *u, int r)
{
	struct uapi_question q = u->q;
	struct wireguard w;

	if (!r) /* the answer is whole */
		r = wireguard_parse(u->buf, &w);
	if (r)
		uapi_stop(u);
	else
		uapi_rest(u);
	q.done(q.owner, r, &w);
}

static int on_peer(const struct nlmsghdr *nlh, void *arg)
{
	nl_u32(nlh, sizeof(struct unix_diag_msg), UNIX_DIAG_PEER, arg);
	return MNL_CB_OK;
}

/* The number of the socket at the other end; 0: nobody has accepted it yet. */
static int peer_of(const struct uapi *u, uint32_t *ret)
{
	struct nl_question question;
	struct unix_diag_req *ask = nl_begin(&question, SOCK_DIAG_BY_FAMILY, 0, sizeof(*ask));
	struct stat st;

	if (fstat(u->q.fd, &st) < 0)
		return -errno;
	ask->sdiag_family = AF_UNIX;
	ask->udiag_ino = (uint32_t)st.st_ino;
	ask->udiag_show = UDIAG_SHOW_PEER;
	memset(ask->udiag_cookie, 0xff, sizeof(ask->udiag_cookie)); /* INET_DIAG_NOCOOKIE */
	*ret = 0;
	return nl_ask(u->q.diag_fd, &question.head, on_peer, ret);
}

static int uapi_send(struct uapi *u)
{
	static const char get[] = "get=1\n\n";
	struct ucred listener = { 0 };
	socklen_t size = sizeof(listener);
	uint32_t inode;
	int r = peer_of(u, &inode);

	if (r)
		return r;
	if (!inode)
		return -EAGAIN;
	getsockopt(u->q.fd, SOL_SOCKET, SO_PEERCRED, &listener, &size);
	if (!u->q.is_believed(u->q.owner, listener.pid, inode))
		return -EXDEV;
	if (send(u->q.fd, get, sizeof(get) - 1, MSG_NOSIGNAL) != sizeof(get) - 1)
		return -EBADMSG;
	r = sd_event_source_set_enabled(u->readable, SD_EVENT_ON);
	return r < 0 ? r : 0;
}

/* That a socket was accepted is no event: it is looked for, more and more seldom. */
static int on_clock(sd_event_source *s, uint64_t usec, void *arg)
{
	struct uapi *u = arg;
	uint64_t now = now_boot_ns();
	int r;

	if (now >= u->deadline_ns) {
		uapi_end(u, -ETIMEDOUT);
		return 0;
	}
	r = uapi_send(u);
	u->pause_ns *= 2;
	if (!r || (r == -EAGAIN && now + u->pause_ns > u->deadline_ns))
		r = uapi_wait(u, u->deadline_ns);
	else if (r == -EAGAIN)
		r = uapi_wait(u, now + u->pause_ns);
	if (r < 0)
		uapi_end(u, r);
	return 0;
}

/* The whole answer ends with an empty line. One piece a turn: others have theirs. */
static int on_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct uapi *u = arg;
	ssize_t n = recv(fd, u->buf + u->at, ANSWER_MAX - 1 - u->at, 0);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0) {
		uapi_end(u, -EBADMSG);
		return 0;
	}
	u->at += (size_t)n;
	u->buf[u->at] = '\0';
	if (u->at >= 2 && !strcmp(u->buf + u->at - 2, "\n\n"))
		uapi_end(u, 0);
	else if (u->at == ANSWER_MAX - 1)
		uapi_end(u, -EBADMSG);
	return 0;
}

static int uapi_connect(int fd, int socket_fd)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d", socket_fd);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 0;
	/* EAGAIN: its queue is full, as of a process that is stopped */
	return errno == EAGAIN ? -ETIMEDOUT : errno == ECONNREFUSED ? -ENOENT : -errno;
}

/* By the connection that is there, if it is still that name's, and nothing was said unasked. */
static bool uapi_ask_again(struct uapi *u, const struct stat *name)
{
	char nothing;

	if (!u || name->st_dev != u->device || name->st_ino != u->inode ||
	    recv(u->q.fd, &nothing, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN ||
	    uapi_send(u))
		return false;
	u->rests = false;
	u->deadline_ns = now_boot_ns() + DEADLINE_NS;
	return uapi_wait(u, u->deadline_ns) >= 0;
}

static int uapi_begin(struct uapi **ret, int socket_fd, const struct stat *name,
		      const struct uapi_question *q)
{
	struct uapi *u = calloc(1, sizeof(*u));
	uint64_t now = now_boot_ns();
	int r;

	if (!u) {
		close(q->fd);
		return -ENOMEM;
	}
	u->q = *q;
	u->device = name->st_dev;
	u->inode = name->st_ino;
	u->deadline_ns = now + DEADLINE_NS;
	u->pause_ns = PAUSE_NS;
	r = uapi_connect(u->q.fd, socket_fd);
	if (!r)
		r = sd_event_add_io(q->loop, &u->readable, u->q.fd, EPOLLIN, on_readable, u);
	if (r >= 0)
		r = sd_event_add_time(q->loop, &u->clock, CLOCK_BOOTTIME,
				      (now + u->pause_ns) / 1000, 1, on_clock, u);
	if (r < 0) {
		uapi_stop(u);
		return r;
	}
	sd_event_source_set_enabled(u->readable, SD_EVENT_OFF); /* until it was asked */
	sd_event_source_set_priority(u->readable, q->priority);
	sd_event_source_set_priority(u->clock, q->priority);
	*ret = u;
	return 0;
}

int uapi_ask(struct uapi **u, int socket_fd, const struct uapi_question *q)
{
	struct stat name;

	if (fstat(socket_fd, &name) < 0) {
		close(q->fd);
		return -errno;
	}
	if (uapi_ask_again(*u, &name)) {
		close(q->fd);
		return 0;
	}
	uapi_stop(*u);
	*u = NULL;
	return uapi_begin(u, socket_fd, &name, q);
}
