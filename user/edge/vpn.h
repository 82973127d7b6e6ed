/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who the VPN is. Its cgroup is the kernel's word:
 *   netns = container:NAME, unit:NAME   that of the container or unit
 *   netns = /proc/PID/ns/net            that of this process
 *   process = NAME alone                that of whoever bears the name in the netns; where they are
 *                                       of several cgroups it is nobody, and that is said
 *   neither                             that of the process that answers for WireGuard's device
 * Never one that is leashed, is above or below such a one, or is the root. `process` names those
 * in it whose end is evidence.
 */
#pragma once

#include "edge/place.h"

struct vpn;

/* Of the netns in which the tunnel is, with a guard or without. */
int vpn_open(struct vpn **ret, const struct edge_place *place, struct error *err);
void vpn_close(struct vpn *v); /* NULL is fine, here and where `const` */

/* At each look, and when the netns is entered. is_up: what is watched is not looked for. */
void vpn_look(struct vpn *v, bool is_up);
/* The last of those who bear the name has ended, and no other has come. */
bool vpn_is_dead(const struct vpn *v);
/* Why its cgroup is not known, and what to do; "": there is no more to say. */
const char *vpn_why(const struct vpn *v);

/* Asked where there is no interface: is a tailscaled there that does without? */
bool vpn_does_without(const struct vpn *v);

/* For the edge: its cgroup, "": not known; a process of it, 0: none is known. */
const struct edge_place *vpn_place(const struct vpn *v);
const char *vpn_cgroup(const struct vpn *v);
pid_t vpn_pid(const struct vpn *v);

/* Whose answers for WireGuard's device are believed. */
bool vpn_may_be(const struct vpn *v, const char *cgroup);
/* One of that cgroup has answered. */
void vpn_answered(struct vpn *v, const char *cgroup);
