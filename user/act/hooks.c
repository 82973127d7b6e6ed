/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hooks.h. */
#include "act/hooks.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"

#define TIME_NS	   (10 * NS_PER_SEC)
#define OUTPUT_MAX 65536
#define NOBODY	   65534

struct hooks {
	int fd;
	pid_t pid;
};

static _Noreturn void run_hooks(int fd, pid_t daemon);

int hooks_check(const char *program, struct error *err)
{
	char path[PATH_MAX], shown[300];
	struct stat st;

	escape(shown, sizeof(shown), program);
	if (*program != '/' || !realpath(program, path))
		return fail(err, EXIT_USAGE, *program == '/' ? -errno : 0,
			    "the full path of a program", "hook '%s'", shown);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return fail(err, EXIT_USAGE, 0, "chmod +x", "hook '%s' is not a program", shown);
	for (;;) {
		char *slash = strrchr(path, '/');

		if (st.st_uid ||
		    (st.st_mode & 022 && !(S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX)))
			return fail(err, EXIT_USAGE, 0, "chown root, chmod go-w",
				    "hook '%s': '%s' can be written by others than root", shown,
				    *path ? path : "/");
		if (!slash)
			return 0;
		*slash = '\0';
		if (stat(*path ? path : "/", &st) < 0)
			return fail(err, EXIT_USAGE, -errno, NULL, "hook '%s'", shown);
	}
}

int hooks_start(struct hooks **ret, struct error *err)
{
	struct hooks *h = calloc(1, sizeof(*h));
	pid_t daemon = getpid();
	int pair[2];

	if (!h || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(h);
		return fail(err, EXIT_FAILURE_, -errno, NULL, "start the hooks' process");
	}
	h->fd = pair[0];
	h->pid = fork();
	if (h->pid == 0)
		run_hooks(pair[1], daemon);
	close(pair[1]);
	if (h->pid < 0) {
		hooks_stop(h);
		return fail(err, EXIT_FAILURE_, -errno, NULL, "start the hooks' process");
	}
	*ret = h;
	return 0;
}

void hooks_stop(struct hooks *h)
{
	if (!h)
		return;
	close_fd(&h->fd);
	if (h->pid > 0) {
		kill(h->pid, SIGKILL); /* the programs die with it */
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(h);
}

union one_fd {
	struct cmsghdr head;
	char space[CMSG_SPACE(sizeof(int))];
};

int hooks_call(struct hooks *h, const struct hook_call *call, int netns_fd)
{
	struct iovec iov = { .iov_base = (void *)call, .iov_len = sizeof(*call) };
	union one_fd control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
					   .cmsg_level = SOL_SOCKET,
					   .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (netns_fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &netns_fd, sizeof(netns_fd));
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
	}
	if (sendmsg(h->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* ------ the process ------ */

struct running {
	pid_t pid; /* 0: free */
	int output;
	uint64_t end_ns;
	size_t n, n_line;
	char line[500];
	char program[256];
};

static void set(const char *name, const char *value)
{
	char shown[HOOK_VALUE * 4];

	setenv(name, escape(shown, sizeof(shown), value), 1);
}

static int become_user(void)
{
	const struct passwd *p = getpwnam("vpnleash");
	uid_t uid = p ? p->pw_uid : NOBODY;
	gid_t gid = p ? p->pw_gid : NOBODY;

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -EPERM;
	return 0;
}

static _Noreturn void become(const struct hook_call *c, int netns_fd, int output)
{
	char *argv[] = { (char *)c->program, NULL };
	int in = open("/dev/null", O_RDONLY);

	setsid(); /* it is ended with what it has started */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	set("VPNLEASH_WORKLOAD", c->workload);
	set("VPNLEASH_STATE", c->state);
	set("VPNLEASH_FROM", c->from);
	set("VPNLEASH_EVIDENCE", c->evidence);
	set("VPNLEASH_INTERFACE", c->interface);
	signal(SIGPIPE, SIG_DFL);
	if (in < 0 || dup2(in, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
	    (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0) || become_user() ||
	    close_range(3, ~0U, 0) < 0 || chdir("/") < 0)
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

static void end_line(struct running *r)
{
	char shown[sizeof(r->line) * 2];

	r->line[r->n_line] = '\0';
	r->n_line = 0;
	log_line(LOG_LEVEL_NOTICE, "hook %s: %s", r->program,
		 escape(shown, sizeof(shown), r->line));
}

static void read_output(struct running *r)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(r->output, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (r->n++ >= OUTPUT_MAX)
				continue; /* drained, so that it is not stopped by a full pipe */
			if (buf[i] != '\n' && r->n_line < sizeof(r->line) - 1)
				r->line[r->n_line++] = buf[i];
			else if (r->n_line)
				end_line(r);
		}
}

static void reap(struct running *r)
{
	bool late = now_boot_ns() >= r->end_ns;
	int status;

	read_output(r);
	if (late)
		kill(-r->pid, SIGKILL);
	if (waitpid(r->pid, &status, late ? 0 : WNOHANG) != r->pid)
		return;
	read_output(r);
	if (r->n_line)
		end_line(r);
	if (late)
		log_line(LOG_LEVEL_WARNING, "hook %s: ended after 10 s", r->program);
	else if (status)
		log_line(LOG_LEVEL_WARNING, "hook %s: exit %d%s", r->program,
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			 WIFEXITED(status) ? "" : " (signal)");
	close_fd(&r->output);
	r->pid = 0;
}

static void begin(struct running *r, const struct hook_call *c, int netns_fd)
{
	int out[2];

	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	fcntl(out[1], F_SETFL, 0); /* the program's end is an ordinary one */
	*r = (struct running) { .output = out[0], .end_ns = now_boot_ns() + TIME_NS };
	snprintf(r->program, sizeof(r->program), "%s", c->program);
	r->pid = fork();
	if (r->pid == 0)
		become(c, netns_fd, out[1]);
	close(out[1]);
	if (r->pid < 0) {
		close(out[0]);
		r->pid = 0;
	}
}

/* 0, -EAGAIN, -EPIPE. The caller closes *ret_fd. */
static int receive(int fd, struct hook_call *ret, int *ret_fd)
{
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	union one_fd control;
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	*ret_fd = -1;
	if (n != sizeof(*ret))
		return n < 0 && errno == EAGAIN ? -EAGAIN : -EPIPE;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return 0;
}

static struct running *find_free(struct running *all)
{
	for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
		if (!all[i].pid)
			return &all[i];
	return NULL;
}

static _Noreturn void run_hooks(int fd, pid_t daemon)
{
	static struct running all[HOOKS_AT_ONCE];
	struct running *free_one;
	struct hook_call call;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "vpnleash-hooks");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	if ((getppid() != daemon && getppid() != 0) || child_drop_shared_memory() ||
	    dup2(fd, 3) < 0 || close_range(4, ~0U, 0) < 0)
		_exit(1);
	for (;;) {
		struct pollfd p = { .fd = 3, .events = POLLIN };
		bool busy = false;
		int netns_fd, r = 0;

		for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
			if (all[i].pid)
				reap(&all[i]);
		for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
			busy |= all[i].pid != 0;
		free_one = find_free(all);
		if (!free_one)
			p.events = 0; /* the others wait in the socket */
		poll(&p, 1, busy ? 100 : -1);
		while (free_one && !(r = receive(3, &call, &netns_fd))) {
			begin(free_one, &call, netns_fd);
			close_fd(&netns_fd);
			free_one = find_free(all);
		}
		if (r == -EPIPE)
			_exit(0);
	}
}
