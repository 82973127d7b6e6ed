/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"

#define LOCK_PATH      CONTROL_RUN_DIR "/lock"
#define PINS_LOCK_PATH CONTROL_RUN_DIR "/pins.lock"
#define PINS_LOCK_NS   (10 * NS_PER_SEC)
#define REQUEST_MAX    4096
#define CLIENTS_MAX    32
#define FOLLOWERS_MAX  16 /* of them; half of these for members of the group */
#define BACKLOG	       128
#define CLIENT_USEC    (2 * 1000000ULL)	   /* to send a line and to take the answer */
#define FRESH_NS       (100 * NS_PER_MSEC) /* a client keeps its place for so long while others wait */
#define WINDOW_NS      (100 * NS_PER_MSEC) /* of each window … */
#define WORK_NS	       (25 * NS_PER_MSEC)  /* … at most so much is spent on clients */
#define FOLLOW_MAX     (256 * 1024)	   /* bytes that a follower may be behind */

struct client {
	struct control *control;
	sd_event_source *io, *timer;
	int fd;
	struct control_peer peer;
	uint64_t since_ns;
	char request[REQUEST_MAX];
	size_t got;
	char *answer; /* what is left to send: from `at` to `length` */
	size_t at, length, room;
	bool follows;
};

struct control {
	sd_event *loop;
	sd_event_source *io;
	sd_event_source *pause; /* when it ends, everybody is listened to again */
	int fd;
	control_answer answer;
	void *owner;
	uint64_t window_ns, worked_ns; /* begin of the window, time spent in it */
	struct client *clients[CLIENTS_MAX];
};

static int open_lock(const char *path, struct error *err)
{
	int fd;

	if (mkdir(CONTROL_RUN_DIR, 0755) < 0 && errno != EEXIST)
		return fail(err, ERROR_PRIVILEGE, -errno, "run as root", "make " CONTROL_RUN_DIR);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? fail(err, ERROR_PRIVILEGE, -errno, "run as root", "open %s", path) : fd;
}

int control_lock(struct error *err)
{
	_cleanup_fd int fd = open_lock(LOCK_PATH, err);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail(err, ERROR_OTHER, -EBUSY, "see: vpnleash status; end that daemon first",
			    "take " LOCK_PATH ": a vpnleash daemon is running");
	return TAKE_FD(fd);
}

int control_lock_pins(struct error *err)
{
	_cleanup_fd int fd = open_lock(PINS_LOCK_PATH, err);
	uint64_t end_ns = now_boot_ns() + PINS_LOCK_NS;

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (now_boot_ns() > end_ns)
			return fail(err, ERROR_OTHER, -EBUSY,
				    "another vpnleash hangs: end it, and try again",
				    "take " PINS_LOCK_PATH);
		usleep(10000);
	}
	return TAKE_FD(fd);
}

static void client_free(struct client *c)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->control->clients[i] == c)
			c->control->clients[i] = NULL;
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	c->fd = close_fd(c->fd);
	free(c->answer);
	free(c);
}

static int on_client_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	client_free(arg);
	return 0;
}

json_t *control_refusal(const struct error *err)
{
	json_t *j = json_object();

	json_object_set_new(j, "error", json_string(err->text));
	json_object_set_new(j, "exit_code", json_integer(err->kind));
	return j;
}

static bool may_follow(const struct client *c)
{
	size_t n = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++)
		n += c->control->clients[i] && c->control->clients[i]->follows;
	return n < (c->peer.root ? FOLLOWERS_MAX : FOLLOWERS_MAX / 2);
}

static void client_answer(struct client *c, size_t line_length)
{
	struct error err;
	json_error_t why = { .text = "no object" };
	json_t *request = json_loadb(c->request, line_length, JSON_REJECT_DUPLICATES, &why), *reply;

	if (json_is_object(request)) {
		reply = c->control->answer(c->control->owner, request, &c->peer);
	} else {
		fail(&err, ERROR_INPUT, 0, "one JSON object on one line, each key once",
		     "a request that is none: %s", quote(request ? "no object" : why.text));
		reply = control_refusal(&err);
	}
	json_decref(request);
	if (json_is_true(json_object_get(reply, "follow")) && !may_follow(c)) {
		json_decref(reply);
		fail(&err, ERROR_OTHER, -EBUSY, "end one of them", "follow: so many do already");
		reply = control_refusal(&err);
	}
	c->follows = json_is_true(json_object_get(reply, "follow"));
	c->answer = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	c->length = c->answer ? strlen(c->answer) : 0;
	c->room = c->length + 1;
	if (c->answer)
		c->answer[c->length++] = '\n'; /* in place of the NUL: it is sent by length */
}

