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
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/worker.h"
#include "engine/engine_internal.h"

#define AGAIN_SEC 1
#define DEATHS	  64
#define TWICE_NS  (60 * NS_PER_SEC) /* two deaths by one record within this are no accident */

enum op { OP_READY = 1, OP_STOP, OP_START, OP_WATCH, OP_CHANGE };

struct request {
	enum op op;
	enum engine_kind kind;
	uint32_t request;
	char id[ENGINE_ID_LEN];
	struct engine_change change;
};

struct engine {
	struct worker worker;
};

static int engine_supervise(void *where);

/* ------ the daemon's half ------ */

static int await_ready(const struct worker *w)
{
	struct request r;
	int e = worker_await(w);

	if (!e && (receive_record(w->fd, &r, sizeof(r), NULL) != sizeof(r) || r.op != OP_READY))
		return -EPIPE;
	return e;
}

int engine_start(struct engine **ret, const char *where, struct error *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int r = e ? worker_start(&e->worker, "vpnleash-engine", engine_supervise, (void *)where)
		  : -ENOMEM;

	r = r ? r : await_ready(&e->worker);
	if (r) {
		engine_stop(e);
		return fail(err, ERROR_OTHER, r, NULL, "start the engine's process");
	}
	*ret = e;
	return 0;
}

void engine_stop(struct engine *e)
{
	if (!e)
		return;
	worker_stop(&e->worker); /* takes the inner one along */
	free(e);
}

int engine_fd(const struct engine *e)
{
	return e->worker.fd;
}

/* Of an array: does it end? */
#define is_text(s) (memchr(s, '\0', sizeof(s)) != NULL)

static bool is_item(const struct engine_item *i)
{
	bool good = (i->kind == ENGINE_CONTAINER || i->kind == ENGINE_UNIT) &&
		    is_text(i->unusable) && is_text(i->health_said) &&
		    i->n_labels <= ENGINE_LABELS && i->pid >= 0 && is_text(i->id) &&
		    is_text(i->name) && *i->id && is_text(i->network_mode) && is_text(i->cgroup) &&
		    is_text(i->compose_project) && is_text(i->compose_service) &&
		    is_text(i->compose_dir) && is_text(i->compose_files) && is_text(i->unit) &&
		    is_text(i->replaces);

	for (size_t k = 0; good && k < i->n_labels; k++)
		good = is_text(i->labels[k].key) && is_text(i->labels[k].value);
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
	ssize_t n = receive_record(e->worker.fd, ret, sizeof(*ret), NULL);
	size_t least = offsetof(struct engine_event, item);

	if (n < 0)
		return (int)n;
	if ((size_t)n > sizeof(*ret) || (size_t)n < least ||
	    (has_item(ret) && (size_t)n < offsetof(struct engine_event, item.labels)))
		return -EBADMSG;
	if (ret->kind < ENGINE_UP || ret->kind > ENGINE_DONE || !is_text(ret->id) ||
	    !is_text(ret->error) || (ret->of != ENGINE_CONTAINER && ret->of != ENGINE_UNIT) ||
	    (has_item(ret) && !is_item(&ret->item)) || (size_t)n != size_of(ret))
		return -EBADMSG;
	return 0;
}

static int engine_ask(struct engine *e, enum op op, enum engine_kind kind, const char *id,
		      uint32_t request)
{
	struct request r = { .op = op, .kind = kind, .request = request };

	if (strlen(id) >= sizeof(r.id))
		return -ENAMETOOLONG;
	snprintf(r.id, sizeof(r.id), "%s", id);
	return send_record(e->worker.fd, &r, sizeof(r), -1);
}

int engine_ask_item(struct engine *e, bool start, enum engine_kind kind, const char *id,
		    uint32_t request)
{
	return engine_ask(e, start ? OP_START : OP_STOP, kind, id, request);
}

int engine_ask_change(struct engine *e, const struct engine_change *c, uint32_t request)
{
	const struct request r = {
		.op = OP_CHANGE, .kind = ENGINE_CONTAINER, .request = request, .change = *c
	};

	return send_record(e->worker.fd, &r, sizeof(r), -1);
}

int engine_watch_unit(struct engine *e, const char *name)
{
	return engine_ask(e, OP_WATCH, ENGINE_UNIT, name, 0);
}

/* ------ the child ------ */

struct inner {
	struct docker *docker; /* NULL: engine = none */
	struct units *units;   /* NULL: no unit was asked for yet */
};

/* Blocks while the daemon is busy: it reads as soon as its leases are right. */
static void tell_daemon(void *owner, const struct engine_event *e)
{
	while (send(WORKER_FD, e, size_of(e), MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0); /* nobody listens any more */
}

static void engine_take(struct inner *w, const struct request *r)
{
	if (r->kind == ENGINE_UNIT && !w->units)
		w->units = units_open(tell_daemon, NULL);
	if (r->kind == ENGINE_UNIT && w->units && r->op == OP_WATCH)
		units_watch(w->units, r->id);
	else if (r->kind == ENGINE_UNIT && w->units)
		units_ask(w->units, r->op == OP_START, r->id, r->request);
	else if (r->op == OP_CHANGE && w->docker)
		docker_change(w->docker, &r->change, r->request);
	else if (r->kind == ENGINE_CONTAINER && w->docker)
		docker_ask(w->docker, r->op == OP_START, r->id, r->request);
	else
		engine_tell_done(tell_daemon, NULL, r->kind, r->request, -ENOTCONN,
				 "there is nobody to ask");
}

struct task {
	const char *where;
	const struct docker_care *care;
};

static int engine_work(void *arg)
{
	const struct task *t = arg;
	struct inner w = { 0 };

	if (strcmp(t->where, "none"))
		w.docker = docker_open(t->where, t->care, tell_daemon, NULL);
	for (;;) {
		struct pollfd p[2] = { { .fd = WORKER_FD, .events = POLLIN }, { .fd = -1 } };
		int timeout = w.units ? units_prepare(w.units, &p[1]) : -1;
		struct request r;

		if (w.docker)
			docker_turn(w.docker, p, 2, timeout);
		else
			poll(p, 2, timeout);
		if (w.units)
			units_turn(w.units);
		while (receive_record(WORKER_FD, &r, sizeof(r), NULL) == sizeof(r))
			engine_take(&w, &r);
		if (p[0].revents & (POLLHUP | POLLERR))
			return 0;
	}
}

/* uid 0 stays, as the sockets are root's; without capabilities that is all it is good for. */
static int engine_give_up(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_ALL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -EPERM;
	return 0;
}

/* The worker's connections are lost with it. */
static bool tell_of_loss(void)
{
	struct engine_event *e = engine_event(ENGINE_DOWN, ENGINE_CONTAINER);

	e->result = -EPIPE;
	snprintf(e->error, sizeof(e->error), "the process that talks to it has ended");
	for (; e->of <= ENGINE_UNIT; e->of++)
		if (send(WORKER_FD, e, size_of(e), MSG_NOSIGNAL) < 0)
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

static int engine_supervise(void *where)
{
	static struct docker_care care;
	struct request ready = { .op = OP_READY };
	struct task task = { where, &care };
	int size = 1 << 20;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* of a terminal: the daemon ends us */
	setsockopt(WORKER_FD, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (engine_give_up() || take_care(&care) ||
	    send_record(WORKER_FD, &ready, sizeof(ready), -1))
		return 1;
	for (;;) {
		struct child inner;

		if (!child_start(&inner, engine_work, &task)) {
			child_wait(&inner, -1);
			if (!tell_of_loss())
				return 0;
		}
		note_death(&care);
		sleep(AGAIN_SEC);
	}
}
