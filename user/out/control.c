/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See control.h. */
#include "out/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH    CONTROL_RUN_DIR "/control.sock"
#define LOCK_PATH      CONTROL_RUN_DIR "/lock"
#define REQUEST_MAX    4096
#define CLIENTS_MAX    16
#define CLIENT_USEC    (2 * 1000000ULL) /* to send a line and to take the answer */
#define ANSWER_MSEC    5000
#define ANSWER_MAX     (16 * 1024 * 1024)
#define FOLLOW_MAX     (256 * 1024) /* bytes that a follower may be behind */

struct client {
	struct control *control;
	sd_event_source *io, *timer;
	int fd;
	char request[REQUEST_MAX];
	size_t got;
	char *answer; /* what is left to send */
	size_t at, length;
	bool follows;
};

struct control {
	sd_event *loop;
	sd_event_source *io;
	int fd;
	control_answer answer;
	void *owner;
	struct client *clients[CLIENTS_MAX];
};

int control_lock(struct error *err)
{
	_cleanup_fd int fd = -1;

	if (mkdir(CONTROL_RUN_DIR, 0755) < 0 && errno != EEXIST)
		return fail(err, EXIT_PRIVILEGE, -errno, "run as root", "make " CONTROL_RUN_DIR);
	fd = open(LOCK_PATH, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(err, EXIT_PRIVILEGE, -errno, "run as root", "open " LOCK_PATH);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail(err, EXIT_FAILURE_, -EBUSY, "see: vpnleash status; end that daemon first",
			    "take " LOCK_PATH ": a vpnleash daemon is running");
	return TAKE_FD(fd);
}

static void client_free(struct client *c)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->control->clients[i] == c)
			c->control->clients[i] = NULL;
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	close_fd(&c->fd);
	free(c->answer);
	free(c);
}

static int on_client_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	(void)s;
	(void)usec;
	client_free(arg);
	return 0;
}

json_t *control_refusal(const struct error *err)
{
	json_t *j = json_object();

	json_object_set_new(j, "error", json_string(err->text));
	json_object_set_new(j, "exit_code", json_integer(err->exit_code));
	return j;
}

static void answer(struct client *c, size_t line_length)
{
	struct error err;
	json_t *request = json_loadb(c->request, line_length, JSON_REJECT_DUPLICATES, NULL), *reply;

	if (json_is_object(request)) {
		reply = c->control->answer(c->control->owner, request);
	} else {
		fail(&err, EXIT_USAGE, 0, NULL, "a request is one JSON object on one line");
		reply = control_refusal(&err);
	}
	json_decref(request);
	c->follows = json_is_true(json_object_get(reply, "follow"));
	c->answer = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	c->length = c->answer ? strlen(c->answer) : 0;
	if (c->answer)
		c->answer[c->length++] = '\n'; /* in place of the NUL: it is sent by length */
}

static int on_client(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;
	ssize_t n;

	(void)events;
	if (!c->answer) {
		char *end;

		n = recv(fd, c->request + c->got, sizeof(c->request) - c->got, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n > 0)
			c->got += (size_t)n;
		end = memchr(c->request, '\n', c->got);
		if (n <= 0 || (!end && c->got == sizeof(c->request))) {
			client_free(c);
			return 0;
		}
		if (!end)
			return 0;
		answer(c, (size_t)(end - c->request));
		sd_event_source_set_io_events(s, EPOLLOUT);
	}
	n = send(fd, c->answer + c->at, c->length - c->at, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0)
		c->at += (size_t)n;
	if (n > 0 && c->at == c->length && c->follows) {
		/* nothing to send: wake up only when it goes away */
		c->at = c->length = 0;
		sd_event_source_set_io_events(s, 0);
		sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	} else if (n <= 0 || c->at == c->length) {
		client_free(c);
	}
	return 0;
}

