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

#define VPNLEASH_ABI_VERSION 9
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
 * plain stores into the mapped array, but for what the gate notes once a jiffy. netns_cookie,
 * ifindex and link_type are immutable while a gate may read the slot; granting, renewing and
 * revoking is one store to expires_ns.
 */
struct lease {
	__u64 netns_cookie; /* 0: slot never used */
	__u32 netns_ino;    /* the same netns as people see it in /proc/PID/ns/net */
	__u32 ifindex;
	__u32 link_type; /* ARPHRD_…: an index can be given to another device; where the gate can
			  * not read a packet's device (before v6.2) it is not compared */
	__u32 reserved;
	__u64 expires_ns; /* 0: no lease */
	__u64 device;	  /* by the gate: the kernel's address of this tunnel's device */
	__u64 seen_ns;	  /* the tunnel's last sign of life that the daemon has acted on */
	/* by the gate: expires_ns, plus the jiffy in which a packet passed by `device` */
	__u64 passed_out, passed_in;
};

/* workload_record.flags */
enum workload_flag {
	WORKLOAD_ADMITTED = 1 << 0,	/* passes while its tunnel's lease lives */
	WORKLOAD_HELD = 1 << 1,		/* an operator's manual block */
	WORKLOAD_IPV6 = 1 << 2,		/* the tunnel is proven for IPv6 too */
	WORKLOAD_DOCKER_DNS = 1 << 3,	/* may talk to 127.0.0.11 */
	WORKLOAD_FROZEN_BY_US = 1 << 4, /* cgroup.freeze was written by vpnleash: ours to thaw */
	WORKLOAD_ALLOW = 1 << 5,	/* LAN exceptions of its netns are looked at */
	WORKLOAD_AUDIT = 1 << 6,	/* what would be dropped is counted, and passes */
	WORKLOAD_SLICE = 1 << 7, /* no workload: its gate judges each of its direct children by
				  * the child's own record, and drops what has none */
	WORKLOAD_EXEC = 1 << 8,	 /* made by `vpnleash exec`: its cgroup is the daemon's to remove */
	WORKLOAD_GONE = 1 << 9,	 /* its cgroup was removed: barred for good; it stays for as long as
				  * the kernel runs the gate for a socket that is left of it */
	WORKLOAD_REACH = 1 << 10, /* may begin what `reach` lets out of its netns */
};

/*
 * `workloads`, by cgroup id. The first 8 bytes are read by the gate in one load: an update of the
 * map replaces the element, and the kernel may hand the old one at once to another key while a
 * gate still holds a pointer to it. The tag in the same word tells the gate that this happened.
 */
struct workload_record {
	__u32 cgroup_tag; /* low half of the key */
	__u8 slot;	  /* of its tunnel's lease */
	__u8 row;	  /* in `near_counters`; 0: none */
	__u16 flags;	  /* enum workload_flag */
	__u32 level;	  /* depth of the cgroup below the root */
	__u32 slice_tag; /* low half of the id of the locked slice that it is a child of; 0: none */
	__u64 since_ns;	 /* of the last change of flags */
	__u64 event_ns;	 /* of its last drop event; written by the gate */
	/* of the netns of its last tunnel, whose guard stays as long as the record; 0: not known */
	__u64 netns_cookie;
	char name[VPNLEASH_NAME_LEN];
};

/*
 * `near_records`: copies of the first words of `workloads`, a cache line of four at the place that
 * near_line() says. The gate looks here first, and into the hash for whatever is not here. A word
 * is 0 while its record is written, so that a writer who dies half-way leaves the hash to decide.
 * Mapped by the daemon.
 */
#define VPNLEASH_NEAR_LINES 2048
#define VPNLEASH_NEAR_WAYS  4
struct near_line {
	__u64 cgroup_id[VPNLEASH_NEAR_WAYS]; /* 0: free */
	__u64 word[VPNLEASH_NEAR_WAYS];
};
/* The map's one element. */
struct near {
	struct near_line lines[VPNLEASH_NEAR_LINES];
	__u64 guard_generation; /* moves when guards, their slots or rules have changed */
};
/* Ids of cgroups are dozens apart, as each file in a cgroup has one too: Fibonacci hashing (Knuth,
 * The Art of Computer Programming 3, 6.4) spreads them. */
static inline __u32 near_line(__u64 cgroup_id)
{
	return (__u32)(cgroup_id * 0x9e3779b97f4a7c15ULL >> 53);
}

