/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "prober/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/program.h"

#define AGAIN_SEC 1
#define AT_ONCE	  256 /* what is more is not asked: silence */

/* ------ the daemon's half ------ */

static int run_checks(void *nothing);

int checks_start(struct worker *ret, struct error *err)
{
	int r = worker_start(ret, "vpnleash-checks", run_checks, NULL);

	return r ? fail(err, ERROR_OTHER, r, NULL, "start the checks' process") : 0;
}

int checks_ask(const struct worker *w, const struct check *c, int netns_fd)
{
	return send_record(w->fd, c, sizeof(*c), netns_fd);
}

int checks_read(const struct worker *w, struct check_news *ret)
{
	ssize_t n = receive_record(w->fd, ret, sizeof(*ret), NULL);

	if (n < 0)
		return (int)n;
	return n == sizeof(*ret) && ret->result >= 0 && ret->result < CHECK_UNASKED ? 0 : -EBADMSG;
}

const char *check_says(enum check_kind kind, int result, char *buf, size_t size)
{
	static const char *const identity[] = {
		[IDENTITY_RIGHT] = "as expected",
		[IDENTITY_WRONG] = "what is expected is not in its answer",
		[IDENTITY_NO_NAME] = "the resolver has no address for it",
		[IDENTITY_BESIDE] = "its route leads beside the tunnel, and no guard is there",
		[IDENTITY_LINK] = "the interface changed meanwhile",
		[IDENTITY_UNREACHED] = "no connection",
		[IDENTITY_UNENCRYPTED] = "its certificate is not good, or TLS failed",
		[IDENTITY_GARBAGE] = "that is no answer in HTTP",
		[IDENTITY_TOO_MUCH] = "its answer is longer than 64 KiB",
		[IDENTITY_NOTHING] = "its answer is empty",
		[IDENTITY_ELSEWHERE] = "it sends one elsewhere, and redirects are not followed",
		[IDENTITY_REFUSED] = "it answers with an error",
		[IDENTITY_UNABLE] = "it can not be asked (is libcurl4 installed?)",
	};
	unsigned int seconds =
		(kind == CHECK_EXEC ? CHECK_EXEC_NS : CHECK_IDENTITY_NS) / NS_PER_SEC;

	if (result == CHECK_LATE)
		snprintf(buf, size, "not done in %u s", seconds);
	else if (result == CHECK_UNASKED)
		snprintf(
			buf, size,
			"the process that asks has ended meanwhile (by the log), or can not be asked");
	else if (result >= CHECK_SIGNAL)
		snprintf(buf, size, "ended by a signal");
	else if (kind == CHECK_EXEC)
		snprintf(buf, size, "exit %d", result);
	else
		snprintf(buf, size, "%s",
			 result < (int)ARRAY_SIZE(identity) ? identity[result] : "?");
	return buf;
}

/* ------ the process ------ */

struct running {
	struct child child; /* pid 0: free */
	uint32_t target, number;
	uint64_t end_ns; /* when it is ended */
	bool late, dropped;
};

struct task {
	const struct check *check;
	int netns_fd;
	pid_t runner;
};

static int exec_begin(const struct task *t)
{
	int program = program_open("exec", t->check->text, NULL);
	int null = open("/dev/null", O_RDWR);

	if (program < 0 || null < 0)
		return 127;
	program_environment();
	setenv("VPNLEASH_INTERFACE", t->check->interface, 1);
	signal(SIGPIPE, SIG_DFL);
	/* what it says goes nowhere: a flood of it fills nothing */
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
	    setns(t->netns_fd, CLONE_NEWNET) < 0)
		return 126;
	program_become(program, t->check->text, t->runner);
}

static int check_begin(void *arg)
{
	const struct task *t = arg;

	setsid(); /* it is ended with what it has started */
	if (t->check->kind == CHECK_EXEC)
		return exec_begin(t);
	prctl(PR_SET_NAME, "vpnleash-check");
	return identity_ask(t->check, t->netns_fd, t->runner);
}

