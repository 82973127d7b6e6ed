/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State → JSON and table, also with names that somebody made to do harm. */
#include "report/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Through text and back, as a reader of `status --json` gets it. */
static json_t *reread(json_t *j)
{
	_cleanup_free char *text = json_dumps(j, JSON_COMPACT);
	json_t *again;

	assert_non_null(text);
	for (const unsigned char *s = (unsigned char *)text; *s; s++)
		if (*s < 0x20 || *s == 0x7f)
			fail_msg("a control byte in: %s", text);
	again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(again);
	assert_true(json_equal(again, j));
	json_decref(j);
	return again;
}

static const char *string(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static json_t *report_of(const struct report_workload *workloads, size_t n,
			 const struct report_tunnel *tunnel)
{
	json_t *w = json_array(), *t = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(w, report_workload_json(&workloads[i]));
	if (tunnel)
		json_array_append_new(t, report_tunnel_json(tunnel));
	return reread(report_json(42, t, w, 0, json_array()));
}

static char *printed_at_length(const json_t *report, bool at_length)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	report_print(f, report, at_length);
	fclose(f);
	assert_non_null(text);
	return text;
}

static char *printed(const json_t *report)
{
	return printed_at_length(report, false);
}

static void every_field_of_a_workload(void **state)
{
	struct report_workload w = { .cgroup_id = 1ULL << 40,
				     .name = "/a/b",
				     .state = "frozen",
				     .tunnel = "wg0",
				     .frozen_by_us = true,
				     .lease_left_ns = 2999999999,
				     .changed_ns = now_boot_ns() - 5 * NS_PER_SEC };
	json_t *j, *dropped;

	w.dropped[REASON_BARRED] = 7;
	w.dropped[REASON_DOCKER_DNS] = 1ULL << 33;
	j = reread(report_workload_json(&w));
	assert_string_equal(string(j, "name"), "/a/b");
	assert_string_equal(string(j, "state"), "frozen");
	assert_string_equal(string(j, "tunnel"), "wg0");
	assert_int_equal(json_integer_value(json_object_get(j, "cgroup_id")), 1LL << 40);
	assert_int_equal(json_integer_value(json_object_get(j, "lease_left_ms")), 2999);
	assert_in_range(json_integer_value(json_object_get(j, "since_ms")), 5000, 60000);
	assert_true(json_is_true(json_object_get(j, "frozen_by_us")));
	dropped = json_object_get(j, "dropped");
	assert_int_equal(json_object_size(dropped), 2); /* the others are zero: left out */
	assert_int_equal(json_integer_value(json_object_get(dropped, "barred")), 7);
	assert_int_equal(json_integer_value(json_object_get(dropped, "docker_dns")), 1LL << 33);
	json_decref(j);
}

