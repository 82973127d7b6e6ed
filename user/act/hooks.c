/* SPDX-License-Identifier: GPL-2.0-or-later */
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIME_NS	   (10 * NS_PER_SEC)
#define OUTPUT_MAX 65536
#define NOBODY	   65534
#define LINKS_MAX  40 /* of one path, as the kernel's */
#define PROGRAM_FD 3

/* ------ the program ------ */

/* A path that is walked name by name: `at` is how far, by directories that only root may change. */
struct way {
	int at;
	char rest[PATH_MAX]; /* empty, or from a slash on */
	unsigned int links;
};

/* Only root may write it. In a sticky directory others may add names, and replace none of root's.
 */
static bool is_roots(const struct stat *st)
{
	bool sticky = S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX;

	return !st->st_uid && (S_ISLNK(st->st_mode) || !(st->st_mode & 022) || sticky);
}

/* Put the target of a link before the rest of the path. 0 or -Exxx. */
static int way_follow(struct way *w, int link_fd)
{
	char rest[PATH_MAX];
	ssize_t n = readlinkat(link_fd, "", rest, sizeof(rest) - 1);

	if (n < 0)
		return -errno;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if ((size_t)snprintf(rest + n, sizeof(rest) - (size_t)n, "%s", w->rest) >=
	    sizeof(rest) - (size_t)n)
		return -ENAMETOOLONG;
	strcpy(w->rest, rest);
	if (*rest != '/')
		return 0;
	w->at = close_fd(w->at);
	w->at = open("/", O_PATH | O_CLOEXEC);
	return w->at < 0 ? -errno : 0;
}

/* Walk one name further. 0 or -Exxx; -EPERM: others than root may write what has that name. */
static int way_step(struct way *w, char name[NAME_MAX + 1])
{
	char *begin = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(begin, "/");
	_cleanup_fd int next = -1;
	struct stat st;

	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	snprintf(name, NAME_MAX + 1, "%.*s", (int)n, begin);
	memmove(w->rest, begin + n, strlen(begin + n) + 1);
	next = openat(w->at, n ? name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 || fstat(next, &st) < 0)
		return -errno;
	if (!is_roots(&st))
		return -EPERM;
	if (S_ISLNK(st.st_mode))
		return way_follow(w, next);
	w->at = close_fd(w->at);
	w->at = TAKE_FD(next);
	return 0;
}

/*
 * The program's descriptor (O_PATH), by which it is run, or -Exxx. Each directory and link is
 * judged as it was opened on the way: what comes to have one of these names afterwards is nobody's
 * concern.
 */
static int hook_open(const char *program, struct error *err)
{
	struct way w = { .at = open("/", O_PATH | O_CLOEXEC) };
	char name[NAME_MAX + 1] = "";
	_cleanup_fd int fd = -1;
	int r = w.at < 0 ? -errno : 0;
	struct stat st = { 0 };

	if (*program != '/' ||
	    (size_t)snprintf(w.rest, sizeof(w.rest), "/.%s", program) >= sizeof(w.rest))
		r = -EINVAL;
	while (!r && *w.rest)
		r = way_step(&w, name);
	fd = w.at;
	if (r == -EPERM)
		return fail(err, ERROR_INPUT, 0, "chown root, chmod go-w",
			    "hook '%s': '%s' can be written by others than root", quote(program),
			    quote(name));
	if (r)
		return fail(err, ERROR_INPUT, r == -EINVAL ? 0 : r, "the full path of a program",
			    "hook '%s'", quote(program));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return fail(err, ERROR_INPUT, 0, "chmod +x", "hook '%s' is not a program",
			    quote(program));
	return TAKE_FD(fd);
}

