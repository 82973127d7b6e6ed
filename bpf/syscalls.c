/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls of the daemon, of its prober and of who asks for `identity`, as classic BPF: run
 * when vpnleash is built, by the machine that builds, prints `LIST`_calls.h for the machine that
 * it is told. Not at the start: where malloc(3) fails, libseccomp 2.5 leaves rules out and says
 * nothing, or ends itself; and what it frees afterwards may need calls that its filter denies.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOBODY	      65534 /* the prober's */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * What the daemon, its libraries and its children (the prober, the scratch cgroup's) call after
 * the start. Kinds of one thing stand together, old and new names, so that another libc or
 * architecture does not surprise; a name that the architecture lacks is left out.
 */
/* clang-format off */
static const char *const daemon_calls[] = {
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

/* What the prober calls once its sockets are open: it never allocates. */
static const char *const prober_calls[] = {
	"recvmsg",   "recvfrom", "sendmsg",    "sendto",       "read",
	"write",     "close",	 "poll",       "ppoll",	       "clock_gettime",
	"getrandom", "exit",	 "exit_group", "rt_sigreturn", "restart_syscall",
};

/* What libcurl and its TLS call on sockets that are there; what else they try just fails. */
/* clang-format off */
static const char *const identity_calls[] = {
	"read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "connect",
	"getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown", "close", "poll", "ppoll",
	"fcntl", "ioctl", "socketpair", "pipe2", "eventfd2", "fstat", "newfstatat", "statx", "lseek", "pread64",
	"getdents64", "brk", "munmap", "mremap", "madvise", "futex", "getrandom", "clock_gettime",
	"clock_nanosleep", "gettimeofday", "time", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid",
	"sysinfo", "uname", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall", "exit",
	"exit_group",
};
/* clang-format on */

/* Files, such as authorities' certificates, to be read; memory that is no code. */
static int allow_to_read(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
				  to_read = SCMP_A2(SCMP_CMP_MASKED_EQ,
						    O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY);
	int r = allow(ctx, SCMP_SYS(openat), 1, &to_read);

	if (!r)
		r = allow(ctx, SCMP_SYS(mmap), 1, &no_code);
	return r ? r : allow(ctx, SCMP_SYS(mprotect), 1, &no_code);
}

static int allow_all(scmp_filter_ctx ctx, const char *const *names, size_t n)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]);

		/* below: another architecture's, and translated */
		if (nr != __NR_SCMP_ERROR) /* younger than this libseccomp */
			r = allow(ctx, nr, 0, NULL);
	}
	return r;
}

static int print_filter(scmp_filter_ctx ctx, const char *name)
{
	struct sock_filter f;
	FILE *file = tmpfile();
	int r = file ? seccomp_export_bpf(ctx, fileno(file)) : -errno;

	if (r)
		return r;
	rewind(file);
	printf("static const struct sock_filter %s[] = {\n", name);
	while (fread(&f, sizeof(f), 1, file) == 1)
		printf("\t{ 0x%04x, %u, %u, 0x%08x },\n", f.code, f.jt, f.jf, f.k);
	puts("};");
	return fclose(file) ? -errno : 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		const char *const *calls;
		size_t n;
		int (*more)(scmp_filter_ctx ctx);
		uint32_t others;
	} all[] = {
		{ "daemon", daemon_calls, ARRAY_SIZE(daemon_calls), allow_with_arguments,
		  SCMP_ACT_KILL_PROCESS },
		{ "prober", prober_calls, ARRAY_SIZE(prober_calls), NULL, SCMP_ACT_KILL_PROCESS },
		{ "identity", identity_calls, ARRAY_SIZE(identity_calls), allow_to_read,
		  SCMP_ACT_ERRNO(EPERM) },
	};
	size_t i = 0;
	char name[32];
	scmp_filter_ctx ctx;
	uint32_t arch;
	int r;

	while (i < ARRAY_SIZE(all) && (argc != 3 || strcmp(argv[1], all[i].name)))
		i++;
	arch = argc == 3 ? seccomp_arch_resolve_name(argv[2]) : 0;
	if (i == ARRAY_SIZE(all) || !arch) {
		fprintf(stderr, "usage: syscalls daemon|prober|identity ARCHITECTURE\n");
		return 2;
	}
	ctx = seccomp_init(all[i].others);
	r = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;
	if (!r && arch != seccomp_arch_native())
		r = seccomp_arch_add(ctx, arch);
	if (!r && arch != seccomp_arch_native())
		r = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
	if (!r)
		r = allow_all(ctx, all[i].calls, all[i].n);
	if (!r && all[i].more)
		r = all[i].more(ctx);
	snprintf(name, sizeof(name), "%s_filter", all[i].name);
	if (!r)
		r = print_filter(ctx, name);
	seccomp_release(ctx);
	if (r)
		fprintf(stderr, "syscalls: %s\n", strerror(-r));
	return r || ferror(stdout) ? 1 : 0;
}
