/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One tunnel: evidence about it → its table → its lease granted, renewed, revoked. Its workloads
 * are told when it goes up and down.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/loop.h"
#include "config/config.h"
#include "core/identity.h"
#include "core/probes.h"
#include "core/reopen.h"
#include "edge/edge.h"
#include "engine/inventory.h"
#include "vpnleash/states.h"

struct daemon;
struct workload;

/* Of a tunnel whose netns is a container's or a unit's. */
struct tunnel_owner {
	pid_t pid; /* 0: not running */
	int pidfd;
	sd_event_source *end;
	char unhealthy[ENGINE_NAME_LEN]; /* who is; "": nobody */
	bool again;			 /* it runs, and could not be watched */
	struct inventory_watch watch;
	char cgroup[PATH_MAX];	    /* as the engine has it */
	char name[ENGINE_NAME_LEN]; /* of the container that was named */
};

struct tunnel {
	struct daemon *daemon;
	struct tunnel_config config;
	uint32_t id; /* by which its probes are known */
	enum tunnel_state state;
	enum input why;	      /* of the last change of state, or of why it stays down */
	char why_detail[512]; /* names in it are escaped */
	uint64_t changed_ns;

	/* the netns file: as configured, or of its owner's first process; "": unknown */
	char where[PATH_MAX];
	struct tunnel_owner owner;
	struct vpn *vpn; /* NULL: the netns is not there */

	int netns_fd; /* -1: not there */
	uint64_t netns_cookie, netns_ino;
	struct watch_netlink *link;
	sd_event_source *link_source;
	bool link_ready;     /* the last thing that the link watcher said */
	enum input link_why; /* the same, as evidence */
	char link_detail[96];
	struct edge *edge; /* NULL: no guard */
	bool guarded;	   /* the last thing that the edge said; true without a guard */
	bool ready;	   /* both, and the VPN is well */
	unsigned int slot; /* 0: none yet */

	struct probes probes;
	struct identity identity;
	uint64_t seen_ns;  /* newest sign of life; older ones count no more */
	uint64_t asked_ns; /* first probe since seen_ns, 0: none */
	bool waits;	   /* with that one, for what WireGuard says */
	struct reopen reopen;
	/* until then a failure is rehearsed; 0: none is, it has opened again, or has had time to */
	uint64_t rehearsed_ns;
	sd_event_source *tick, *expiry;
	struct log_budget log;
	struct refused refused[8]; /* daemon/refused.c's */
	bool of_labels;		   /* goes with its last workload */
	bool of_slice;		   /* somebody may be born in it at any moment */
};

int tunnel_new(struct daemon *d, const struct tunnel_config *config, struct tunnel **ret,
	       struct error *err);
int tunnel_start(struct tunnel *t, struct error *err); /* adopts a living lease, or waits */
/* The same, of one that is added to d's; freed on failure. */
int tunnel_add(struct tunnel *t, struct error *err);
/* A workload of it is added to d's, and started; freed on failure. */
int tunnel_add_workload(struct workload *w, struct error *err);
void tunnel_free(struct tunnel *t); /* revokes nothing */
/* A workload of it has come or gone, or allows something else: exceptions follow, and with the
 * first one, or the last, the guard. */
void tunnel_workloads_changed(struct tunnel *t);
/* The container or unit whose netns it is in; NULL: it has none, or it is not there. */
const struct engine_item *tunnel_owner_item(const struct tunnel *t);
void tunnel_look_now(struct tunnel *t); /* not at its next tick: something changed around it */
/* It fails, though nothing is wrong with it: the lease goes, and nobody is frozen or stopped for
 * it. It ends by itself after REHEARSAL_NS, so that whoever asked may die. over: it ends now. */
void tunnel_rehearse(struct tunnel *t, bool over);
#define REHEARSAL_NS (5 * NS_PER_SEC)
/* By a probe. */
void tunnel_answered(struct tunnel *t, uint64_t seen_ns);
/* There is an answer of whether its exit is the one expected. */
void tunnel_exit_told(struct tunnel *t);
