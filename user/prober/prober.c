/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's half first, then the child's: how it gives everything up, and its loop. The child
 * never allocates after it has entered seccomp.
 */
#include "prober/prober.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/netns.h"
#include "base/privilege.h"
#include "base/worker.h"
#include "prober/wire.h"
#include "prober_calls.h"

#define NO_SUCH_NAME  3	    /* NXDOMAIN: an answer like any other */
#define PLACES	      512   /* sockets: each connection is one */
#define ANSWERS_BOUND 64    /* per socket and turn, so that none starves the others */
#define RCVBUF	      65536 /* everybody's echo replies from that address come here */
/*
 * A connection is given up before the kernel sends its SYN again, 1 s after the first: it would do
 * so by itself, by whatever device has the tunnel's index by then.
 */
#define CONNECT_NS (940 * NS_PER_MSEC)
#define GIVE_UP_MS 50 /* so often it is looked which are that old */

struct prober {
	struct worker worker;
	size_t count;
	uint32_t targets[PROBER_TARGETS];
};

static int prober_child(void *daemon);

/* Index of the target, or count if there is none. */
static size_t prober_find(const struct prober *p, uint32_t target)
{
	size_t i = 0;

	while (i < p->count && p->targets[i] != target)
		i++;
	return i;
}

static int send_wire(int fd, const struct wire *w, int passed_fd)
{
	return send_record(fd, w, sizeof(*w), passed_fd);
}

/* 0, -EAGAIN, -EPIPE at the end, -EBADMSG. The daemon takes no descriptor: ret_fd is NULL. */
static int receive_wire(int fd, struct wire *ret, int *ret_fd)
{
	struct wire w;
	ssize_t n = receive_record(fd, &w, sizeof(w), ret_fd);

	return n < 0 ? (int)n : wire_parse(&w, (size_t)n, ret);
}

/* Wait for the child to say that it has nothing left to lose. */
static int await_ready(const struct worker *worker)
{
	struct wire w;
	int r = worker_await(worker);

	if (r)
		return r;
	r = receive_wire(worker->fd, &w, NULL);
	if (r)
		return r;
	return w.op == WIRE_READY ? -(int)w.value : -EBADMSG;
}

int prober_start(struct prober **ret, struct error *err)
{
	struct prober *p = calloc(1, sizeof(*p));
	pid_t daemon = getpid();
	int r;

	if (!p)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start the prober");
	r = worker_start(&p->worker, "vpnleash-prober", prober_child, &daemon);
	if (!r)
		r = await_ready(&p->worker);
	if (r) {
		prober_stop(p);
		return fail(err, ERROR_PRIVILEGE, r, "needs root and seccomp", "start the prober");
	}
	*ret = p;
	return 0;
}

void prober_stop(struct prober *p)
{
	if (!p)
		return;
	worker_stop(&p->worker);
	free(p);
}

static int only_echo_replies(int fd)
{
	struct icmp_filter filter = { .data = ~(1U << ICMP_ECHOREPLY) };

	return setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter));
}

/* What is connected is closed at once, by a reset: nothing is left to be sent by anybody. */
static int one_handshake(int fd)
{
	struct linger at_once = { .l_onoff = 1 };
	int syns = 1; /* the least, for a prober that hangs */

	return setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syns, sizeof(syns)) < 0
		       ? -1
		       : setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

int prober_socket(int netns_fd, unsigned ifindex, const struct prober_target *to, struct error *err)
{
	static const struct {
		int type, protocol;
		uint16_t port;
	} ways[] = { [WIRE_ICMP] = { SOCK_RAW, IPPROTO_ICMP, 0 },
		     [WIRE_DNS] = { SOCK_DGRAM, 0, 53 },
		     [WIRE_TCP] = { SOCK_STREAM, 0, 0 } };
	_cleanup_fd int fd = netns_socket(netns_fd, AF_INET, ways[to->way].type | SOCK_NONBLOCK,
					  ways[to->way].protocol);
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(to->port ? to->port : ways[to->way].port),
				       .sin_addr = to->to };
	int size = RCVBUF, on = 1;

	if (fd < 0)
		return fail(err, ERROR_PRIVILEGE, fd,
			    fd == -EPERM ? "needs CAP_NET_RAW and CAP_SYS_ADMIN" : NULL,
			    "open a socket for probes");
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof(ifindex)) < 0 ||
	    (to->way == WIRE_ICMP && only_echo_replies(fd) < 0) ||
	    (to->way == WIRE_TCP && one_handshake(fd) < 0) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS))
		return fail(err, ERROR_OTHER, -errno, "is the interface up, with an address?",
			    "bind probes to interface %u", ifindex);
	return TAKE_FD(fd);
}

int prober_set(struct prober *p, uint32_t target, int fd, const struct prober_target *to,
	       uint32_t number, struct error *err)
{
	struct wire w = { .op = WIRE_SET,
			  .target = target,
			  .value = to->to.s_addr,
			  .number = number,
			  .way = to->way };
	size_t i = prober_find(p, target);
	int r;

	if (to->way == WIRE_DNS)
		snprintf(w.name, sizeof(w.name), "%s", to->name);
	r = i == PROBER_TARGETS ? -ENOSPC : send_wire(p->worker.fd, &w, fd);
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "hand a socket to the prober");
	if (i == p->count)
		p->targets[p->count++] = target;
	return 0;
}

