/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine that is played: what a real one never says on demand, such as half lines, garbage,
 * refusals, a socket that goes and comes back. A real Docker is in tests/e2e/case_containers_*.
 */
#ifndef VPNLEASH_TEST_ENGINE_H
#define VPNLEASH_TEST_ENGINE_H

#include "engine/docker_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ------ an engine ------ */

struct answer {
	const char *path, *body;
	int status; /* KILLS: no answer; who asks is killed, as by a bug in reading it */
};
#define KILLS 0
#define LATER 1 /* twice 500, then 200 */

struct played {
	const struct answer *answers; /* up to path NULL; else 404 */
	const char *const *stream;    /* pieces of the event stream, up to NULL; "" is a pause */
	bool end;		      /* and then it ends */
};

static int *n_asked; /* for a LATER */
static char dir[64], path[108], url[128];
static pid_t engine_pid;

static inline void say(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t w = send(fd, text, n, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		text += w;
		n -= (size_t)w;
	}
}

static inline void say_chunk(int fd, const char *text)
{
	char head[32];

	say(fd, head, (size_t)sprintf(head, "%zx\r\n", strlen(text)));
	say(fd, text, strlen(text));
	say(fd, "\r\n", 2);
}

static inline void play_stream(int fd, const struct played *p)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

	say(fd, head, sizeof(head) - 1);
	for (size_t i = 0; p->stream && p->stream[i]; i++)
		if (*p->stream[i])
			say_chunk(fd, p->stream[i]);
		else
			usleep(200000);
	if (!p->end)
		pause();
}

static inline void answer(int fd, const struct played *p)
{
	char request[4096], head[128], wanted[1024];
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

	if (n <= 0 || sscanf(request, "%*s %1023s", wanted) != 1)
		return;
	if (!strncmp(wanted, "/events", 7)) {
		play_stream(fd, p);
		return;
	}
	for (size_t i = 0; p->answers[i].path; i++) {
		const struct answer *a = &p->answers[i];
		int status = a->status;

		if (strcmp(a->path, wanted))
			continue;
		if (a->status == KILLS) {
			struct ucred peer;
			socklen_t size = sizeof(peer);

			getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
			kill(peer.pid, SIGKILL);
			return;
		}
		if (status == LATER)
			status = (*n_asked)++ < 2 ? 500 : 200;
		say(fd, head,
		    (size_t)sprintf(head,
				    "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
				    "Connection: close\r\n\r\n",
				    status, strlen(a->body)));
		say(fd, a->body, strlen(a->body));
		return;
	}
	say(fd, "HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 63);
}

static inline void play(const struct played *p)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, sizeof(path));
	unlink(path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 32), 0);
	engine_pid = fork();
	if (engine_pid == 0) {
		setpgid(0, 0); /* it is ended with those who answer for it */
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int fd = accept(listener, NULL, NULL);

			if (fork() == 0) {
				answer(fd, p);
				_exit(0);
			}
			close(fd);
		}
	}
	setpgid(engine_pid, engine_pid);
	close(listener);
}

static inline void stop_playing(void)
{
	kill(-engine_pid, SIGKILL);
	waitpid(engine_pid, NULL, 0);
	unlink(path);
}

/* ------ what comes of it ------ */

static struct engine *engine;
static struct engine_event event;

static inline void start(const struct played *p)
{
	struct error err;

	play(p);
	assert_int_equal(engine_start(&engine, url, &err), 0);
}

static inline void stop(void)
{
	engine_stop(engine);
	stop_playing();
}

static inline void next(void)
{
	struct pollfd p = { .fd = engine_fd(engine), .events = POLLIN };
	int r;

	do {
		r = engine_read(engine, &event);
	} while (r == -EAGAIN && poll(&p, 1, 10000) == 1);
	assert_int_equal(r, 0);
}

static inline void expect(enum engine_event_kind kind)
{
	next();
	if (event.kind != kind)
		print_error("event %d (%s)\n", event.kind, event.error);
	assert_int_equal(event.kind, kind);
}

static inline void until_listed(void)
{
	do
		next();
	while (event.kind != ENGINE_LISTED);
}

#define INFO                                                 \
	{ "/info", "{\"CgroupDriver\":\"cgroupfs\"}", 200 }, \
	{                                                    \
		"/version", "{}", 200                        \
	}

static const char inspect_a[] =
	"{\"Id\":\"" ID_A "\",\"Name\":\"/a\",\"Image\":\"sha256:1\",\"State\":{\"Running\":false,"
	"\"Pid\":0,\"ExitCode\":3},\"HostConfig\":{\"NetworkMode\":\"container:" ID_B "\","
	"\"CgroupParent\":\"/t\"},\"Config\":{\"Labels\":{\"vpnleash.interface\":\"wg0\","
	"\"vpnleash.dns\":\"none\",\"vpnleash.allow\":\"a\\nb\",\"other\":\"x\","
	"\"com.docker.compose.project.working_dir\":\"/srv/a b\","
	"\"com.docker.compose.project.config_files\":\"/srv/a b/c.yml,/srv/l.yml\","
	"\"com.docker.compose.service\":\"qb\"}}}";
static const struct answer usual[] = {
	INFO,
	{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"}]", 200 },
	{ "/containers/" ID_A "/json", inspect_a, 200 },
	{ "/images/sha256:1/json", "{\"Config\":{\"Labels\":{\"vpnleash.dns\":\"none\"}}}", 200 },
	{ "/containers/" ID_A "/stop", "", 204 },
	{ "/containers/" ID_B "/stop", "{\"message\":\"not \\u001b[31m you\"}", 403 },
	{ "/containers/" ID_B "/start", "{\"message\":\"no such network\"}", 500 },
	{ NULL, NULL, 0 }
};

static inline int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/vpnleash-engine-XXXXXX");
	n_asked = mmap(NULL, sizeof(*n_asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (n_asked == MAP_FAILED || !mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(url, sizeof(url), "unix://%s", path);
	return 0;
}

static inline int remove_dir(void **state)
{
	unlink(path);
	return rmdir(dir);
}

#endif
