/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands. Each takes its own argv (argv[0] is the command's name) and returns an exit code,
 * or -Exxx with `err` filled, whose kind main() then ends with.
 */
#pragma once

#include "base/util.h"

/* Exit codes that are answers; the others are enum error_kind's. */
enum exit_code {
	EXIT_GOOD = 0,
	EXIT_NEGATIVE = 1, /* a negative answer */
};

int cmd_run(int argc, char **argv, struct error *err);
int cmd_exec(int argc, char **argv, struct error *err);
int cmd_lock(int argc, char **argv, struct error *err);
int cmd_status(int argc, char **argv, struct error *err);
int cmd_check(int argc, char **argv, struct error *err);
int cmd_why(int argc, char **argv, struct error *err);
int cmd_events(int argc, char **argv, struct error *err);
int cmd_drill(int argc, char **argv, struct error *err);
int cmd_hold(int argc, char **argv, struct error *err); /* and release */
int cmd_detach(int argc, char **argv, struct error *err);
int cmd_top(int argc, char **argv, struct error *err);
int cmd_listen(int argc, char **argv, struct error *err);
int cmd_doctor(int argc, char **argv, struct error *err);
int cmd_verify(int argc, char **argv, struct error *err);
int cmd_demo(int argc, char **argv, struct error *err);

/* Is --help among the arguments? */
bool wants_help(int argc, char **argv);