static void every_reason_has_a_name(void **state)
{
	struct report_workload w = { .name = "/a", .state = "open" };
	json_t *j, *dropped;

	for (int reason = 1; reason < VPNLEASH_REASON_MAX; reason++)
		w.dropped[reason] = (uint64_t)reason;
	j = reread(report_workload_json(&w));
	dropped = json_object_get(j, "dropped");
	assert_int_equal(json_object_size(dropped), VPNLEASH_REASON_MAX - 1);
#define X(number, NAME, name, sentence) \
	assert_int_equal(json_integer_value(json_object_get(dropped, #name)), number);
	VPNLEASH_REASONS(X)
#undef X
	json_decref(j);
}

static void what_is_not_known_is_null(void **state)
{
	struct report_workload w = { .name = "/a", .state = "waiting" };
	struct report_tunnel t = { .interface = "wg0", .netns = "host" };
	json_t *j = reread(report_workload_json(&w));

	assert_true(json_is_null(json_object_get(j, "tunnel")));
	assert_int_equal(json_integer_value(json_object_get(j, "since_ms")), 0);
	json_decref(j);
	/* a change that lies ahead, from a clock that is not ours */
	w.changed_ns = UINT64_MAX;
	j = reread(report_workload_json(&w));
	assert_int_equal(json_integer_value(json_object_get(j, "since_ms")), 0);
	json_decref(j);
	j = reread(report_tunnel_json(&t));
	assert_true(json_is_null(json_object_get(j, "state")));
	assert_true(json_is_null(json_object_get(j, "why")));
	json_decref(j);
	j = reread(report_json(0, json_array(), json_array(), 0, json_array()));
	assert_true(json_is_null(json_object_get(j, "daemon")));
	json_decref(j);
}

static void hostile_names_are_harmless(void **state)
{
	static const struct {
		const char *name, *shown;
	} hostile[] = {
		{ "/\033[2J\033]0;x\007", "/\\x1b[2J\\x1b]0;x\\x07" },
		{ "/a\nWORKLOAD open", "/a\\x0aWORKLOAD open" },
		{ "/\",\"state\":\"open", "/\\x22,\\x22state\\x22:\\x22open" },
		{ "/it's\\", "/it\\x27s\\x5c" },
		{ "/\xff\xc0\xaf\xed\xa0\x80", "/\\xff\\xc0\\xaf\\xed\\xa0\\x80" },
		{ "/%s%n%d", "/%s%n%d" },
		{ "/\xc2\x9b"
		  "2J",
		  "/\\xc2\\x9b2J" },
	};
	static char long_name[8192];

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct report_workload w = { .name = hostile[i].name,
					     .state = "blocked",
					     .tunnel = hostile[i].name };
		struct report_tunnel t = { .interface = hostile[i].name,
					   .netns = hostile[i].name,
					   .state = "down",
					   .watched = hostile[i].name,
					   .why = "two signs of life" };
		json_t *report = report_of(&w, 1, &t);
		json_t *first = json_array_get(json_object_get(report, "workloads"), 0);
		char *text = printed(report);
		size_t lines = 0;

		assert_string_equal(string(first, "name"), hostile[i].shown);
		assert_string_equal(string(first, "state"), "blocked");
		for (const char *s = text; *s; s++)
			lines += *s == '\n';
		assert_int_equal(lines, 3); /* head, workload, tunnel */
		assert_null(strchr(text, '\033'));
		assert_non_null(strstr(text, hostile[i].shown));
		free(text);
		json_decref(report);
	}

	memset(long_name, '\n', sizeof(long_name) - 1);
	struct report_workload w = { .name = long_name, .state = "open" };
	json_t *j = reread(report_workload_json(&w));

	assert_in_range(strlen(string(j, "name")), 100, 1000);
	json_decref(j);
}

static void random_names_are_valid_json(void **state)
{
	srandom(1);
	for (int round = 0; round < 5000; round++) {
		char name[256];
		size_t n = (size_t)random() % sizeof(name);
		struct report_workload w = { .name = name, .state = "open" };
		json_t *report;

		for (size_t i = 0; i < n; i++)
			name[i] = (char)(1 + random() % 255);
		name[n < sizeof(name) ? n : sizeof(name) - 1] = '\0';
		report = report_of(&w, 1, NULL); /* json_string() refuses what is not UTF-8 */
		assert_non_null(
			string(json_array_get(json_object_get(report, "workloads"), 0), "name"));
		free(printed(report));
		json_decref(report);
	}
}

static void the_table(void **state)
{
	struct report_workload w[] = {
		{ .name = "/torrent",
		  .state = "open",
		  .tunnel = "wg0",
		  .lease_left_ns = 2100000000 },
		{ .name = "/other", .state = "waiting", .tunnel = "wg0" },
	};
	struct report_tunnel t = { .interface = "wg0",
				   .netns = "/run/netns/vpn",
				   .state = "up",
				   .watched = "icmp:10.0.0.1",
				   .patience_ns = 3400000000,
				   .rtt_ns = 12300000,
				   .loss_percent = 7,
				   .why = "two signs of life" };
	static const struct report_probe icmp = { .text = "icmp:10.0.0.1",
						  .says = "answers in 12.0 ms",
						  .answers = "yes" };
	json_t *report;
	char *text;

	t.probes = json_array();
	json_array_append_new(t.probes, report_probe_json(&icmp));
	w[0].dropped[REASON_NO_LEASE] = 3;
	w[0].dropped[REASON_IPV6] = 2;
	report = report_of(w, 2, &t);
	text = printed(report);
	assert_string_equal(text,
			    "WORKLOAD                 STATE    SINCE   TUNNEL               "
			    "LEASE  GUARD    DROPPED\n"
			    "/torrent                 open     0.0s    wg0                  "
			    "2.1s   -        no_lease 3, ipv6 2\n"
			    "/other                   waiting  0.0s    wg0                  "
			    "none   -        none\n"
			    "tunnel wg0 in /run/netns/vpn: up (two signs of life), icmp:10.0.0.1, "
			    "patience 3.4s\n");
	free(text);
	text = printed_at_length(report, true);
	assert_non_null(strstr(text, "patience 3.4s\n"
				     "  probe icmp:10.0.0.1: answers in 12.0 ms\n"
				     "  round trip 12.3 ms, 7% of the probes lost\n"));
	free(text);
	json_decref(report);
	t.probes = NULL;

	report = report_of(NULL, 0, &t);
	text = printed(report);
	assert_string_equal(text, "nothing is leashed\n");
	free(text);
	json_decref(report);
}

static void times_are_short(void **state)
{
	static const struct {
		uint64_t ago_s;
		const char *shown;
	} since[] = { { 9, " 9." },	   { 10, " 10s" },	{ 599, " 599s" },
		      { 600, " 0h10m" },   { 11100, " 3h05m" }, { 47 * 3600, " 47h00m" },
		      { 48 * 3600, " 2d" } };
	uint64_t now = now_boot_ns();

	for (size_t i = 0; i < ARRAY_SIZE(since); i++) {
		struct report_workload w = { .name = "/a", .state = "open" };
		json_t *report;
		char *text;

		if (now <= since[i].ago_s * NS_PER_SEC) {
			print_message("# this machine is up for less than %llu s\n",
				      (unsigned long long)since[i].ago_s);
			break;
		}
		w.changed_ns = now_boot_ns() - since[i].ago_s * NS_PER_SEC - 10 * NS_PER_MSEC;
		report = report_of(&w, 1, NULL);
		text = printed(report);
		assert_non_null(strstr(text, since[i].shown));
		free(text);
		json_decref(report);
	}
}

static void any_and_all_open(void **state)
{
	struct report_workload w[] = { { .name = "/a", .state = "open" },
				       { .name = "/b", .state = "open" } };
	static const char *const not_open[] = { "waiting", "blocked", "frozen", "OPEN", "", NULL };
	json_t *report = report_of(w, 0, NULL), *nothing = json_object();

	assert_false(report_any(report));
	assert_true(report_all_open(report));
	json_decref(report);
	report = report_of(w, 2, NULL);
	assert_true(report_any(report));
	assert_true(report_all_open(report));
	json_decref(report);
	for (size_t i = 0; i < ARRAY_SIZE(not_open); i++) {
		w[1].state = not_open[i];
		report = report_of(w, 2, NULL);
		assert_true(report_any(report));
		assert_false(report_all_open(report));
		json_decref(report);
	}
	/* an answer that is not a report at all */
	assert_false(report_any(nothing));
	free(printed(nothing));
	json_decref(nothing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_a_workload),
		cmocka_unit_test(every_reason_has_a_name),
		cmocka_unit_test(what_is_not_known_is_null),
		cmocka_unit_test(hostile_names_are_harmless),
		cmocka_unit_test(random_names_are_valid_json),
		cmocka_unit_test(the_table),
		cmocka_unit_test(times_are_short),
		cmocka_unit_test(any_and_all_open),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
