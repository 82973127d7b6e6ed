/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a trial proves: whose packets count, and what makes a zero worth something. */
#include "verify/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct trial t;

static unsigned int kind(const char *name)
{
	unsigned int i = 0;

	while (strcmp(kind_at(i)->name, name) != 0)
		i++;
	return i;
}

/* One row: of three packets each the control's were seen so often, the canary's so often. */
static struct row *add(unsigned int way, const char *name, unsigned int control, unsigned int up)
{
	struct row *r = &t.rows[t.n_rows++];

	*r = (struct row) {
		.way = way,
		.kind = kind(name),
		.cells = { [COLUMN_CONTROL] = { true, 3, control }, [COLUMN_UP] = { true, 3, up } }
	};
	return r;
}

static int setup(void **state)
{
	memset(&t, 0, sizeof(t));
	t.place.n_ways = 2;
	t.place.ways[0].fenced = t.place.ways[1].fenced = true;
	return 0;
}

static void seen_from_the_control_and_not_from_the_canary(void **state)
{
	struct sum sum;

	assert_int_equal(trial_how(&t, add(0, "udp4", 3, 0)), HOW_IN_PLACE);
	add(1, "past4", 3, 0)->cells[COLUMN_DEAD] = (struct cell) { true, 3, 0 };
	sum = trial_sum(&t);
	assert_int_equal(sum.sent, 9);
	assert_int_equal(sum.rows, 2);
	assert_int_equal(sum.leaked, 0);
	assert_true(sum.gate);
}

static void a_stand_in_counts_only_if_it_leaks(void **state)
{
	struct row *r = add(1, "device4", 0, 0);
	struct sum sum = trial_sum(&t);

	assert_int_equal(trial_how(&t, r), HOW_STAND_IN);
	assert_int_equal(sum.sent, 0);
	assert_false(sum.gate);
	r->cells[COLUMN_UP].seen = 1;
	assert_int_equal(trial_sum(&t).leaked, 1);
}

static void what_nobody_saw_proves_nothing(void **state)
{
	struct row *r = add(0, "udp4", 0, 0);

	/* a firewall of the netns holds the control as well; the fence came through */
	assert_int_equal(trial_how(&t, r), HOW_UNPROVEN);
	assert_int_equal(trial_sum(&t).sent, 0);
	t.place.ways[1].fenced = false; /* the capture is deaf */
	r = add(1, "device4", 0, 0);
	assert_int_equal(trial_how(&t, r), HOW_UNPROVEN);
	/* the control was seen, and then the capture went deaf */
	r = add(0, "udp6", 3, 0);
	r->cells[COLUMN_UP].tried = false;
	assert_int_equal(trial_sum(&t).sent, 0);
	assert_false(trial_sum(&t).gate);
	/* a control that nobody could have seen */
	r->cells[COLUMN_CONTROL].tried = false;
	assert_int_equal(trial_how(&t, r), HOW_UNPROVEN);
}

static void the_guard_alone_is_no_proof_of_the_gate(void **state)
{
	add(1, "past4", 3, 0);
	assert_int_equal(trial_sum(&t).sent, 3);
	assert_false(trial_sum(&t).gate);
}

static void a_control_is_no_leak(void **state)
{
	add(0, "udp4", 3, 0);
	assert_int_equal(trial_sum(&t).leaked, 0);
	add(0, "udp6", 3, 2);
	assert_int_equal(trial_sum(&t).leaked, 2);
}

static void names_are_seen_in_the_tunnel_or_lost(void **state)
{
	struct row *r = add(0, "dns4", 3, 0);

	assert_true(trial_names_lost(&t));
	t.asked = 1;
	assert_false(trial_names_lost(&t));
	t.asked = 0;
	r->cells[COLUMN_UP].tried = false; /* it was not up */
	assert_false(trial_names_lost(&t));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		CASE(seen_from_the_control_and_not_from_the_canary),
		CASE(a_stand_in_counts_only_if_it_leaks),
		CASE(what_nobody_saw_proves_nothing),
		CASE(the_guard_alone_is_no_proof_of_the_gate),
		CASE(a_control_is_no_leak),
		CASE(names_are_seen_in_the_tunnel_or_lost),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
