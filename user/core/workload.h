/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One workload: evidence about its cgroup and its tunnel → its table → admitted, barred, frozen,
 * stopped, and back.
 */
#pragma once

#include <systemd/sd-event.h>

#include "config/config.h"
#include "core/delegation.h"
#include "core/own_vpn.h"
#include "engine/inventory.h"
#include "vpnleash/abi.h"
#include "vpnleash/reasons.h"
#include "vpnleash/states.h"

struct daemon;
struct tunnel;

/* How its container is made anew, see rejoin.h. */
struct workload_rejoin {
	sd_event_source *timer;
	struct engine_change asked; /* what the engine was last asked for, and when */
	uint64_t asked_ns;
	bool pending;		  /* not answered yet */
	char vpn[ENGINE_HEX_LEN]; /* in whose network it is to be, and since when that runs */
	uint64_t vpn_ns;
	char failed_with[ENGINE_HEX_LEN]; /* with that one it could not be; "" */
	uint64_t again_ns;		  /* until then */
	char error[ENGINE_ERROR_LEN];
};

/* A workload's container or unit. */
struct workload_container {
	enum engine_kind kind; /* 0: the workload is neither */
	struct inventory_watch watch;
	/* of systemd, which runs it: stopped and started it is by that one; "": by the engine */
	char unit[ENGINE_NAME_LEN];
	struct inventory_watch unit_watch;
	char id[ENGINE_ID_LEN];
	pid_t pid; /* its first process, 0: unknown */
	bool running;
	bool unusable;	  /* the engine's record of it: shut, whatever its tunnel does */
	bool stopping;	  /* what was asked for is a stop */
	bool engine_lost; /* while it ran: what it does now is the engine's doing, not a person's */
	/* when, and into which netns (its cookie), it was last started anew */
	uint64_t orphaned_ns, orphaned_of;
	uint64_t ended_ns;	      /* when, while nobody knows by whom; 0: that is known */
	uint64_t left_ns;	      /* since when it could have been started, 0: it could not */
	char shares[ENGINE_HEX_LEN];  /* whose network it shares: its id; "": not known yet */
	char shared[ENGINE_NAME_LEN]; /* and what that one is called, or was */
	struct workload_rejoin rejoin;
};

enum workload_origin { OF_FILE, OF_LABELS, OF_SLICE, OF_EXEC };

struct workload {
	struct daemon *daemon;
	struct tunnel *tunnel; /* NULL: it is locked, and no more */
	char given[PATH_MAX];  /* the key `cgroup`; of a path, the path itself */
	char path[PATH_MAX];   /* of its cgroup, below the root; "": not known yet */
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
	struct reach_rules reach;
	char hook[256], hook_inside[256];
	enum input why;			      /* of the last change of state */
	uint64_t summed[VPNLEASH_REASON_MAX]; /* drops that the last summary has told */
	struct drop_event last_drop;	      /* since then; cgroup_id 0: none */
	enum workload_origin origin;
	void *source; /* OF_SLICE: its slice; OF_EXEC: what watches its end; else NULL */
	void (*release)(void *source); /* NULL: there is nothing to be freed */
	bool started;		       /* workload_start() was called */

	struct workload_container container;
	uint64_t barred_ns; /* since when it has no way out, 0: it has */
	uint64_t stop_after_ns;
	bool recreate;	  /* see rejoin.h */
	uint64_t born_ns; /* OF_SLICE: when its cgroup appeared */
	enum own_vpn own_vpn;
	uint32_t own_vpn_of; /* the ifindex of the device that was looked at; 0: none was */
	bool again; /* OF_LABELS: what was wrong with them may pass: no descriptor, no memory */
	char delegated[DELEGATION_LEN]; /* by whom, see delegation.h; "" */
	uint64_t delegation_ns;		/* when that was looked at */
	char trouble[400]; /* why it can not be stopped, started, or leashed at all; "" */
};

/* Would its hooks be run? */
int workload_check_hooks(const struct workload_config *config, struct error *err);
/* Record and gate, shut or as an earlier daemon left it. given: a path as from cgroup_path(), or
 * container:NAME or unit:NAME, whose cgroup is known by workload_enter(). */
int workload_new(struct daemon *d, enum workload_origin origin,
		 const struct workload_config *config, const char *given, struct tunnel *t,
		 struct workload **ret, struct error *err);
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
/* Its own user may take it out of its cgroup, and nothing would hold it then. */
bool workload_may_leave(const struct workload *w);
/* What is wrong with it, for people; "": nothing. */
const char *workload_trouble(const struct workload *w, char *buf, size_t size);
void workload_summary(struct workload *w); /* what was dropped since the last one */

void workload_input(struct workload *w, enum input in); /* its table asked, and carried out */
/* Its cgroup is this one, there or not yet. On failure it has none. */
int workload_enter(struct workload *w, const char *path, struct error *err);
/* No longer there, or elsewhere. A gate is taken off only with its cgroup. */
void workload_leave(struct workload *w);
#define WORKLOAD_AGAIN_NS (5 * NS_PER_SEC) /* between two tries to stop or start it */
/* What is to be done about it next; what was before is not any more. */
void workload_next_is(struct workload *w, uint64_t at_ns, sd_event_time_handler_t f);
void workload_stop_failed(struct workload *w);
void workload_stop_again(struct workload *w, uint64_t in_ns); /* unless it is open by then */
