/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the control socket is asked, and who may ask it. */
#pragma once

#include "report/control.h"

/* For control_start(). */
json_t *verbs_answer(void *daemon, const json_t *request, const struct control_peer *peer);
