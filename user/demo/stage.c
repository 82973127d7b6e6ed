/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "demo/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/gate.h"
#include "base/child.h"

#define REMEDY "run as root; in a container: --privileged"

struct entry {
	struct stage *stage;
	int (*play)(struct stage *s);
};

static int stage_furnish(struct error *err)
{
	static const struct {
		const char *type, *where;
	} mounts[] = { { "proc", "/proc" }, { "tmpfs", "/run" }, { "bpf", "/sys/fs/bpf" } };

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, REMEDY, "make namespaces");
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type,
			  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			return fail(err, ERROR_PRIVILEGE, -errno, REMEDY, "mount a %s on %s",
				    mounts[i].type, mounts[i].where);
	return 0;
}

static int stage_enter(void *arg)
{
	const struct entry *e = arg;
	int r;

	setsid(); /* Ctrl-C is the keeper's to answer */
	r = stage_furnish(&e->stage->err);
	r = r ? r : e->play(e->stage);
	fflush(stdout);
	if (r >= 0) /* somebody's failure on the way that was none */
		*e->stage->err.text = '\0';
	return r < 0 ? ERROR_OTHER : r;
}

/* The stage's exit code, or -Exxx. */
static int stage_keep(struct child *stage, int signals, unsigned int bound_ms,
		      const struct stage *s, struct error *err)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN },
			      { .fd = stage->pidfd, .events = POLLIN } };
	struct signalfd_siginfo info;
	int r;

	poll(p, ARRAY_SIZE(p), (int)bound_ms);
	if (p[0].revents && read(signals, &info, sizeof(info)) == sizeof(info))
		return fail(err, ERROR_OTHER, 0, "nothing of it is left behind", "ended by: %s",
			    strsignal((int)info.ssi_signo));
	if (!p[1].revents)
		return fail(err, ERROR_OTHER, -ETIMEDOUT, "is the machine overloaded?",
			    "not finished in %u s", bound_ms / 1000);
	r = child_wait(stage, 0);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "the stage was killed");
	if (*s->err.text) {
		*err = s->err;
		return -EINVAL;
	}
	return r;
}

/* Its scratch cgroup, if the daemon was killed while it had one: by the daemon's pid in its own
 * namespace, and only an empty one can be removed. */
static void remove_scratch(const struct stage *s)
{
	char prefix[64];
	int fd = openat(s->root.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	snprintf(prefix, sizeof(prefix), GATE_SCRATCH "%d-", s->daemon);
	while (d && s->daemon && (e = readdir(d)))
		if (!strncmp(e->d_name, prefix + 1, strlen(prefix + 1)))
			gate_remove_scratch(s->root.fd, e->d_name);
	if (d)
		closedir(d);
}

/* All processes are gone by now; the kernel empties a cgroup a moment after that. */
static int remove_cgroups(const struct stage *s, struct error *err)
{
	int tries = 0;

	remove_scratch(s);
	while (unlinkat(s->root.fd, s->cgroup.path + 1, AT_REMOVEDIR) < 0) {
		if (errno != EBUSY || tries++ == 200)
			return fail(err, ERROR_OTHER, -errno, "rmdir it", "remove cgroup '%s%s'",
				    s->root.path, s->cgroup.path);
		usleep(10000);
	}
	return 0;
}

static int open_stage(struct stage *s, struct error *err)
{
	char path[64];
	int r = resolve_cgroup_root(&s->root, err);

	if (r)
		return r;
	snprintf(path, sizeof(path), "/vpnleash-demo-%d", getpid());
	if (mkdirat(s->root.fd, path + 1, 0755) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, "mount -o remount,rw /sys/fs/cgroup",
			    "make cgroup '%s%s'", s->root.path, path);
	return resolve_cgroup(&s->root, path, &s->cgroup, err);
}

int stage_run(int (*play)(struct stage *s), unsigned int bound_ms, struct error *err)
{
	struct stage *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	_cleanup_fd int signals = -1;
	struct child child = CHILD_NONE;
	sigset_t mask;
	int r, removed;

	if (s == MAP_FAILED)
		return fail(err, ERROR_OTHER, -errno, NULL, "map memory");
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL); /* before there is anything to be left behind */
	signals = signalfd(-1, &mask, SFD_CLOEXEC);
	r = open_stage(s, err);
	if (r)
		return r;
	fflush(stdout);
	if (unshare(CLONE_NEWPID) < 0)
		r = fail(err, ERROR_PRIVILEGE, -errno, REMEDY, "make a pid namespace");
	else if ((r = child_start(&child, stage_enter, &(struct entry) { s, play })) < 0)
		fail(err, ERROR_OTHER, r, NULL, "fork");
	r = r ? r : stage_keep(&child, signals, bound_ms, s, err);
	child_kill(&child);
	removed = remove_cgroups(s, r < 0 ? NULL : err);
	return r < 0 ? r : removed < 0 ? removed : r;
}
