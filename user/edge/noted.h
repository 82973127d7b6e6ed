/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the server is of a VPN that says so nowhere. */
#ifndef VPNLEASH_NOTED_H
#define VPNLEASH_NOTED_H

#include "base/util.h"

struct edge;

/* What was learnt is learnt anew. 0, though there may be none; -ENOTUNIQ: one of several, and
 * nobody says which. */
int edge_learn(struct edge *e, struct error *err);

#endif
