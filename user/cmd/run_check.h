/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run --check. */
#pragma once

#include "config/config.h"

/* Print what `run` would do with this configuration, read from `file` (NULL: from none); or -Exxx
 * with what it would fail with. Only looks: may run beside a daemon, and needs no right. */
int run_check(const struct config *config, const char *file, struct error *err);