/* `counters`, per CPU: what was dropped. Exact; a key that found no room counts under cgroup 0. */
struct counter_key {
	__u64 cgroup_id; /* of the workload; in the guard of the sender, 0: not known there */
	__u32 reason;	 /* enum reason */
	__u32 guard;	 /* slot of the guard that dropped it; 0: a gate */
};
struct counter {
	__u64 packets;
	__u64 bytes;
	__u64 checked_jiffy; /* when it was last asked whether an event is due */
	__u64 event_ns;	     /* of the last event where there is no record to note it in */
};

/*
 * `near_counters`, per CPU: what the gate dropped of the workload whose record names this row.
 * Found without hashing; `counters` has the rest, which is of whom has no row, by a guard, by a
 * reason that is not here. A row that says another cgroup is another's by now.
 */
#define VPNLEASH_NEAR_COUNTERS 256 /* row 0 is nobody's */
#define VPNLEASH_NEAR_REASONS  12
struct near_counters {
	__u64 cgroup_id;
	__u64 seen_jiffy; /* when a sign of life among them was last stamped in `liveness` */
	struct counter by_reason[VPNLEASH_NEAR_REASONS];
};

/* At most one event for each workload in this time; the counters are the truth. */
#define VPNLEASH_EVENT_GAP_NS 100000000ULL
#define VPNLEASH_EVENTS_BYTES (256 * 1024)

/* `events`, ring buffer: a sample of what was dropped, and the first packet of each `reach`. */
struct drop_event {
	__u64 at_ns;
	__u64 cgroup_id;
	__u32 reason; /* enum reason; REASON_PASS: it passed, by `reach` */
	__u32 ifindex;
	__u32 length; /* of the packet from its IP header on */
	__u8 ingress; /* 0: on its way out */
	__u8 family;  /* 4, 6; 0: the header was too short */
	__u8 protocol;
	__u8 audit;			      /* 1: it passed all the same */
	__be16 source_port, destination_port; /* 0: none, or not in this fragment */
	__u32 guard;			      /* slot, as in counter_key */
	__u8 source[16], destination[16];     /* IPv4 in the first 4 bytes */
};

/* `liveness`, per CPU, by slot: when the tunnel last showed a sign of life. */
struct liveness {
	__u64 seen_ns;	  /* a packet for this host came out of the tunnel, passed or not */
	__u64 seen_jiffy; /* when seen_ns was stamped: once a jiffy */
};

/*
 * The guard: one record for each guarded interface ("underlay") of a tunnel's netns. Addresses are
 * 16 bytes everywhere, IPv4 as ::ffff:a.b.c.d.
 */
#define VPNLEASH_GUARDS	   128 /* slot 0 is never used */
#define VPNLEASH_ADDRESSES 8   /* of one underlay; more than these are not its own */

/* `guard_slots`: whose frame is it that a guard's program sees → slot in `guards`. */
enum guard_slot_by {
	GUARD_SLOT_DEVICE, /* all that this device carries; `who` is its netns' cookie */
	GUARD_SLOT_NETNS,  /* on a macvlan's parent: the inode of the sending socket's netns */
	GUARD_SLOT_MAC,	   /* there too: the source MAC, in the first 6 bytes */
};
struct guard_slot_key {
	__u64 who;
	__u32 ifindex;
	__u32 by; /* enum guard_slot_by */
};

/* guard.flags */
enum guard_flag {
	GUARD_IPV6 = 1 << 0,		/* an endpoint is IPv6: it and NS/NA may pass */
	GUARD_AUDIT = 1 << 1,		/* count and tell, drop nothing */
	GUARD_BOOTSTRAP_HOSTS = 1 << 2, /* bootstrap: to ADDRESS_BOOTSTRAP, whoever sends; else
					 * what is noted, wherever it goes */
	GUARD_PROCESS = 1 << 3, /* bootstrap is open under a lease too: a flow of which a frame was
				 * noted goes on without, in frames too large to be noted as well */
	GUARD_MACVLAN = 1 << 4, /* peer_ifindex is its parent, with guard_parent_* */
	GUARD_IPVLAN = 1 << 5,	/* there is no peer */
};

struct guard_address {
	__u8 address[16];
	__u8 prefix; /* of its network, of these 128 bits: IPv4's is 96 longer */
	__u8 reserved[3];
};

