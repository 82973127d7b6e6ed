/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon_calls.h"

#define NOBODY	 65534
#define PRIORITY 30 /* above what is ordinary, below the kernel's own threads (50) */
/* An honest turn takes some ms. One that takes longer goes on as an ordinary process: on a virtual
 * machine that waits for its CPUs, the time that others had is charged to us. */
#define BUDGET_USEC 200000

/* ------ scheduling and memory ------ */

static bool realtime; /* what privilege_take() was granted */

static int set_scheduling(int policy, int priority)
{
	struct sched_param p = { .sched_priority = priority };

	return sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &p) < 0 ? -errno : 0;
}

static int set_limit(__rlimit_resource_t which, rlim_t soft, rlim_t hard)
{
	struct rlimit l = { soft, hard };

	return setrlimit(which, &l) < 0 ? -errno : 0;
}

static volatile sig_atomic_t overran;

static void on_budget(int signal)
{
	set_scheduling(SCHED_OTHER, 0);
	overran = 1;
}

static void take_realtime(void)
{
	const struct sigaction budget = { .sa_handler = on_budget, .sa_flags = SA_RESTART };
	/* without a budget a loop gone wild would take a CPU away from the machine; five of them
	 * and it is killed: the signal did not help */
	int r = sigaction(SIGXCPU, &budget, NULL) < 0
			? -errno
			: set_limit(RLIMIT_RTTIME, BUDGET_USEC, 5 * BUDGET_USEC);

	if (!r)
		r = set_scheduling(SCHED_RR, PRIORITY);
	if (r) {
		log_line(LOG_LEVEL_NOTICE,
			 "no real-time scheduling: %s: a busy machine may delay "
			 "reactions by some 10 ms (needs CAP_SYS_NICE)",
			 strerror(-r));
		return;
	}
	/* to come back to it, see privilege_long_work(), without CAP_SYS_NICE */
	realtime = !set_limit(RLIMIT_RTPRIO, PRIORITY, PRIORITY);
}

static void take_memory(void)
{
	/* Without CAP_IPC_LOCK, later, the heap and the stack could not grow past a limit: no lock
	 * under one. ONFAULT: what is never touched (most of the libraries) is never read in. */
	int r = set_limit(RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);

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
		: begins	      ? set_scheduling(SCHED_OTHER, 0)
				      : set_scheduling(SCHED_RR, PRIORITY);

	if (r)
		log_line(LOG_LEVEL_WARNING, "real-time scheduling is lost: %s", strerror(-r));
}

void privilege_again(void)
{
	if (!overran)
		return;
	overran = 0;
	log_line(LOG_LEVEL_WARNING,
		 "a turn took more than %d ms of CPU: it was ended without real-time scheduling "
		 "(is the machine short of CPUs?)",
		 BUDGET_USEC / 1000);
	privilege_long_work(true);
	privilege_long_work(false);
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
 * What is not allowed ends the process. An EPERM would be kinder to a call that was forgotten
 * here, but each place that meets it would have to be right about a refusal that cannot happen
 * otherwise, and foreign code in the daemon could try on. Death is loud (SIGSYS in the service
 * manager's log, the call's number in the kernel's) and fails closed: nobody renews, the gate is
 * shut within one lease term.
 */
int privilege_filter(const struct sock_filter *filter, size_t n)
{
	struct sock_fprog program = { .len = (unsigned short)n,
				      .filter = (struct sock_filter *)filter };

#ifdef COVERAGE
	int __llvm_profile_set_dumped(void);

	__llvm_profile_set_dumped(); /* else it would write at exit what is in the file already */
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WITHOUT_SECCOMP)
	return 0; /* the sanitizers' runtime and valgrind call what we never do */
#endif
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int privilege_drop(struct error *err)
{
	int r = drop_capabilities();

	if (r)
		return fail(err, ERROR_PRIVILEGE, r, "needs CAP_SETPCAP", "give up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, NULL, "set no_new_privs");
	r = PRIVILEGE_FILTER(daemon_filter);
	return r ? fail(err, ERROR_PRIVILEGE, r, "needs a kernel with CONFIG_SECCOMP_FILTER",
			"enter seccomp")
		 : 0;
}

/* ------ a child that is to have nothing ------ */

int privilege_give_up(pid_t parent)
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
	return getppid() == parent ? 0 : -EPIPE;
}
