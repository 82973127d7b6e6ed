/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

#define KILL_BOUND_MS 10000

int child_start(struct child *ret, int (*f)(void *arg), void *arg)
{
	pid_t parent = getpid();
	struct child c = { .pid = fork() };

	if (c.pid < 0)
		return -errno;
	if (c.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* 0: the parent is outside of our pid namespace */
		_exit(getppid() == parent || getppid() == 0 ? f(arg) : 125);
	}
	c.pidfd = pidfd_open(c.pid, 0);
	if (c.pidfd < 0) {
		int r = -errno;

		kill(c.pid, SIGKILL);
		waitpid(c.pid, NULL, 0);
		return r;
	}
	*ret = c;
	return 0;
}

struct program {
	char *const *argv;
	int out;
};

static int child_become(void *arg)
{
	const struct program *p = arg;
	int in = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (in < 0 || dup2(in, STDIN_FILENO) < 0)
		return 127;
	if (p->out >= 0 && (dup2(p->out, STDOUT_FILENO) < 0 || dup2(p->out, STDERR_FILENO) < 0))
		return 127;
	execvp(p->argv[0], p->argv);
	return 127;
}

int child_spawn(struct child *ret, char *const argv[], int out)
{
	return child_start(ret, child_become, &(struct program) { argv, out });
}

int child_wait(struct child *c, int timeout_ms)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };
	int r;

	if (!c->pid)
		return -ECHILD;
	while ((r = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	r = waitid(P_PID, (id_t)c->pid, &info, WEXITED) < 0 ? -errno
	    : info.si_code == CLD_EXITED		    ? info.si_status
							    : -ECHILD;
	c->pidfd = close_fd(c->pidfd);
	*c = CHILD_NONE;
	return r;
}

void child_kill(struct child *c)
{
	if (!c->pid)
		return;
	kill(c->pid, SIGKILL);
	child_wait(c, KILL_BOUND_MS);
}

int child_call(int (*f)(void *arg), void *arg)
{
	struct child c;
	int r = child_start(&c, f, arg);

	return r ? r : child_wait(&c, -1);
}
