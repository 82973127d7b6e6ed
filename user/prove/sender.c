/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sender: a child in the workload's cgroup and netns that sends what it is told, and counts in
 * shared memory, because it may be frozen or killed at any instant. And the sink, which answers
 * the kinds that need an answer.
 */
#include "prove/prove_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define START_BOUND_MS 10000

/* ---- the child ---- */

enum { STATE_PREPARING, STATE_SENDING, STATE_FAILED };

struct sender_shared {
	int state;
	int result;	  /* -Exxx of STATE_FAILED */
	struct error err; /* of STATE_FAILED */
	struct tally tally[KINDS_LIMIT];
};

/* This kernel, not a gate, says no. A gate's answer to socket() is EPERM: that is a result. */
static bool is_unsupported(const struct kind *k, int r)
{
	bool ping = k->type == SOCK_DGRAM &&
		    (k->protocol == IPPROTO_ICMP || k->protocol == IPPROTO_ICMPV6);

	return r == -EAFNOSUPPORT || r == -EPROTONOSUPPORT || r == -ESOCKTNOSUPPORT ||
	       r == -EDESTADDRREQ || r == -ENOPROTOOPT || r == -EOPNOTSUPP ||
	       (ping && r == -EACCES);
}

static int shot_socket(const struct shot *s)
{
	const struct kind *k = s->kind;
	_cleanup_fd int fd = socket(k->family, k->type | SOCK_NONBLOCK | SOCK_CLOEXEC, k->protocol);
	int r;

	if (fd < 0)
		return -errno;
	r = k->setup ? k->setup(fd, s) : 0;
	return r < 0 ? r : TAKE_FD(fd);
}

static bool shot_aim(struct shot *s, unsigned int kind, const struct targets *t, int ifindex)
{
	const struct kind *k = kind_at(kind);
	const struct address *a = kind_address(k, t);

	s->kind = k;
	s->targets = t;
	s->ifindex = ifindex;
	s->port = k->to == TO_MULTICAST ? MULTICAST_PORT
		  : k->port		? k->port
					: (uint16_t)(t->port + kind);
	s->length = k->length ? k->length : LENGTH_DEFAULT;
	/* On raw IPv6 sockets the port means the protocol, and must be absent: ipv6(7). */
	s->to_size = address_socket(a, k->type == SOCK_RAW ? 0 : s->port, ifindex, &s->to);
	return a->family != 0;
}

/* One packet, from the kept socket or from a fresh one. `kept` is -1 until it is made. */
static int shoot(const struct shot *s, bool fresh, int *kept, struct tally *tally)
{
	_cleanup_fd int own = -1;
	int *fd = fresh ? &own : kept;
	ssize_t n = -1;

	if (*fd < 0)
		*fd = shot_socket(s);
	if (*fd < 0 && is_unsupported(s->kind, *fd))
		return *fd;
	__atomic_add_fetch(&tally->attempted, 1, __ATOMIC_RELAXED);
	if (*fd >= 0)
		n = s->kind->fire ? s->kind->fire(*fd, s)
				  : fire_bytes(*fd, s, s->payload, s->length, 0);
	else
		errno = -*fd;
	if (n >= 0) {
		__atomic_add_fetch(&tally->ok, 1, __ATOMIC_RELAXED);
		return 0;
	}
	__atomic_store_n(&tally->last_errno, errno, __ATOMIC_RELAXED);
	if (*fd >= 0 && s->kind->type == SOCK_STREAM && errno != EAGAIN) {
		close(*fd); /* a dead connection: the next packet tries a new one */
		*fd = -1;
	}
	return 0;
}

/* One packet of each kind; kinds that cannot be made here leave the set. */
static void send_round(const struct sending *plan, const struct targets *t, uint32_t round,
		       uint64_t *set, int kept[KINDS_LIMIT], struct tally *tally)
{
	static char payload[LENGTH_MAX];
	struct shot s = { .payload = payload, .patient = plan->count > 0 };
	int ifindex = (int)if_nametoindex(t->underlay);

	for (unsigned int i = 0; kind_at(i); i++) {
		enum socket_life life = kind_at(i)->life;
		bool fresh = life == LIFE_FRESH || (life == LIFE_BOTH && round % 2);
		int r = -EDESTADDRREQ;

		if (!(*set & 1ULL << i))
			continue;
		if (shot_aim(&s, i, t, ifindex)) {
			marker_fill(payload, s.length, t->marker, i, round);
			r = shoot(&s, fresh, &kept[i], &tally[i]);
		}
		if (r < 0) {
			__atomic_store_n(&tally[i].skip_errno, -r, __ATOMIC_RELAXED);
			*set &= ~(1ULL << i);
		}
	}
}

static void send_all(const struct sending *plan, const struct targets *t, struct tally *tally)
{
	uint64_t end = now_boot_ns() + plan->max_seconds * NS_PER_SEC, set = plan->kinds;
	uint64_t next = now_boot_ns();
	int kept[KINDS_LIMIT];

	for (unsigned int i = 0; i < KINDS_LIMIT; i++)
		kept[i] = -1;
	for (uint32_t round = 0; !plan->count || round < plan->count; round++) {
		uint64_t now = now_boot_ns();
		struct timespec until;

		if (now >= end)
			break;
		/* A slow machine sends less; it does not catch up in bursts. */
		next = next > now ? next : now;
		until.tv_sec = (time_t)(next / NS_PER_SEC);
		until.tv_nsec = (long)(next % NS_PER_SEC);
		clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL);
		send_round(plan, t, round, &set, kept, tally);
		next += plan->interval_ms * NS_PER_MSEC;
	}
}

