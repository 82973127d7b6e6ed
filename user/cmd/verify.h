/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `verify` has found out, and how it is told: verify.c finds, verify_print.c tells. */
#pragma once

#include <jansson.h>

#include "cmd/cmd.h"
#include "cmd/names.h"
#include "report/report.h"
#include "verify/trial.h"

struct verify {
	bool quick, yes, json;
	const char *asked_for; /* on the command line; NULL: the only one */
	char name[NAME_LEN];   /* escaped */
	char state[16];	       /* at the beginning */
	pid_t daemon;	       /* 0: none */
	bool names_redirected; /* the daemon says so */
	bool frozen;	       /* nobody of it can send */
	struct trial trial;
	uint64_t dropped[COLUMNS][VPNLEASH_REASON_MAX]; /* by the gate, meanwhile */
	uint64_t disturbed_ns;
	char not_open[160]; /* it was open before, and is not again; "": it is */
};

/* The table and the verdict, or the same as JSON. Its exit code. */
int verify_tell(const struct verify *v);
