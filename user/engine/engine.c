/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See engine.h. Records go through a SOCK_SEQPACKET pair as they stand in memory, both ends being
 * one program; an item without the room for labels that it does not have.
 *
 * The child is two processes: the outer one has nothing to do but to start the inner one again,
 * which reads what others wrote. So a crash there is a lost connection, also when the daemon
 * itself may no longer load a library. A container whose record has ended it twice in a minute is
 * set aside by the outer one: the next does not read that, and goes on to the others.
 */
#include "engine/engine.h"

#include <cap-ng.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "engine/docker.h"
#include "engine/units.h"

#define START_TIMEOUT_MS 5000
#define AGAIN_SEC	 1
#define DEATHS		 64
#define TWICE_NS	 (60 * NS_PER_SEC) /* two deaths by one record within this are no accident */

enum op { OP_READY = 1, OP_STOP, OP_START, OP_WATCH };

struct request {
	enum op op;
	enum engine_kind kind;
	uint32_t request;
	char id[ENGINE_ID_LEN];
};

struct engine {
	int fd;
	pid_t pid;
};

static _Noreturn void supervise(int fd, const char *where, pid_t daemon);

/* ------ the daemon's half ------ */

static int await_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct request r;
	int n;

	do
		n = poll(&p, 1, START_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	return recv(fd, &r, sizeof(r), 0) == sizeof(r) && r.op == OP_READY ? 0 : -EPIPE;
}

int engine_start(struct engine **ret, const char *where, struct error *err)
{
	_cleanup_free struct engine *e = calloc(1, sizeof(*e));
	pid_t daemon = getpid();
	int pair[2], size = 1 << 20, r;

	if (!e || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "start the engine's process");
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	e->fd = pair[0];
	e->pid = fork();
	if (e->pid == 0)
		supervise(pair[1], where, daemon);
	r = e->pid < 0 ? -errno : 0;
	close(pair[1]);
	if (!r)
		r = await_ready(e->fd);
	if (r) {
		engine_stop(TAKE_PTR(e));
		return fail(err, EXIT_FAILURE_, r, NULL, "start the engine's process");
	}
	*ret = TAKE_PTR(e);
	return 0;
}