/* Into the cgroup first: sockets belong to the cgroup in which they were made. */
static int take_place(const struct sending *plan, struct error *err)
{
	int r = plan->cgroup_fd < 0 ? 0 : write_small(plan->cgroup_fd, "cgroup.procs", "0");

	if (r < 0)
		return fail(err, ERROR_PRIVILEGE, r, "is it a cgroup v2 directory? run with sudo",
			    "join the workload's cgroup");
	if (plan->netns_fd >= 0 && setns(plan->netns_fd, CLONE_NEWNET) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, REMEDY_ROOT, "enter the sender's netns");
	return 0;
}

struct start {
	const struct sending *plan;
	const struct targets *targets;
	struct sender_shared *shared;
	int ready;
};

static int sender_child(void *arg)
{
	const struct start *start = arg;
	struct sender_shared *shared = start->shared;
	unsigned int ready = (unsigned int)start->ready;

	shared->result = take_place(start->plan, &shared->err);
	__atomic_store_n(&shared->state, shared->result < 0 ? STATE_FAILED : STATE_SENDING,
			 __ATOMIC_RELEASE);
	if (ready > 3)
		close_range(3, ready - 1, 0);
	close_range(ready, ~0U, 0); /* the parent sees the pipe end */
	if (shared->result == 0)
		send_all(start->plan, start->targets, shared->tally);
	return 0;
}

/* ---- the parent ---- */

static int sender_ready(const struct sender *s, int ready, struct error *err)
{
	struct pollfd p = { .fd = ready, .events = POLLIN };

	if (poll(&p, 1, START_BOUND_MS) == 0)
		return fail(err, ERROR_OTHER, -ETIMEDOUT, "is its cgroup frozen?",
			    "the sender has not started");
	switch (__atomic_load_n(&s->shared->state, __ATOMIC_ACQUIRE)) {
	case STATE_SENDING:
		return 0;
	case STATE_FAILED:
		if (err)
			*err = s->shared->err;
		return s->shared->result;
	default:
		return fail(err, ERROR_OTHER, -ECANCELED, NULL, "the sender died at its start");
	}
}

int sender_start(struct sender *s, const struct sending *plan, const struct targets *t,
		 struct error *err)
{
	_cleanup_(sender_free) struct sender new = { .child = CHILD_NONE };
	struct start start = { .plan = plan, .targets = t };
	int ends[2], r;

	new.shared = mmap(NULL, sizeof(*new.shared), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (new.shared == MAP_FAILED) {
		new.shared = NULL;
		return fail(err, ERROR_OTHER, -errno, NULL, "map the sender's tallies");
	}
	new.tally = new.shared->tally;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "make a pipe to the sender");
	_cleanup_fd int ready = ends[0], child_end = ends[1];
	start.shared = new.shared;
	start.ready = child_end;
	r = child_start(&new.child, sender_child, &start);
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "start the sender");
	close_fd(TAKE_FD(child_end)); /* or its end would not be seen */
	r = sender_ready(&new, ready, err);
	if (r < 0)
		return r;
	*s = new;
	new = (struct sender) { .child = CHILD_NONE };
	return 0;
}

int sender_wait(struct sender *s, unsigned int timeout_ms, struct error *err)
{
	int r = s->child.pid ? child_wait(&s->child, (int)timeout_ms) : 0;

	if (r == -ETIMEDOUT)
		return fail(err, ERROR_OTHER, r, "is its cgroup frozen?",
			    "the sender has not finished");
	return r ? fail(err, ERROR_OTHER, -ECANCELED, NULL, "the sender was killed") : 0;
}

void sender_stop(struct sender *s)
{
	child_kill(&s->child); /* takes a process in a frozen cgroup v2 as well */
}

void sender_free(struct sender *s)
{
	if (!s->shared)
		return;
	sender_stop(s);
	munmap(s->shared, sizeof(*s->shared));
	*s = (struct sender) { .child = CHILD_NONE };
}

const char *skip_reason(const struct kind *k, const struct tally *t, char *buf, size_t size)
{
	int e = __atomic_load_n(&t->skip_errno, __ATOMIC_RELAXED);
	const char *hint = e == EACCES ? " (sysctl net.ipv4.ping_group_range of that netns)"
			   : e == EDESTADDRREQ && k->to == TO_ONLINK ? " (no on-link address given)"
			   : e == EDESTADDRREQ			     ? " (no outside address given)"
								     : "";

	snprintf(buf, size, "%s%s", e ? strerror(e) : "", hint);
	return buf;
}

/* ---- the answering side ---- */

/* Without SO_REUSEADDR on purpose: port and marker belong to this run alone. */
static int listen_at(int netns_fd, int family, uint16_t port)
{
	_cleanup_fd int fd = socket_in(netns_fd, family, SOCK_STREAM, IPPROTO_TCP);
	struct address any = { .family = family };
	struct sockaddr_storage at;
	socklen_t size = address_socket(&any, port, 0, &at);

	if (fd < 0)
		return fd;
	set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BUFFER);
	if (family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 1024) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int sink_open(int netns_fd, const struct targets *t, int ret[2], struct error *err)
{
	_cleanup_fd int v4 = -1;
	_cleanup_fd int v6 = -1;

	for (unsigned int i = 0; kind_at(i); i++) {
		const struct kind *k = kind_at(i);
		int *fd = k->family == AF_INET ? &v4 : &v6;

		if (k->type != SOCK_STREAM || k->life != LIFE_KEPT)
			continue;
		*fd = listen_at(netns_fd, k->family, (uint16_t)(t->port + i));
		if (*fd < 0 && *fd != -EAFNOSUPPORT)
			return fail(err, ERROR_OTHER, *fd, NULL, "listen on TCP port %u",
				    t->port + i);
	}
	ret[0] = TAKE_FD(v4);
	ret[1] = TAKE_FD(v6);
	return 0;
}