/* With what it has started; it may not have its group yet. */
static void end(const struct running *r)
{
	if (kill(-r->child.pid, SIGKILL) < 0)
		kill(r->child.pid, SIGKILL);
}

static void check_drop(struct running *all, uint32_t target)
{
	for (struct running *r = all; r < all + AT_ONCE; r++)
		if (r->child.pid && r->target == target) {
			r->dropped = true;
			end(r);
		}
}

static void check_new(struct running *all, const struct check *c, int netns_fd)
{
	struct task task = { c, netns_fd, getpid() };
	struct running *r = all;

	while (r < all + AT_ONCE && r->child.pid)
		r++;
	if (r == all + AT_ONCE)
		return;
	*r = (struct running) { .target = c->target,
				.number = c->number,
				.end_ns = now_boot_ns() + (c->kind == CHECK_EXEC
								   ? CHECK_EXEC_NS
								   : CHECK_IDENTITY_NS) };
	if (child_start(&r->child, check_begin, &task))
		r->child = CHILD_NONE;
}

/* Its child has ended. */
static void check_tell(struct running *r)
{
	struct check_news news = { r->target, r->number, 0 };

	/* the number of the group is not another's before its leader is reaped */
	kill(-r->child.pid, SIGKILL);
	news.result = child_wait(&r->child, -1);
	if (r->late)
		news.result = CHECK_LATE;
	else if (news.result < 0)
		news.result = CHECK_SIGNAL;
	if (!r->dropped)
		send_record(WORKER_FD, &news, sizeof(news), -1);
}

/* false: the daemon is gone, or not itself. */
static bool take_checks(struct running *all)
{
	struct check c;
	int netns_fd;
	ssize_t n;

	while ((n = receive_record(WORKER_FD, &c, sizeof(c), &netns_fd)) == sizeof(c)) {
		check_drop(all, c.target);
		if (c.kind != CHECK_DROP)
			check_new(all, &c, netns_fd);
		close_fd(netns_fd);
	}
	return n == -EAGAIN;
}

/* How long they can be left alone, in ms; -1: for good. */
static int end_late(struct running *all)
{
	uint64_t now = now_boot_ns(), next = UINT64_MAX;

	for (struct running *r = all; r < all + AT_ONCE; r++) {
		if (!r->child.pid || r->late)
			continue;
		if (now >= r->end_ns) {
			r->late = true; /* and may not hear it in a file system that hangs */
			end(r);
		} else if (r->end_ns < next) {
			next = r->end_ns;
		}
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / NS_PER_MSEC) + 1;
}

static int answer_checks(void *nothing)
{
	static struct running all[AT_ONCE];

	prctl(PR_SET_PDEATHSIG, 0); /* or what programs have started would be left */
	for (;;) {
		struct pollfd fds[AT_ONCE + 1] = { { .fd = WORKER_FD, .events = POLLIN } };
		struct running *at[AT_ONCE + 1];
		size_t n = 1;

		for (struct running *r = all; r < all + AT_ONCE; r++)
			if (r->child.pid) {
				at[n] = r;
				fds[n++] =
					(struct pollfd) { .fd = r->child.pidfd, .events = POLLIN };
			}
		poll(fds, n, end_late(all));
		for (size_t i = 1; i < n; i++)
			if (fds[i].revents)
				check_tell(at[i]);
		if (fds[0].revents && !take_checks(all))
			break;
	}
	for (struct running *r = all; r < all + AT_ONCE; r++)
		if (r->child.pid)
			kill(-r->child.pid, SIGKILL);
	return 0;
}

/* The daemon can not start it anew: it has given up what a program needs. */
static int run_checks(void *nothing)
{
	struct child inner;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, 0);
	while (child_start(&inner, answer_checks, NULL) || child_wait(&inner, -1)) {
		log_line(LOG_LEVEL_ERR, "the process that asks for identity and runs the probes "
					"exec has ended: it is started again");
		sleep(AGAIN_SEC);
	}
	return 0; /* told by the end of its socket */
}
