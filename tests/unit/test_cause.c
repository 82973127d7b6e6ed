/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a workload is shut: each state, each evidence has its cause, and each cause its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/cause.h"
#include "core/policy.h"

/* What the last evidence of a tunnel without a lease means, with nothing else in the way. */
static const enum cause of_evidence[IN_MAX] = {
	[IN_LINK_READY] = CAUSE_PROVING,
	[IN_LINK_GONE] = CAUSE_LINK_MISSING,
	[IN_LINK_WRONG] = CAUSE_LINK_WRONG,
	[IN_LINK_DOWN] = CAUSE_LINK_DOWN,
	[IN_ROUTE_LOST] = CAUSE_ROUTE_ELSEWHERE,
	[IN_NETNS_GONE] = CAUSE_NETNS_MISSING,
	[IN_BLIND] = CAUSE_BLIND,
	[IN_UNGUARDED] = CAUSE_UNGUARDED,
	[IN_VPN_DEAD] = CAUSE_VPN_ENDED,
	[IN_UNHEALTHY] = CAUSE_UNHEALTHY,
	[IN_IDENTITY_WRONG] = CAUSE_EXIT_WRONG,
	[IN_REHEARSED] = CAUSE_REHEARSED,
	[IN_LEASE_EXPIRED] = CAUSE_PROBE_UNANSWERED,
	[IN_SEEN] = CAUSE_PROVING,
	[IN_PATIENT] = CAUSE_PROVING,
	[IN_PROVEN] = CAUSE_PROVING,
};

/* The facts as the daemon has them after that evidence. */
static struct cause_facts facts_after(enum input in)
{
	return (struct cause_facts) { .state = WORKLOAD_FROZEN,
				      .tunnel = TUNNEL_DOWN,
				      .place = in == IN_NETNS_GONE ? PLACE_NO_FILE : PLACE_ENTERED,
				      .link = in,
				      .unhealthy = in == IN_UNHEALTHY,
				      .vpn_dead = in == IN_VPN_DEAD,
				      .rehearsed = in == IN_REHEARSED,
				      .unguarded = in == IN_UNGUARDED,
				      .probe_unanswered = in == IN_LEASE_EXPIRED,
				      .exit_wrong = in == IN_IDENTITY_WRONG };
}

static void each_evidence_has_its_cause(void **state)
{
	for (int in = IN_TUNNEL_FIRST; in <= IN_TUNNEL_LAST; in++) {
		struct cause_facts f = facts_after(in);

		if (!of_evidence[in])
			fail_msg("no cause for '%s'", input_text(in));
		assert_string_equal(cause_name(cause_find(&f)), cause_name(of_evidence[in]));
	}
}

static bool says_start_the_vpn(enum cause c)
{
	return strstr(cause_remedy(c), "start the VPN");
}

/* One combination of what is true of workload and tunnel. */
static void check(const struct cause_facts *f, bool reached[CAUSES])
{
	enum cause c = cause_find(f);

	assert_true(c < CAUSES);
	reached[c] = true;
	if (c == CAUSE_OPEN)
		assert_int_equal(f->state, WORKLOAD_OPEN);
	if (c >= CAUSE_FIRST_OF_TUNNEL)
		assert_int_not_equal(f->tunnel, TUNNEL_UP);
	if (says_start_the_vpn(c))
		assert_true(f->place == PLACE_NO_OWNER || f->place == PLACE_OWNER_STOPPED ||
			    f->vpn_dead);
	if (c == CAUSE_PROVING) /* nobody waits for what does not come by itself */
		assert_false(f->unhealthy || f->vpn_dead || f->unguarded || f->vpn_unknown ||
			     f->probe_unsent || f->probe_unanswered || f->exit_wrong ||
			     f->exit_unknown);
}

#define BITS 20

static struct cause_facts facts_of_bits(unsigned int bits)
{
	return (struct cause_facts) {
		.made_anew = bits & 1,
		.unusable = bits & 2,
		.mislabelled = bits & 4,
		.again = bits & 8,
		.may_leave = bits & 16,
		.astray = bits & 32,
		.held = bits & 64,
		.troubled = bits & 128,
		.to_start = bits & 256,
		.unhealthy = bits & 512,
		.vpn_dead = bits & 1024,
		.vpn_unknown = bits & 2048,
		.unguarded = bits & 4096,
		.advised = bits & 8192,
		.probe_unsent = bits & 16384,
		.probe_unanswered = bits & 32768,
		.misplaced = bits & 65536,
		.vpn_inside = bits & 131072,
		.link_unneeded = bits & 262144,
		/* by bits that say nothing where these do */
		.exit_unknown = bits & 8192,
		.exit_wrong = (bits & 8192) && (bits & 256),
		.rehearsed = bits & 524288,
	};
}

static void check_places(struct cause_facts *f, bool reached[CAUSES])
{
	for (f->tunnel = TUNNEL_ABSENT; f->tunnel < TUNNEL_MAX; f->tunnel++)
		for (f->place = PLACE_ENTERED; f->place <= PLACE_OWNER_HIDDEN; f->place++)
			check(f, reached);
}

static void every_combination_has_a_cause(void **state)
{
	bool reached[CAUSES] = { false };

	for (unsigned int bits = 0; bits < 1U << BITS; bits++) {
		struct cause_facts f = facts_of_bits(bits);

		for (f.state = WORKLOAD_WAITING; f.state < WORKLOAD_MAX; f.state++)
			for (f.link = IN_TUNNEL_FIRST; f.link <= IN_TUNNEL_LAST; f.link++) {
				check_places(&f, reached);
				if (bits &
				    (511 | 65536 |
				     131072)) /* the workload's: the link says nothing then */
					break;
			}
	}
	for (int c = 0; c < CAUSES; c++)
		if (!reached[c])
			fail_msg("nothing leads to %s", cause_name(c));
}

/* A word that print_word() does not know would be printed as nothing. */
static void every_word_is_known(void **state)
{
	static const char known[] =
		" {name} {vpn} {interface} {process} {probe} {health} {probe-error} {unknown} {identity} "
		"{advice} {command} {apart} {network} {opens} {weak} {gap} ";

	for (int c = 0; c < CAUSES; c++) {
		const char *texts[] = { cause_said(c), cause_remedy(c) };

		assert_true(*cause_remedy(c));
		for (int i = 0; i < 2; i++)
			for (const char *at = strchr(texts[i], '{'); at; at = strchr(at + 1, '{')) {
				char word[32];

				assert_non_null(strchr(at, '}'));
				snprintf(word, sizeof(word), " %.*s ", (int)strcspn(at, "}") + 1,
					 at);
				if (!strstr(known, word))
					fail_msg("%s: unknown word%s", cause_name(c), word);
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_evidence_has_its_cause),
		cmocka_unit_test(every_combination_has_a_cause),
		cmocka_unit_test(every_word_is_known),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
