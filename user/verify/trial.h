/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trial: each kind by each way, sent by a control outside the gate and by a canary in the
 * workload's own cgroup, in each state of the tunnel; and what it proves.
 */
#pragma once

#include "verify/place.h"

enum column { COLUMN_CONTROL, COLUMN_UP, COLUMN_DOWN, COLUMN_DEAD, COLUMNS };

/* What a row proves. */
enum how {
	HOW_IN_PLACE, /* the control's packets of that kind were seen by that way */
	HOW_STAND_IN, /* they were not (a guard drops them too), but what stands in for them was */
	HOW_UNPROVEN, /* nobody has seen anything */
};

struct cell {
	bool tried;
	uint64_t sent, seen;
};

struct row {
	unsigned int way, kind;
	struct cell cells[COLUMNS];
	char skipped[80]; /* why this kernel or netns can not make it; "": it can */
};

#define TRIAL_ROWS 128

struct trial {
	struct place place;
	size_t n_rows;
	struct row rows[TRIAL_ROWS];
	uint64_t asked; /* questions for names that were seen in the tunnel */
};

/* Its rows: needs trial->place. */
void trial_begin(struct trial *t);
/* Send everything and count it. cgroup_fd -1: the control. 0 or -Exxx. */
int trial_run(struct trial *t, enum column c, int cgroup_fd, struct error *err);

/* ---- what it proves; pure ---- */

enum how trial_how(const struct trial *t, const struct row *r);
/* By all rows and columns but the control's. A stand-in's packets count if they leaked only. */
struct sum {
	unsigned int rows; /* in place */
	uint64_t sent, leaked;
	bool gate; /* in place by sockets, which the gate sees: without these nothing is proved */
};
struct sum trial_sum(const struct trial *t);
/* Was every question for a name lost that was sent while the tunnel was up? */
bool trial_names_lost(const struct trial *t);