/* Has a line come in? *ret_length: without its end. -EAGAIN: not yet; else the client is no use. */
static int client_receive(struct client *c, size_t *ret_length)
{
	ssize_t n = recv(c->fd, c->request + c->got, sizeof(c->request) - c->got, MSG_DONTWAIT);
	const char *end;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (!n)
		return -EPIPE;
	c->got += (size_t)n;
	end = memchr(c->request, '\n', c->got);
	if (!end)
		return c->got == sizeof(c->request) ? -EMSGSIZE : -EAGAIN;
	*ret_length = (size_t)(end - c->request);
	return 0;
}

static void client_send(struct client *c)
{
	ssize_t n = send(c->fd, c->answer + c->at, c->length - c->at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	c->at += (size_t)n;
	if (c->at < c->length)
		return;
	if (!c->follows) {
		client_free(c);
		return;
	}
	/* nothing to send: wake up only when it goes away */
	c->at = c->length = 0;
	sd_event_source_set_io_events(c->io, 0);
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
}

static void client_serve(struct client *c)
{
	if (!c->answer) {
		size_t length = 0;
		int r = client_receive(c, &length);

		if (r) {
			if (r != -EAGAIN)
				client_free(c);
			return;
		}
		client_answer(c, length);
		sd_event_source_set_io_events(c->io, EPOLLOUT);
	}
	client_send(c);
}

static void listen_to_all(struct control *c, int enabled)
{
	sd_event_source_set_enabled(c->io, enabled);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->clients[i])
			sd_event_source_set_enabled(c->clients[i]->io, enabled);
}

static int on_pause_end(sd_event_source *s, uint64_t usec, void *arg)
{
	listen_to_all(arg, SD_EVENT_ON);
	return 0;
}

static void end_pause_in(struct control *c, uint64_t ns)
{
	sd_event_source_set_time_relative(c->pause, ns / 1000);
	sd_event_source_set_enabled(c->pause, SD_EVENT_ONESHOT);
}

/* Clients that never stop asking would keep the loop from sleeping. A real-time process that does
 * not sleep starves the machine, and RLIMIT_RTTIME ends it. */
static void control_account(struct control *c, uint64_t began_ns)
{
	uint64_t now = now_boot_ns();

	if (now - c->window_ns >= WINDOW_NS) {
		c->window_ns = now;
		c->worked_ns = 0;
	}
	c->worked_ns += now - began_ns;
	if (c->worked_ns < WORK_NS)
		return;
	listen_to_all(c, SD_EVENT_OFF);
	end_pause_in(c, WINDOW_NS - (now - c->window_ns));
}

static int on_client(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;
	struct control *control = c->control;
	uint64_t began = now_boot_ns();

	client_serve(c);
	control_account(control, began);
	return 0;
}

/* One more line to send. -ENOBUFS: the client does not keep up. */
static int client_append(struct client *c, const char *line, size_t n)
{
	size_t behind = c->length - c->at;

	if (behind + n + 1 > FOLLOW_MAX)
		return -ENOBUFS;
	if (c->length + n + 1 > c->room) {
		size_t room = (behind + n + 1) * 2;
		char *more = malloc(room);

		if (!more)
			return -ENOMEM;
		memcpy(more, c->answer + c->at, behind);
		free(c->answer);
		c->answer = more;
		c->room = room;
		c->at = 0;
		c->length = behind;
	}
	memcpy(c->answer + c->length, line, n);
	c->answer[c->length + n] = '\n';
	c->length += n + 1;
	sd_event_source_set_io_events(c->io, EPOLLOUT);
	return 0;
}

