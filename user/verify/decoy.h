/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A way out beside the tunnel that leads nowhere: a tun device in the workload's netns, to which
 * the documentation addresses below are routed, and what arrives is thrown away. So the gate is
 * tried with every kind of packet, and a control sees them, without one leaving the machine. No
 * packet of anybody else takes it, no guard sits on it.
 *
 * Device and routes are a process' that dies with this one: the kernel takes them away.
 */
#pragma once

#include "base/child.h"
#include "base/util.h"

#define DECOY_NAME "leash-decoy"
#define DECOY4	   "192.0.2.77"	       /* RFC 5737 */
#define DECOY6	   "2001:db8:7670::77" /* RFC 3849 */
#define NEIGHBOUR4 "192.0.2.78"
#define NEIGHBOUR6 "2001:db8:7670::78"
/* Also of these, and routed nowhere: where packets go that name their interface. */
#define ELSEWHERE4 "192.0.2.79"
#define ELSEWHERE6 "2001:db8:7670::79"

/* 0 or -Exxx; -EBUSY: another one is there. */
int decoy_open(struct child *holder, int netns_fd, struct error *err);
