/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two tables: every cell is there. Walks through them: test_model.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/policy.h"

static void every_cell_is_written(void **state)
{
	for (int in = 0; in < IN_MAX; in++) {
		bool tunnels = in >= IN_TUNNEL_FIRST && in <= IN_TUNNEL_LAST;
		bool workloads = in >= IN_WORKLOAD_FIRST && in <= IN_WORKLOAD_LAST;

		for (int s = 0; s < TUNNEL_MAX; s++)
			assert_int_equal(policy_tunnel(s, in)->to != TUNNEL_INVALID, s && tunnels);
		for (int s = 0; s < WORKLOAD_MAX; s++)
			assert_int_equal(policy_workload(s, in)->to != WORKLOAD_INVALID,
					 s && workloads);
	}
	assert_int_equal(policy_tunnel(TUNNEL_MAX, IN_SEEN)->to, TUNNEL_INVALID);
	assert_int_equal(policy_workload(WORKLOAD_OPEN, IN_MAX)->to, WORKLOAD_INVALID);
}

static void hard_evidence_revokes(void **state)
{
	static const enum input hard[] = { IN_LINK_GONE,      IN_LINK_WRONG, IN_LINK_DOWN,
					   IN_ROUTE_LOST,     IN_NETNS_GONE, IN_BLIND,
					   IN_LEASE_EXPIRED,  IN_VPN_DEAD,   IN_UNHEALTHY,
					   IN_IDENTITY_WRONG, IN_REHEARSED };
	for (size_t i = 0; i < sizeof(hard) / sizeof(hard[0]); i++) {
		const struct step *s = policy_tunnel(TUNNEL_UP, hard[i]);

		assert_int_not_equal(s->to, TUNNEL_UP);
		assert_int_equal(s->actions[0], DO_REVOKE);
	}
}

/* Every combination of facts: admitted is who has a tunnel and nothing against it. */
static void nothing_in_the_way_or_not_up(void **state)
{
	for (unsigned int bits = 0; bits < 256; bits++) {
		struct workload_facts f = { .tunnel_up = bits & 1,
					    .held = bits & 2,
					    .may_leave = bits & 4,
					    .orphaned = bits & 8,
					    .may_move = bits & 16,
					    .may_freeze = bits & 32 && !(bits & 1),
					    .block = bits & 64,
					    .unreadable = bits & 128 };
		enum input in = policy_workload_facts(&f);

		assert_int_equal(in == IN_TUNNEL_UP, (bits & (128 | 15)) == 1);
		assert_int_equal(in == IN_TUNNEL_DOWN, f.may_freeze);
		assert_int_equal(in == IN_UNREADABLE, f.unreadable && !f.may_freeze);
		assert_int_equal(in == IN_TUNNEL_DOWN_BLOCK,
				 !f.tunnel_up && !f.may_freeze && !f.unreadable && f.block);
		assert_int_equal(in == IN_ORPHANED, (bits & (128 | 31)) == (1 | 8 | 16));
		assert_int_equal(in == IN_ASTRAY, (bits & (128 | 31)) == (1 | 8));
		assert_int_equal(in == IN_HELD, (bits & (128 | 3)) == 3);
		assert_int_equal(in == IN_DELEGATED, (bits & (128 | 7)) == (1 | 4));
		assert_int_not_equal(policy_workload(WORKLOAD_OPEN, in)->to, WORKLOAD_INVALID);
	}
}

static void an_ended_lease_is_never_renewed(void **state)
{
	for (int s = TUNNEL_ABSENT; s < TUNNEL_MAX; s++)
		for (int in = IN_TUNNEL_FIRST; in <= IN_TUNNEL_LAST; in++)
			for (int i = 0; i < STEP_ACTIONS; i++) {
				enum action a = policy_tunnel(s, in)->actions[i];

				if (a == DO_RENEW)
					assert_int_equal(s, TUNNEL_UP);
				if (a == DO_GRANT) {
					assert_int_equal(s, TUNNEL_DOWN);
					assert_int_equal(in, IN_PROVEN);
				}
			}
}

static void every_name_is_there(void **state)
{
	assert_string_equal(tunnel_state_name(TUNNEL_UP), "up");
	assert_string_equal(workload_state_name(WORKLOAD_FROZEN), "frozen");
	assert_string_equal(workload_state_name(WORKLOAD_MAX), "invalid");
	for (int in = IN_TUNNEL_FIRST; in < IN_MAX; in++)
		assert_true(strlen(input_text(in)) > 0);
	for (int a = DO_NOTHING; a < DO_MAX; a++)
		assert_non_null(action_name(a));
}

/* What comes from a pinned map of another version, or of a bug, has no way out and does nothing. */
static void what_is_not_in_the_tables_is_invalid(void **state)
{
	assert_int_equal(policy_tunnel(TUNNEL_UP, IN_MAX)->to, TUNNEL_INVALID);
	assert_int_equal(policy_tunnel(TUNNEL_UP, IN_MAX)->actions[0], DO_NOTHING);
	assert_int_equal(policy_workload(WORKLOAD_MAX, IN_TUNNEL_UP)->to, WORKLOAD_INVALID);
	assert_int_equal(policy_workload(WORKLOAD_OPEN, IN_MAX)->to, WORKLOAD_INVALID);
	assert_int_equal(policy_workload(WORKLOAD_OPEN, IN_MAX)->actions[0], DO_NOTHING);
	assert_string_equal(tunnel_state_name(TUNNEL_INVALID), "invalid");
	assert_string_equal(tunnel_state_name(TUNNEL_MAX), "invalid");
	assert_string_equal(workload_state_name(WORKLOAD_INVALID), "invalid");
	assert_string_equal(input_text(0), "invalid");
	assert_string_equal(input_text(IN_MAX), "invalid");
	assert_string_equal(action_name(DO_MAX), "invalid");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_is_written),
		cmocka_unit_test(hard_evidence_revokes),
		cmocka_unit_test(an_ended_lease_is_never_renewed),
		cmocka_unit_test(nothing_in_the_way_or_not_up),
		cmocka_unit_test(every_name_is_there),
		cmocka_unit_test(what_is_not_in_the_tables_is_invalid),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
