/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command's end of the control socket (control.h). */
#pragma once

#include <jansson.h>

#include "base/util.h"

/* Who listens there, in our pid namespace; 0: in none below it. */
int control_daemon(pid_t *ret, struct error *err);

/* Ask the running daemon. -ESRCH with ERROR_NO_DAEMON: there is none. Takes the request
 * over. */
int control_ask(json_t *request, json_t **ret, struct error *err);
/* The same, and call f for the answer and then for every line that follows, until f returns
 * non-zero (returned), or the daemon ends (0). */
int control_follow(json_t *request, int (*f)(const json_t *line, void *arg), void *arg,
		   struct error *err);
