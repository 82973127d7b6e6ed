/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the VPN's server is: the rules of one netns. */
#ifndef VPNLEASH_ENDPOINTS_H
#define VPNLEASH_ENDPOINTS_H

#include <stddef.h>

#include "watch/wireguard.h"

struct edge;

#define ENDPOINT_LEN 80 /* "[ADDRESS/LENGTH]:PORT/udp" */

int edge_write_endpoints(struct edge *e); /* 0 or -Exxx, logged: more than these may be in force */
void edge_adopt_learned(struct edge *e);  /* what an earlier daemon learnt, while its lease lives */

void edge_endpoint_text(char ret[ENDPOINT_LEN], const struct vpn_endpoint *to, unsigned int prefix);
/* For status. */
size_t edge_endpoints(const struct edge *e, char (*ret)[ENDPOINT_LEN], size_t max);

#endif
