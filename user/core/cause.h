/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why a workload is as it is, and what to do about it, in words. One table: facts → cause → what is
 * said → remedy. `why` and `status` speak by it and nobody else does, so a new cause is a line of
 * CAUSES, and a line of cause_find() that tells when it holds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "vpnleash/states.h"

struct tunnel;
struct workload;

/*
 * X(NAME, what is said beside the last evidence or "", remedy). In both: {name} the workload, {vpn}
 * the VPN's container, unit or netns, {interface}, {process}, {probe} each, and why it has no
 * answer, {health} what the container's health check said, {probe-error}, {unknown} why nobody is
 * taken for the VPN, {apart} where the VPN is to be instead, {network} the mode that puts it there,
 * {identity} what is asked for, and its last answer, {gap} how long signs of life must span and
 * why, {advice} what stands in brackets at the end of what was said, {command} what to type,
 * {opens} "it opens by itself" or "it is started by itself". Of the first group the workload's
 * trouble says all.
 */
/* clang-format off */
#define CAUSES_OF_TROUBLE(X)                                                                       \
	X(VPN_MADE_ANEW, "", "{command}")                                                          \
	X(RECORD_UNUSABLE, "", "make the container anew; it opens when its record can be used")    \
	X(TRIED_AGAIN, "", "nothing to do, it is tried again")                                     \
	X(LABELS_WRONG, "", "correct its labels, and make the container anew")                     \
	X(MAY_BE_LEFT, "",                                                                         \
	  "leash a unit of the system's, not a user's; of an engine: one that runs as root")       \
	X(VPN_INSIDE, "", "{apart}")                                                               \
	X(MISPLACED, "", "give it {network}")                                                      \
	X(ASTRAY, "", "restart it by its engine: it then joins the network of {vpn}")              \
	X(REFUSED, "", "remove that cause; it is tried again by itself")

#define CAUSES_OF_WORKLOAD(X)                                                                      \
	X(HELD, "an operator holds the workload", "vpnleash release {name} lets it go on")         \
	X(OPEN, "", "nothing to do{weak}")                                                         \
	X(NOT_RUNNING, "", "start it; the gate is attached when its cgroup appears")               \
	X(STARTING, "", "nothing to do, it is started in a moment")                                \
	X(OPENING, "", "nothing to do, it opens in a moment")

#define CAUSES_OF_TUNNEL(X)                                                                        \
	X(NO_ENGINE, "the engine does not answer, and {vpn} is known by it alone",                 \
	  "start the engine, or see vpnleash doctor; {opens}")                                     \
	X(VPN_MISSING, "there is no {vpn}", "start the VPN, or correct netns; {opens}")            \
	X(VPN_STOPPED, "{vpn} does not run", "start the VPN; {opens}")                             \
	X(VPN_HIDDEN, "the first process of {vpn} is not to be seen from here",                    \
	  "run vpnleash in the host's pid and cgroup namespaces")                                  \
	X(NETNS_MISSING, "{vpn} is not there, or is no network namespace",                         \
	  "make that network namespace, or correct netns; {opens}")                                \
	X(NETNS_NEW, "", "nothing to do, {vpn} is looked at in a moment")                          \
	X(UNHEALTHY, "its last health check: {health}",                                            \
	  "see to what that check asks for; or set health = ignore, and only the tunnel counts; "  \
	  "{opens}")                                                                               \
	X(VPN_ENDED, "", "start the VPN: {process} runs no more; {opens}")                         \
	X(VPN_UNKNOWN, "{unknown}", "{advice}; {opens}")                                           \
	X(LINK_UNNEEDED, "tailscaled runs without an interface",                                   \
	  "set TS_USERSPACE=false in its container, with cap_add: NET_ADMIN and devices: "         \
	  "/dev/net/tun; {opens}")                                                                 \
	X(LINK_MISSING, "",                                                                        \
	  "see why there is no {interface} in {vpn} (its log), or correct interface; {opens}")     \
	X(LINK_WRONG, "", "correct interface: {interface} in {vpn} is no tunnel")                  \
	X(LINK_DOWN, "", "see why the VPN took {interface} down (its log), or set it up; {opens}") \
	X(ROUTE_ELSEWHERE, "",                                                                     \
	  "restore the VPN's routes, or set route = an address that goes by {interface}; {opens}") \
	X(BLIND, "", "nothing to do, it passes by itself")                                         \
	X(REHEARSED, "", "nothing to do, it is over in seconds, also if vpnleash verify is ended") \
	X(UNGUARDABLE, "", "{advice}; {opens}")                                                    \
	X(UNGUARDED, "", "nothing to do, it is tried again; {opens}")                              \
	X(PROBE_UNSENT, "its probe can not be set up: {probe-error}",                              \
	  "remove that cause; it is tried again by itself")                                        \
	X(PROBE_UNANSWERED, "no probe is answered through {interface}: {probe}",                   \
	  "see whether the VPN carries anything; if it does, set probe = one that a host beyond it " \
	  "answers; {opens}")                                                              \
	X(EXIT_WRONG, "",                                                                          \
	  "see which server the VPN uses and where it leads out, or correct identity; {opens}")    \
	X(EXIT_UNKNOWN, "its exit is not known to be the one expected: {identity}",                \
	  "see why that page has no answer through {interface}, or correct identity; {opens}")     \
	X(PROVING, "", "nothing to do, it opens when its signs of life span {gap}")
