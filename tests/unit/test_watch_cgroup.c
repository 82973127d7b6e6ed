/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real cgroups that come, go and are made anew, with all they lie in: none is missed. */
#include "watch/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct cgroup_root root = { .fd = -1 };
static sd_event *loop;
static struct watch_cgroups *all;
static struct error err;
static char top[64]; /* "/vpnleash-unit-PID" */

struct told {
	struct watch_cgroup *watch;
	int born, gone;
	bool stops_others;
};

static struct told told[3];

static void on_told(void *owner, const struct evidence *e)
{
	struct told *t = owner;

	t->born += e->what == IN_CGROUP_BORN;
	t->gone += e->what == IN_CGROUP_GONE;
	for (size_t i = 0; t->stops_others && i < ARRAY_SIZE(told); i++)
		if (&told[i] != t) {
			watch_cgroup_stop(told[i].watch);
			told[i].watch = NULL;
		}
}

static void change(int (*f)(const char *), const char *path)
{
	char full[PATH_MAX * 2];
	int r = 0;

	snprintf(full, sizeof(full), "%s%s%s", root.path, top, path);
	for (int i = 0; i < 500; i++) { /* a cgroup may be busy for a moment */
		r = f(full);
		if (!r || errno != EBUSY)
			break;
		usleep(10000);
	}
	if (r)
		fail_msg("%s: %s", full, strerror(errno));
}

static int make(const char *path)
{
	return mkdir(path, 0755);
}

static void turn(void)
{
	while (sd_event_run(loop, 200000) > 0)
		;
}

static void expect(struct told *t, int born, int gone, bool there)
{
	turn();
	assert_int_equal(t->born, born);
	assert_int_equal(t->gone, gone);
	assert_int_equal(watch_cgroup_ref(t->watch) != NULL, there);
}

static void watch(struct told *t, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", top, path);
	if (watch_cgroup_start(&t->watch, all, full, on_told, t, &err))
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	memset(told, 0, sizeof(told));
	assert_true(sd_event_new(&loop) >= 0);
	assert_int_equal(watch_cgroups_new(&all, loop, 0, &root, &err), 0);
	change(make, "");
	return 0;
}

static int tear_down(void **state)
{
	static const char *const made[] = { "/a/b/c", "/a/b", "/a", "/b/a", "/b", "/ab", "" };
	char full[PATH_MAX * 2];

	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		watch_cgroup_stop(told[i].watch);
	watch_cgroups_free(all);
	sd_event_unref(loop);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) { /* what a failed test left */
		snprintf(full, sizeof(full), "%s%s%s", root.path, top, made[i]);
		rmdir(full);
	}
	return 0;
}

static void it_comes_and_goes(void **state)
{
	watch(&told[0], "/a");
	expect(&told[0], 0, 0, false);
	change(make, "/a");
	expect(&told[0], 1, 0, true);
	change(rmdir, "/a");
	expect(&told[0], 1, 1, false);
	change(make, "/a");
	expect(&told[0], 2, 1, true);
	change(rmdir, "/a");
	change(make, "/a"); /* nobody looked in between */
	expect(&told[0], 3, 2, true);
	change(rmdir, "/a");
}

/* kernfs tells of the end of a directory in the one above it only. */
static void what_it_lies_in_goes_too(void **state)
{
	watch(&told[0], "/a/b/c");
	for (int i = 0; i < 3; i++) {
		change(make, "/a");
		change(make, "/a/b");
		change(make, "/a/b/c");
		expect(&told[0], i + 1, i, true);
		change(rmdir, "/a/b/c");
		expect(&told[0], i + 1, i + 1, false);
		change(rmdir, "/a/b");
		if (i > 1)
			turn();
		change(rmdir, "/a");
		if (i > 0)
			turn();
	}
}

static void step_by_step(void **state)
{
	watch(&told[0], "/a/b/c");
	change(make, "/a");
	expect(&told[0], 0, 0, false);
	change(make, "/a/b");
	expect(&told[0], 0, 0, false);
	change(rmdir, "/a/b");
	expect(&told[0], 0, 0, false);
	change(make, "/a/b");
	change(make, "/a/b/c");
	expect(&told[0], 1, 0, true);
	change(rmdir, "/a/b/c");
	change(rmdir, "/a/b");
	change(rmdir, "/a");
	expect(&told[0], 1, 1, false);
}

/* Two that await theirs in one directory: the end of one watch takes nothing from the other. */
static void neighbours(void **state)
{
	watch(&told[0], "/a");
	watch(&told[1], "/ab");
	watch(&told[2], "/b/a");
	watch_cgroup_stop(told[0].watch);
	told[0].watch = NULL;
	change(make, "/ab");
	expect(&told[1], 1, 0, true);
	assert_int_equal(told[2].born, 0);
	change(make, "/b");
	change(make, "/b/a");
	expect(&told[2], 1, 0, true);
	assert_int_equal(told[1].born, 1);
	change(rmdir, "/b/a");
	change(rmdir, "/b");
	change(rmdir, "/ab");
	expect(&told[1], 1, 1, false);
}

static void who_is_told_stops_the_others(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
		watch(&told[i], "/a");
		told[i].stops_others = true;
	}
	change(make, "/a");
	turn();
	assert_int_equal(told[0].born + told[1].born + told[2].born, 1);
	change(rmdir, "/a");
	turn();
	assert_int_equal(told[0].gone + told[1].gone + told[2].gone, 1);
}

/* It is not taken for one that is not there. */
static void no_descriptor_left(void **state)
{
	struct rlimit limit, none;
	struct watch_cgroup *w;
	char full[PATH_MAX];

	change(make, "/a");
	snprintf(full, sizeof(full), "%s/a", top);
	watch(&told[0], "/b");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit) { 3, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(watch_cgroup_start(&w, all, full, on_told, &told[1], &err), -EMFILE);
	change(make, "/b");
	turn();
	assert_int_equal(told[0].born, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	watch_cgroup_ready(told[0].watch);
	expect(&told[0], 1, 0, true);
	change(rmdir, "/b");
	expect(&told[0], 1, 1, false);
	change(rmdir, "/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(it_comes_and_goes),
		TEST(what_it_lies_in_goes_too),
		TEST(step_by_step),
		TEST(neighbours),
		TEST(who_is_told_stops_the_others),
		TEST(no_descriptor_left),
	};

	if (geteuid() != 0 || resolve_cgroup_root(&root, &err)) {
		printf("1..0 # SKIP needs root and cgroup v2\n");
		return 0;
	}
	snprintf(top, sizeof(top), "/vpnleash-unit-%d", getpid());
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