int prober_ask(struct prober *p, uint32_t target, uint32_t number)
{
	struct wire w = { .op = WIRE_ASK, .target = target, .number = number };

	return send_wire(p->worker.fd, &w, -1);
}

int prober_drop(struct prober *p, uint32_t target)
{
	size_t i = prober_find(p, target);
	struct wire w = { .op = WIRE_DROP, .target = target };
	int r = send_wire(p->worker.fd, &w, -1);

	if (r == 0 && i < p->count)
		p->targets[i] = p->targets[--p->count];
	return r;
}

int prober_read(struct prober *p, struct prober_news *ret)
{
	struct wire w;
	int r;

	do {
		r = receive_wire(p->worker.fd, &w, NULL);
		if (r == 0 && w.op != WIRE_SEEN && w.op != WIRE_FAILED)
			r = -EBADMSG;
		if (r < 0)
			return r;
	} while (prober_find(p, w.target) == p->count); /* one that crossed a DROP */
	*ret = (struct prober_news) { .target = w.target, .number = w.number };
	if (w.op == WIRE_FAILED)
		ret->error = (int)w.value;
	else
		ret->t_ns = w.value < now_boot_ns() ? w.value : now_boot_ns();
	return 0;
}

int prober_fd(const struct prober *p)
{
	return p->worker.fd;
}

/* ------ the child ------ */

/* Standard descriptors stay taken: what libc says when it aborts must not end in a raw socket. */
static int drop_descriptors(void)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return -errno;
	return close_range(WORKER_FD + 1, ~0U, 0) < 0 ? -errno : 0;
}

struct target {
	uint32_t number, probe; /* the daemon's, of the target and of the newest probe */
	int fd;			/* 0: free; the standard descriptors are taken */
	enum wire_way way;
	bool asked;
	struct in_addr to;
	uint64_t sent_ns; /* WIRE_TCP */
	struct wire_echo last;
	struct wire_window window;
	char name[WIRE_NAME_SIZE];
};

static void target_close(struct target *t)
{
	close_fd(t->fd);
	*t = (struct target) { 0 };
}

static void tell(const struct target *t, enum wire_op op, uint32_t probe, uint64_t value)
{
	struct wire w = { .op = op, .target = t->number, .number = probe, .value = value };

	send_wire(WORKER_FD, &w, -1);
}

static void target_probe(struct target *t)
{
	uint8_t packet[WIRE_QUESTION_SIZE];
	size_t n = WIRE_ECHO_SIZE;

	t->asked = false;
	t->last.seq++;
	if (getrandom(t->last.token, sizeof(t->last.token), 0) != sizeof(t->last.token))
		return;
	if (t->way == WIRE_DNS) {
		if (getrandom(&t->last.id, sizeof(t->last.id), 0) < 0)
			t->last.id++;
		n = wire_question(t->name, &t->last, packet);
	} else {
		wire_echo_request(&t->last, packet);
	}
	wire_window_sent(&t->window, &t->last, t->probe, now_boot_ns());
	/* A tunnel that is deleted, down or full does not send: that is silence, and no more. */
	if (send(t->fd, packet, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		tell(t, WIRE_FAILED, t->probe, (uint64_t)errno);
}

/*
 * Boot time at which a packet came in; the kernel stamped it by the wall clock. Not the time at
 * which it is read: a prober that was stopped would take old answers for new ones. A wall clock
 * that is set meanwhile makes an answer older, or at most as new as now.
 */
static uint64_t came_in_ns(struct msghdr *msg)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	struct timespec stamp, now;
	int64_t age;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
		return 0;
	memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
	clock_gettime(CLOCK_REALTIME, &now);
	age = (now.tv_sec - stamp.tv_sec) * (int64_t)NS_PER_SEC + now.tv_nsec - stamp.tv_nsec;
	return now_boot_ns() - (age > 0 ? (uint64_t)age : 0);
}

static void target_took(struct target *t, const void *packet, size_t n, uint64_t t_ns)
{
	struct wire_echo echo;
	uint32_t probe;
	int r = -EBADMSG;

	if (t->way == WIRE_DNS)
		r = wire_window_named(&t->window, t->name, packet, n, t_ns, &probe);
	else if (!wire_echo_parse(packet, n, t->to, &echo) &&
		 wire_window_answered(&t->window, &echo, t_ns, &probe))
		r = 0;
	if (r == 0 || r == NO_SUCH_NAME)
		tell(t, WIRE_SEEN, probe, t_ns);
	else if (r > 0) /* a resolver between here and there says so, where it reaches nobody */
		tell(t, WIRE_FAILED, probe, WIRE_RCODE + (uint64_t)r);
}

static void target_read(struct target *t)
{
	/* of an echo 60 bytes of IP header and ours, of an answer the question; what is longer is
	 * cut, and an echo is not ours */
	char packet[WIRE_QUESTION_SIZE];
	char control[CMSG_SPACE(sizeof(struct timespec))] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) };

	for (int i = 0; i < ANSWERS_BOUND; i++) {
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(t->fd, &msg, MSG_DONTWAIT);

		if (n >= 0) {
			target_took(t, packet, (size_t)n, came_in_ns(&msg));
			continue;
		}
		if (errno != EAGAIN) /* a pending error, which is cleared by this */
			tell(t, WIRE_FAILED, t->probe, (uint64_t)errno);
		return;
	}
}

