/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VPN in the workload itself, as images have it that bring their VPN along. The kernel's
 * WireGuard works there: its packets are no socket's of the workload. A program does not: the leash
 * drops what it sends. Who is frozen or stopped never brings a tunnel up, so such a workload is
 * blocked, whatever on-failure says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct workload;

enum own_vpn {
	OWN_VPN_NONE,
	OWN_VPN_AWAITED, /* the tunnel is to be in the container's own network, and is not there */
	OWN_VPN_KERNEL,	 /* it is, and no program of the workload makes it */
	OWN_VPN_PROGRAM, /* a program of the workload does: nothing will ever pass */
};

/* Looked at anew, into w->own_vpn. Whether it is another now; that is logged. */
bool own_vpn_look(struct workload *w);
/* Why it can not open, with the remedy, in buf; "": that is not why. */
const char *own_vpn_trouble(const struct workload *w, char *buf, size_t size);
const char *own_vpn_remedy(const struct workload *w); /* NULL: there is none of this */
