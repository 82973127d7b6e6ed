/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process may lay out under its own root, and what of it is opened. */
#include "base/root.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64]; /* the directory that is the process' root */
static char host_file[80];
static pid_t pid;

static const char *at(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int begin(void **state)
{
	snprintf(top, sizeof(top), "/tmp/vpnleash-root-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(host_file, sizeof(host_file), "%s.host", top);
	put(host_file, "the host's\n");
	assert_int_equal(mkdir(at("etc"), 0755), 0);
	pid = fork();
	if (pid == 0) {
		if (chroot(top) < 0)
			_exit(1);
		kill(getpid(), SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	return 0;
}

static int end(void **state)
{
	char command[192];

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s %s", top, host_file);
	return system(command);
}

static ssize_t read_conf(char buf[32])
{
	/* a wait for the other end would be the test's end as well */
	alarm(5);
	ssize_t n = read_in_root(pid, "/etc/conf", buf, 32);

	alarm(0);
	unlink(at("etc/conf"));
	return n;
}

static void regular(void **state)
{
	char buf[32], large[4097];

	assert_int_equal(read_conf(buf), -ENOENT);
	put(at("etc/conf"), "its own");
	assert_int_equal(read_conf(buf), 7);
	assert_string_equal(buf, "its own");
	memset(large, 'x', 4096);
	large[4096] = '\0';
	put(at("etc/conf"), large);
	assert_int_equal(read_conf(buf), 31);
	assert_int_equal(strlen(buf), 31);
	/* a link that stays inside, as one of systemd-resolved's */
	put(at("other"), "linked");
	assert_int_equal(symlink("/other", at("etc/conf")), 0);
	assert_int_equal(read_conf(buf), 6);
}

static void links_out(void **state)
{
	char up[160], buf[32];

	assert_int_equal(symlink(host_file, at("etc/conf")), 0);
	assert_int_equal(read_conf(buf), -ENOENT);
	snprintf(up, sizeof(up), "../../../..%s", host_file);
	assert_int_equal(symlink(up, at("etc/conf")), 0);
	assert_int_equal(read_conf(buf), -ENOENT);
	assert_int_equal(symlink("conf", at("etc/conf")), 0);
	assert_int_equal(read_conf(buf), -ELOOP);
	/* a directory on the way */
	assert_int_equal(rmdir(at("etc")), 0);
	assert_int_equal(symlink("/tmp", at("etc")), 0);
	assert_int_equal(read_in_root(pid, strrchr(host_file, '/'), buf, sizeof(buf)), -ENOENT);
	assert_int_equal(unlink(at("etc")), 0);
	assert_int_equal(mkdir(at("etc"), 0755), 0);
}

/* /proc/PID/root/proc: what a container sees, but its links lead where nothing is resolved. */
static void magic_links(void **state)
{
	char buf[32];

	alarm(5);
	assert_int_equal(read_in_root(getpid(), "/proc/self/root/etc/passwd", buf, sizeof(buf)),
			 -ELOOP);
	assert_int_equal(read_in_root(getpid(), "/proc/self/exe", buf, sizeof(buf)), -ELOOP);
	alarm(0);
}

static void what_is_no_file(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), seen;
	char buf[32];

	assert_int_equal(mkfifo(at("etc/conf"), 0644), 0);
	assert_int_equal(read_conf(buf), -EINVAL);
	assert_int_equal(mkdir(at("etc/conf"), 0755), 0);
	assert_int_equal(read_conf(buf), -EINVAL);
	assert_int_equal(rmdir(at("etc/conf")), 0);
	/* /dev/zero; one that has an open() of its own would be worse */
	assert_int_equal(mknod(at("etc/conf"), S_IFCHR | 0644, makedev(1, 5)), 0);
	assert_int_equal(read_conf(buf), -EINVAL);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/etc/conf", top);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	/* what is seen is what is spoken to */
	seen = open_in_root(pid, "/etc/conf", O_PATH);
	assert_true(seen >= 0);
	assert_int_equal(read_conf(buf), -EINVAL);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", seen);
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
	assert_int_equal(errno, ECONNREFUSED); /* found, though its name is gone */
	close(fd);
	close(seen);
	/* without O_PATH neither end of a FIFO is waited for */
	assert_int_equal(mkfifo(at("etc/conf"), 0644), 0);
	alarm(5);
	seen = open_in_root(pid, "/etc/conf", O_RDONLY);
	alarm(0);
	assert_true(seen >= 0);
	close(seen);
	unlink(at("etc/conf"));
}

static void leased(void **state)
{
	char buf[32];
	int fd;

	put(at("etc/conf"), "leased");
	signal(SIGIO, SIG_IGN);
	fd = open(at("etc/conf"), O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	assert_int_equal(read_conf(buf), -EAGAIN);
	close(fd);
}

static void gone(void **state)
{
	char buf[32];

	assert_int_equal(read_in_root(0x7ffffffe, "/etc/conf", buf, sizeof(buf)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regular),     cmocka_unit_test(links_out),
		cmocka_unit_test(magic_links), cmocka_unit_test(what_is_no_file),
		cmocka_unit_test(leased),      cmocka_unit_test(gone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("root", tests, begin, end);
}
