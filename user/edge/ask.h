/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WireGuard asked where its peers are. */
#ifndef VPNLEASH_ASK_H
#define VPNLEASH_ASK_H

struct edge;

/* What it says of itself now, or will say. */
void edge_ask_wireguard(struct edge *e);

#endif
