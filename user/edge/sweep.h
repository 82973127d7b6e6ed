/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets that were opened elsewhere, and who sent what the guard dropped. */
#ifndef VPNLEASH_SWEEP_H
#define VPNLEASH_SWEEP_H

#include "vpnleash/abi.h"

struct edge;

/* At attach, and when a workload starts: sockets of the netns that were opened elsewhere are
 * reported, each once, and ended where the VPN's cgroup is known. NULL is fine. */
void edge_sweep(struct edge *e);
/* Of a drop of this netns' guard: the sender's cgroup and process, "" where it is not known. */
void edge_name_sender(struct edge *e, const struct drop_event *event, char cgroup[256],
		      char process[64]);

#endif
