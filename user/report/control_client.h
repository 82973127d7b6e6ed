/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command's end of the control socket (control.h). */
#ifndef VPNLEASH_CONTROL_CLIENT_H
#define VPNLEASH_CONTROL_CLIENT_H

#include <jansson.h>

#include "base/util.h"

/* Ask the running daemon. -ESRCH with ERROR_NO_DAEMON: there is none. */
int control_ask(const json_t *request, json_t **ret, struct error *err);
/* Ask, and call f for the answer and then for every line that follows, until f returns non-zero
 * (returned), or the daemon ends (0). */
int control_follow(const json_t *request, int (*f)(const json_t *line, void *arg), void *arg,
		   struct error *err);

#endif
