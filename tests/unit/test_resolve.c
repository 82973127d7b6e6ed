/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people write → the path of a cgroup below the root, and never out of it. */
#include "core/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct cgroup_root root = { .fd = -1, .path = "/sys/fs/cgroup" };
static struct error err;

static void assert_path(const char *text, const char *want)
{
	char *copy = strdup(text), *got = malloc(PATH_MAX); /* for the sanitizer */

	err = (struct error) { 0 };
	if (cgroup_path(&root, copy, got, &err))
		fail_msg("'%s' is refused: %s", text, err.text);
	assert_string_equal(got, want);
	free(copy);
	free(got);
}

static void assert_refused(const char *text, const char *says)
{
	char *copy = strdup(text), *got = malloc(PATH_MAX);

	err = (struct error) { 0 };
	memset(got, 0x5a, PATH_MAX);
	assert_int_equal(cgroup_path(&root, copy, got, &err), -EINVAL);
	assert_int_equal(err.exit_code, EXIT_USAGE);
	if (!strstr(err.text, says))
		fail_msg("'%s' expected in: %s", says, err.text);
	assert_null(strpbrk(err.text, "\n\033"));
	for (size_t i = 0; i < PATH_MAX; i++)
		assert_int_equal(got[i], 0x5a); /* written on success only */
	free(copy);
	free(got);
}

static void both_spellings(void **state)
{
	(void)state;
	assert_path("/torrent/qb", "/torrent/qb");
	assert_path("/sys/fs/cgroup/torrent/qb", "/torrent/qb");
	assert_path("/sys/fs/cgroups/a", "/sys/fs/cgroups/a"); /* only looks like the mount */
	assert_path("/sys/fs/cgroup.d", "/sys/fs/cgroup.d");
	assert_path("/a b\\x2d€", "/a b\\x2d€");
}

static void dots_and_slashes(void **state)
{
	(void)state;
	assert_path("/a/", "/a");
	assert_path("//a///b//", "/a/b");
	assert_path("/./a/./b/.", "/a/b");
	assert_path("/sys/fs/cgroup//a", "/a");
	assert_path("/...", "/...");
	assert_path("/..a/b../.c", "/..a/b../.c");
	assert_refused("/..", "without '..'");
	assert_refused("/a/../b", "without '..'");
	assert_refused("/a/..", "without '..'");
	assert_refused("/sys/fs/cgroup/../../../etc", "without '..'");
	assert_refused("/sys/fs/cgroup/a/..", "without '..'");
}

static void the_root_is_no_workload(void **state)
{
	(void)state;
	assert_refused("", "root cgroup");
	assert_refused("/", "root cgroup");
	assert_refused("///", "root cgroup");
	assert_refused("/.", "root cgroup");
	assert_refused("/sys/fs/cgroup", "root cgroup");
	assert_refused("/sys/fs/cgroup/", "root cgroup");
	assert_refused("/sys/fs/cgroup/./", "root cgroup");
}

static void what_is_no_path(void **state)
{
	(void)state;
	assert_refused("a", "give /PATH");
	assert_refused("a/b", "give /PATH");
	assert_refused("./a", "give /PATH");
	assert_refused("container:x", "give /PATH");
	assert_refused(" /a", "give /PATH");
	assert_refused("/a\nb", "'/a\\x0ab'");
	assert_refused("/sys/fs/cgroup/a\n", "give /PATH");
	assert_refused("\033[2J", "'\\x1b[2J'");
}

static void lengths(void **state)
{
	char text[PATH_MAX + 64];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[0] = '/';
	text[PATH_MAX - 2] = '\0';
	assert_path(text, text); /* the longest */
	text[PATH_MAX - 2] = 'a';
	text[PATH_MAX - 1] = '\0';
	assert_refused(text, "give /PATH");
	text[PATH_MAX - 1] = 'a';
	text[sizeof(text) - 1] = '\0';
	assert_refused(text, "give /PATH");
	for (size_t i = 0; i < PATH_MAX - 2; i++)
		text[i] = i % 2 ? 'a' : '/';
	text[PATH_MAX - 2] = '\0';
	assert_path(text, text);
}

static void random_paths_stay_below(void **state)
{
	static const char *const parts[] = { "/", "//", "/.", "/..",  "a",
					     ".", "/a", "\n", "\xff", "/sys/fs/cgroup" };
	(void)state;
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		char text[PATH_MAX] = "", got[PATH_MAX], padded[PATH_MAX + 2], again[PATH_MAX];

		for (long n = random() % 8; n > 0; n--)
			strcat(text, parts[(size_t)random() % ARRAY_SIZE(parts)]);
		if (cgroup_path(&root, text, got, &err))
			continue;
		snprintf(padded, sizeof(padded), "%s/", got);
		assert_int_equal(got[0], '/');
		assert_int_not_equal(got[1], '\0');
		assert_null(strstr(padded, "/../"));
		assert_null(strstr(padded, "/./"));
		assert_null(strstr(padded, "//"));
		assert_null(strchr(got, '\n'));
		/* said with the mount before it, it is the same again */
		snprintf(text, sizeof(text), "%s%.*s", root.path, 1000, got);
		assert_int_equal(cgroup_path(&root, text, again, &err), 0);
		assert_string_equal(again, got);
	}
}

/* The rest needs the machine's own hierarchy. */
static void real_cgroups(void **state)
{
	struct cgroup_root real;
	struct cgroup_ref c;
	char name[64], inner[96], link[160];
	int r = resolve_cgroup_root(&real, &err), fd;

	(void)state;
	if (r) {
		print_message("# %s\n", err.text);
		skip();
	}
	snprintf(name, sizeof(name), "/vpnleash-unit-%d", getpid());
	snprintf(inner, sizeof(inner), "%s/inner", name);
	if (mkdirat(real.fd, name + 1, 0755) < 0) {
		close(real.fd);
		print_message("# needs root\n");
		skip();
	}
	assert_int_equal(mkdirat(real.fd, inner + 1, 0755), 0);

	assert_int_equal(resolve_cgroup(&real, name, &c, &err), 0);
	assert_int_equal(c.level, 1);
	assert_string_equal(c.path, name);
	close(c.fd);
	assert_int_equal(resolve_cgroup(&real, inner, &c, &err), 0);
	assert_int_equal(c.level, 2);
	assert_string_equal(c.name, inner);
	fd = resolve_cgroup_id(&real, c.id);
	assert_true(fd >= 0);
	close(fd);
	close(c.fd);

	assert_int_equal(resolve_cgroup(&real, "/vpnleash-unit-none", &c, &err), -ENOENT);
	assert_int_equal(err.exit_code, EXIT_USAGE);
	snprintf(link, sizeof(link), "%s/cgroup.procs", name); /* a file is not a cgroup */
	assert_int_equal(resolve_cgroup(&real, link, &c, &err), -ENOTDIR);
	assert_true(resolve_cgroup(&real, "/../../..", &c, &err) < 0);

	unlinkat(real.fd, inner + 1, AT_REMOVEDIR);
	unlinkat(real.fd, name + 1, AT_REMOVEDIR);
	close(real.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_spellings),
		cmocka_unit_test(dots_and_slashes),
		cmocka_unit_test(the_root_is_no_workload),
		cmocka_unit_test(what_is_no_path),
		cmocka_unit_test(lengths),
		cmocka_unit_test(random_paths_stay_below),
		cmocka_unit_test(real_cgroups),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
