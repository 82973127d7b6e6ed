/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See control_client.h. */
#include "report/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "report/control.h"

#define ANSWER_MSEC 5000
#define ANSWER_MAX  (16 * 1024 * 1024)

static int no_answer(struct error *err, int r)
{
	return fail(err, ERROR_OTHER, r, "is the daemon stopped? see its log",
		    "get an answer from " CONTROL_SOCKET);
}

static int connect_to_daemon(struct error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET };
	_cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = { .tv_sec = ANSWER_MSEC / 1000 };

	if (fd < 0)
		return no_answer(err, -errno);
	/* connect() waits where the queue is full: behind others, or of a daemon that is stopped */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return fail(err, ERROR_NO_DAEMON, -ESRCH, "start it: vpnleash run",
				    "reach the daemon");
		if (errno == EAGAIN)
			return no_answer(err, -ETIMEDOUT);
		return fail(
			err, ERROR_PRIVILEGE, -errno,
			"run as root; status, why, check and events also in group " CONTROL_GROUP,
			"connect to " CONTROL_SOCKET);
	}
	return TAKE_FD(fd);
}

static int connect_and_send(json_t *request, struct error *err)
{
	_cleanup_free char *line = json_dumps(request, JSON_COMPACT);
	bool given = request;
	_cleanup_fd int fd = -1;

	json_decref(request);
	if (!given)
		return fail(err, ERROR_INPUT, 0, NULL, "not the name of anything: no UTF-8 text");
	if (!line)
		return no_answer(err, -ENOMEM);
	fd = connect_to_daemon(err);
	if (fd < 0)
		return fd;
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
		return no_answer(err, -errno);
	return TAKE_FD(fd);
}

/* A refusal becomes the error that the daemon gave. */
static int check_answer(const json_t *answer, struct error *err)
{
	const char *said = json_string_value(json_object_get(answer, "error"));

	if (!json_is_object(answer))
		return no_answer(err, -EBADMSG);
	if (!said)
		return 0;
	return fail(err, (int)json_integer_value(json_object_get(answer, "exit_code")), 0, NULL,
		    "%s", said);
}

int control_daemon(pid_t *ret, struct error *err)
{
	_cleanup_fd int fd = connect_to_daemon(err);
	socklen_t size = sizeof(struct ucred);
	struct ucred listener;

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0)
		return no_answer(err, -errno);
	*ret = listener.pid;
	return 0;
}

int control_ask(json_t *request, json_t **ret, struct error *err)
{
	_cleanup_fd int fd = connect_and_send(request, err);
	_cleanup_free char *buf = malloc(ANSWER_MAX);
	json_t *answer;
	size_t got = 0;
	int r;

	if (fd < 0)
		return fd;
	while (buf && got < ANSWER_MAX) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, ANSWER_MSEC) == 1 ? recv(fd, buf + got, ANSWER_MAX - got, 0)
							  : -1;

		if (n < 0)
			return no_answer(err, -ETIMEDOUT);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	answer = json_loadb(buf, got, 0, NULL);
	r = check_answer(answer, err);
	if (r)
		json_decref(answer);
	else
		*ret = answer;
	return r;
}

int control_follow(json_t *request, int (*f)(const json_t *line, void *arg), void *arg,
		   struct error *err)
{
	int fd = connect_and_send(request, err), r = 0;
	_cleanup_file FILE *in = fd < 0 ? NULL : fdopen(fd, "re");
	_cleanup_free char *line = NULL;
	size_t size = 0;

	if (!in)
		return fd;
	while (!r && getline(&line, &size, in) > 0) {
		json_t *answer = json_loads(line, 0, NULL);

		r = check_answer(answer, err);
		r = r ? r : f(answer, arg);
		json_decref(answer);
	}
	return r;
}
