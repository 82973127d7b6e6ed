/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket takes for a request, and above all what it does not. */
#include "daemon/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

static struct error err;
static struct request got;
static json_t *j;

static int parse(const char *text)
{
	json_decref(j);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	memset(&got, 0, sizeof(got));
	err.text[0] = '\0';
	return request_parse(j, &got, &err);
}

static void good_ones(void **state)
{
	assert_int_equal(parse("{\"verb\":\"status\"}"), 0);
	assert_int_equal(got.verb, VERB_STATUS);
	assert_int_equal(parse("{\"verb\":\"slices\"}"), 0);
	assert_int_equal(parse("{\"verb\":\"why\",\"workload\":\"a\"}"), 0);
	assert_string_equal(got.workload, "a");
	assert_int_equal(parse("{\"verb\":\"events\"}"), 0);
	assert_null(got.workload);
	assert_false(got.follow);
	assert_int_equal(parse("{\"follow\":true,\"verb\":\"events\",\"workload\":\"a\"}"), 0);
	assert_true(got.follow);
	assert_int_equal(parse("{\"verb\":\"exec\",\"interface\":\"wg0\"}"), 0);
	assert_null(got.netns);
	assert_int_equal(parse("{\"verb\":\"rehearse\",\"workload\":\"a\",\"over\":true}"), 0);
	assert_true(got.over);
	assert_int_equal(parse("{\"verb\":\"detach\",\"workload\":\"a\"}"), 0);
	assert_false(got.all);
	assert_int_equal(parse("{\"verb\":\"detach\",\"all\":false,\"workload\":\"a\"}"), 0);
	assert_int_equal(parse("{\"verb\":\"detach\",\"all\":true}"), 0);
	assert_true(got.all);
	assert_null(got.workload);
}

static void bad_ones(void **state)
{
	static const char *const bad[][2] = {
		{ "{}", "unknown verb" },
		{ "{\"verb\":7}", "unknown verb" },
		{ "{\"verb\":\"fly\"}", "unknown verb" },
		{ "{\"verb\":\"status\",\"x\":1}", "unknown key 'x'" },
		{ "{\"verb\":\"status\",\"workload\":\"a\"}", "unknown key 'workload'" },
		{ "{\"verb\":\"why\"}", "'workload' is missing" },
		{ "{\"verb\":\"why\",\"workload\":null}", "must be a text" },
		{ "{\"verb\":\"hold\",\"workload\":\"\"}", "must be a text" },
		{ "{\"verb\":\"release\",\"workload\":[\"a\"]}", "must be a text" },
		{ "{\"verb\":\"events\",\"follow\":1}", "must be true or false" },
		{ "{\"verb\":\"events\",\"follow\":\"true\"}", "must be true or false" },
		{ "{\"verb\":\"exec\",\"netns\":\"host\"}", "'interface' is missing" },
		{ "{\"verb\":\"exec\",\"interface\":\"wg0\",\"netns\":5}", "must be a text" },
		{ "{\"verb\":\"rehearse\",\"over\":true}", "'workload' is missing" },
		{ "{\"verb\":\"detach\"}", "needs 'workload', or 'all'" },
		{ "{\"verb\":\"detach\",\"workload\":5}", "must be a text" },
		{ "{\"verb\":\"detach\",\"workload\":null}", "must be a text" },
		{ "{\"verb\":\"detach\",\"Workload\":\"a\"}", "unknown key 'Workload'" },
		{ "{\"verb\":\"detach\",\"all\":1}", "must be true or false" },
		{ "{\"verb\":\"detach\",\"all\":\"true\"}", "must be true or false" },
		{ "{\"verb\":\"detach\",\"all\":false}", "needs 'workload', or 'all'" },
		{ "{\"verb\":\"detach\",\"all\":true,\"workload\":\"a\"}", "no 'workload'" },
		{ "[]", "unknown verb" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = parse(bad[i][0]);

		if (r != -EINVAL || got.name || !strstr(err.text, bad[i][1]))
			print_error("%s: %d '%s'\n", bad[i][0], r, err.text);
		assert_int_equal(r, -EINVAL);
		assert_null(got.name); /* untouched */
		assert_non_null(strstr(err.text, bad[i][1]));
		assert_int_equal(err.kind, ERROR_INPUT);
	}
}

static void long_ones(void **state)
{
	char text[REQUEST_TEXT_LEN + 100], name[REQUEST_TEXT_LEN + 1];

	memset(name, 'a', sizeof(name));
	name[REQUEST_TEXT_LEN] = '\0';
	snprintf(text, sizeof(text), "{\"verb\":\"detach\",\"workload\":\"%s\"}", name);
	assert_int_equal(parse(text), -EINVAL);
	snprintf(text, sizeof(text), "{\"verb\":\"detach\",\"workload\":\"%s\"}", name + 1);
	assert_int_equal(parse(text), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(good_ones), cmocka_unit_test(bad_ones),
					    cmocka_unit_test(long_ones) };
	int r;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	r = cmocka_run_group_tests_name("schema", tests, NULL, NULL);
	json_decref(j);
	return r;
}
