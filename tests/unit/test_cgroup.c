/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people write → the path of a cgroup below the root, and never out of it. */
#include "base/cgroup.h"

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
	assert_int_equal(err.kind, ERROR_INPUT);
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
	assert_path("/torrent/qb", "/torrent/qb");
	assert_path("/sys/fs/cgroup/torrent/qb", "/torrent/qb");
	assert_path("/sys/fs/cgroups/a", "/sys/fs/cgroups/a"); /* only looks like the mount */
	assert_path("/sys/fs/cgroup.d", "/sys/fs/cgroup.d");
	assert_path("/a b\\x2d€", "/a b\\x2d€");
}

static void dots_and_slashes(void **state)
{
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

static void assert_slice(const char *text, const char *want, const char *name)
{
	char *copy = strdup(text), *got = malloc(PATH_MAX), *called = malloc(VPNLEASH_NAME_LEN);

	err = (struct error) { 0 };
	if (slice_to_path(&root, copy, got, &err))
		fail_msg("'%s' is refused: %s", text, err.text);
	assert_string_equal(got, want);
	slice_name(got, called);
	assert_string_equal(called, name);
	free(copy);
	free(got);
	free(called);
}

static void slices(void **state)
{
	assert_slice("torrent.slice", "/torrent.slice", "slice:torrent.slice");
	assert_slice("a-b.slice", "/a.slice/a-b.slice", "slice:a-b.slice");
	assert_slice("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice", "slice:a-b-c.slice");
	assert_slice("a.b_1:x\\x2d.slice", "/a.b_1:x\\x2d.slice", "slice:a.b_1:x\\x2d.slice");
	/* said as a path it has the same name */
	assert_slice("/a.slice/a-b.slice", "/a.slice/a-b.slice", "slice:a-b.slice");
	assert_slice("/sys/fs/cgroup/torrent.slice/", "/torrent.slice", "slice:torrent.slice");
	assert_slice("/torrent", "/torrent", "slice:/torrent");
	assert_slice("/a-b.slice", "/a-b.slice", "slice:/a-b.slice"); /* not where systemd has it */
	assert_slice("/x/torrent.slice", "/x/torrent.slice", "slice:/x/torrent.slice");
	assert_slice("/-.slice", "/-.slice", "slice:/-.slice");
	assert_slice("/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789",
		     "/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789",
		     "slice:89/0123456789/0123456789/0123456789/0123456789/0123456789");
}

static void what_is_no_slice(void **state)
{
	static const char *const bad[] = {
		"",	      ".slice",	   "a",		 "a.service", "a--b.slice", "-a.slice",
		"a-.slice",   "--.slice",  "a..b.slice", "a/b.slice", "a b.slice",  "a\n.slice",
		"\033.slice", "a@b.slice", "..slice",	 "a.slice/",  "a.slice ",   "slice",
	};
	char got[PATH_MAX], longest[300];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (slice_to_path(&root, bad[i], got, &err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_int_equal(err.kind, ERROR_INPUT);
		assert_non_null(strstr(err.text, "not the name of a slice"));
		assert_null(strpbrk(err.text, "\n\033"));
	}
	assert_int_equal(slice_to_path(&root, "-.slice", got, &err), -EINVAL);
	assert_int_equal(slice_to_path(&root, "/", got, &err), -EINVAL);
	assert_int_equal(slice_to_path(&root, "/a/../b", got, &err), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + 250, ".slice");
	assert_int_equal(slice_to_path(&root, longest, got, &err), -EINVAL);
	assert_int_equal(slice_to_path(&root, longest + 1, got, &err), 0);
	for (int i = 2; i < 250; i += 2) /* each step down repeats what is above it */
		longest[i] = '-';
	assert_int_equal(slice_to_path(&root, longest + 1, got, &err), -EINVAL);
}

static void random_paths_stay_below(void **state)
{
	static const char *const parts[] = { "/", "//", "/.", "/..",  "a",
					     ".", "/a", "\n", "\xff", "/sys/fs/cgroup" };
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
	char name[64], inner[96], link[160], deep[160];
	int r = resolve_cgroup_root(&real, &err), fd;

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

	snprintf(deep, sizeof(deep), "%s/inner/a/b", name);
	assert_int_equal(cgroup_make(&real, deep, &err), 0);
	assert_int_equal(cgroup_make(&real, deep, &err), 0); /* again: as it is */
	assert_int_equal(resolve_cgroup(&real, deep, &c, &err), 0);
	assert_int_equal(c.level, 4);
	close(c.fd);
	unlinkat(real.fd, deep + 1, AT_REMOVEDIR);
	deep[strlen(deep) - 2] = '\0';
	unlinkat(real.fd, deep + 1, AT_REMOVEDIR);
	snprintf(deep, sizeof(deep), "%s/cgroup.procs/a", name);
	assert_true(cgroup_make(&real, deep, &err) < 0);
	assert_int_equal(err.kind, ERROR_PRIVILEGE);

	assert_int_equal(resolve_cgroup(&real, "/vpnleash-unit-none", &c, &err), -ENOENT);
	assert_int_equal(err.kind, ERROR_INPUT);
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
		cmocka_unit_test(slices),
		cmocka_unit_test(what_is_no_slice),
		cmocka_unit_test(random_paths_stay_below),
		cmocka_unit_test(real_cgroups),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