/* clang-format on */

enum cause {
#define X(NAME, said, remedy) CAUSE_##NAME,
	CAUSES_OF_TROUBLE(X) CAUSES_OF_WORKLOAD(X) CAUSES_OF_TUNNEL(X)
#undef X
		CAUSES,
	CAUSE_FIRST_OF_WORKLOAD = CAUSE_HELD,
	CAUSE_FIRST_OF_TUNNEL = CAUSE_NO_ENGINE,
};

/* Where the tunnel's network namespace is. */
enum place_found {
	PLACE_ENTERED = 1,
	PLACE_NEW, /* to be entered */
	PLACE_NO_FILE,
	PLACE_NO_ENGINE, /* of a container or unit: */
	PLACE_NO_OWNER,
	PLACE_OWNER_STOPPED,
	PLACE_OWNER_HIDDEN,
};

struct cause_facts {
	/* of the workload */
	enum workload_state state;
	bool made_anew; /* the container whose network it shares: an engine can not start it */
	bool unusable, mislabelled, again, may_leave, astray, held;
	bool misplaced;	 /* astray, and no start brings it there */
	bool vpn_inside; /* a VPN that can not work there */
	bool troubled;	 /* something is said of it, whatever its state */
	bool to_start;	 /* by us, when its tunnel is up */
	/* of the tunnel */
	enum tunnel_state tunnel;
	enum place_found place;
	enum input link; /* what its interface's watcher said last */
	bool unhealthy, vpn_dead, rehearsed;
	bool link_unneeded;	 /* the VPN does without */
	bool vpn_unknown;	 /* so it may not use the underlay */
	bool unguarded, advised; /* and what was said ends in what to do */
	bool probe_unsent, probe_unanswered;
	bool exit_wrong, exit_unknown; /* by its identity */
};

/* Pure. */
enum cause cause_find(const struct cause_facts *f);
enum cause cause_find_tunnel(const struct cause_facts *f);
const char *cause_name(enum cause c);
const char *cause_said(enum cause c); /* as in the table, with its {words} */
const char *cause_remedy(enum cause c);

/* For people, escaped; each returns buf. */
/* The last evidence of the tunnel, and what there is to say of it. */
const char *cause_tunnel_text(const struct tunnel *t, char *buf, size_t size);
const char *cause_text(const struct workload *w, char *buf, size_t size);
const char *cause_to_do(const struct workload *w, char *buf, size_t size);
