/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Escaping of foreign text, errors, times, small files. */
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#undef fail /* ours, not cmocka's */

/* A heap buffer of exactly that size, so that the sanitizer sees a byte too many. */
static char *escaped(const char *src, size_t size)
{
	char *dst = malloc(size);

	assert_non_null(dst);
	assert_ptr_equal(escape(dst, size, src), dst);
	assert_non_null(memchr(dst, 0, size));
	return dst;
}

static void assert_escapes(const char *src, const char *want)
{
	char *got = escaped(src, 256);

	assert_string_equal(got, want);
	free(got);
}

/* Printable UTF-8, decoded independently of the code under test. */
static bool printable(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		uint32_t c = *s++, least = 0;
		int more = c < 0x80	  ? 0
			   : c >> 5 == 6  ? 1
			   : c >> 4 == 14 ? 2
			   : c >> 3 == 30 ? 3
					  : -1;

		if (more < 0 || c == '"' || c == '\'')
			return false;
		if (more) {
			c &= 0x3fu >> more;
			least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
		}
		for (; more; more--, s++) {
			if (*s >> 6 != 2)
				return false;
			c = c << 6 | (*s & 0x3f);
		}
		if (c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c < 0x20 ||
		    (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
		    (c >= 0x2066 && c <= 0x2069))
			return false;
	}
	return true;
}

static void plain_text_stays(void **state)
{
	assert_escapes("", "");
	assert_escapes("/system.slice/docker-0a1b.scope", "/system.slice/docker-0a1b.scope");
	assert_escapes("a b~!#$%&()*+,-./:;<=>?@[]^_`{|}", "a b~!#$%&()*+,-./:;<=>?@[]^_`{|}");
	assert_escapes("Zürich €\xf0\x9f\x90\x95", "Zürich €\xf0\x9f\x90\x95");
	/* the edges of what is valid */
	assert_escapes("\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		       "\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

static void what_acts_on_a_terminal_or_a_quote_is_escaped(void **state)
{
	for (int c = 1; c < 0x20; c++) {
		char src[2] = { (char)c }, want[5];

		snprintf(want, sizeof(want), "\\x%02x", c);
		assert_escapes(src, want);
	}
	assert_escapes("\x7f", "\\x7f");
	assert_escapes("a\"b'c\\d", "a\\x22b\\x27c\\x5cd");
	assert_escapes("\033[2J\r\n", "\\x1b[2J\\x0d\\x0a");
	assert_escapes("\xc2\x80\xc2\x9b\xc2\x9f", "\\xc2\\x80\\xc2\\x9b\\xc2\\x9f"); /* C1 */
	assert_escapes("\xe2\x80\xae", "\\xe2\\x80\\xae"); /* text turned around */
	assert_escapes("\xe2\x80\xa8\xe2\x81\xa6", "\\xe2\\x80\\xa8\\xe2\\x81\\xa6");
	assert_escapes("\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf");
}

static void what_is_not_utf8_is_escaped(void **state)
{
	assert_escapes("\x80\xbf\xfe\xff", "\\x80\\xbf\\xfe\\xff");
	assert_escapes("\xc0\xaf", "\\xc0\\xaf"); /* overlong '/' */
	assert_escapes("\xc1\xbf", "\\xc1\\xbf");
	assert_escapes("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	assert_escapes("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
	assert_escapes("\xed\xa0\x80", "\\xed\\xa0\\x80");	    /* a surrogate */
	assert_escapes("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond U+10FFFF */
	assert_escapes("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
	assert_escapes("\xc3", "\\xc3"); /* cut short at the end, and before a letter */
	assert_escapes("\xe2\x82", "\\xe2\\x82");
	assert_escapes("\xf0\x9f\x90", "\\xf0\\x9f\\x90");
	assert_escapes("\xe2\x82x", "\\xe2\\x82x");
}

static void truncation_cuts_between_characters(void **state)
{
	static const char src[] = "a€\"\xf0\x9f\x90\x95\x1b\xffz";
	char *whole = escaped(src, 256);

	for (size_t size = 1; size <= strlen(whole) + 2; size++) {
		char *got = escaped(src, size);

		assert_true(printable(got));
		assert_true(strlen(got) < size);
		assert_memory_equal(got, whole, strlen(got));
		/* no escape is cut in the middle, no room for a whole character is wasted */
		assert_true(strlen(got) == strlen(whole) || size - strlen(got) <= 4);
		free(got);
	}
	free(whole);
}

static void random_bytes_become_printable(void **state)
{
	static const unsigned char favourites[] = { 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0x80, 0x9f,
						    0xa0, 0xbf, '\\', '\'', '"',  0x1b, 0x7f, 'x' };
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)random() % 40, size = 1 + (size_t)random() % 80;
		char src[41] = { 0 }, *got;

		for (size_t i = 0; i < n; i++)
			src[i] = (char)(random() & 1 ? 1 + random() % 255
						     : favourites[random() & 15]);
		got = escaped(src, size);
		assert_true(printable(got));
		free(got);
	}
}

static void errors_say_what_why_and_what_to_do(void **state)
{
	struct error err;
	char *long_text = malloc(4096);

	assert_int_equal(fail(&err, ERROR_INPUT, -ENOENT, "make it", "open '%s'", "x"), -ENOENT);
	assert_string_equal(err.text, "open 'x': No such file or directory (make it)");
	assert_int_equal(err.kind, ERROR_INPUT);
	assert_int_equal(fail(&err, ERROR_PRIVILEGE, -EPERM, NULL, "go"), -EPERM);
	assert_string_equal(err.text, "go: Operation not permitted");
	assert_int_equal(fail(&err, ERROR_ABSENT, 0, "do", "say"), -EINVAL);
	assert_string_equal(err.text, "say (do)");
	assert_int_equal(fail(NULL, ERROR_INPUT, -EBUSY, "x", "y"), -EBUSY);
	/* an error that is told again from its own text */
	assert_int_equal(fail(&err, ERROR_INPUT, 0, NULL, "again: %s", err.text), -EINVAL);
	assert_string_equal(err.text, "again: say (do)");

	assert_non_null(long_text);
	memset(long_text, 'a', 4095);
	long_text[4095] = '\0';
	fail(&err, ERROR_INPUT, -ENOENT, "make it", "%s", long_text);
	assert_true(strlen(err.text) < sizeof(err.text));
	assert_non_null(strstr(err.text, "(make it)")); /* the remedy is not what is cut off */
	free(long_text);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "3s", 3 * NS_PER_SEC },
		{ "30", 30 * NS_PER_SEC },
		{ "500ms", 500 * NS_PER_MSEC },
		{ "2min", 120 * NS_PER_SEC },
		{ "007s", 7 * NS_PER_SEC },
		{ "9223372036s", 9223372036 * NS_PER_SEC },
	};
	static const char *const bad[] = {
		"",
		" ",
		"s",
		"-1s",
		"+1s",
		" 1s",
		"1 s",
		"1s ",
		"1S",
		"1m",
		"1h",
		"1.5s",
		"1,5s",
		"0x10",
		"1e3",
		"1ss",
		"ms",
		"3s\n",
		"9223372037s",
		"18446744073709551615s",
		"18446744073709551616",
		"99999999999999999999999ms",
		"\xff",
		"1\xff",
	};
	uint64_t ns;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ns = 12345;
		assert_int_equal(parse_duration(bad[i], &ns), -EINVAL);
		assert_int_equal(ns, 12345); /* untouched on failure */
	}
}

