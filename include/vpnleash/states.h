/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * States, inputs and actions of the two tables in user/core/policy.c. The lower-case names are
 * what status, audit lines and JSON show. Value 0 is INVALID everywhere, so that a cell nobody
 * thought about is found by the exhaustive test.
 *
 * Tunnel: absent (no netns, or no such device in it), down (there, no lease), up (a lease lives).
 * Workload: waiting (no cgroup), open (admitted), blocked (barred), frozen (barred and frozen),
 * stopped (a container or unit that is to run, and is started again when its tunnel is up).
 */
#ifndef VPNLEASH_STATES_H
#define VPNLEASH_STATES_H

/* clang-format off */
#define VPNLEASH_TUNNEL_STATES(X) X(ABSENT, absent) X(DOWN, down) X(UP, up)

#define VPNLEASH_WORKLOAD_STATES(X)                                                                \
	X(WAITING, waiting) X(OPEN, open) X(BLOCKED, blocked) X(FROZEN, frozen)                    \
	X(STOPPED, stopped)

/* Evidence about a tunnel. HARD: proves that it can not carry now; a lease is revoked at once. */
#define VPNLEASH_TUNNEL_INPUTS(X)                                                                  \
	X(LINK_READY, link_ready, "the interface is up and the route resolves to it")              \
	X(LINK_GONE, link_gone, "the interface is gone")             /* hard */                    \
	X(LINK_WRONG, link_wrong, "the interface is not a tunnel")   /* hard */                    \
	X(LINK_DOWN, link_down, "the interface is down")             /* hard */                    \
	X(ROUTE_LOST, route_lost, "the route leads elsewhere")       /* hard */                    \
	X(NETNS_GONE, netns_gone, "the network namespace is gone")   /* hard */                    \
	X(BLIND, blind, "the watcher lost sight")                    /* hard */                    \
	X(UNGUARDED, unguarded, "the guard is not complete")         /* hard */                    \
	X(VPN_DEAD, vpn_dead, "the VPN's process has ended")         /* hard */                    \
	X(UNHEALTHY, unhealthy, "the VPN's container is unhealthy")  /* hard */                    \
	X(IDENTITY_WRONG, identity_wrong, "the exit is not the one expected") /* hard */           \
	X(REHEARSED, rehearsed, "its failure is rehearsed")          /* hard */                    \
	X(LEASE_EXPIRED, lease_expired, "no sign of life for the tunnel's patience")               \
	X(SEEN, seen, "a sign of life")                                                            \
	X(PATIENT, patient, "silent, and link and route are good")                                 \
	X(PROVEN, proven, "two signs of life")

#define VPNLEASH_WORKLOAD_INPUTS(X)                                                                \
	X(CGROUP_BORN, cgroup_born, "the cgroup is there and the gate is on it")                   \
	X(CGROUP_GONE, cgroup_gone, "the cgroup is gone")                                          \
	X(TUNNEL_UP, tunnel_up, "the tunnel has a lease")                                          \
	X(TUNNEL_DOWN, tunnel_down, "the tunnel has no lease")                                     \
	X(TUNNEL_DOWN_BLOCK, tunnel_down_block, "the tunnel has no lease; on-failure is block")    \
	X(TUNNEL_DOWN_SHUT, tunnel_down_shut, "the tunnel has no lease") /* not frozen (yet) */    \
	X(ASTRAY, astray, "it is in another network namespace than its tunnel")                    \
	X(UNREADABLE, unreadable, "its labels, or the engine's record of it, can not be used")     \
	X(HELD, held, "an operator holds it")                                                      \
	X(FREEZE_DONE, freeze_done, "the kernel says frozen 1")                                    \
	X(FREEZE_FAILED, freeze_failed, "the cgroup did not freeze")                               \
	X(THAWED, thawed, "the kernel says frozen 0")                                              \
	X(STOP_DUE, stop_due, "not recovered within stop-after")                                   \
	X(STOP_FAILED, stop_failed, "it could not be stopped")                                     \
	X(ORPHANED, orphaned, "its network namespace is no longer the VPN's")                      \
	X(ENDING, ending, "somebody ends it")                                                      \
	X(TAKEN_DOWN, taken_down, "it is to run, and nobody stopped it on purpose")                \
	X(GIVEN_UP, given_up, "it has ended, or was stopped on purpose")                           \
	X(DELEGATED, delegated, "its own user may leave it")

/* In the order in which a crash between any two leaves traffic blocked. */
#define VPNLEASH_ACTIONS(X)                                                                        \
	X(GRANT, grant) X(RENEW, renew) X(REVOKE, revoke) /* tunnel */                             \
	X(ADMIT, admit) X(BAR, bar) X(FREEZE, freeze) X(THAW, thaw) X(ALERT, alert) /* workload */ \
	X(THAW_SHUT, thaw_shut) X(STOP, stop) X(START, start) /* THAW_SHUT: to let it end */
/* clang-format on */

enum tunnel_state {
	TUNNEL_INVALID = 0,
#define X(NAME, name) TUNNEL_##NAME,
	VPNLEASH_TUNNEL_STATES(X)
#undef X
		TUNNEL_MAX
};

enum workload_state {
	WORKLOAD_INVALID = 0,
#define X(NAME, name) WORKLOAD_##NAME,
	VPNLEASH_WORKLOAD_STATES(X)
#undef X
		WORKLOAD_MAX
};

enum input {
	IN_INVALID = 0,
#define X(NAME, name, text) IN_##NAME,
	VPNLEASH_TUNNEL_INPUTS(X) VPNLEASH_WORKLOAD_INPUTS(X)
#undef X
		IN_MAX,
	IN_TUNNEL_FIRST = IN_LINK_READY,
	IN_TUNNEL_LAST = IN_PROVEN,
	IN_WORKLOAD_FIRST = IN_CGROUP_BORN,
	IN_WORKLOAD_LAST = IN_DELEGATED,
};

enum action {
	DO_NOTHING = 0,
#define X(NAME, name) DO_##NAME,
	VPNLEASH_ACTIONS(X)
#undef X
		DO_MAX
};

#endif
