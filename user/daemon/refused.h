/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients of the LAN that were kept out, or got no answer, and the line that would help each. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "vpnleash/abi.h"

struct daemon;
struct tunnel;

#define REFUSED_LEN 512

/* Of a packet that the tunnel's guard, or a workload's gate, has dropped: what would help its
 * client, as it is to be typed; NULL: nothing to say. It is remembered. */
const char *refused_note(struct daemon *d, struct tunnel *t, const struct drop_event *e,
			 char buf[REFUSED_LEN]);
/* Sentences, of the last minutes. */
json_t *refused_list(const struct tunnel *t);
