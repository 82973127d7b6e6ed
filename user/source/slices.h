/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The locked slices that the daemon watches, and the workloads that are their children. */
#pragma once

#include "config/config.h"

struct daemon;

/* As the configuration has them, which are locked already; at the start too. The tunnels must have
 * been started. What it has no longer stays locked, its children shut. */
int slices_reload(struct daemon *d, const struct config *config, struct error *err);
/* At what `vpnleash lock` has locked: the configuration need not name it, made anew it is locked
 * again all the same. */
void slices_look(struct daemon *d);
/* Is it one, or above or below one? */
bool slices_touch(const struct daemon *d, const char *path);
void slices_detached(struct daemon *d); /* those that are no longer locked are left alone */
void slices_stop(struct daemon *d);	/* locked they stay, and their children as they are */