void control_publish(struct control *control, const json_t *record)
{
	char *line = NULL;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = control->clients[i];
		size_t behind, n;
		char *more;

		if (!c || !c->follows)
			continue;
		if (!line)
			line = json_dumps(record, JSON_COMPACT);
		if (!line)
			return;
		behind = c->length - c->at;
		n = strlen(line);
		more = behind + n < FOLLOW_MAX ? malloc(behind + n + 1) : NULL;
		if (!more) {
			client_free(c);
			continue;
		}
		memcpy(more, c->answer + c->at, behind);
		memcpy(more + behind, line, n);
		more[behind + n] = '\n';
		free(c->answer);
		c->answer = more;
		c->at = 0;
		c->length = behind + n + 1;
		sd_event_source_set_io_events(c->io, EPOLLOUT);
	}
	free(line);
}

static int on_connection(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	_cleanup_fd int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct control *control = arg;
	struct ucred peer;
	socklen_t length = sizeof(peer);
	struct client *c;
	size_t i = 0;

	(void)s;
	(void)events;
	while (i < CLIENTS_MAX && control->clients[i])
		i++;
	if (client_fd < 0 || i == CLIENTS_MAX ||
	    getsockopt(client_fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid != 0)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return 0;
	c->control = control;
	c->fd = TAKE_FD(client_fd);
	control->clients[i] = c;
	if (sd_event_add_io(control->loop, &c->io, c->fd, EPOLLIN, on_client, c) < 0 ||
	    sd_event_add_time_relative(control->loop, &c->timer, CLOCK_MONOTONIC, CLIENT_USEC, 0,
				       on_client_timeout, c) < 0) {
		client_free(c);
		return 0;
	}
	/* after everything that keeps a lease right */
	sd_event_source_set_priority(c->io, 100);
	return 0;
}

int control_start(struct control **ret, sd_event *loop, control_answer answer_cb, void *owner,
		  struct error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = SOCKET_PATH };
	struct control *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "open the control socket");
	*c = (struct control){ .loop = loop, .answer = answer_cb, .owner = owner };
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(SOCKET_PATH); /* we hold the lock: nobody listens there */
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chmod(SOCKET_PATH, 0600) < 0 || listen(c->fd, CLIENTS_MAX) < 0)
		r = -errno;
	else
		r = sd_event_add_io(loop, &c->io, c->fd, EPOLLIN, on_connection, c);
	if (r < 0) {
		control_stop(c);
		return fail(err, EXIT_FAILURE_, r, NULL, "listen on " SOCKET_PATH);
	}
	sd_event_source_set_priority(c->io, 100);
	*ret = c;
	return 0;
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i])
			client_free(c->clients[i]);
	sd_event_source_disable_unref(c->io);
	close_fd(&c->fd);
	free(c);
}

static int no_answer(struct error *err, int r)
{
	return fail(err, EXIT_FAILURE_, r, "is the daemon stopped? see its log",
		    "get an answer from " SOCKET_PATH);
}

static int connect_and_send(const json_t *request, struct error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = SOCKET_PATH };
	_cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_free char *line = json_dumps(request, JSON_COMPACT);

	if (fd < 0 || !line)
		return no_answer(err, -ENOMEM);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno == ENOENT || errno == ECONNREFUSED ?
		       fail(err, EXIT_NO_DAEMON, -ESRCH, "start it: vpnleash run",
			    "reach the daemon") :
		       fail(err, EXIT_PRIVILEGE, -errno, "run as root", "connect to " SOCKET_PATH);
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
	return said ? fail(err, (int)json_integer_value(json_object_get(answer, "exit_code")), 0,
			   NULL, "%s", said) : 0;
}

int control_ask(const json_t *request, json_t **ret, struct error *err)
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
		ssize_t n = poll(&p, 1, ANSWER_MSEC) == 1 ?
			    recv(fd, buf + got, ANSWER_MAX - got, 0) : -1;

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

int control_follow(const json_t *request, int (*f)(const json_t *line, void *arg), void *arg,
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
		if (!r)
			r = f(answer, arg);
		json_decref(answer);
	}
	return r;
}
