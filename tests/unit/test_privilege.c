/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of system calls: whole or not entered, also where memory ends on the way; what is on it
 * works, what is not ends the process.
 */
#include "base/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#undef fail /* ours, not cmocka's */

#define ALLOCATIONS 2500 /* libseccomp 2.5 made 2,329 for the daemon's list */

#ifndef __SANITIZE_ADDRESS__
/* The nth allocation from now on fails, 0: none. */
static unsigned int fails;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool is_the_one(void)
{
	if (!fails || --fails)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return is_the_one() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return is_the_one() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return is_the_one() ? NULL : __libc_realloc(p, size);
}
#endif

/* Of each part of the list something. */
static bool works(void)
{
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC), s, pair[2];
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char c;

	if (fd < 0 || read(fd, &c, 1) != 1 || close(fd) < 0 || p == MAP_FAILED ||
	    mprotect(p, 4096, PROT_READ) < 0 || munmap(p, 4096) < 0)
		return false;
	s = socket(AF_INET, SOCK_DGRAM, 0);
	if (s < 0 || close(s) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return false;
	return getpid() > 0 && now_boot_ns() > 0 && !kill(getpid(), 0);
}

/* What becomes of a child that gives up its privileges and then does f(): as waitpid(2) says. */
static int after_drop(unsigned int nth, bool (*f)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		struct error err = { 0 };
		int r;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the parent's tests */
		signal(SIGABRT, SIG_DFL);
		alarm(10);
#ifndef __SANITIZE_ADDRESS__
		fails = nth;
#endif
		r = privilege_drop(&err);
#ifndef __SANITIZE_ADDRESS__
		fails = 0;
#endif
		if (r)
			_exit(*err.text ? 1 : 2);
		_exit(f() ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void whole_or_not_at_all(void **state)
{
	assert_int_equal(after_drop(0, works), 0);
	for (unsigned int n = 1; n < ALLOCATIONS; n += 7) {
		int status = after_drop(n, works);

		if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
			print_message("# allocation %u: status %#x\n", n, status);
		assert_true(WIFEXITED(status));
		assert_in_range(WEXITSTATUS(status), 0, 1);
	}
}

static bool trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static bool open_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) >= 0;
}

static bool become_another(void)
{
	char *argv[] = { "/bin/true", NULL };

	return execv(argv[0], argv) == 0;
}

static void the_rest_ends_it(void **state)
{
	bool (*const denied[])(void) = { trace, map_code, open_packet, become_another };

#if defined(__SANITIZE_ADDRESS__) || defined(WITHOUT_SECCOMP)
	skip(); /* its runtime calls what the daemon never does: no filter is entered */
#endif
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		int status = after_drop(0, denied[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

static void spin(uint64_t ns)
{
	for (uint64_t end = now_boot_ns() + ns; now_boot_ns() < end;)
		;
}

/* Three times the budget, twice: 0 if it lived, was made ordinary, and is a real-time process
 * again. */
static int long_turns(void)
{
	struct rlimit again = { 0, 0 };

	privilege_take();
	getrlimit(RLIMIT_RTPRIO, &again); /* the way back, as root in a container may not have it */
	for (int i = 0; i < (again.rlim_cur ? 2 : 1); i++) {
		if ((sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) != SCHED_RR)
			return i ? 3 : 77;
		spin(600 * NS_PER_MSEC);
		if ((sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) != SCHED_OTHER)
			return 2;
		privilege_again();
	}
	return 0;
}

static void a_long_turn_is_ended_as_an_ordinary_process(void **state)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(30);
		_exit(long_turns());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("# no real-time scheduling on this machine\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_or_not_at_all),
		cmocka_unit_test(the_rest_ends_it),
		cmocka_unit_test(a_long_turn_is_ended_as_an_ordinary_process),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (geteuid()) {
		print_message("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests_name("privilege", tests, NULL, NULL);
}
