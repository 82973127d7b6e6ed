/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See policy.h. Every cell is written out: an empty one is a failing test, not "ignore". */
#include "core/policy.h"

/* clang-format off */
#define ROW(from, in, to, ...) [TUNNEL_##from][IN_##in] = { TUNNEL_##to, { __VA_ARGS__ } }

static const struct step tunnel_steps[TUNNEL_MAX][IN_MAX] = {
	ROW(ABSENT, LINK_READY, DOWN),
	ROW(ABSENT, LINK_GONE, ABSENT),
	ROW(ABSENT, LINK_WRONG, ABSENT),
	ROW(ABSENT, LINK_DOWN, DOWN),
	ROW(ABSENT, ROUTE_LOST, DOWN),
	ROW(ABSENT, NETNS_GONE, ABSENT),
	ROW(ABSENT, BLIND, ABSENT),
	ROW(ABSENT, UNGUARDED, ABSENT),
	ROW(ABSENT, VPN_DEAD, ABSENT),
	ROW(ABSENT, UNHEALTHY, ABSENT),
	ROW(ABSENT, IDENTITY_WRONG, ABSENT),
	ROW(ABSENT, REHEARSED, ABSENT),
	ROW(ABSENT, LEASE_EXPIRED, ABSENT),
	ROW(ABSENT, SEEN, ABSENT),
	ROW(ABSENT, PATIENT, ABSENT),
	ROW(ABSENT, PROVEN, ABSENT),

	ROW(DOWN, LINK_READY, DOWN),
	ROW(DOWN, LINK_GONE, ABSENT),
	ROW(DOWN, LINK_WRONG, ABSENT),
	ROW(DOWN, LINK_DOWN, DOWN),
	ROW(DOWN, ROUTE_LOST, DOWN),
	ROW(DOWN, NETNS_GONE, ABSENT),
	ROW(DOWN, BLIND, DOWN),
	ROW(DOWN, UNGUARDED, DOWN),
	ROW(DOWN, VPN_DEAD, DOWN),
	ROW(DOWN, UNHEALTHY, DOWN),
	ROW(DOWN, IDENTITY_WRONG, DOWN),
	ROW(DOWN, REHEARSED, DOWN),
	ROW(DOWN, LEASE_EXPIRED, DOWN),
	ROW(DOWN, SEEN, DOWN), /* one sign of life proves nothing; a lease that ended stays ended */
	ROW(DOWN, PATIENT, DOWN),
	ROW(DOWN, PROVEN, UP, DO_GRANT),

	ROW(UP, LINK_READY, UP),
	ROW(UP, LINK_GONE, ABSENT, DO_REVOKE),
	ROW(UP, LINK_WRONG, ABSENT, DO_REVOKE),
	ROW(UP, LINK_DOWN, DOWN, DO_REVOKE),
	ROW(UP, ROUTE_LOST, DOWN, DO_REVOKE),
	ROW(UP, NETNS_GONE, ABSENT, DO_REVOKE),
	ROW(UP, BLIND, DOWN, DO_REVOKE),
	ROW(UP, UNGUARDED, DOWN, DO_REVOKE),
	ROW(UP, VPN_DEAD, DOWN, DO_REVOKE),
	ROW(UP, UNHEALTHY, DOWN, DO_REVOKE),
	ROW(UP, IDENTITY_WRONG, DOWN, DO_REVOKE),
	ROW(UP, REHEARSED, DOWN, DO_REVOKE),
	ROW(UP, LEASE_EXPIRED, DOWN, DO_REVOKE),
	ROW(UP, SEEN, UP, DO_RENEW),
	ROW(UP, PATIENT, UP, DO_RENEW), /* patience longer than a lease: up to its own end */
	ROW(UP, PROVEN, UP),
};
#undef ROW

#define ROW(from, in, to, ...) [WORKLOAD_##from][IN_##in] = { WORKLOAD_##to, { __VA_ARGS__ } }
/* no way out, and nothing is frozen: four causes */
#define SHUT(from, ...)                                                                  \
	ROW(from, TUNNEL_DOWN_BLOCK, __VA_ARGS__), ROW(from, TUNNEL_DOWN_SHUT, __VA_ARGS__), \
		ROW(from, ASTRAY, __VA_ARGS__), ROW(from, UNREADABLE, __VA_ARGS__)

