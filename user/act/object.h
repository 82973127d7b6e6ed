/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The BPF object in the binary: 0.5 MB of it, so one file alone has it. */
#pragma once

struct vpnleash_bpf;

/* Parsed, not loaded. NULL: errno. */
struct vpnleash_bpf *object_open(void);
int object_load(struct vpnleash_bpf *skel);
void object_close(struct vpnleash_bpf *skel);
