/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cgroups of `vpnleash exec`: workloads for as long as they have a process. */
#pragma once

#include <jansson.h>

#include "base/util.h"

struct daemon;

/* A born-locked cgroup on the tunnel of that interface and netns (NULL: of the only tunnel with
 * that interface), for as long as the client or anybody in it lives. In *ret, what to tell the
 * client. */
int exec_begin(struct daemon *d, const char *interface, const char *netns, pid_t client,
	       json_t **ret, struct error *err);
/* What an earlier daemon began: gone on with, or tidied up. The tunnels must have been started. */
void exec_adopt(struct daemon *d);
/* Each goes on with the tunnel that it was begun on, or stays shut where that is gone. */
void exec_reload(struct daemon *d);