static const struct step workload_steps[WORKLOAD_MAX][IN_MAX] = {
	ROW(WAITING, CGROUP_BORN, BLOCKED, DO_BAR),
	ROW(WAITING, CGROUP_GONE, WAITING),
	ROW(WAITING, TUNNEL_UP, WAITING),
	ROW(WAITING, TUNNEL_DOWN, WAITING),
	SHUT(WAITING, WAITING),
	ROW(WAITING, HELD, WAITING),
	ROW(WAITING, DELEGATED, WAITING),
	ROW(WAITING, FREEZE_DONE, WAITING),
	ROW(WAITING, FREEZE_FAILED, WAITING),
	ROW(WAITING, THAWED, WAITING),
	ROW(WAITING, STOP_DUE, WAITING),
	ROW(WAITING, STOP_FAILED, WAITING),
	ROW(WAITING, ORPHANED, WAITING),
	ROW(WAITING, ENDING, WAITING),
	ROW(WAITING, TAKEN_DOWN, STOPPED),
	ROW(WAITING, GIVEN_UP, WAITING),

	ROW(OPEN, CGROUP_BORN, BLOCKED, DO_BAR),
	ROW(OPEN, CGROUP_GONE, WAITING),
	ROW(OPEN, TUNNEL_UP, OPEN, DO_ADMIT),
	ROW(OPEN, TUNNEL_DOWN, BLOCKED, DO_BAR, DO_FREEZE),
	SHUT(OPEN, BLOCKED, DO_BAR),
	ROW(OPEN, HELD, BLOCKED, DO_BAR),
	ROW(OPEN, DELEGATED, BLOCKED, DO_BAR),
	ROW(OPEN, FREEZE_DONE, OPEN), /* an operator froze it: theirs to thaw, and still leased */
	ROW(OPEN, FREEZE_FAILED, OPEN),
	ROW(OPEN, THAWED, OPEN),
	ROW(OPEN, STOP_DUE, OPEN),
	ROW(OPEN, STOP_FAILED, OPEN),
	ROW(OPEN, ORPHANED, STOPPED, DO_BAR, DO_THAW_SHUT, DO_STOP),
	ROW(OPEN, ENDING, OPEN),
	ROW(OPEN, TAKEN_DOWN, OPEN),
	ROW(OPEN, GIVEN_UP, OPEN),

	ROW(BLOCKED, CGROUP_BORN, BLOCKED, DO_BAR),
	ROW(BLOCKED, CGROUP_GONE, WAITING),
	ROW(BLOCKED, TUNNEL_UP, OPEN, DO_ADMIT, DO_THAW),
	ROW(BLOCKED, TUNNEL_DOWN, BLOCKED, DO_BAR, DO_FREEZE),
	SHUT(BLOCKED, BLOCKED, DO_BAR),
	ROW(BLOCKED, HELD, BLOCKED, DO_BAR),
	ROW(BLOCKED, DELEGATED, BLOCKED, DO_BAR),
	ROW(BLOCKED, FREEZE_DONE, FROZEN),
	ROW(BLOCKED, FREEZE_FAILED, BLOCKED, DO_ALERT),
	ROW(BLOCKED, THAWED, BLOCKED),
	ROW(BLOCKED, STOP_DUE, STOPPED, DO_BAR, DO_THAW_SHUT, DO_STOP),
	ROW(BLOCKED, STOP_FAILED, BLOCKED),
	ROW(BLOCKED, ORPHANED, STOPPED, DO_BAR, DO_THAW_SHUT, DO_STOP),
	ROW(BLOCKED, ENDING, BLOCKED, DO_BAR, DO_THAW_SHUT), /* it may be on its way to frozen */
	ROW(BLOCKED, TAKEN_DOWN, BLOCKED),
	ROW(BLOCKED, GIVEN_UP, BLOCKED),

	ROW(FROZEN, CGROUP_BORN, BLOCKED, DO_BAR),
	ROW(FROZEN, CGROUP_GONE, WAITING),
	ROW(FROZEN, TUNNEL_UP, OPEN, DO_ADMIT, DO_THAW),
	ROW(FROZEN, TUNNEL_DOWN, FROZEN, DO_BAR),
	SHUT(FROZEN, FROZEN, DO_BAR),
	ROW(FROZEN, HELD, FROZEN, DO_BAR),
	ROW(FROZEN, DELEGATED, FROZEN, DO_BAR),
	ROW(FROZEN, FREEZE_DONE, FROZEN),
	ROW(FROZEN, FREEZE_FAILED, FROZEN),
	ROW(FROZEN, THAWED, BLOCKED), /* a process moved in, or an operator's hand: the gate holds */
	ROW(FROZEN, STOP_DUE, STOPPED, DO_BAR, DO_THAW_SHUT, DO_STOP),
	ROW(FROZEN, STOP_FAILED, FROZEN),
	ROW(FROZEN, ORPHANED, STOPPED, DO_BAR, DO_THAW_SHUT, DO_STOP),
	ROW(FROZEN, ENDING, BLOCKED, DO_BAR, DO_THAW_SHUT),
	ROW(FROZEN, TAKEN_DOWN, FROZEN),
	ROW(FROZEN, GIVEN_UP, FROZEN),

	/* whoever started it, it begins shut; until then it is started whenever its tunnel is up */
	ROW(STOPPED, CGROUP_BORN, BLOCKED, DO_BAR),
	ROW(STOPPED, CGROUP_GONE, STOPPED),
	ROW(STOPPED, TUNNEL_UP, STOPPED, DO_START),
	ROW(STOPPED, TUNNEL_DOWN, STOPPED, DO_BAR),
	SHUT(STOPPED, STOPPED, DO_BAR),
	ROW(STOPPED, HELD, STOPPED, DO_BAR),
	ROW(STOPPED, DELEGATED, STOPPED, DO_BAR),
	ROW(STOPPED, FREEZE_DONE, STOPPED),
	ROW(STOPPED, FREEZE_FAILED, STOPPED),
	ROW(STOPPED, THAWED, STOPPED),
	ROW(STOPPED, STOP_DUE, STOPPED),
	ROW(STOPPED, STOP_FAILED, BLOCKED, DO_BAR, DO_FREEZE),
	ROW(STOPPED, ORPHANED, STOPPED),
	ROW(STOPPED, ENDING, STOPPED),
	ROW(STOPPED, TAKEN_DOWN, STOPPED),
	ROW(STOPPED, GIVEN_UP, WAITING),
};
/* clang-format on */
#undef SHUT
#undef ROW

