/* SPDX-License-Identifier: GPL-2.0-or-later */
/* user/core/measure.c: round trip, loss and the patience that follows, by simulated ways. */
#include "core/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS   1000000ULL
#define SEC  1000000000ULL
#define TICK (200 * MS)

struct way {
	uint64_t rtt_ms, jitter_ms;
	unsigned int lost_percent; /* of round trips */
};

/*
 * An idle tunnel for so many seconds, as tunnel.c asks: once a second, and five a second when an
 * answer is late. How often its silence was longer than the patience. fixed: that one, in ms.
 */
static unsigned int closings(struct measure *m, const struct way *way, unsigned int seconds,
			     uint64_t fixed_ms)
{
	struct measure_asked a = { 0 };
	uint64_t due[MEASURE_ASKED] = { 0 }; /* when the answer to that number comes in */
	uint64_t now = 100 * SEC, end = now + seconds * SEC, seen = now, first = 0, next = now;
	unsigned int closed = 0;

	for (; now < end; now += 10 * MS) {
		uint64_t patience = fixed_ms ? fixed_ms * MS : measure_patience_ns(m, TICK);

		for (uint32_t n = a.next > MEASURE_ASKED ? a.next - MEASURE_ASKED : 0; n != a.next;
		     n++)
			if (due[n % MEASURE_ASKED] && due[n % MEASURE_ASKED] <= now) {
				assert_true(measure_answered(m, &a, n, now));
				due[n % MEASURE_ASKED] = 0;
				seen = now;
				first = 0;
				next = now + SEC;
			}
		if (now - seen > patience) {
			closed++;
			seen = now;
		}
		if (now >= next) {
			uint32_t n = measure_ask(&a, now);
			bool lost = (unsigned int)random() % 100 < way->lost_percent;
			uint64_t late = measure_late_ns(m);

			due[n % MEASURE_ASKED] =
				lost ? 0
				     : now + way->rtt_ms * MS +
						(uint64_t)random() % (2 * way->jitter_ms + 1) * MS -
						way->jitter_ms * MS;
			first = first ? first : now;
			next = now < first + late ? first + late : now + TICK;
		}
	}
	return closed;
}

static void a_good_way_is_given_3_s(void **state)
{
	const struct way good = { .rtt_ms = 20, .jitter_ms = 5 };
	struct measure m = { 0 };

	srandom(1);
	assert_int_equal(measure_patience_ns(&m, TICK),
			 PATIENCE_MIN_NS); /* before anything is known */
	assert_int_equal(closings(&m, &good, 600, 0), 0);
	assert_int_equal(measure_patience_ns(&m, TICK), PATIENCE_MIN_NS);
	assert_int_equal(measure_loss_percent(&m), 0);
	assert_in_range(m.rtt_ns, 10 * MS, 40 * MS);
}

/* What was measured with a fixed patience of 3 s: 4 to 5 times in 160 s. */
static void a_bad_way_is_not_closed(void **state)
{
	const struct way bad = { .rtt_ms = 800, .jitter_ms = 200, .lost_percent = 51 };
	struct measure m = { 0 }, fixed = { 0 };

	srandom(2);
	assert_in_range(closings(&fixed, &bad, 1600, 3000), 10, 400); /* the control */
	closings(&m, &bad, 60, 0);				      /* until it is known */
	assert_int_equal(closings(&m, &bad, 4 * 3600, 0), 0);
	assert_in_range(measure_patience_ns(&m, TICK), 5 * SEC, PATIENCE_MAX_NS);
	assert_in_range(measure_loss_percent(&m), 30, 75);
	assert_in_range(m.rtt_ns, 600 * MS, 1100 * MS);
}

static void a_slow_way_is_not_closed(void **state)
{
	const struct way slow = { .rtt_ms = 2000, .jitter_ms = 500 };
	struct measure m = { 0 };

	srandom(3);
	assert_in_range(closings(&m, &slow, 30, 0), 0, 1);
	assert_int_equal(closings(&m, &slow, 3600, 0), 0);
	assert_in_range(measure_patience_ns(&m, TICK), 5 * SEC, PATIENCE_MAX_NS);
}

/* Nothing answers for a minute: that is no loss, and the next one is to be noticed as fast. */
static void an_outage_is_no_loss(void **state)
{
	const struct way good = { .rtt_ms = 20, .jitter_ms = 5 };
	struct measure_asked a = { 0 };
	struct measure m = { 0 };
	uint32_t last = 0;
	uint64_t now = SEC;

	srandom(4);
	closings(&m, &good, 120, 0);
	for (int i = 0; i < 300; i++, now += TICK)
		last = measure_ask(&a, now);
	assert_int_equal(measure_patience_ns(&m, TICK), PATIENCE_MIN_NS); /* while it lasts */
	assert_true(measure_answered(&m, &a, last, now));
	assert_in_range(measure_loss_percent(&m), 0, 13);
	assert_in_range(measure_patience_ns(&m, TICK), PATIENCE_MIN_NS, PATIENCE_MIN_NS + SEC);
	closings(&m, &good, 120, 0);
	assert_int_equal(measure_patience_ns(&m, TICK), PATIENCE_MIN_NS);
}

static void only_what_was_asked_is_answered(void **state)
{
	struct measure_asked a = { 0 };
	struct measure m = { 0 };
	uint32_t n;

	assert_int_equal(measure_answered(&m, &a, 0, SEC), 0);
	n = measure_ask(&a, SEC);
	assert_int_equal(measure_answered(&m, &a, n + 1, SEC), 0);
	assert_int_equal(measure_answered(&m, &a, n - 1, SEC), 0);
	assert_int_equal(measure_answered(&m, &a, n, SEC - 1), 0); /* before it was asked */
	assert_int_equal(measure_answered(&m, &a, n, SEC + 5 * MS), 5 * MS);
	assert_int_equal(measure_answered(&m, &a, n, SEC + 6 * MS), 0);
	for (int i = 0; i < MEASURE_ASKED; i++)
		measure_ask(&a, SEC);
	assert_int_equal(measure_answered(&m, &a, n, 2 * SEC), 0);
	assert_true(measure_answered(&m, &a, n + 1, 2 * SEC));
	assert_int_equal(m.rtt_ns, 5 * MS - 5 * MS / 8 + SEC / 8);
	assert_true(measure_answered(&m, &a, n + 2, SEC) == 1); /* at once, and not never */
	/* whatever it says, the patience has its bounds */
	for (int i = 0; i < 100; i++)
		measure_answered(&m, &a, measure_ask(&a, SEC), UINT64_MAX / 2);
	assert_int_equal(measure_patience_ns(&m, TICK), PATIENCE_MAX_NS);
	assert_int_equal(measure_late_ns(&m), 2 * SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_way_is_given_3_s),
		cmocka_unit_test(a_bad_way_is_not_closed),
		cmocka_unit_test(a_slow_way_is_not_closed),
		cmocka_unit_test(an_outage_is_no_loss),
		cmocka_unit_test(only_what_was_asked_is_answered),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
