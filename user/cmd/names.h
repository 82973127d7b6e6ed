/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which workload somebody means: by its name in `vpnleash status`, or in any spelling that
 * `run --cgroup` takes. One place for all commands, whether a daemon answers or the pins do.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/util.h"

#define NAME_LEN 1024

/* The daemon's report or, without one, the pins' (*ret_daemon false). */
int names_report(json_t **ret, bool *ret_daemon, struct error *err);

/* text NULL: the only one that there is. In ret its name as the report shows
 * it. -ENOENT, with
 * those that there are in the sentence: nobody is called that, or one of several is to be named. */
int names_find(const json_t *report, const char *text, char ret[NAME_LEN], struct error *err);
/* Both. *ret_daemon is set if a report was had. */
int names_ask(const char *text, char ret[NAME_LEN], bool *ret_daemon, struct error *err);

/* The same as the pins have it, in its place. */
char *names_plain(char *name);
/* What a workload that is not there yet will be called: the end of a path, a container's name. */
void names_to_be(const char *text, char ret[NAME_LEN]);
