/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `vpnleash listen`: metrics and the page, by a process without any right but to ask the daemon. */
#pragma once

#include "listen/http.h"

/* Serves until it is ended; returns only if it can not. */
int listen_run(const struct http_config *config, struct error *err);
