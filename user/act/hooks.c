/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/program.h"
#include "base/root.h"
#include "paths.h"

#define TIME_NS	   (10 * NS_PER_SEC)
#define AGAIN_NS   (2 * NS_PER_SEC)   /* after EX_TEMPFAIL */
#define GIVE_UP_NS (300 * NS_PER_SEC) /* and not after that */
#define OUTPUT_MAX 65536
#define PORT_FILE  "/tmp/gluetun/forwarded_port"

int hooks_check(const char *program, struct error *err)
{
	_cleanup_fd int fd = program_open("hook", program, err);

	return fd < 0 ? fd : 0;
}

/* ------ the process ------ */

struct running {
	bool taken;
	bool old;  /* there is something newer to be told */
	bool late; /* it was ended, and may not hear it in a file system that hangs */
	struct hook_call call;
	int netns_fd;	  /* -1: the host's */
	pid_t pid;	  /* 0: it waits to be run again */
	uint64_t next_ns; /* when it is ended, or run again */
	uint64_t give_up_ns;
	int output;
	size_t n, n_line;
	char line[500];
};

static void hook_setenv(const char *name, const char *value)
{
	char shown[HOOK_VALUE * 4];

	setenv(name, escape(shown, sizeof(shown), value), 1);
}

static bool lives_here(pid_t pid)
{
	struct stat own, its;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/ns/net", pid);
	return !stat("/proc/self/ns/net", &own) && !stat(name, &its) && own.st_ino == its.st_ino;
}

/*
 * What the VPN's provider forwards, as gluetun writes it down; 0: nothing is known. Whoever is root
 * in that container may have put anything in the file's place, and nothing but a number is taken
 * from it: not its text, no descriptor, not even by a name that a hook could open.
 */
static unsigned int forwarded_port(pid_t vpn)
{
	unsigned long port = 0;
	char text[16] = "", *end = text;

	if (vpn && lives_here(vpn) && read_in_root(vpn, PORT_FILE, text, sizeof(text)) > 0 &&
	    *text >= '0' && *text <= '9')
		port = strtoul(text, &end, 10);
	return port <= UINT16_MAX && (!*end || *end == '\n') ? (unsigned int)port : 0;
}

