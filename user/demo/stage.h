/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stage for a demonstration: one process tree that is the first of a pid namespace, with mounts
 * and network of its own and one cgroup, so that it never meets a real daemon, its pins or its
 * tunnel. Its *keeper* stays outside and waits. When the stage ends, or the keeper ends it (signal,
 * time over) or dies, the kernel ends all that runs there and takes mounts and networks away; the
 * keeper removes the cgroup.
 */
#pragma once

#include "base/cgroup.h"

struct stage {
	struct cgroup_root root;
	struct cgroup_ref cgroup; /* "/vpnleash-demo-PID", empty */
	struct error err;
	pid_t daemon; /* 0, or a vpnleash daemon that was started on it */
};

/* play(s) on the stage: an exit code, or -Exxx with s->err filled. The stage has a /proc, a tmpfs
 * on /run and a bpffs of its own; loopback is down. Returns what play returned, or -Exxx with `err`
 * filled: play's own, a signal, time over. */
int stage_run(int (*play)(struct stage *s), unsigned int bound_ms, struct error *err);
