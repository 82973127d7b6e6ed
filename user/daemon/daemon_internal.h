/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What daemon.c has of the others. */
#ifndef VPNLEASH_DAEMON_INTERNAL_H
#define VPNLEASH_DAEMON_INTERNAL_H

#include "config/config.h"
#include "report/control.h"

struct daemon;

/* All that it names is made and shut, and nothing started; all or nothing. */
int reload_begin(struct daemon *d, const struct config *config, struct error *err);
/* The daemon's file read anew; on failure the old configuration is kept. */
int reload(struct daemon *d, struct error *err);
/* What the control socket is asked, and who may ask it: for control_start(). */
json_t *verbs_answer(void *daemon, const json_t *request, const struct control_peer *peer);

#endif
