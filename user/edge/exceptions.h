/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who of the LAN may come in. */
#ifndef VPNLEASH_EXCEPTIONS_H
#define VPNLEASH_EXCEPTIONS_H

struct edge;

/* Written anew, from links, endpoints and workloads. */
void edge_exceptions(struct edge *e);

#endif