/* `guards`, by slot. */
struct guard {
	__u64 netns_cookie;	  /* of the guarded netns; 0: unused, drops all */
	__u64 bootstrap_until_ns; /* no lease lives, and the VPN may use the underlay; 0: not */
	__u64 bootstrap_since_ns; /* flows that began before are forgotten */
	__u64 vpn_cgroup;	  /* whose sockets' frames are noted in bootstrap; 0: nobody's */
	__u32 vpn_level;	  /* its depth */
	__u32 ifindex;		  /* of the underlay, inside */
	__u32 peer_ifindex, peer_netns_ino; /* where the guard_peer_* sit */
	__u32 netns_ino;		    /* of the guarded netns, for people */
	__u32 flags;			    /* enum guard_flag */
	__be16 listen_port;		    /* WireGuard's, 0: not WireGuard */
	__u8 mac[6];
	__u32 levels; /* guard_weak: bit n, a workload is n deep */
	__u32 n_addresses;
	struct guard_address addresses[VPNLEASH_ADDRESSES];
};

/* Key of the tries `endpoints` and `exceptions`: all but the address is compared whole. */
enum address_kind {
	ADDRESS_ENDPOINT = 1,  /* endpoints: protocol and remote port */
	ADDRESS_HOST = 2,      /* endpoints: protocol, port 0; for fragments and ICMP errors */
	ADDRESS_BOOTSTRAP = 3, /* endpoints: a host that bootstrap may reach */
	ADDRESS_REMOTE = 4,    /* exceptions: protocol, local port; who may come in; 0: not those */
	ADDRESS_OWN = 5,       /* exceptions: the same port at an underlay's own address */
	ADDRESS_REACH = 6,     /* exceptions: protocol, remote port; who may be reached */
	ADDRESS_REACH_OWN = 7, /* exceptions: the same port, from an underlay's own address */
};
struct address_key {
	__u32 prefixlen; /* ADDRESS_KEY_BITS, and the prefix of the address */
	__u8 kind;	 /* enum address_kind */
	__u8 protocol;
	__be16 port;
	__u64 netns_cookie;
	__u8 address[16];
};
#define ADDRESS_KEY_BITS    96
#define VPNLEASH_ENDPOINTS  4096
#define VPNLEASH_EXCEPTIONS 4096
/* Value of both: what it may; 0 in a longer prefix takes it back. */
struct address_value {
	__u32 allowed;
	__u32 source; /* enum endpoint_source, for people */
	/* ADDRESS_REACH */
	__u32 by_gate; /* 1: the gate counts (the host's netns), 0: the guard's outer end */
	__u32 told;    /* its first packet was; written by gate and guard, as are the counts */
	__u64 packets_out, packets_in;
};
enum endpoint_source { FROM_CONFIG = 1, FROM_WIREGUARD = 2, FROM_FLOW = 3 };

/* `flows`: who spoke first. Forgotten when idle for VPNLEASH_FLOW_IDLE_NS. */
enum flow_kind {
	FLOW_ALLOW = 0,	   /* first seen coming in */
	FLOW_OUTBOUND = 1, /* first seen leaving: bootstrap, endpoints */
	FLOW_REACH = 2,	   /* first seen leaving, by `reach` */
};
struct flow_key {
	__u64 netns_cookie;
	__u32 ifindex; /* of the underlay, inside */
	__be16 local_port, remote_port;
	__u8 protocol;
	__u8 kind; /* enum flow_kind */
	__u16 reserved;
	__u32 reserved2;
	__u8 local[16], remote[16];
};
struct flow {
	__u64 first_ns, last_ns;
	__u64 answered_ns;   /* FLOW_OUTBOUND: when an answer last came in, 0: never */
	__u64 socket_cookie; /* FLOW_OUTBOUND: whose frame was noted for it, 0: none was */
};
#define VPNLEASH_FLOWS	      65536
#define VPNLEASH_FLOW_IDLE_NS 600000000000ULL

/* `flow_sources`: with a remote address so many flows of exceptions may begin in that time, so that
 * one does not push another's out of `flows`. */
struct flow_source_key {
	__u64 netns_cookie;
	__u8 remote[16];
};
struct flow_source {
	__u64 window_ns;
	__u64 begun;
};
#define VPNLEASH_FLOW_SOURCES	8192
#define VPNLEASH_FLOW_BURST	256
#define VPNLEASH_FLOW_WINDOW_NS 10000000000ULL

/*
 * `passed_frames`, per CPU: the last frames of endpoints that each of the guard's programs let
 * pass, by a hash of device and ports. Good for one jiffy.
 */
