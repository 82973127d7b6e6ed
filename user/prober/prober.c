/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's half first, then the child's: how it gives everything up, and its loop. The child
 * never allocates after it has entered seccomp.
 */
#include "prober/prober.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/netns.h"
#include "base/privilege.h"
#include "base/worker.h"
#include "prober/wire.h"
#include "prober_calls.h"

#define NOBODY	      65534
#define ANSWERS_BOUND 64    /* per socket and turn, so that none starves the others */
#define ICMP_RCVBUF   65536 /* everybody's echo replies from that address come here */

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

static int send_wire(int fd, enum wire_op op, uint32_t target, uint64_t value, int passed_fd)
{
	struct wire w = { .op = op, .target = target, .value = value };

	return send_record(fd, &w, sizeof(w), passed_fd);
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

int prober_icmp_socket(int netns_fd, unsigned ifindex, struct in_addr to, struct error *err)
{
	_cleanup_fd int fd =
		netns_socket(netns_fd, AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = to };
	struct icmp_filter filter = { .data = ~(1U << ICMP_ECHOREPLY) };
	int size = ICMP_RCVBUF, on = 1;

	if (fd < 0)
		return fail(err, ERROR_PRIVILEGE, fd,
			    fd == -EPERM ? "needs CAP_NET_RAW and CAP_SYS_ADMIN" : NULL,
			    "open a socket for probes");
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof(ifindex)) < 0 ||
	    setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return fail(err, ERROR_OTHER, -errno, "is the interface up, with an address?",
			    "bind probes to interface %u", ifindex);
	return TAKE_FD(fd);
}

int prober_set(struct prober *p, uint32_t target, int fd, struct in_addr to, struct error *err)
{
	size_t i = prober_find(p, target);
	int r = i == PROBER_TARGETS ? -ENOSPC
				    : send_wire(p->worker.fd, WIRE_SET, target, to.s_addr, fd);

	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "hand a socket to the prober");
	if (i == p->count)
		p->targets[p->count++] = target;
	return 0;
}

int prober_ask(struct prober *p, uint32_t target)
{
	return send_wire(p->worker.fd, WIRE_ASK, target, 0, -1);
}

int prober_drop(struct prober *p, uint32_t target)
{
	size_t i = prober_find(p, target);
	int r = send_wire(p->worker.fd, WIRE_DROP, target, 0, -1);

	if (r == 0 && i < p->count)
		p->targets[i] = p->targets[--p->count];
	return r;
}

int prober_read(struct prober *p, struct prober_seen *ret)
{
	struct wire w;
	int r;

	do {
		r = receive_wire(p->worker.fd, &w, NULL);
		if (r == 0 && w.op != WIRE_SEEN)
			r = -EBADMSG;
		if (r < 0)
			return r;
	} while (prober_find(p, w.target) == p->count); /* one that crossed a DROP */
	ret->target = w.target;
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

static int drop_privilege(pid_t daemon)
{
	struct sched_param normal = { .sched_priority = 0 };

	if (sched_setscheduler(0, SCHED_OTHER, &normal) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return -EPERM;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) < 0)
		return -EPERM;
	/* After the last change of credentials, which clears both. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return getppid() == daemon ? 0 : -EPIPE;
}

struct target {
	uint32_t number;
	int fd; /* -1: free */
	bool asked;
	struct in_addr to;
	struct wire_echo last;
	struct wire_window window;
};

static void target_close(struct target *t)
{
	close_fd(t->fd);
	*t = (struct target) { .fd = -1 };
}

