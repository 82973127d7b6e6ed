/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an edge and its VPN must know of their tunnel, and what they ask and tell whoever opened
 * them. All values stay as they are until both are closed.
 */
#pragma once

#include <systemd/sd-event.h>

#include "act/guard.h"
#include "base/cgroup.h"
#include "base/loop.h"
#include "config/config.h"
#include "report/audit.h"
#include "watch/netlink.h"

struct edge;

/* Each is called with `owner` of the place. The first five answer for the present moment, and may
 * be asked at any time; the other three are called by the loop. */
struct edge_calls {
	/* Is the cgroup a workload's or a locked slice's, or above or below one? Such a one is
	 * never the VPN's, and no stranger's. */
	bool (*is_leashed)(void *owner, const char *cgroup);
	/* f for each workload of the tunnel; c NULL: it has no gate, as its cgroup is not there. */
	void (*each_workload)(void *owner,
			      void (*f)(const struct cgroup_ref *c, bool audit, void *arg),
			      void *arg);
	/* f for each edge in the same netns; one that is being opened is not among them yet. */
	void (*each_edge)(void *owner, void (*f)(const struct edge *e, void *arg), void *arg);
	/* f for what each tunnel and workload in the same netns allows and reaches, with an edge or
	 * without. */
	void (*each_exception)(void *owner,
			       void (*f)(const struct allow_rules *allow,
					 const struct reach_rules *reach, void *arg),
			       void *arg);
	/* The name of the container that has the cgroup, by the engine; NULL: none has. */
	const char *(*container_at)(void *owner, const char *cgroup);
	/* WireGuard's servers are others now: call edge_read() soon. */
	void (*look_now)(void *owner);
	/* They are not, or it does not say: edge_asks() is over. */
	void (*asked)(void *owner);
	/* vpn_is_dead() has become true; vpn_look() finds out when it is no longer. */
	void (*vpn_ended)(void *owner, uint64_t evidence_ns);
};

struct edge_place {
	const struct tunnel_config *config;
	const char *where;	  /* the netns file, or "host" */
	const char *owner_cgroup; /* of the container or unit that it is of, by the engine; "" */
	int netns_fd;
	uint64_t netns_cookie, netns_ino;
	const struct watch_netlink *link; /* the tunnel's */
	sd_event *loop;
	const struct cgroup_root *root;
	struct gate *gate;
	struct guards *guards;
	struct audit *audit;
	struct log_budget *log;
	const uint32_t *levels; /* bit n: a record is n deep, or was; grows */
	const struct edge_calls *calls;
	void *owner;
};

static inline bool place_is_leashed(const struct edge_place *p, const char *cgroup)
{
	return p->calls->is_leashed(p->owner, cgroup);
}

/* "container 'NAME'", or "cgroup '/PATH'" if it is no container's; escaped. Returns buf. */
#define CALLED_LEN 280
static inline const char *place_called(const struct edge_place *p, const char *cgroup,
				       char buf[CALLED_LEN])
{
	const char *name = p->calls->container_at(p->owner, cgroup);

	snprintf(buf, CALLED_LEN, "%s '%s'", name ? "container" : "cgroup",
		 quote(name ? name : cgroup));
	return buf;
}
