/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long is a tunnel's way, how much gets lost on it, and how patient with its silence must one
 * be? Learnt from probes alone. Pure: times (boot ns) are passed in.
 */
#pragma once

#include <stdint.h>

#define PATIENCE_MIN_NS 3000000000ULL
#define PATIENCE_MAX_NS 10000000000ULL
#define MEASURE_ASKED	64 /* of one probe, that may still be answered */

/* What was asked of one probe, by number. */
struct measure_asked {
	uint32_t next;	 /* the next one's number */
	uint32_t judged; /* the first one of which it is not known whether it was lost */
	uint32_t lost_in_a_row;
	uint64_t answered; /* a bit for each of the last ones */
	uint64_t at_ns[MEASURE_ASKED];
};

struct measure {
	uint64_t rtt_ns, var_ns; /* round trip and its variation, as of RFC 6298; 0: not known */
	uint64_t lost;		 /* a bit for each of the last 64 whose fate is known */
	uint32_t known;		 /* how many these are */
};

/* One is asked now. Its number. */
uint32_t measure_ask(struct measure_asked *a, uint64_t now_ns);
/* It was answered at t_ns: after how long, at least 1; 0: it was not asked, or was answered before.
 */
uint64_t measure_answered(struct measure *m, struct measure_asked *a, uint32_t number,
			  uint64_t t_ns);

/* How long an answer may be under way before it is late: 0.5 s to 2 s. */
uint64_t measure_late_ns(const struct measure *m);
unsigned int measure_loss_percent(const struct measure *m);
/* of a tunnel in whose silence a probe is asked so often */
uint64_t measure_patience_ns(const struct measure *m, uint64_t interval_ns);
