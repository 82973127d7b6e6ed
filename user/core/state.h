/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's state, shared by the files that join watchers, policy and doers:
 *   tunnel.c     evidence about a tunnel → its table → grant, renew, revoke
 *   workload.c   evidence about a cgroup, its tunnel's going up and down → admit, bar, freeze, thaw
 *   container.c  the same of a container or unit → stop, start; its cgroup is where the engine says
 *   remains.c    what is left of removed cgroups, for as long as a socket of theirs lives
 *   ../engine/inventory.c  what runs containers and units, and what they are now
 *   ../edge/     the edge of a tunnel's netns: guarded, its endpoints, bootstrap; who the VPN is
 *   ../source/   where workloads come from: labels, slices, `vpnleash exec`
 *   ../daemon/   start, loop, end; what the control socket is asked
 */
#ifndef VPNLEASH_STATE_H
#define VPNLEASH_STATE_H

#include <systemd/sd-event.h>

#include "act/gate.h"
#include "act/guard.h"
#include "act/hooks.h"
#include "act/lease.h"
#include "base/cgroup.h"
#include "base/loop.h"
#include "config/config.h"
#include "core/delegation.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/reopen.h"
#include "edge/edge.h"
#include "edge/vpn.h"
#include "engine/inventory.h"
#include "prober/prober.h"
#include "report/audit.h"
#include "report/control.h"
#include "watch/cgroup.h"
#include "watch/drops.h"
#include "watch/netlink.h"

/* Of a tunnel whose netns is a container's or a unit's. */
struct tunnel_owner {
	pid_t pid; /* 0: not running */
	int pidfd;
	sd_event_source *end;
	bool unhealthy;
	bool again; /* it runs, and could not be watched */
	struct inventory_watch watch;
	char cgroup[PATH_MAX]; /* as the engine has it */
};

struct tunnel {
	struct daemon *daemon;
	struct tunnel_config config;
	uint32_t id; /* the prober's target */
	enum tunnel_state state;
	enum input why; /* of the last change of state, or of why it stays down */
	char why_detail[200];
	uint64_t changed_ns;

	/* the netns file: that of the configuration, or of its owner's first process; "": unknown
	 */
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

	uint64_t probe_ns;     /* when its probe's socket was made, 0: that failed, and why: */
	char probe_error[256]; /* "": nothing to say */
	uint64_t seen_ns;      /* newest sign of life; older ones count no more */
	uint64_t asked_ns;     /* first probe since seen_ns, 0: none */
	struct reopen reopen;
	sd_event_source *tick, *expiry;
	struct log_budget log;
	bool of_labels; /* goes with its last workload */
	bool of_slice;	/* somebody may be born in it at any moment */
};

/* A workload of the configuration, of a container's labels, or of `vpnleash exec`. */
struct slice;

struct workload {
	struct daemon *daemon;
	struct tunnel *tunnel;
	char given[PATH_MAX]; /* the key `cgroup`; of a path, the path itself */
	char path[PATH_MAX];  /* of its cgroup, below the root; "": not known yet */
	char name[VPNLEASH_NAME_LEN];
	enum on_failure on_failure;
	enum workload_state state;
	uint64_t changed_ns, freezing_ns; /* freezing_ns: asked to freeze, 0: not asked */
	struct watch_cgroup *cgroup;
	sd_event_source *freeze_timer, *stop_timer, *end_timer;
	uint64_t bound;	   /* cgroup id with record and gate, 0: none */
	bool was_recorded; /* that cgroup, before it was bound */
	bool held;
	bool ipv6, audit;
	struct allow_rules allow;
	char hook[256], hook_inside[256];
	enum input why;			      /* of the last change of state */
	uint64_t summed[VPNLEASH_REASON_MAX]; /* drops that the last summary has told */
	struct drop_event last_drop;	      /* since then; cgroup_id 0: none */
	struct exec *exec;		      /* NULL: of the configuration */
	struct slice *slice;		      /* whose child it is; NULL: it is named by itself */
	bool made;			      /* its cgroup is the daemon's to remove */
	bool started;			      /* workload_start() was called */

	/* a container or unit: */
	enum engine_kind kind; /* 0: neither */
	bool of_labels, running;
	bool unusable;	  /* the engine's record of it: shut, whatever its tunnel does */
	bool again;	  /* what was wrong with its labels may pass: no descriptor, no memory */
	uint64_t born_ns; /* of a slice's child: when its cgroup appeared */
	pid_t pid;	  /* its first process, 0: unknown */
	char id[ENGINE_ID_LEN];
	uint64_t barred_ns; /* since when it has no way out, 0: it has */
	uint64_t stop_after_ns;
	struct inventory_watch watch;
	bool stopping;	  /* what was asked for is a stop */
	bool engine_lost; /* while it ran: what it does now is the engine's doing, not a person's */
	uint64_t orphaned_ns, orphaned_of; /* when, and into which netns (its cookie), it was last
					      started anew */
	char delegated[DELEGATION_LEN];	   /* by whom, see delegation.h; "" */
	uint64_t delegation_ns;		   /* when that was looked at */
	char trouble[400]; /* why it can not be stopped, started, or leashed at all; "" */
};

