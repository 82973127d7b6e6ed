/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One netns' edge, shared by the files that keep it. Each calls only those below it:
 *   edge.c        which links lead out, and that each is guarded
 *   bootstrap.c   when the VPN may use the underlay, and what is settled before a grant
 *   exceptions.c  who of the LAN may come in, and may be reached
 *   ask.c         what WireGuard says of itself
 *   sweep.c       sockets that were opened elsewhere; who sent what was dropped
 *   refused.c     who of the LAN was kept out though somebody listens
 *   noted.c       where the server is of a VPN that does not say so
 *   endpoints.c   where the VPN's server is
 *   vpn.c         who the VPN is
 *   witness.c     what came past the guard
 */
#pragma once

#include <string.h>

#include "act/guard.h"
#include "edge/edge.h"
#include "edge/vpn.h"
#include "watch/uapi.h"
#include "watch/underlay.h"
#include "watch/wireguard.h"

#define UNDERLAYS 32
#define LEARNED	  16
#define RULES	  (2 * RULES_ENDPOINTS + 2 * WIREGUARD_PEERS + RULES_HOSTS + 2 * LEARNED)

/* A sentence that says all, without errno's. */
#define SAY(err, r, remedy, ...) (fail(err, ERROR_OTHER, 0, remedy, __VA_ARGS__), (r))

struct underlay {
	struct link link;
	struct guard_spec spec;
	int peer_fd; /* of the netns of its other end, -1: ours */
};

struct edge {
	const struct edge_place *place;
	struct vpn *vpn;
	/* ours, where the host's ends of veths mostly are */
	int home_fd, home_rtnl;
	uint32_t home_ino;
	uint64_t home_cookie;
	/* in the guarded netns */
	int rtnl, genl, diag;

	size_t n, n_present;
	struct underlay known[UNDERLAYS];   /* guarded */
	struct underlay present[UNDERLAYS]; /* as last read */
	bool weak;			    /* the host's netns */
	bool denied;			    /* no workload gets a packet socket */
	char weakness[600];		    /* see edge_state */
	char unguardable[160];		    /* a link that leads out and has no end; or "" */
	bool complete;

	struct wireguard wireguard;
	bool is_wireguard;
	struct uapi *uapi;	 /* asked, or to be asked again; NULL: neither */
	bool was_asked;		 /* since the device is there */
	size_t socket_place;	 /* the next of its sockets that is tried */
	char asked_for[16];	 /* the interface */
	pid_t answers;		 /* the process that did; 0: none */
	uint64_t searched_ns;	 /* for it, in vain */
	uint64_t news_ns;	 /* its last */
	char wireguard_why[600]; /* why it is not believed; "" */
	size_t n_learned;
	struct vpn_endpoint learned[LEARNED]; /* from what was noted, at the last grant */
	size_t n_rules;
	struct address_rule rules[RULES];
	bool endpoints_moved; /* since the exceptions were written */

	struct cgroup_ref vpn_cgroup; /* level 0: not known */
	uint64_t bootstrap_since_ns;  /* flows that began earlier are forgotten; 0: shut */
	bool open;
	char why[256];
	char beside[400]; /* what else the VPN's process talked to, as last told */
	size_t n_transports;
	uint64_t transports[8]; /* cookies of the kernel's sockets, of WireGuards beside the tunnel
				 */
	size_t n_reported;
	uint64_t reported[256]; /* cookies of foreign sockets that were told */
	uint64_t listened_ns;	/* when it was last looked who listens */
};

/* Nothing leads out beside the tunnel, whose outer packets leave elsewhere: it was made there, and
 * moved here. There is nothing to guard, no endpoint and no bootstrap. */
static inline bool edge_is_closed(const struct edge *e)
{
	return e->complete && !e->n && !e->weak;
}

void edge_forget(struct edge *e); /* what was noted, whatever the configuration says */
int edge_hear_witness(struct edge *e, struct error *err); /* -ESTALE: the guard does not hold */
void edge_exceptions(struct edge *e);	    /* written anew, from links, endpoints and workloads */
void edge_follow_endpoints(struct edge *e); /* the same, if endpoints have moved */
/* What WireGuard says of itself now, or will say. */
void edge_ask_wireguard(struct edge *e);
/* A WireGuard of the kernel's beside the tunnel: do its packets leave by one of the other links? */
bool edge_leaves_here(struct edge *e, const struct links *l, const struct link *link);
/* Does the process hold the socket of that inode? */
bool edge_holds(pid_t pid, uint64_t inode);
/* What was learnt is learnt anew. 0, though there may be none; -ENOTUNIQ: one of several, and
 * nobody says which. */
int edge_learn(struct edge *e, struct error *err);
int edge_write_endpoints(struct edge *e); /* 0 or -Exxx, logged: more than these may be in force */
void edge_adopt_learned(struct edge *e);  /* what an earlier daemon learnt, while its lease lives */
void edge_endpoint_text(char ret[ENDPOINT_LEN], const struct vpn_endpoint *to, unsigned int prefix);
/* The VPN's cgroup, if it can be known; else vpn_why() says why. Is it another one, bootstrap is
 * shut. */
void edge_find_vpn(struct edge *e);
