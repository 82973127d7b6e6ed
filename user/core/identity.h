/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a tunnel's exit is the one expected: the key `identity`. Asked when a tunnel that is down
 * shows a sign of life, once a minute while it is up, and after a silence. Who is not answered
 * keeps a lease and gets none; a wrong answer is evidence, and the tunnel's to judge.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct daemon;
struct tunnel;

enum exit_known { EXIT_UNKNOWN, EXIT_RIGHT, EXIT_WRONG };

struct identity {
	enum exit_known exit; /* by the last answer; EXIT_RIGHT: since the tunnel came up */
	uint32_t number;      /* of the newest question */
	uint64_t asked_ns;    /* it is under way since then, 0: none is */
	uint64_t next_ns;     /* not asked before that */
	uint64_t answered_ns; /* when it was last answered, 0: never */
	uint64_t took_ns;     /* that answer */
	int error;	      /* of the last question without one; see check_says() */
};

/* The process that asks, and runs the probes that are programs. */
int checks_begin(struct daemon *d, struct error *err);

/* On the tick: asks, if it is due. */
void identity_look(struct tunnel *t, uint64_t now);
/* It was silent for a while, as when a VPN goes to another server: asked soon. */
void identity_doubt(struct tunnel *t);
/* The tunnel has failed: what was found is of before. */
void identity_forget(struct tunnel *t);
/* Nothing is asked for, or the exit is the one expected. */
bool identity_is_right(const struct tunnel *t);
/* "http://… expect …", and how it is, for people; escaped. Return buf. */
const char *identity_text(const struct tunnel *t, char *buf, size_t size);
const char *identity_says(const struct tunnel *t, char *buf, size_t size);