/* tunnel.c */
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
void tunnel_look_now(struct tunnel *t); /* not at its next tick: something changed around it */
void tunnel_sweep(struct daemon *d);	/* what is left of netns that are gone */
/* The guards whose last record has gone, once all tunnels are known; see d->guards_due. */
void tunnels_unguard(struct daemon *d);
int prober_begin(struct daemon *d, struct error *err);
/* A dead prober is silence. Not more than once a second: the ticks of the tunnels ask again. */
void prober_restart(struct daemon *d);
/* Why it is as it is, in words; escaped. Returns buf. */
const char *tunnel_why(const struct tunnel *t, char *buf, size_t size);

/* workload.c */
/* Record and gate, shut or as an earlier daemon left it. given: a path as from cgroup_path(), or
 * container:NAME or unit:NAME, whose cgroup is known by workload_place(). */
int workload_new(struct daemon *d, const struct workload_config *config, const char *given,
		 struct tunnel *t, struct workload **ret, struct error *err);
/* What a reload may change while it runs. */
void workload_configure(struct workload *w, const struct workload_config *config);
void workload_start(struct workload *w);		  /* joins its tunnel's state */
void workload_free(struct workload *w);			  /* the gate stays on, as it is */
void workload_undo(struct workload *w);			  /* as if workload_new() had not been */
void workload_forget(struct workload *w);		  /* its cgroup was removed; freed */
void workload_tunnel_changed(struct workload *w);	  /* w->tunnel went up or down */
void workload_move(struct workload *w, struct tunnel *t); /* to another tunnel */
void workload_look(struct workload *w); /* at what nobody tells: once a second at least */
int workload_hold(struct workload *w, bool held, struct error *err);
/* What is wrong with it, for people; "": nothing. */
const char *workload_trouble(const struct workload *w, char *buf, size_t size);
void workload_summary(struct workload *w); /* what was dropped since the last one */

void workload_input(struct workload *w, enum input in); /* its table asked, and carried out */
/* Its cgroup is this one, there or not yet. On failure it has none. */
int workload_enter(struct workload *w, const char *path, struct error *err);
/* No longer there, or elsewhere. A gate is taken off only with its cgroup. */
void workload_leave(struct workload *w);
/* What is to be done about it next; what was before is not any more. */
void workload_next_is(struct workload *w, uint64_t at_ns, sd_event_time_handler_t f);
void workload_stop_failed(struct workload *w);
void workload_stop_again(struct workload *w, uint64_t in_ns); /* unless it is open by then */

/* source/slices.c */
/* As the configuration has them, which are locked already; at the start too. The tunnels must have
 * been started. What it has no longer stays locked, its children shut. */
int slices_reload(struct daemon *d, const struct config *config, struct error *err);
/* At what `vpnleash lock` has locked: the configuration need not name it, made anew it is locked
 * again all the same. */
void slices_look(struct daemon *d);
/* Is it one, or above or below one? */
bool slices_touch(const struct daemon *d, const char *path);
void slices_detached(struct daemon *d); /* those that are no longer locked are left alone */
void slices_stop(struct daemon *d);	/* locked they stay, and their children as they are */

/* source/labels.c */
extern const struct inventory_containers labels_news;
/* Is there one whose record can not be used, and whose netns nobody knows? It may live in any. */
bool labels_without_netns(const struct daemon *d);
void labels_detached(struct daemon *d); /* tunnels whose last workload was detached */
/* After a reload: what the file names now is the file's. */
void labels_again(struct daemon *d);

/* source/exec_cgroups.c */
/* A born-locked cgroup on the tunnel of that interface and netns (NULL: of the only tunnel with
 * that interface), for as long as the client or anybody in it lives. What to tell the client, or
 * NULL. */
json_t *exec_begin(struct daemon *d, const char *interface, const char *netns, pid_t client,
		   struct error *err);
/* What an earlier daemon began: gone on with, or tidied up. The tunnels must have been started. */
void exec_adopt(struct daemon *d);
/* Each goes on with the tunnel that it was begun on, or stays shut where that is gone. */
void exec_reload(struct daemon *d);
void exec_free(struct exec *e); /* NULL is fine; the cgroup stays */

/* remains.c */
/* What an earlier run left, barred; what the kernel has released goes. Before anything is leased.
 */
int remains_open(struct daemon *d, struct error *err);
void remains_close(struct daemon *d); /* takes nothing off */
/* The workload's cgroup was removed. netns_cookie of its tunnel, 0: unknown. */
void remains_take(struct daemon *d, uint64_t cgroup_id, uint64_t netns_cookie);
void remains_look(struct daemon *d);	  /* at all of them now: some were detached */
void remains_scan(struct daemon *d);	  /* for those that nobody listened to, from now on */
void remains_scan_soon(struct daemon *d); /* one is on its way out */
/* May there be some in that netns? Then its guard stays; it goes with the last of them. */
bool remains_in(const struct daemon *d, uint64_t netns_cookie);
size_t remains_count(const struct daemon *d);

/* daemon/verbs.c */
json_t *verbs_answer(void *daemon, const json_t *request, const struct control_peer *peer);

#endif
