/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is pinned under /sys/fs/bpf/vpnleash: the layouts that the BPF programs, the daemon, an
 * older or newer daemon and `bpftool map dump` share. All times are CLOCK_BOOTTIME nanoseconds.
 *
 * A change of any layout or meaning is a new VPNLEASH_ABI_VERSION.
 */
#ifndef VPNLEASH_ABI_H
#define VPNLEASH_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define VPNLEASH_ABI_VERSION 1
#define VPNLEASH_PIN_DIR     "/sys/fs/bpf/vpnleash"

/* Slots of `leases`. Slot 0 is never granted: a zeroed record points at a lease that cannot live.
 */
#define VPNLEASH_SLOTS 256
/* A lease that ends further ahead is a bug, a time namespace or a tampered map: no lease. */
#define VPNLEASH_LEASE_CAP_NS 5000000000ULL
#define VPNLEASH_WORKLOADS    8192
#define VPNLEASH_COUNTERS     65536
#define VPNLEASH_NAME_LEN     64

/* `header`, one entry. */
struct header {
	__u32 abi_version; /* VPNLEASH_ABI_VERSION of who made the pins */
	__u32 writer_pid;  /* last daemon, `lock` or `detach` that wrote here; for people */
	__u64 generation;  /* moves whenever the set of workloads or tunnels changes */
	__u64 written_ns;
	__u64 events_lost; /* drop events that found the ring full; written by the gate */
};

/*
 * `leases`, by slot: "this interface, in this netns, until then". Written by the daemon alone, by
 * plain stores into the mapped array. netns_cookie, ifindex and link_type are immutable while a
 * gate may read the slot; granting, renewing and revoking is one store to expires_ns.
 */
struct lease {
	__u64 netns_cookie; /* 0: slot never used */
	__u32 netns_ino;    /* the same netns as people see it in /proc/PID/ns/net */
	__u32 ifindex;
	__u32 link_type; /* ARPHRD_…: an index can be given to another device; where the gate can
			  * not read a packet's device (before v6.2) it is not compared */
	__u32 reserved;
	__u64 expires_ns; /* 0: no lease */
	__u64 granted_ns; /* when `down` became `up` */
	__u64 seen_ns;	  /* the tunnel's last sign of life that the daemon has acted on */
	__u64 reserved_[2];
};

/* workload.flags */
enum workload_flag {
	WORKLOAD_ADMITTED = 1 << 0,	/* passes while its tunnel's lease lives */
	WORKLOAD_HELD = 1 << 1,		/* an operator's manual block */
	WORKLOAD_IPV6 = 1 << 2,		/* the tunnel is proven for IPv6 too */
	WORKLOAD_DOCKER_DNS = 1 << 3,	/* may talk to 127.0.0.11 */
	WORKLOAD_FROZEN_BY_US = 1 << 4, /* cgroup.freeze was written by vpnleash: ours to thaw */
};

/*
 * `workloads`, by cgroup id. The first 8 bytes are read by the gate in one load: an update of the
 * map replaces the element, and the kernel may hand the old one at once to another key while a
 * gate still holds a pointer to it. The tag in the same word tells the gate that this happened.
 */
struct workload {
	__u32 cgroup_tag; /* low half of the key */
	__u16 slot;	  /* of its tunnel's lease */
	__u16 flags;	  /* enum workload_flag */
	__u32 level;	  /* depth of the cgroup below the root */
	__u32 reserved;
	__u64 since_ns; /* of the last change of flags */
	__u64 event_ns; /* of its last drop event; written by the gate */
	char name[VPNLEASH_NAME_LEN];
};

/* `counters`, per CPU: what was dropped. Exact; a key that found no room counts under cgroup 0. */
struct counter_key {
	__u64 cgroup_id;
	__u32 reason; /* enum reason */
	__u32 reserved;
};
struct counter {
	__u64 packets;
	__u64 bytes;
	__u64 checked_jiffy; /* when it was last asked whether an event is due */
	__u64 event_ns;	     /* of the last event where there is no record to note it in */
};

/* At most one event for each workload in this time; the counters are the truth. */
#define VPNLEASH_EVENT_GAP_NS 100000000ULL
#define VPNLEASH_EVENTS_BYTES (256 * 1024)

/* `events`, ring buffer: a sample of what was dropped. */
struct drop_event {
	__u64 at_ns;
	__u64 cgroup_id;
	__u32 reason; /* enum reason */
	__u32 ifindex;
	__u32 length; /* of the packet from its IP header on */
	__u8 ingress; /* 0: on its way out */
	__u8 family;  /* 4, 6; 0: the header was too short */
	__u8 protocol;
	__u8 reserved;
	__be16 source_port, destination_port; /* 0: none, or not in this fragment */
	__u32 reserved2;
	__u8 source[16], destination[16]; /* IPv4 in the first 4 bytes */
};

/* `liveness`, per CPU, by slot: what passed, and when the tunnel last showed a sign of life. */
struct liveness {
	__u64 tx_packets; /* passed by gate_egress */
	__u64 rx_packets; /* passed by gate_ingress */
	__u64 seen_ns;	  /* a packet for this host came out of the tunnel, passed or not */
	__u64 seen_jiffy; /* when seen_ns was stamped: once a jiffy */
	/* this expires_ns was alive in this jiffy; the gate reads the clock when either differs */
	__u64 checked_expires_ns;
	__u64 checked_jiffy;
};

_Static_assert(sizeof(struct header) == 32, "header");
_Static_assert(sizeof(struct lease) == 64, "lease: one cache line");
_Static_assert(sizeof(struct workload) == 96, "workload");
_Static_assert(__builtin_offsetof(struct workload, level) == 8, "workload: one word for the gate");
_Static_assert(sizeof(struct counter_key) == 16 && sizeof(struct counter) == 32, "counter");
_Static_assert(sizeof(struct drop_event) == 72, "drop_event");
_Static_assert(sizeof(struct liveness) == 48, "liveness");

#endif