int hooks_check(const char *program, struct error *err)
{
	_cleanup_fd int fd = hook_open(program, err);

	return fd < 0 ? fd : 0;
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

static void hook_setenv(const char *name, const char *value)
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

static _Noreturn void hook_become(const struct hook_call *c, int program_fd, int netns_fd,
				  int output, pid_t runner)
{
	char *argv[] = { (char *)c->program, NULL };
	int in = open("/dev/null", O_RDONLY);

	setsid(); /* it is ended with what it has started */
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	hook_setenv("VPNLEASH_WORKLOAD", c->workload);
	hook_setenv("VPNLEASH_STATE", c->state);
	hook_setenv("VPNLEASH_FROM", c->from);
	hook_setenv("VPNLEASH_EVIDENCE", c->evidence);
	hook_setenv("VPNLEASH_INTERFACE", c->interface);
	signal(SIGPIPE, SIG_DFL);
	if (in < 0 || dup2(in, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
	    (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0) || become_user() ||
	    /* a change of the uid takes it back, so it comes after that */
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != runner ||
	    dup2(program_fd, PROGRAM_FD) < 0 || close_range(PROGRAM_FD + 1, ~0U, 0) < 0 ||
	    chdir("/") < 0)
		_exit(126);
	/* it stays open: what interprets a script is told of it as /dev/fd/3 */
	execveat(PROGRAM_FD, "", argv, environ, AT_EMPTY_PATH);
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

static void hook_reap(struct running *r)
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
	r->output = close_fd(r->output);
	r->pid = 0;
}

static void hook_begin(struct running *r, const struct hook_call *c, int netns_fd)
{
	_cleanup_fd int program = -1;
	pid_t runner = getpid();
	struct error err;
	int out[2];

	/* the file that is checked is the one that runs, even if its name is another's by then */
	program = hook_open(c->program, &err);
	if (program < 0) {
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
		return;
	}
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	fcntl(out[1], F_SETFL, 0); /* the program's end is an ordinary one */
	*r = (struct running) { .output = out[0], .end_ns = now_boot_ns() + TIME_NS };
	snprintf(r->program, sizeof(r->program), "%s", c->program);
	r->pid = fork();
	if (r->pid == 0)
		hook_become(c, program, netns_fd, out[1], runner);
	close(out[1]);
	if (r->pid < 0) {
		close(out[0]);
		r->pid = 0;
	}
}

static struct running *find_free(struct running *all)
{
	for (size_t i = 0; i < HOOKS_AT_ONCE; i++)
		if (!all[i].pid)
			return &all[i];
	return NULL;
}

static int run_hooks(void *arg)
{
	static struct running all[HOOKS_AT_ONCE];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	for (;;) {
		struct pollfd p = { .fd = WORKER_FD, .events = POLLIN };
		struct running *free_one;
		bool busy = false;

		for (size_t i = 0; i < HOOKS_AT_ONCE; i++) {
			if (all[i].pid)
				hook_reap(&all[i]);
			busy |= all[i].pid != 0;
		}
		free_one = find_free(all);
		if (!free_one)
			p.events = 0; /* the others wait in the socket */
		poll(&p, 1, busy ? 100 : -1);
		for (; free_one; free_one = find_free(all)) {
			struct hook_call call;
			int netns_fd;
			ssize_t n = receive_record(WORKER_FD, &call, sizeof(call), &netns_fd);

			if (n == -EAGAIN)
				break;
			if (n != sizeof(call))
				return 0; /* the daemon is gone, or not itself */
			hook_begin(free_one, &call, netns_fd);
			close_fd(netns_fd);
		}
	}
}

/* ------ the daemon's half ------ */

int hooks_start(struct worker *ret, struct error *err)
{
	int r = worker_start(ret, "vpnleash-hooks", run_hooks, NULL);

	return r ? fail(err, ERROR_OTHER, r, NULL, "start the hooks' process") : 0;
}

int hooks_call(const struct worker *h, const struct hook_call *call, int netns_fd)
{
	return send_record(h->fd, call, sizeof(*call), netns_fd);
}