void engine_stop(struct engine *e)
{
	if (!e)
		return;
	e->fd = close_fd(e->fd);
	if (e->pid > 0) {
		kill(e->pid, SIGKILL); /* takes the inner one along */
		while (waitpid(e->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(e);
}

int engine_fd(const struct engine *e)
{
	return e->fd;
}

static bool is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size);
}

static bool is_item(const struct engine_item *i)
{
	bool good = (i->kind == ENGINE_CONTAINER || i->kind == ENGINE_UNIT) &&
		    is_text(i->unusable, sizeof(i->unusable)) && i->n_labels <= ENGINE_LABELS &&
		    i->pid >= 0 && is_text(i->id, sizeof(i->id)) &&
		    is_text(i->name, sizeof(i->name)) && *i->id &&
		    is_text(i->network_mode, sizeof(i->network_mode)) &&
		    is_text(i->cgroup, sizeof(i->cgroup)) &&
		    is_text(i->compose_project, sizeof(i->compose_project)) &&
		    is_text(i->compose_service, sizeof(i->compose_service));

	for (size_t k = 0; good && k < i->n_labels; k++)
		good = is_text(i->labels[k].key, ENGINE_KEY_LEN) &&
		       is_text(i->labels[k].value, ENGINE_VALUE_LEN);
	return good;
}

static bool has_item(const struct engine_event *e)
{
	return e->kind == ENGINE_ITEM || (e->kind == ENGINE_UNKNOWN && *e->id);
}

static size_t size_of(const struct engine_event *e)
{
	if (!has_item(e))
		return offsetof(struct engine_event, item);
	return offsetof(struct engine_event, item.labels) +
	       e->item.n_labels * sizeof(e->item.labels[0]);
}

int engine_read(struct engine *e, struct engine_event *ret)
{
	ssize_t n = recv(e->fd, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
	size_t least = offsetof(struct engine_event, item);

	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
	if ((size_t)n > sizeof(*ret) || (size_t)n < least ||
	    (has_item(ret) && (size_t)n < offsetof(struct engine_event, item.labels)))
		return -EBADMSG;
	if (ret->kind < ENGINE_UP || ret->kind > ENGINE_DONE ||
	    !is_text(ret->id, sizeof(ret->id)) || !is_text(ret->error, sizeof(ret->error)) ||
	    (ret->of != ENGINE_CONTAINER && ret->of != ENGINE_UNIT) ||
	    (has_item(ret) && !is_item(&ret->item)) || (size_t)n != size_of(ret))
		return -EBADMSG;
	return 0;
}

static int ask(struct engine *e, enum op op, enum engine_kind kind, const char *id,
	       uint32_t request)
{
	struct request r = { .op = op, .kind = kind, .request = request };

	if (strlen(id) >= sizeof(r.id))
		return -ENAMETOOLONG;
	snprintf(r.id, sizeof(r.id), "%s", id);
	if (send(e->fd, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

int engine_stop_item(struct engine *e, enum engine_kind kind, const char *id, uint32_t request)
{
	return ask(e, OP_STOP, kind, id, request);
}

int engine_start_item(struct engine *e, enum engine_kind kind, const char *id, uint32_t request)
{
	return ask(e, OP_START, kind, id, request);
}

int engine_watch_unit(struct engine *e, const char *name)
{
	return ask(e, OP_WATCH, ENGINE_UNIT, name, 0);
}

/* ------ the child ------ */

struct worker {
	int fd;
	struct docker *docker; /* NULL: engine = none */
	struct units *units;   /* NULL: no unit was asked for yet */
};

/* Blocks while the daemon is busy: it reads as soon as its leases are right. */
static void tell(void *owner, const struct engine_event *e)
{
	const struct worker *w = owner;

	while (send(w->fd, e, size_of(e), MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0); /* nobody listens any more */
}

static void refuse(struct worker *w, const struct request *r)
{
	static struct engine_event e;

	e = (struct engine_event) {
		.kind = ENGINE_DONE, .of = r->kind, .request = r->request, .result = -ENOTCONN
	};
	snprintf(e.error, sizeof(e.error), "there is nobody to ask");
	tell(w, &e);
}

static void take(struct worker *w, const struct request *r)
{
	if (r->kind == ENGINE_UNIT && !w->units)
		w->units = units_open(tell, w);
	if (r->kind == ENGINE_UNIT && w->units && r->op == OP_WATCH)
		units_watch(w->units, r->id);
	else if (r->kind == ENGINE_UNIT && w->units)
		units_ask(w->units, r->op == OP_START, r->id, r->request);
	else if (r->kind == ENGINE_CONTAINER && w->docker)
		docker_ask(w->docker, r->op == OP_START, r->id, r->request);
	else
		refuse(w, r);
}

static _Noreturn void work(int fd, const char *where, const struct docker_care *care)
{
	struct worker w = { .fd = fd };

	if (strcmp(where, "none"))
		w.docker = docker_open(where, care, tell, &w);
	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1 } };
		int timeout = w.units ? units_prepare(w.units, &p[1]) : -1;
		struct request r;

		if (w.docker)
			docker_turn(w.docker, p, 2, timeout);
		else
			poll(p, 2, timeout);
		if (w.units)
			units_turn(w.units);
		while (recv(fd, &r, sizeof(r), MSG_DONTWAIT) == sizeof(r))
			take(&w, &r);
		if (p[0].revents & (POLLHUP | POLLERR))
			_exit(0);
	}
}

/* uid 0 stays, as the sockets are root's; without capabilities that is all it is good for. */
static int give_up(int fd)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_ALL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -EPERM;
	if (dup2(fd, 3) < 0 || close_range(4, ~0U, 0) < 0)
		return -errno;
	return 0;
}

/* The worker's connections are lost with it. */
static bool tell_of_loss(void)
{
	static struct engine_event e;

	e = (struct engine_event) { .kind = ENGINE_DOWN, .result = -EPIPE };
	snprintf(e.error, sizeof(e.error), "the process that talks to it has ended");
	for (e.of = ENGINE_CONTAINER; e.of <= ENGINE_UNIT; e.of++)
		if (send(3, &e, size_of(&e), MSG_NOSIGNAL) < 0)
			return false;
	return true;
}

/* The inner one has ended. By what it was reading? It may have written anything there. */
static void note_death(struct docker_care *care)
{
	static struct {
		char id[ENGINE_HEX_LEN];
		uint64_t at_ns;
	} deaths[DEATHS];
	static size_t next;
	uint64_t now = now_boot_ns();
	char id[ENGINE_HEX_LEN];

	memcpy(id, care->at_work, sizeof(id));
	care->at_work[0] = id[sizeof(id) - 1] = '\0';
	if (!docker_is_id(id))
		return;
	for (size_t i = 0; i < DEATHS; i++)
		if (!strcmp(deaths[i].id, id) && now - deaths[i].at_ns < TWICE_NS &&
		    care->n_aside < DOCKER_ASIDE) {
			memcpy(care->aside[care->n_aside++], id, sizeof(id));
			break;
		}
	memcpy(deaths[next].id, id, sizeof(id));
	deaths[next].at_ns = now;
	next = (next + 1) % DEATHS;
}

static int take_care(struct docker_care *ret)
{
	void *page = mmap(NULL, ENGINE_HEX_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	ret->at_work = page;
	return 0;
}

static _Noreturn void supervise(int fd, const char *where, pid_t daemon)
{
	static struct docker_care care;
	struct request ready = { .op = OP_READY };
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "vpnleash-engine");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* of a terminal: the daemon ends us */
	if ((getppid() != daemon && getppid() != 0) || child_drop_shared_memory() || give_up(fd) ||
	    take_care(&care) || send(3, &ready, sizeof(ready), MSG_NOSIGNAL) < 0)
		_exit(1);
	for (;;) {
		pid_t self = getpid(), pid = fork();

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != self)
				_exit(0);
			work(3, where, &care);
		}
		if (pid > 0 && (waitpid(pid, NULL, 0) < 0 || !tell_of_loss()))
			_exit(0);
		note_death(&care);
		sleep(AGAIN_SEC);
	}
}
