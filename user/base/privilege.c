/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See privilege.h. */
#include "base/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define NOBODY	 65534 /* the prober's */
#define PRIORITY 30    /* above what is ordinary, below the kernel's own threads (50) */
/* A loop without a pause for so long is a bug: SIGXCPU ends the daemon, and with it the lease.
 * An honest turn takes some ms. */
#define BUDGET_USEC 200000

/* ------ scheduling and memory ------ */

static bool realtime; /* what privilege_take() was granted */

static int schedule(int policy, int priority)
{
	struct sched_param p = { .sched_priority = priority };

	return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &p) < 0 ? -errno : 0;
}

static int limit(__rlimit_resource_t which, rlim_t value)
{
	struct rlimit l = { value, value };

	return setrlimit(which, &l) < 0 ? -errno : 0;
}

static void take_realtime(void)
{
	int r = limit(RLIMIT_RTTIME, BUDGET_USEC);

	/* without a budget a loop gone wild would take a CPU away from the machine */
	if (!r)
		r = schedule(SCHED_RR, PRIORITY);
	if (r) {
		log_line(LOG_LEVEL_NOTICE,
			 "no real-time scheduling: %s: a busy machine may delay "
			 "reactions by some 10 ms (needs CAP_SYS_NICE)",
			 strerror(-r));
		return;
	}
	/* to come back to it, see privilege_long_work(), without CAP_SYS_NICE */
	realtime = !limit(RLIMIT_RTPRIO, PRIORITY);
}

static void take_memory(void)
{
	/* Without CAP_IPC_LOCK, later, the heap and the stack could not grow past a limit: no lock
	 * under one. ONFAULT: what is never touched (most of the libraries) is never read in. */
	int r = limit(RLIMIT_MEMLOCK, RLIM_INFINITY);

	if (!r && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		r = -errno;
	if (r)
		log_line(LOG_LEVEL_NOTICE,
			 "memory is not locked: %s: a machine that swaps may delay "
			 "reactions (needs CAP_IPC_LOCK and LimitMEMLOCK=infinity)",
			 strerror(-r));
}

void privilege_files(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

void privilege_take(void)
{
	take_realtime();
	take_memory();
}

void privilege_long_work(bool begins)
{
	static unsigned int depth;
	bool changes = begins ? !depth++ : !--depth;
	int r = !realtime || !changes ? 0
		: begins	      ? schedule(SCHED_OTHER, 0)
				      : schedule(SCHED_RR, PRIORITY);

	if (r)
		log_line(LOG_LEVEL_WARNING, "real-time scheduling is lost: %s", strerror(-r));
}

/* ------ capabilities ------ */

/* clang-format off */
static const unsigned int kept[] = {
	CAP_NET_ADMIN,		/* attach the gate; a large buffer for rtnetlink */
	CAP_BPF, CAP_PERFMON,	/* load the gate, use its maps; today CAP_SYS_ADMIN would do */
	CAP_SYS_ADMIN,		/* setns() into a tunnel's netns; programs by id; trusted xattrs */
	CAP_SYS_PTRACE,		/* /proc/PID/ns/net of other users */
	CAP_NET_RAW,		/* the probes' sockets */
	CAP_DAC_READ_SEARCH,	/* open_by_handle_at(): `detach` finds a cgroup by its id */
	CAP_DAC_OVERRIDE,	/* cgroup.freeze of a delegated cgroup is its user's (rootless Podman) */
	CAP_SETUID, CAP_SETGID, CAP_SETPCAP, /* a new prober gives up everything */
	CAP_KILL,		/* the old one is nobody's */
};
/* clang-format on */

static int drop_capabilities(void)
{
	bool have[CAP_LAST_CAP + 1] = { false };

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() < 0)
		return -EPERM;
	/* what a container was not given can not be kept: the feature that needs it says so */
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		have[kept[i]] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (have[kept[i]])
			capng_update(CAPNG_ADD,
				     CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				     kept[i]);
	return capng_apply(CAPNG_SELECT_ALL) < 0 ? -EPERM : 0;
}

/* ------ system calls ------ */

/*
 * What the daemon, its libraries and its children (the prober, the scratch cgroup's) call after
 * the start. Kinds of one thing stand together, old and new names, so that another libc or
 * architecture does not surprise; a name that the architecture lacks is left out.
 */
/* clang-format off */
static const char *const allowed[] = {
	/* time, signals, the loop */
	"clock_gettime", "clock_gettime64", "clock_getres", "gettimeofday", "time", "clock_nanosleep",
	"nanosleep", "restart_syscall", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "poll", "ppoll", "select", "pselect6", "timerfd_create", "timerfd_settime",
	"timerfd_gettime", "signalfd4", "eventfd2", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
	"rt_sigtimedwait", "rt_sigpending", "sigaltstack", "inotify_init1", "inotify_add_watch",
	"inotify_rm_watch",
	/* memory (code is never mapped any more: see below), threads' own */
	"brk", "munmap", "mremap", "madvise", "mlock", "mlock2", "munlock", "membarrier", "futex",
	"set_robust_list", "get_robust_list", "rseq", "getrandom", "memfd_create", "sched_yield",
	"sched_getaffinity", "sysinfo", "uname",
	/* files */
	"read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "close", "close_range",
	"open", "openat", "openat2", "open_by_handle_at", "stat", "lstat", "fstat", "newfstatat",
	"statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
	"getdents64", "getcwd", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "fsync",
	"fdatasync", "ftruncate", "fchmod", "flock", "fcntl", "dup", "dup2", "dup3", "pipe2", "ioctl",
	"fgetxattr", "fsetxattr", "umask",
	/* sockets (socket itself: see below) */
	"socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername",
	"getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	"shutdown",
	/* the gate */
	"bpf",
	/* who am I; children; the prober's way down */
	"getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getpgrp", "getrlimit",
	"setrlimit", "prlimit64", "sched_setscheduler", "sched_getscheduler", "sched_getparam",
	"prctl", "capget", "capset", "seccomp", "fork", "vfork", "wait4", "waitid", "kill", "tgkill",
	"pidfd_open", "pidfd_send_signal", "exit", "exit_group",
};
/* clang-format on */

static int allow(scmp_filter_ctx ctx, int nr, unsigned int n, const struct scmp_arg_cmp *args)
{
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, n, args);
}

