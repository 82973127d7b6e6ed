/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `listen` makes of reports: metrics with names that would break them, drops over time. */
#include "listen/drops.h"
#include "listen/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text_of(const json_t *report, bool open)
{
	char *text = metrics_text(report, open);

	assert_non_null(text);
	return text;
}

static void names_do_no_harm(void **state)
{
	json_auto_t *report = json_pack(
		"{s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}],s:[],s:i}", "workloads", "name", "a",
		"state", "open", "name", "a", "state", "frozen", "name", "a#2", "state", "open",
		"name", "q\\x22\"\n", "state", "stopped", "tunnels", "removed_cgroups", 7);
	_cleanup_free char *text = text_of(report, false);

	assert_non_null(
		strstr(text, "\nvpnleash_workload_state{workload=\"a\",state=\"open\"} 1\n"));
	assert_non_null(
		strstr(text, "\nvpnleash_workload_state{workload=\"a#2\",state=\"frozen\"} 1\n"));
	assert_non_null(
		strstr(text, "\nvpnleash_workload_state{workload=\"a#2#2\",state=\"open\"} 1\n"));
	assert_non_null(strstr(
		text,
		"\nvpnleash_workload_state{workload=\"q\\\\x22\\\"\\n\",state=\"stopped\"} 1\n"));
	assert_non_null(strstr(
		text, "\nvpnleash_dropped_packets_total{workload=\"a\",reason=\"ipv6\"} 0\n"));
	assert_non_null(strstr(text, "\nvpnleash_removed_cgroups 7\n"));
	assert_null(strstr(text, "# EOF"));
}

static void without_a_daemon_nothing_is_said_of_workloads(void **state)
{
	_cleanup_free char *text = text_of(NULL, true);

	assert_non_null(strstr(text, "\nvpnleash_daemon_up 0\n"));
	assert_null(strstr(text, "workload"));
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
}

static json_t *report_of(int cgroup_id, int ipv6, int arp)
{
	return json_pack("{s:[{s:s,s:i,s:{s:i}}],s:[{s:s,s:{s:{s:i}}}]}", "workloads", "name", "w",
			 "cgroup_id", cgroup_id, "dropped", "ipv6", ipv6, "tunnels", "name", "t",
			 "guard", "dropped", "arp", arp);
}

static void add(struct drops *d, json_t *report, uint64_t step)
{
	drops_add(d, report, step * DROPS_STEP_NS);
	json_decref(report);
}

/* In the step that is so many before the newest. */
static json_int_t count(const struct drops *d, const char *reason, size_t before)
{
	json_auto_t *j = drops_json(d);
	json_t *counts =
		json_object_get(json_object_get(json_object_get(j, "reasons"), reason), "counts");

	assert_true(!counts || json_array_size(counts) == DROPS_STEPS);
	return json_integer_value(json_array_get(counts, DROPS_STEPS - 1 - before));
}

static void drops_are_differences(void **state)
{
	struct drops d = { 0 };

	add(&d, report_of(1, 100, 0), 1000); /* from before: of no known time */
	assert_int_equal(count(&d, "ipv6", 0), 0);
	add(&d, report_of(1, 103, 2), 1000);
	add(&d, report_of(1, 104, 2), 1000);
	assert_int_equal(count(&d, "ipv6", 0), 4);
	assert_int_equal(count(&d, "arp", 0), 2);
	add(&d, report_of(1, 109, 2), 1002);
	assert_int_equal(count(&d, "ipv6", 0), 5);
	assert_int_equal(count(&d, "ipv6", 1), 0);
	assert_int_equal(count(&d, "ipv6", 2), 4);
	add(&d, report_of(2, 6, 1), 1003); /* a cgroup made anew, a guard made anew */
	assert_int_equal(count(&d, "ipv6", 0), 6);
	assert_int_equal(count(&d, "arp", 0), 1);
	add(&d, report_of(2, 6, 1), 1002 + DROPS_STEPS);
	assert_int_equal(count(&d, "ipv6", DROPS_STEPS - 1), 6);
	add(&d, report_of(2, 6, 1), 1003 + DROPS_STEPS);
	assert_int_equal(count(&d, "ipv6", DROPS_STEPS - 1), 0);
	add(&d, report_of(2, 7, 1), 9000);
	assert_int_equal(count(&d, "ipv6", 0), 1);
	assert_int_equal(count(&d, "arp", 0), 0);
	drops_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_do_no_harm),
		cmocka_unit_test(without_a_daemon_nothing_is_said_of_workloads),
		cmocka_unit_test(drops_are_differences),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
