/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One record for each thing that a person may want to know later: changes of state with their
 * evidence and latency, and what was dropped. Each is a line in the log (journal fields with a
 * MESSAGE_ID where stderr is the journal), and a JSON object for `vpnleash events`, of which the
 * last AUDIT_HISTORY are kept.
 */
#pragma once

#include <jansson.h>

#include "base/util.h"
#include "vpnleash/abi.h"
#include "vpnleash/reasons.h"

#define AUDIT_HISTORY 256

struct audit;

/* Also told each record, for those who follow. */
typedef void (*audit_publish)(void *owner, const json_t *record);

struct audit *audit_new(audit_publish publish, void *owner); /* NULL: no memory */
void audit_free(struct audit *a);

/* A change of state. `kind` is "tunnel" or "workload"; names in `detail` are escaped (NULL: none).
 * latency_ns: since the evidence; 0: none. quiet: keep it for `events`, but leave it out of the
 * log. */
void audit_state(struct audit *a, const char *kind, const char *name, const char *from,
		 const char *to, const char *evidence, const char *detail, uint64_t latency_ns,
		 bool quiet);
struct drop_source {
	const char *tunnel;	       /* whose guard dropped it; NULL: a gate did */
	const char *container;	       /* the sender's; NULL: none, or not known */
	char cgroup[256], process[64]; /* of the sender; "": not known */
	const char *remedy;	       /* what to type to let it pass; NULL: nothing */
};
/* A sampled drop, or the first packet by `reach`: for `events` only. */
void audit_drop(struct audit *a, const char *workload, const struct drop_source *from,
		const struct drop_event *e);
/* A socket in a tunnel's netns that was opened elsewhere, by that cgroup, which is the container's
 * (NULL: nobody's); ended: it is no more. */
void audit_foreign(struct audit *a, const char *tunnel, const char *packet, const char *cgroup,
		   const char *container, bool ended, bool quiet);
/* So many frames came past the guard that should not have, and the last of them. */
void audit_stray(struct audit *a, const char *tunnel, uint64_t frames,
		 const struct drop_event *last);
/* "udp 10.0.0.2 -> 1.2.3.4:6881"; returns buf. */
const char *audit_packet(char *buf, size_t size, const struct drop_event *e);
/* What was dropped since the last summary, and the last sample of it (NULL: none). */
void audit_summary(struct audit *a, const char *workload,
		   const uint64_t dropped[VPNLEASH_REASON_MAX], const struct drop_event *last);

/* The kept records, oldest first; a new reference. workload NULL: of all. */
json_t *audit_history(const struct audit *a, const char *workload);