struct frame_head {
	__u64 device; /* told apart, not followed; before v6.2 the slot that came with the filter */
	__u64 words[3]; /* MACs, type, version, IP header's length; addresses */
	__be16 ports[2];
	__u32 protocol;
};
struct passed_frame {
	struct frame_head head; /* all that a verdict looks at, but for the length */
	__u64 generation;	/* near.guard_generation before it was looked at */
	__u64 jiffy;		/* 0: none, or being written */
	__u32 written, writers;
};
#define VPNLEASH_FRAMES	      16 /* of each place */
#define VPNLEASH_FRAME_PLACES 4

/*
 * `notes`: frames that a socket of the VPN's cgroup has just sent while bootstrap is open. Written
 * by guard_inside, which knows the socket; taken, once, by guard_peer_ingress, which then passes
 * the frame.
 */
struct note_key {
	__u64 netns_cookie;
	__u64 digest;  /* of the frame without its transport checksum: bpf/notes.bpf.h */
	__u32 ifindex; /* of the underlay, inside */
	__u32 length;  /* of the frame */
};
struct note {
	__u64 at_ns;
	__u64 socket_cookie;
};
#define VPNLEASH_NOTES	 4096
#define VPNLEASH_NOTE_NS 1000000000ULL /* a queue holds no frame for longer */

/*
 * The witness behind a veth's guard, by the guard's slot. What it expects to see is in `expected`,
 * a trie as `endpoints`: what guard_peer_ingress may pass, written before it and taken back a
 * second or more after it, so that no frame falls in between.
 */
struct witness {
	__u64 netns_cookie;	/* 0: nothing is expected */
	__u64 excused_until_ns; /* until then the VPN may use the underlay, for all
				 * places; ~0: audit */
	__u64 told;		/* so many strays were */
};
#define VPNLEASH_EXPECTED_NS 1000000000ULL
/* `witnessed`, per CPU: what came past the guard. */
struct witnessed {
	__u64 frames;
	__u64 excused;		/* of these: not judged */
	__u64 strays;		/* of these: what must never be */
	struct drop_event last; /* of the strays, for people */
};

/* `resolvers`, storage of the workload's cgroup: where its questions to port 53 go. */
enum resolver_flag {
	RESOLVER_SET = 1 << 0,	/* to `server`; without any flag nothing is changed */
	RESOLVER_AUTO = 1 << 1, /* but what is asked of loopback stays, 127.0.0.11 not */
	RESOLVER_DENY = 1 << 2, /* nowhere */
};
struct resolver {
	__u32 flags; /* enum resolver_flag */
	__be32 server[2];
	__u32 reserved;
};

/* `asked_resolvers`, storage of a socket: the resolver that the program believes to talk to. */
struct asked_resolver {
	__u32 address[4]; /* network order, IPv4 as ::ffff:a.b.c.d */
};

_Static_assert(sizeof(struct header) == 32, "header");
_Static_assert(sizeof(struct lease) == 64, "lease: one cache line");
_Static_assert(sizeof(struct workload_record) == 104, "workload");
_Static_assert(__builtin_offsetof(struct workload_record, level) == 8,
	       "workload: one word for the gate");
_Static_assert(sizeof(struct near_line) == 64, "near_line: one cache line");
_Static_assert(VPNLEASH_NEAR_LINES == 1 << (64 - 53), "near_line()");
_Static_assert(sizeof(struct counter_key) == 16 && sizeof(struct counter) == 32, "counter");
_Static_assert(sizeof(struct near_counters) == 16 + VPNLEASH_NEAR_REASONS * sizeof(struct counter),
	       "near_counters");
_Static_assert(VPNLEASH_SLOTS == 256 && VPNLEASH_NEAR_COUNTERS == 256, "workload: a byte each");
_Static_assert(sizeof(struct drop_event) == 72, "drop_event");
_Static_assert(sizeof(struct liveness) == 16, "liveness");
_Static_assert(sizeof(struct guard_address) == 20 && sizeof(struct guard) == 232, "guard");
_Static_assert(sizeof(struct address_key) == 32, "address_key");
_Static_assert(__builtin_offsetof(struct address_key, address) * 8 == 32 + ADDRESS_KEY_BITS,
	       "address_key: what is compared whole");
_Static_assert(sizeof(struct flow_key) == 56 && sizeof(struct flow) == 32, "flows");
_Static_assert(sizeof(struct passed_frame) == 64, "passed_frame");
_Static_assert(sizeof(struct note_key) == 24 && sizeof(struct note) == 16, "notes");

#endif
