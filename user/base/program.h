/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of the operator, run as user "vpnleash" (nobody where there is none), without
 * capabilities: hooks, and the probe `exec`.
 */
#pragma once

#include "base/util.h"

/*
 * The program's descriptor (O_PATH), by which it is run; or -Exxx: it must be an executable regular
 * file that only root may write, by directories and links of which the same holds. `what` it is
 * called in the error.
 */
int program_open(const char *what, const char *program, struct error *err);

/* In the child that will be one: PATH, and nothing else. */
void program_environment(void);
/* The child becomes the program, with the descriptors 0, 1 and 2 and its own; it ends with
 * `parent`. */
_Noreturn void program_become(int fd, const char *name, pid_t parent);
