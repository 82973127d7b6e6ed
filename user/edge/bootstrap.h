/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the VPN may use the underlay before its tunnel exists. */
#ifndef VPNLEASH_BOOTSTRAP_H
#define VPNLEASH_BOOTSTRAP_H

#include "base/util.h"

struct edge;

/* While no lease lives: the VPN may use the underlay, or may go on; what is needed for that is read
 * anew, and edge_why() says what is missing. */
void edge_bootstrap(struct edge *e);
/* What was noted is forgotten. NULL is fine. */
void edge_shut(struct edge *e);
/* The cgroup is a workload's from now on: if the VPN's is that, above it or below, it is the VPN's
 * no more. NULL is fine. */
void edge_leashed(struct edge *e, const char *cgroup);
/* Before a grant: bootstrap is shut, and the endpoints are known and fixed. -ENOENT: there are
 * none; -ENOTUNIQ: one of several, and nobody says which. */
int edge_settle(struct edge *e, struct error *err);
/* The VPN's cgroup, if it can be known; else vpn_why() says why. Is it another one, bootstrap is
 * shut. */
void edge_find_vpn(struct edge *e);

#endif
