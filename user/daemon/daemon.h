/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon joins watchers, policy and doers: evidence in, actions out, in the order of the
 * table. Nothing it does at its own end opens or shuts anything: a lease runs out by itself.
 */
#pragma once

#include "config/config.h"

/* Attach the gate to every cgroup of the configuration, with no lease, and return. */
int daemon_lock(const struct config *config, struct error *err);
/* Until SIGTERM or SIGINT: 0. SIGHUP reads `file` again (NULL: there is none); an error in it is
 * logged and the old configuration kept. */
int daemon_run(const struct config *config, const char *file, struct error *err);