static const struct step invalid;

const struct step *policy_tunnel(enum tunnel_state state, enum input in)
{
	return state < TUNNEL_MAX && in < IN_MAX ? &tunnel_steps[state][in] : &invalid;
}

const struct step *policy_workload(enum workload_state state, enum input in)
{
	return state < WORKLOAD_MAX && in < IN_MAX ? &workload_steps[state][in] : &invalid;
}

enum input policy_workload_facts(const struct workload_facts *f)
{
	if (f->may_freeze)
		return IN_TUNNEL_DOWN;
	if (f->unreadable)
		return IN_UNREADABLE;
	if (!f->tunnel_up)
		return f->block ? IN_TUNNEL_DOWN_BLOCK : IN_TUNNEL_DOWN_SHUT;
	if (f->held)
		return IN_HELD;
	if (f->may_leave)
		return IN_DELEGATED;
	if (f->orphaned)
		return f->may_move ? IN_ORPHANED : IN_ASTRAY;
	return IN_TUNNEL_UP;
}

const char *tunnel_state_name(enum tunnel_state state)
{
	static const char *const names[] = {
#define X(NAME, name) [TUNNEL_##NAME] = #name,
		VPNLEASH_TUNNEL_STATES(X)
#undef X
	};
	return state > 0 && state < TUNNEL_MAX ? names[state] : "invalid";
}

const char *workload_state_name(enum workload_state state)
{
	static const char *const names[] = {
#define X(NAME, name) [WORKLOAD_##NAME] = #name,
		VPNLEASH_WORKLOAD_STATES(X)
#undef X
	};
	return state > 0 && state < WORKLOAD_MAX ? names[state] : "invalid";
}

const char *input_text(enum input in)
{
	static const char *const texts[] = {
#define X(NAME, name, text) [IN_##NAME] = text,
		VPNLEASH_TUNNEL_INPUTS(X) VPNLEASH_WORKLOAD_INPUTS(X)
#undef X
	};
	return in > 0 && in < IN_MAX ? texts[in] : "invalid";
}

const char *action_name(enum action action)
{
	static const char *const names[] = { [DO_NOTHING] = "nothing",
#define X(NAME, name) [DO_##NAME] = #name,
					     VPNLEASH_ACTIONS(X)
#undef X
	};
	return action < DO_MAX ? names[action] : "invalid";
}
