/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The edge of a tunnel's network namespace: which of its links lead out, that each is guarded,
 * which endpoints the VPN has, and when it may use the underlay before its tunnel exists. In the
 * host's own netns, where others live, only what a workload sends by packet sockets is held back.
 * Its owner asks, and decides about the lease.
 */
#pragma once

#include "base/util.h"
#include "vpnleash/abi.h"
#include "vpnleash/reasons.h"

#define ENDPOINT_LEN 80 /* "[ADDRESS/LENGTH]:PORT/udp" */

struct cgroup_ref;
struct pins;
struct vpn;
struct edge;

/* In the place of that VPN, which must outlive it. NULL in *ret and 0: this tunnel has no guard
 * (guard = off). */
int edge_open(struct edge **ret, struct vpn *vpn, struct error *err);
/* What is attached stays: with the netns alive it goes on guarding. NULL is fine. */
void edge_close(struct edge *e);

/* Everything read anew. 0: every link that leads out is guarded, as it was left; -ESTALE with a
 * sentence: it is not, or something changed that edge_complete() has to see to. The lease must be
 * gone before that is called. lease_lives: so what an earlier daemon learnt still holds. */
int edge_read(struct edge *e, bool lease_lives, struct error *err);
/* A WireGuard that is a process has not answered yet. */
bool edge_asks(const struct edge *e);
/* Guard what edge_read() found. 0, or -Exxx with a sentence: no lease. */
int edge_complete(struct edge *e, struct error *err);
/* Before each renewal, cheap: are the programs still there and first, and did nothing get past them
 * that should not? */
int edge_verify(struct edge *e, struct error *err);

/* While no lease lives, or, with endpoint = process, always: the VPN may use the underlay, or may
 * go on; what is needed for that is read anew, and edge_why() says what is missing. */
void edge_bootstrap(struct edge *e, bool lease_lives);
/* What was noted is forgotten; not with endpoint = process. NULL is fine. */
void edge_shut(struct edge *e);
/* The cgroup is a workload's from now on: if the VPN's is that, above it or below, it is the VPN's
 * no more. NULL is fine. */
void edge_leashed(struct edge *e, const char *cgroup);
/* Before a grant: bootstrap is shut (endpoint = process: it is open), and the endpoints are known
 * and fixed. -ENOENT: there are none; -ENOTUNIQ: one of several, and nobody says which. */
int edge_settle(struct edge *e, struct error *err);

/* At attach, and when a workload starts: sockets of the netns that were opened elsewhere are
 * reported, each once, and ended where the VPN's cgroup is known. NULL is fine. */
void edge_sweep(struct edge *e);
/* Of a drop of this netns' guard: the sender's cgroup and process, "" where it is not known. */
void edge_name_sender(struct edge *e, const struct drop_event *event, char cgroup[256],
		      char process[64]);

/* A client of the LAN that was kept out by the guard, or by a workload's gate, from a port on which
 * somebody in the netns listens; or one that came in, and its answer would go into the tunnel. */
struct refused {
	uint8_t client[16], local[16];
	uint16_t port;	   /* TCP */
	bool unanswered;   /* the second */
	uint64_t listener; /* of the first: cgroup id */
	uint64_t at_ns;	   /* 0: nobody */
};
/* Is it one? Looked who listens once a second, at most. */
bool edge_refused(struct edge *e, const struct drop_event *event, struct refused *ret);
/* The value of `allow` that would let it in. False: it may come in by now, or never. */
#define ALLOW_LEN 64
bool edge_would_allow(const struct edge *e, const struct refused *r, char ret[ALLOW_LEN]);
/* The way by an underlay: "via GATEWAY dev NAME". False: there is none. */
bool edge_way_out(const struct edge *e, char ret[ALLOW_LEN]);

/* The tunnel's device is gone, or down: so is its listen port. NULL is fine. */
void edge_device_gone(struct edge *e);

/* The tunnel's workloads have changed, or what they allow. Before the edge is complete it does
 * nothing: edge_complete() sees to that. NULL is fine. */
void edge_workloads_changed(struct edge *e);
/* The cgroup of a known workload has appeared. audit: nothing of it is to be refused. NULL is
 * fine. */
void edge_bound(struct edge *e, const struct cgroup_ref *c, bool audit);

/* For status. Text is valid until the next call. */
struct edge_state {
	bool complete;
	bool host;	      /* the host's netns */
	bool closed;	      /* nothing leads out beside the tunnel: there is nothing to guard */
	bool open;	      /* bootstrap is */
	const char *weakness; /* what gets past the guard, and what helps; "": nothing does */
};
struct edge_state edge_state(const struct edge *e);
const char *edge_why(const struct edge *e); /* bootstrap's, "" if there is nothing to say */
size_t edge_endpoints(const struct edge *e, char (*ret)[ENDPOINT_LEN], size_t max);
#define EDGE_PROCESS "process" /* among them: wherever the VPN goes */
/* What `reach` lets out, and how much of it passed. */
struct reached {
	char to[ENDPOINT_LEN]; /* as the key has it: "tcp/IP[/len]:PORT" */
	uint64_t out, in;      /* packets */
};
size_t edge_reached(const struct edge *e, struct reached *ret, size_t max);
/* What its guards' witnesses have seen: since each guard is there. */
struct witnessed edge_witnessed(const struct edge *e);
size_t edge_underlays(const struct edge *e, const char **ret_names, size_t max);
void edge_drops(const struct edge *e, const struct pins *pins,
		uint64_t ret_dropped[VPNLEASH_REASON_MAX]);
bool edge_has_slot(const struct edge *e, unsigned int slot);
/* Who has a process in the netns and is neither leashed nor the VPN: a container's name, or the
 * path of a cgroup that is no container's. */
size_t edge_also_confined(const struct edge *e, char (*ret)[256], size_t max);