static void target_probe(struct target *t)
{
	uint8_t packet[WIRE_ECHO_SIZE];

	t->asked = false;
	t->last.seq++;
	if (getrandom(t->last.token, sizeof(t->last.token), 0) != sizeof(t->last.token))
		return;
	wire_echo_request(&t->last, packet);
	wire_window_sent(&t->window, &t->last, now_boot_ns());
	/* A tunnel that is deleted, down or full does not send: that is silence, and no more. */
	send(t->fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_NOSIGNAL);
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

static void target_read(struct target *t)
{
	char packet[128]; /* 60 bytes of IP header and ours; what is longer is not ours */
	char control[CMSG_SPACE(sizeof(struct timespec))] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) };
	struct wire_echo echo;
	uint64_t t_ns;

	for (int i = 0; i < ANSWERS_BOUND; i++) {
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(t->fd, &msg, MSG_DONTWAIT);

		if (n < 0)
			return; /* no more; or a pending error, which is cleared by this */
		t_ns = came_in_ns(&msg);
		if (wire_echo_parse(packet, (size_t)n, t->to, &echo) == 0 &&
		    wire_window_answered(&t->window, &echo, t_ns))
			send_wire(WORKER_FD, WIRE_SEEN, t->number, t_ns, -1);
	}
}

/* The target of that number, or a free place, or NULL. */
static struct target *place_of(struct target targets[PROBER_TARGETS], uint32_t number)
{
	struct target *free_place = NULL;

	for (size_t i = 0; i < PROBER_TARGETS; i++) {
		if (targets[i].fd >= 0 && targets[i].number == number)
			return &targets[i];
		if (targets[i].fd < 0)
			free_place = &targets[i];
	}
	return free_place;
}

/* -EAGAIN: all read. Anything else: the daemon is gone, or not itself. */
static int take_requests(struct target targets[PROBER_TARGETS])
{
	struct target *t;
	struct wire w;
	int fd, r;

	while ((r = receive_wire(WORKER_FD, &w, &fd)) == 0) {
		t = place_of(targets, w.target);
		if (w.op == WIRE_SET && t) {
			target_close(t);
			*t = (struct target) { .number = w.target,
					       .fd = TAKE_FD(fd),
					       .to.s_addr = (in_addr_t)w.value };
			getrandom(&t->last.id, sizeof(t->last.id), 0);
		} else if (w.op == WIRE_ASK && t && t->fd >= 0) {
			t->asked = true;
		} else if (w.op == WIRE_DROP && t) {
			target_close(t);
		}
		close_fd(fd);
	}
	/* What piled up while this was stopped is one probe, not a flood. */
	for (t = targets; t < targets + PROBER_TARGETS; t++)
		if (t->asked)
			target_probe(t);
	return r;
}

/* false: the end. */
static bool prober_turn(struct target targets[PROBER_TARGETS])
{
	struct pollfd fds[PROBER_TARGETS + 1];

	for (size_t i = 0; i < PROBER_TARGETS; i++)
		fds[i] = (struct pollfd) { .fd = targets[i].fd, .events = POLLIN };
	fds[PROBER_TARGETS] = (struct pollfd) { .fd = WORKER_FD, .events = POLLIN };
	if (poll(fds, PROBER_TARGETS + 1, -1) < 0)
		return false;
	for (size_t i = 0; i < PROBER_TARGETS; i++)
		if (fds[i].revents)
			target_read(&targets[i]);
	return !fds[PROBER_TARGETS].revents || take_requests(targets) == -EAGAIN;
}

static int prober_give_up(pid_t daemon)
{
	int r = drop_descriptors();

	if (r)
		return r;
	r = drop_privilege(daemon);
	return r ? r : PRIVILEGE_FILTER(prober_filter);
}

static int prober_child(void *daemon)
{
	static struct target targets[PROBER_TARGETS];
	sigset_t all;
	int r;

	/* ^C and `systemctl stop` reach the whole group; only the daemon decides when this ends. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	r = prober_give_up(*(pid_t *)daemon);
	if (send_wire(WORKER_FD, WIRE_READY, 0, (uint64_t)-r, -1) < 0 || r < 0)
		return 1;
	for (size_t i = 0; i < PROBER_TARGETS; i++)
		targets[i].fd = -1;
	while (prober_turn(targets))
		;
	return 0;
}
