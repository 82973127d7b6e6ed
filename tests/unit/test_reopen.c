/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How reluctantly a flapping tunnel is opened again. */
#include "core/reopen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define S  1000000000ULL
#define MS 1000000ULL
#define T0 (1000 * S)

static void two_signs_200_ms_apart(void **state)
{
	struct reopen r = { 0 };

	assert_int_equal(reopen_gap_ns(&r, T0), 200 * MS);
	assert_false(reopen_seen(&r, T0, T0));
	assert_false(reopen_seen(&r, T0, T0)); /* the same sign again */
	assert_false(reopen_seen(&r, T0 + 199 * MS, T0 + 199 * MS));
	assert_false(reopen_seen(&r, T0 + 200 * MS - 1, T0 + 200 * MS));
	assert_true(reopen_seen(&r, T0 + 200 * MS, T0 + 200 * MS));
}

static void it_is_the_signs_time_that_counts(void **state)
{
	struct reopen r = { 0 };

	assert_false(reopen_seen(&r, T0, T0));
	/* read late: the sign itself is 100 ms after the first */
	assert_false(reopen_seen(&r, T0 + 100 * MS, T0 + 10 * S));
	/* an older sign than the first one */
	assert_false(reopen_seen(&r, T0 - 10 * S, T0 + 10 * S));
}

static void a_silence_begins_the_count_anew(void **state)
{
	struct reopen r = { 0 };

	assert_false(reopen_seen(&r, T0, T0));
	assert_false(reopen_seen(&r, T0 + 3001 * MS, T0 + 3001 * MS));
	assert_true(reopen_seen(&r, T0 + 3201 * MS, T0 + 3201 * MS));
}

static void each_opening_doubles_up_to_30_s(void **state)
{
	static const uint64_t want_ms[] = { 200,   400,	  800,	 1600,	3200, 6400,
					    12800, 25600, 30000, 30000, 30000 };
	struct reopen r = { 0 };

	for (size_t i = 0; i < sizeof(want_ms) / sizeof(want_ms[0]); i++) {
		uint64_t now = T0 + i * S;

		assert_int_equal(reopen_gap_ns(&r, now), want_ms[i] * MS);
		for (uint64_t at = 0; at < want_ms[i] * MS; at += 200 * MS)
			assert_false(reopen_seen(&r, now + at, now));
		assert_false(reopen_seen(&r, now + want_ms[i] * MS - 1, now));
		assert_true(reopen_seen(&r, now + want_ms[i] * MS, now));
		reopen_opened(&r, now);
	}
	for (int i = 0; i < 1000; i++)
		reopen_opened(&r, T0 + 11 * S);
	assert_int_equal(reopen_gap_ns(&r, T0 + 11 * S), REOPEN_GAP_MAX_NS);
}

static void openings_are_forgotten_after_a_minute(void **state)
{
	struct reopen r = { 0 };

	reopen_opened(&r, T0);
	reopen_opened(&r, T0 + 30 * S);
	assert_int_equal(reopen_gap_ns(&r, T0 + 30 * S), 800 * MS);
	assert_int_equal(reopen_gap_ns(&r, T0 + 60 * S - 1), 800 * MS);
	assert_int_equal(reopen_gap_ns(&r, T0 + 60 * S), 400 * MS);
	assert_int_equal(reopen_gap_ns(&r, T0 + 90 * S - 1), 400 * MS);
	assert_int_equal(reopen_gap_ns(&r, T0 + 90 * S), 200 * MS);
}

static void why_says_how_often(void **state)
{
	struct reopen r = { 0 };

	assert_int_equal(reopen_recent(&r, T0), 0);
	reopen_opened(&r, T0);
	reopen_failed(&r);
	reopen_opened(&r, T0 + 30 * S);
	assert_int_equal(reopen_recent(&r, T0 + 59 * S), 2);
	assert_int_equal(reopen_recent(&r, T0 + 61 * S), 1);
	assert_int_equal(reopen_recent(&r, T0 + 91 * S), 0);
}

static void the_gap_can_shrink_while_waiting(void **state)
{
	struct reopen r = { 0 };

	for (int i = 0; i < 8; i++)
		reopen_opened(&r, T0);
	assert_false(reopen_seen(&r, T0 + 59 * S, T0 + 59 * S));
	assert_false(reopen_seen(&r, T0 + 59 * S + 500 * MS, T0 + 59 * S + 500 * MS));
	assert_true(reopen_seen(&r, T0 + 60 * S, T0 + 60 * S));
}

static void failed_forgets_the_first_sign_but_not_the_openings(void **state)
{
	struct reopen r = { 0 };

	reopen_opened(&r, T0);
	assert_false(reopen_seen(&r, T0 + S, T0 + S));
	reopen_failed(&r);
	assert_false(reopen_seen(&r, T0 + 2 * S, T0 + 2 * S)); /* a first one again */
	assert_false(reopen_seen(&r, T0 + 2 * S + 399 * MS, T0 + 2 * S + 399 * MS));
	assert_true(reopen_seen(&r, T0 + 2 * S + 400 * MS, T0 + 2 * S + 400 * MS));
	reopen_failed(&r);
	reopen_failed(&r);
	assert_int_equal(reopen_gap_ns(&r, T0 + 3 * S), 400 * MS);
}

static void opened_forgets_the_first_sign(void **state)
{
	struct reopen r = { 0 };

	assert_false(reopen_seen(&r, T0, T0));
	reopen_opened(&r, T0 + S);
	assert_false(reopen_seen(&r, T0 + 10 * S, T0 + 10 * S));
}

/* Against a plain model: a list of all openings. */
static void random_walk(void **state)
{
	static uint64_t openings[20000];
	struct reopen r = { 0 };
	uint64_t now = T0, first = 0, last = 0;
	size_t n = 0;

	srandom(1);
	for (int step = 0; step < 20000; step++) {
		uint64_t gap = 200 * MS;

		now += (uint64_t)random() % (random() & 1 ? 20 * S : 300 * MS) + 1;
		for (size_t i = 0; i < n; i++)
			if (now - openings[i] < 60 * S && gap < 30 * S)
				gap *= 2;
		gap = gap < 30 * S ? gap : 30 * S;
		assert_int_equal(reopen_gap_ns(&r, now), gap);
		switch (random() % 4) {
		case 0:
			reopen_failed(&r);
			first = 0;
			break;
		case 1:
			reopen_opened(&r, now);
			openings[n++] = now;
			first = 0;
			break;
		default:
			first = first && now - last <= 3 * S ? first : now;
			last = now;
			assert_int_equal(reopen_seen(&r, now, now), now - first >= gap);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_signs_200_ms_apart),
		cmocka_unit_test(it_is_the_signs_time_that_counts),
		cmocka_unit_test(a_silence_begins_the_count_anew),
		cmocka_unit_test(each_opening_doubles_up_to_30_s),
		cmocka_unit_test(openings_are_forgotten_after_a_minute),
		cmocka_unit_test(why_says_how_often),
		cmocka_unit_test(the_gap_can_shrink_while_waiting),
		cmocka_unit_test(failed_forgets_the_first_sign_but_not_the_openings),
		cmocka_unit_test(opened_forgets_the_first_sign),
		cmocka_unit_test(random_walk),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
