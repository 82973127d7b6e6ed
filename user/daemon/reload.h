/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a configuration to tunnels and workloads, and from one configuration to the next. */
#pragma once

#include "config/config.h"

struct daemon;

/* All that it names is made and shut, and nothing started; all or nothing. */
int reload_begin(struct daemon *d, const struct config *config, struct error *err);
/* The daemon's file read anew; on failure the old configuration is kept. */
int reload(struct daemon *d, struct error *err);
