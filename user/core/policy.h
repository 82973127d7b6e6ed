/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What to do: two pure tables, (state, input) → next state and actions. No I/O, no clock. Actions
 * stand in the order in which a crash after any of them leaves traffic blocked: REVOKE and BAR
 * before FREEZE and STOP, GRANT and ADMIT before THAW. The daemon carries them out and feeds how it
 * went back as an input, so the tables decide failures as well.
 *
 * The tables keep: a lease lives only while its tunnel is `up`; a workload is admitted only in
 * `open`; THAW only together with ADMIT; THAW_SHUT only behind BAR, for somebody who is to end.
 */
#pragma once

#include <stdbool.h>

#include "vpnleash/states.h"

#define STEP_ACTIONS 3

struct step {
	int to; /* enum tunnel_state or workload_state; 0: no such cell */
	enum action actions[STEP_ACTIONS]; /* up to the first DO_NOTHING */
};

/* Never NULL; for a state or input outside its table, a step to INVALID. */
const struct step *policy_tunnel(enum tunnel_state state, enum input in);
const struct step *policy_workload(enum workload_state state, enum input in);

/* What a workload's table is told when its tunnel has changed, or what stands in its way. */
struct workload_facts {
	bool unreadable; /* its labels, or the engine's record of it */
	bool tunnel_up;
	bool held;	 /* by an operator */
	bool may_leave;	 /* its own user may, and nothing would hold him */
	bool orphaned;	 /* it is in another netns than its tunnel */
	bool may_move;	 /* orphaned: a start would bring it there */
	bool block;	 /* on-failure = block */
	bool may_freeze; /* it has no tunnel, and is not to run without one */
};
enum input policy_workload_facts(const struct workload_facts *f);

const char *tunnel_state_name(enum tunnel_state state);
const char *workload_state_name(enum workload_state state);
const char *input_text(enum input in); /* one phrase for people */
const char *action_name(enum action action);