void control_publish(struct control *control, const json_t *record)
{
	char *line = NULL;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = control->clients[i];

		if (!c || !c->follows)
			continue;
		if (!line)
			line = json_dumps(record, JSON_COMPACT);
		if (!line)
			return;
		if (client_append(c, line, strlen(line)))
			client_free(c);
	}
	free(line);
}

/* A free place; if there is none, the place of the oldest client that is no follower. CLIENTS_MAX:
 * even that one has just come, and keeps its place for *ret_wait_ns more. */
static size_t make_room(struct control *control, uint64_t *ret_wait_ns)
{
	uint64_t now = now_boot_ns(), age = 0;
	size_t oldest = CLIENTS_MAX;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = control->clients[i];

		if (!c)
			return i;
		if (!c->follows && now - c->since_ns >= age) {
			age = now - c->since_ns;
			oldest = i;
		}
	}
	if (age < FRESH_NS) {
		*ret_wait_ns = FRESH_NS - age;
		return CLIENTS_MAX;
	}
	client_free(control->clients[oldest]);
	return oldest;
}

static struct client *client_new(struct control *control, int fd, const struct ucred *peer)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct client) { .control = control,
			       .fd = fd,
			       .since_ns = now_boot_ns(),
			       .peer = { .pid = peer->pid, .root = peer->uid == 0 } };
	if (sd_event_add_io(control->loop, &c->io, c->fd, EPOLLIN, on_client, c) < 0 ||
	    sd_event_add_time_relative(control->loop, &c->timer, CLOCK_MONOTONIC, CLIENT_USEC, 0,
				       on_client_timeout, c) < 0) {
		c->fd = -1; /* the caller's still */
		client_free(c);
		return NULL;
	}
	/* after everything that keeps a lease right */
	sd_event_source_set_priority(c->io, PRIORITY_LAST);
	return c;
}

static void take_connection(struct control *control)
{
	_cleanup_fd int fd = -1;
	uint64_t wait_ns = FRESH_NS;
	struct ucred peer;
	socklen_t length = sizeof(peer);
	size_t place = make_room(control, &wait_ns);

	if (place == CLIENTS_MAX) { /* the others wait in the backlog */
		sd_event_source_set_enabled(control->io, SD_EVENT_OFF);
		end_pause_in(control, wait_ns);
		return;
	}
	fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return;
	control->clients[place] = client_new(control, fd, &peer);
	if (!control->clients[place])
		return;
	TAKE_FD(fd);
	client_serve(control->clients[place]); /* mostly its line has come with it */
}

static int on_connection(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	uint64_t began = now_boot_ns();

	take_connection(arg);
	control_account(arg, began);
	return 0;
}

/* Nobody can open the socket file before its owner and mode are right. */
static int open_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET };
	_cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct group *group = getgrnam(CONTROL_GROUP);

	unlink(CONTROL_SOCKET); /* we hold the lock: nobody listens there */
	if (fd < 0 || fchmod(fd, 0) < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    chown(CONTROL_SOCKET, 0, group ? group->gr_gid : 0) < 0 ||
	    chmod(CONTROL_SOCKET, group ? 0660 : 0600) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int control_start(struct control **ret, sd_event *loop, control_answer answer_cb, void *owner,
		  struct error *err)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "open the control socket");
	*c = (struct control) { .loop = loop, .answer = answer_cb, .owner = owner };
	r = c->fd = open_socket();
	if (r >= 0)
		r = sd_event_add_io(loop, &c->io, c->fd, EPOLLIN, on_connection, c);
	if (r >= 0)
		r = sd_event_add_time(loop, &c->pause, CLOCK_MONOTONIC, 0, 1000, on_pause_end, c);
	if (r < 0) {
		control_stop(c);
		return fail(err, ERROR_OTHER, r, NULL, "listen on " CONTROL_SOCKET);
	}
	sd_event_source_set_enabled(c->pause, SD_EVENT_OFF);
	sd_event_source_set_priority(c->io, PRIORITY_LAST);
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
	sd_event_source_disable_unref(c->pause);
	c->fd = close_fd(c->fd);
	free(c);
}