/* What is harmless only with these arguments. */
static int allow_with_arguments(scmp_filter_ctx ctx)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
				    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	const struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
				  plain_clone = SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0),
				  into_netns = SCMP_A1(SCMP_CMP_EQ, CLONE_NEWNET, 0),
				  no_group = SCMP_A0(SCMP_CMP_EQ, 0, 0),
				  nobody[] = { SCMP_A0(SCMP_CMP_EQ, NOBODY, 0),
					       SCMP_A1(SCMP_CMP_EQ, NOBODY, 0),
					       SCMP_A2(SCMP_CMP_EQ, NOBODY, 0) };
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(families); i++)
		r = allow(ctx, SCMP_SYS(socket), 1,
			  &SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	if (!r)
		r = allow(ctx, SCMP_SYS(mmap), 1, &no_code);
	if (!r)
		r = allow(ctx, SCMP_SYS(mprotect), 1, &no_code);
	if (!r)
		r = allow(ctx, SCMP_SYS(clone), 1, &plain_clone);
	/* its flags can not be read from here; libc then falls back on clone */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!r)
		r = allow(ctx, SCMP_SYS(setns), 1, &into_netns);
	if (!r)
		r = allow(ctx, SCMP_SYS(setgroups), 1, &no_group);
	if (!r)
		r = allow(ctx, SCMP_SYS(setresuid), ARRAY_SIZE(nobody), nobody);
	return r ? r : allow(ctx, SCMP_SYS(setresgid), ARRAY_SIZE(nobody), nobody);
}

/*
 * What is not allowed ends the process. An EPERM would be kinder to a call that was forgotten
 * here, but each place that meets it would have to be right about a refusal that cannot happen
 * otherwise, and foreign code in the daemon could try on. Death is loud (SIGSYS in the service
 * manager's log, the call's number in the kernel's) and fails closed: nobody renews, the gate is
 * shut within one lease term.
 */
static int enter_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)
		    : -ENOMEM;

	for (size_t i = 0; !r && i < ARRAY_SIZE(allowed); i++) {
		int nr = seccomp_syscall_resolve_name(allowed[i]);

		if (nr >= 0) /* below: not on this architecture, or younger than this libseccomp */
			r = allow(ctx, nr, 0, NULL);
	}
	if (!r)
		r = allow_with_arguments(ctx);
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

int privilege_drop(struct error *err)
{
	int r = drop_capabilities();

	if (r)
		return fail(err, EXIT_PRIVILEGE, r, "needs CAP_SETPCAP", "give up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(err, EXIT_PRIVILEGE, -errno, NULL, "set no_new_privs");
#if !defined(__SANITIZE_ADDRESS__) && !defined(WITHOUT_SECCOMP)
	/* the sanitizers' runtime and valgrind call what the daemon never does */
	r = enter_seccomp();
#else
	(void)enter_seccomp;
#endif
	return r ? fail(err, EXIT_PRIVILEGE, r, "needs a kernel with CONFIG_SECCOMP_FILTER",
			"enter seccomp")
		 : 0;
}