/*
 * A connection is there, or has failed: the probe's end. No stamp says when its answer came in; it
 * was after this last began to wait, which would have seen it else. So a prober that was stopped
 * takes nothing old for new.
 */
static void target_connected(struct target *t, short events, uint64_t waits_ns)
{
	char nothing;

	if (!events && now_boot_ns() - t->sent_ns < CONNECT_NS)
		return;
	if (!events)
		tell(t, WIRE_FAILED, t->probe, ETIMEDOUT);
	else if (!(events & (POLLERR | POLLHUP)))
		tell(t, WIRE_SEEN, t->probe, t->sent_ns > waits_ns ? t->sent_ns : waits_ns);
	else if (read(t->fd, &nothing, 1) < 0)
		tell(t, WIRE_FAILED, t->probe, (uint64_t)errno);
	target_close(t);
}

/* The target of that number, or a free place, or NULL. Each connection is one more. */
static struct target *place_of(struct target *targets, const struct wire *w)
{
	struct target *free_place = NULL;

	for (size_t i = 0; i < PLACES; i++) {
		if (targets[i].fd && targets[i].number == w->target && w->way != WIRE_TCP)
			return &targets[i];
		if (!targets[i].fd)
			free_place = &targets[i];
	}
	return free_place;
}

static void take_request(struct target *targets, const struct wire *w, int *fd)
{
	struct target *t = place_of(targets, w);

	if (w->op == WIRE_SET && t && *fd > 0) {
		if (t->fd)
			target_close(t);
		*t = (struct target) { .number = w->target,
				       .probe = w->number,
				       .fd = TAKE_FD(*fd),
				       .way = w->way,
				       .to.s_addr = (in_addr_t)w->value,
				       .sent_ns = now_boot_ns() };
		memcpy(t->name, w->name, sizeof(t->name));
		if (getrandom(&t->last.id, sizeof(t->last.id), 0) < 0)
			t->last.id++;
	} else if (w->op == WIRE_ASK && t && t->fd && t->way != WIRE_TCP) {
		t->asked = true;
		t->probe = w->number;
	} else if (w->op == WIRE_DROP) {
		for (t = targets; t < targets + PLACES; t++)
			if (t->fd && t->number == w->target)
				target_close(t);
	}
}

/* -EAGAIN: all read. Anything else: the daemon is gone, or not itself. */
static int take_requests(struct target *targets)
{
	struct wire w;
	int fd, r;

	while ((r = receive_wire(WORKER_FD, &w, &fd)) == 0) {
		take_request(targets, &w, &fd);
		close_fd(fd);
	}
	/* What piled up while this was stopped is one probe, not a flood. */
	for (struct target *t = targets; t < targets + PLACES; t++)
		if (t->asked)
			target_probe(t);
	return r;
}

/* false: the end. */
static bool prober_turn(struct target *targets)
{
	struct pollfd fds[PLACES + 1];
	struct target *at[PLACES + 1];
	uint64_t waits_ns = now_boot_ns();
	size_t n = 0, connecting = 0;

	for (struct target *t = targets; t < targets + PLACES; t++) {
		if (!t->fd)
			continue;
		connecting += t->way == WIRE_TCP;
		at[n] = t;
		fds[n++] = (struct pollfd) { .fd = t->fd,
					     .events = t->way == WIRE_TCP ? POLLOUT : POLLIN };
	}
	fds[n] = (struct pollfd) { .fd = WORKER_FD, .events = POLLIN };
	if (poll(fds, n + 1, connecting ? GIVE_UP_MS : -1) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (at[i]->way == WIRE_TCP)
			target_connected(at[i], fds[i].revents, waits_ns);
		else if (fds[i].revents)
			target_read(at[i]);
	}
	return !fds[n].revents || take_requests(targets) == -EAGAIN;
}

static int prober_give_up(pid_t daemon)
{
	int r = drop_descriptors();

	if (r)
		return r;
	r = privilege_give_up(daemon);
	return r ? r : PRIVILEGE_FILTER(prober_filter);
}

static int prober_child(void *daemon)
{
	/* here and not the daemon's, whose memory is locked; what is not used is not there */
	struct target *targets = calloc(PLACES, sizeof(*targets));
	struct wire ready = { .op = WIRE_READY };
	sigset_t all;
	int r;

	/* ^C and `systemctl stop` reach the whole group; only the daemon decides when this ends. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	r = targets ? prober_give_up(*(pid_t *)daemon) : -ENOMEM;
	ready.value = (uint64_t)-r;
	if (send_wire(WORKER_FD, &ready, -1) < 0 || r < 0)
		return 1;
	while (prober_turn(targets))
		;
	return 0;
}