static void small_files(void **state)
{
	char dir[] = "/tmp/vpnleash-test-util-XXXXXX", buf[8];
	int dirfd, fd;

	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dirfd >= 0);
	assert_int_equal(read_small(dirfd, "none", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(write_small(dirfd, "none", "x"), -ENOENT); /* never makes a file */
	assert_int_equal(read_small(dirfd, ".", buf, sizeof(buf)), -EISDIR);

	fd = openat(dirfd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(read_small(dirfd, "f", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(write_small(dirfd, "f", "1\n"), 0);
	assert_int_equal(read_small(dirfd, "f", buf, sizeof(buf)), 1);
	assert_string_equal(buf, "1"); /* without the newline */
	assert_int_equal(write_small(dirfd, "f", "a\n\n"), 0);
	assert_int_equal(read_small(dirfd, "f", buf, sizeof(buf)), 2);
	assert_string_equal(buf, "a\n"); /* only one */
	assert_int_equal(write_small(dirfd, "f", "0123456789"), 0);
	assert_int_equal(read_small(dirfd, "f", buf, sizeof(buf)), 7);
	assert_string_equal(buf, "0123456"); /* cut, and ended all the same */
	assert_int_equal(write_small(AT_FDCWD, "/dev/full", "x"), -ENOSPC);

	close(fd);
	assert_int_equal(unlinkat(dirfd, "f", 0), 0);
	close(dirfd);
	assert_int_equal(rmdir(dir), 0);
}

static void owners(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), taken, none = -1;
	void *p = malloc(1), *q;
	FILE *no_file = NULL;

	taken = TAKE_FD(fd);
	assert_int_equal(fd, -1);
	assert_true(taken >= 0);
	close_fd(taken);
	assert_int_equal(fcntl(taken, F_GETFD), -1);
	close_fd(none);
	q = TAKE_PTR(p);
	assert_null(p);
	free_mem(&q);
	free_mem(&p);
	close_file(&no_file);
}

static int write_offsets(const char *text)
{
	int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 || write(fd, text, strlen(text)) < 0;

	if (fd >= 0)
		close(fd);
	return r;
}

static void time_namespaces_are_seen(void **state)
{
	int status;
	pid_t pid;

	assert_true(now_boot_ns() > 0);
	if (in_time_namespace()) {
		print_message("# the test itself runs in a time namespace\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* what the children will live in counts: the prober is one */
		if (unshare(CLONE_NEWTIME) || in_time_namespace())
			_exit(77);
		if (write_offsets("boottime 100 0"))
			_exit(77);
		_exit(in_time_namespace() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("# no time namespaces here, or not root\n");
		skip();
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_stays),
		cmocka_unit_test(what_acts_on_a_terminal_or_a_quote_is_escaped),
		cmocka_unit_test(what_is_not_utf8_is_escaped),
		cmocka_unit_test(truncation_cuts_between_characters),
		cmocka_unit_test(random_bytes_become_printable),
		cmocka_unit_test(errors_say_what_why_and_what_to_do),
		cmocka_unit_test(durations),
		cmocka_unit_test(small_files),
		cmocka_unit_test(owners),
		cmocka_unit_test(time_namespaces_are_seen),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
