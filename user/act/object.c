/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/object.h"

#include <stdbool.h>

#include "vpnleash/abi.h"
#include "vpnleash.skel.h"

struct vpnleash_bpf *object_open(void)
{
	return vpnleash_bpf__open();
}

int object_load(struct vpnleash_bpf *skel)
{
	return vpnleash_bpf__load(skel);
}

void object_close(struct vpnleash_bpf *skel)
{
	vpnleash_bpf__destroy(skel);
}