static _Noreturn void hook_become(const struct running *r, int program_fd, int output, pid_t runner)
{
	const struct hook_call *c = &r->call;
	char port[16];
	int in = open("/dev/null", O_RDONLY);
	unsigned int forwarded;

	setsid(); /* it is ended with what it has started */
	program_environment();
	hook_setenv("VPNLEASH_WORKLOAD", c->workload);
	hook_setenv("VPNLEASH_STATE", c->state);
	hook_setenv("VPNLEASH_FROM", c->from);
	hook_setenv("VPNLEASH_EVIDENCE", c->evidence);
	hook_setenv("VPNLEASH_INTERFACE", c->interface);
	signal(SIGPIPE, SIG_DFL);
	if (in < 0 || dup2(in, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
	    (r->netns_fd >= 0 && setns(r->netns_fd, CLONE_NEWNET) < 0))
		_exit(126);
	/* here, as a file system of somebody else's may never answer: the process is ended then */
	forwarded = forwarded_port(c->vpn);
	snprintf(port, sizeof(port), "%u", forwarded);
	if (forwarded)
		setenv("VPNLEASH_FORWARDED_PORT", port, 1);
	program_become(program_fd, c->program, runner);
}

static void end_line(struct running *r)
{
	char shown[sizeof(r->line) * 2];

	r->line[r->n_line] = '\0';
	r->n_line = 0;
	log_line(LOG_LEVEL_NOTICE, "hook %s: %s", r->call.program,
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

static void hook_free(struct running *r)
{
	close_fd(r->netns_fd);
	*r = (struct running) { 0 };
}

static void hook_reap(struct running *r)
{
	uint64_t now = now_boot_ns();
	bool not_yet;
	int status;

	read_output(r);
	if (now >= r->next_ns) {
		kill(-r->pid, SIGKILL);
		r->late = true;
		r->next_ns = now + NS_PER_SEC / 10;
	}
	if (waitpid(r->pid, &status, WNOHANG) != r->pid)
		return;
	read_output(r);
	if (r->n_line)
		end_line(r);
	not_yet = WIFEXITED(status) && WEXITSTATUS(status) == EX_TEMPFAIL && now < r->give_up_ns;
	if (r->late)
		log_line(LOG_LEVEL_WARNING, "hook %s: ended after 10 s", r->call.program);
	else if (status && !not_yet)
		log_line(LOG_LEVEL_WARNING, "hook %s: exit %d%s", r->call.program,
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
			 WIFEXITED(status) ? "" : " (signal)");
	close_fd(r->output);
	r->pid = 0;
	r->late = false;
	r->next_ns = now + AGAIN_NS;
	if (!not_yet || r->old)
		hook_free(r);
}

static void hook_begin(struct running *r)
{
	_cleanup_fd int program = -1;
	pid_t runner = getpid();
	struct error err;
	int out[2];

	/* the file that is checked is the one that runs, even if its name is another's by then */
	program = program_open("hook", r->call.program, &err);
	if (program < 0)
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	if (program < 0 || pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0) {
		hook_free(r);
		return;
	}
	fcntl(out[1], F_SETFL, 0); /* the program's end is an ordinary one */
	r->output = out[0];
	r->next_ns = now_boot_ns() + TIME_NS;
	r->pid = fork();
	if (r->pid == 0)
		hook_become(r, program, out[1], runner);
	close(out[1]);
	if (r->pid < 0) {
		close(out[0]);
		hook_free(r);
	}
}

/* Free, or else one that waits: nobody's programs hold up what is new. */
static struct running *find_room(struct running *all)
{
	struct running *found = NULL;

	for (size_t i = 0; i < HOOKS_AT_ONCE; i++) {
		if (!all[i].taken)
			return &all[i];
		if (!all[i].pid)
			found = &all[i];
	}
	return found;
}

static void hook_new(struct running *all, const struct hook_call *call, int netns_fd)
{
	struct running *r;

	for (r = all; r < all + HOOKS_AT_ONCE; r++) {
		r->old |= !strcmp(r->call.program, call->program) &&
			  !strcmp(r->call.workload, call->workload) &&
			  (r->netns_fd < 0) == (netns_fd < 0);
		if (r->taken && r->old && !r->pid)
			hook_free(r);
	}
	r = find_room(all);
	if (r->taken)
		hook_free(r);
	*r = (struct running) { .taken = true,
				.call = *call,
				.netns_fd = netns_fd,
				.give_up_ns = now_boot_ns() + GIVE_UP_NS };
	hook_begin(r);
}

/* Those that are over, or due again. How long they can be left alone, in ms; -1: for good. */
static int look_after(struct running *all)
{
	int ms = -1;

	for (struct running *r = all; r < all + HOOKS_AT_ONCE; r++) {
		if (r->pid)
			hook_reap(r);
		else if (r->taken && now_boot_ns() >= r->next_ns)
			hook_begin(r);
		if (r->pid)
			ms = 100;
		else if (r->taken && ms < 0)
			ms = 1000;
	}
	return ms;
}

static void end_all(const struct running *all)
{
	for (const struct running *r = all; r < all + HOOKS_AT_ONCE; r++)
		if (r->pid && kill(-r->pid, SIGKILL) < 0)
			kill(r->pid, SIGKILL); /* it has no group yet */
}

static int run_hooks(void *arg)
{
	static struct running all[HOOKS_AT_ONCE];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, 0); /* or what hooks have started would be left */
	for (;;) {
		struct pollfd p = { .fd = WORKER_FD, .events = POLLIN };
		int ms = look_after(all);

		if (!find_room(all))
			p.events = 0; /* the others wait in the socket */
		poll(&p, 1, ms);
		while (find_room(all)) {
			struct hook_call call;
			int netns_fd;
			ssize_t n = receive_record(WORKER_FD, &call, sizeof(call), &netns_fd);

			if (n == -EAGAIN)
				break;
			if (n != sizeof(call)) { /* the daemon is gone, or not itself */
				end_all(all);
				return 0;
			}
			hook_new(all, &call, netns_fd);
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
