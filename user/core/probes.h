/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tunnel's probes: their sockets, who is asked when, who answers and how fast, how patient one
 * must be with their silence; and the prober's process. What to make of an answer is the tunnel's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "core/measure.h"
#include "prober/check.h"

struct daemon;
struct tunnel;

struct probe {
	struct measure_asked asked;
	uint64_t socket_ns;   /* when its socket was made, 0: it has none */
	uint64_t asked_ns;    /* last, 0: never */
	uint64_t waits_ns;    /* the first time since its last answer, 0: none */
	uint64_t answered_ns; /* when its last answer came in, 0: never */
	uint64_t took_ns;     /* that answer */
	uint32_t unanswered;  /* how often it was asked since that answer */
	bool beside;	      /* it is not asked: its route leads beside the tunnel */
	int error;	      /* of the last one that failed since then; see struct prober_news, or
			       * of PROBE_EXEC check_says() */
	uint64_t runs_ns;     /* PROBE_EXEC: since when it runs, 0: it does not */
};

struct probes {
	struct probe each[RULES_PROBES]; /* as t->config.probes.rule */
	size_t kept;			 /* who is asked when all is well */
	uint64_t all_ns;		 /* when all were asked last */
	struct measure measure;
	char error[256]; /* why one has no socket; "": all have */
	int genl;	 /* 0: not open */
	int64_t handshake_wall_ns;
	uint64_t handshake_ns; /* boot time of WireGuard's last handshake, 0: not known, or none */
};

/* Would its programs be run? */
int probes_check(const struct probe_rules *rules, struct error *err);
int prober_begin(struct daemon *d, struct error *err);
/* Does a guard hold back all that could leave the netns beside the tunnel? */
bool probes_guarded(const struct tunnel *t);

/* New sockets, bound to the device that it is now. */
void probes_bind(struct tunnel *t, unsigned int ifindex);
/* On the tick: what failed is tried again, and so is what never had an answer. */
void probes_look(struct tunnel *t, uint64_t now);
/* Asks the one that answers; or, since it is late, or nothing is proven, all. false: there is
 * nobody to ask. */
bool probes_ask(struct tunnel *t, bool late, uint64_t now);
/* The sockets are closed: the device has gone, or is another one. */
void probes_unbind(struct tunnel *t);
/* The program that is its i-th probe has ended. */
void probes_exec_ended(struct tunnel *t, size_t i, const struct check_news *news);
/* Has WireGuard a handshake that is young enough? */
bool probes_handshake(struct tunnel *t, uint64_t now);

uint64_t probes_late_ns(const struct tunnel *t);
uint64_t probes_patience_ns(const struct tunnel *t);
/* Each of them, and how it is. Returns buf. */
const char *probes_list(const struct tunnel *t, char *buf, size_t size);
/* The same of a tunnel that is up where some are silent, and what that means; else "". */
const char *probes_say(const struct tunnel *t, char *buf, size_t size);
/* The same of one: "no answer to 7 questions: Network is down". */
const char *probe_says(const struct tunnel *t, size_t i, char *buf, size_t size);
/* It was asked more than once, long enough ago. */
bool probe_is_silent(const struct tunnel *t, size_t i, uint64_t now);
