/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report of `status` as metrics, for Prometheus and who reads the same text. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* report: NULL: no daemon answers. open: OpenMetrics, else Prometheus' older text, where the family
 * of a counter ends in _total as well. To free(); NULL: no memory. */
char *metrics_text(const json_t *report, bool open);
