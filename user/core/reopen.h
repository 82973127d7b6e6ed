/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When may a tunnel that is down be granted a lease (again)? After signs of life, never 3 s
 * apart, that span long enough: 200 ms, doubled for each opening within the last minute, at most
 * 30 s, so that a flapping tunnel is opened ever more reluctantly. Pure: times (boot ns) are passed
 * in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define REOPEN_GAP_NS	  200000000ULL
#define REOPEN_GAP_MAX_NS 30000000000ULL
#define REOPEN_WINDOW_NS  60000000000ULL
#define REOPEN_SILENCE_NS 3000000000ULL
#define REOPEN_REMEMBER	  8 /* 2^8 × 200 ms > 30 s: more openings change nothing */

struct reopen {
	uint64_t openings_ns[REOPEN_REMEMBER]; /* ring of the last openings; 0: none */
	unsigned int next;
	uint64_t first_seen_ns; /* first sign of life since the tunnel went down; 0: none yet */
	uint64_t last_seen_ns;	/* a silence after it begins the count anew */
};

/* Openings within the last minute, REOPEN_REMEMBER at the most. */
unsigned int reopen_recent(const struct reopen *r, uint64_t now_ns);
uint64_t reopen_gap_ns(const struct reopen *r, uint64_t now_ns);
/* A sign of life at seen_ns while down: does it prove the tunnel, together with an earlier one? */
bool reopen_seen(struct reopen *r, uint64_t seen_ns, uint64_t now_ns);
void reopen_opened(struct reopen *r, uint64_t now_ns); /* a lease was granted */
void reopen_failed(struct reopen *r); /* hard evidence: signs of life from before count no more */
