/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel's headers of Debian 12 (6.1) lack of the interface that the daemon speaks. Each
 * with the version that brought it; it goes when the oldest Debian that we build on has it.
 */
#ifndef VPNLEASH_UAPI_H
#define VPNLEASH_UAPI_H

#include <linux/bpf.h>

/* v6.6: e420bed02507 ("bpf: Add fd-based tcx multi-prog infra with link support"). In later headers
 * members of an enum, so that there is no asking for them. */
#define VPNLEASH_TCX_INGRESS ((enum bpf_attach_type)46) /* BPF_TCX_INGRESS */
#define VPNLEASH_TCX_EGRESS  ((enum bpf_attach_type)47) /* BPF_TCX_EGRESS */

#ifndef BPF_F_BEFORE
#define BPF_F_BEFORE (1U << 3) /* without a relative: the first of all */
#define BPF_F_AFTER  (1U << 4)
#define BPF_F_ID     (1U << 5) /* the relative is a program's id, and no fd */
#endif

/* struct bpf_link_info of a tcx link. */
struct tcx_link_info {
	__u32 type, id, prog_id;
	__u32 padding; /* the union that follows is aligned to 8 bytes */
	__u32 ifindex; /* 0: its device is gone */
	__u32 attach_type;
	__u8 rest[256]; /* what the kernel may know more */
};

#endif
