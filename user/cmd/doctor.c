/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor */
#include "cmd/cmd.h"
int cmd_doctor(int argc, char **argv, struct error *err)
{
	(void)argc;
	(void)argv;
	return fail(err, EXIT_FAILURE_, 0, NULL, "TODO");
}
