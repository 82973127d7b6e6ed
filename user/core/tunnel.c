/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One tunnel: evidence in, its table asked, the lease granted, renewed and revoked. Renewal is by
 * signs of life; before each one link, route and netns are read anew.
 */
#include "core/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "act/gate.h"
#include "act/guard.h"
#include "act/lease.h"
#include "base/netns.h"
#include "core/container_news.h"
#include "core/policy.h"
#include "core/pod.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/workload.h"
#include "edge/edge.h"
#include "edge/vpn.h"
#include "report/audit.h"
#include "watch/cgroup.h"
#include "watch/netlink.h"

#define TICK_NS                                                                \
	(1 * NS_PER_SEC)		 /* one look a second, or, where lease \
					  * or patience are short, three in that time */
#define TICK_PROVING_NS (NS_PER_SEC / 5) /* down, or a probe's answer is late: five */
/* From an answer until the next probe of an idle tunnel; the patience counts on no less. */
#define TICK_IDLE_NS (3 * NS_PER_SEC / 2)
#define OVERDUE_NS   (NS_PER_SEC / 2)

static int on_expiry(sd_event_source *s, uint64_t usec, void *arg);
static void wireguard_asked(void *owner);

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void carry_out_tunnel(struct tunnel *t, enum action action)
{
	struct daemon *d = t->daemon;
	uint64_t now = now_boot_ns();
	/* the lease is the patience: a hung daemon and a silent tunnel end alike, in the kernel */
	uint64_t expires = min_u64(now + d->lease_ns, t->seen_ns + probes_patience_ns(t));

	switch (action) {
	case DO_GRANT:
		lease_renew(d->leases, t->slot, expires, t->seen_ns);
		reopen_opened(&t->reopen, now);
		set_timer(d->loop, &t->expiry, expires, on_expiry, t);
		break;
	case DO_RENEW:
		lease_renew(d->leases, t->slot, expires, t->seen_ns);
		set_timer(d->loop, &t->expiry, expires, on_expiry, t);
		break;
	case DO_REVOKE:
		lease_revoke(d->leases, t->slot);
		break;
	default:
		break;
	}
}

/* A failure: signs of life from before it prove nothing. */
static void forget_signs(struct tunnel *t)
{
	reopen_failed(&t->reopen);
	identity_forget(t);
	t->seen_ns = now_boot_ns();
}

static void tell_workloads(struct tunnel *t)
{
	for_each_workload(t->daemon, w)
		if (w->tunnel == t)
			workload_tunnel_changed(w);
}

/* detail: a sentence in which names are escaped. evidence_ns: when the fact was read, 0: nothing
 * was read. */
static void tunnel_input(struct tunnel *t, enum input in, const char *detail, uint64_t evidence_ns)
{
	const struct step *step = policy_tunnel(t->state, in);
	enum tunnel_state from = t->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_tunnel(t, step->actions[i]);
	t->state = step->to;
	if (in != IN_SEEN && in != IN_PATIENT) { /* why it is as it is; these two say nothing new */
		t->why = in;
		snprintf(t->why_detail, sizeof(t->why_detail), "%s", detail ? detail : "");
		make_harmless(t->why_detail);
	}
	if (t->state == from)
		return;
	t->changed_ns = now_boot_ns();
	if (t->state == TUNNEL_UP)
		t->rehearsed_ns = 0;
	if (from == TUNNEL_UP) {
		forget_signs(t);
		t->asked_ns = 0;
	}
	/* the lease is gone or granted by now; cause before effect in the log */
	audit_state(t->daemon->audit, "tunnel", t->config.name, tunnel_state_name(from),
		    tunnel_state_name(t->state), input_text(in), t->why_detail,
		    evidence_ns ? t->changed_ns - evidence_ns : 0, !may_log(&t->log));
	if ((from == TUNNEL_UP) != (t->state == TUNNEL_UP))
		tell_workloads(t);
	if (from == TUNNEL_UP) /* the VPN may bootstrap */
		tunnel_look_now(t);
}

/* The device that the tunnel is now gets its slot, its probe socket and its workloads. */
static void tunnel_identify(struct tunnel *t)
{
	struct daemon *d = t->daemon;
	struct lease_identity identity = { .netns_cookie = t->netns_cookie,
					   .netns_ino = (uint32_t)t->netns_ino };
	struct link_identity link;
	int slot;

	if (watch_netlink_identity(t->link, &link))
		return;
	identity.ifindex = link.ifindex;
	identity.link_type = link.type;
	slot = lease_slot(d->leases, &identity);
	if (slot < 0) { /* the tick asks again */
		if (may_log(&t->log))
			log_line(LOG_LEVEL_ERR, "no slot for a lease: %s: '%s' stays without one",
				 strerror(-slot), t->config.interface);
		slot = 0;
	}
	if ((unsigned int)slot != t->slot) {
		for_each_workload(d, w)
			if (w->tunnel == t && w->bound)
				record_point(d->leases, w->bound, (unsigned int)slot);
		lease_retire(d->leases, t->slot);
		t->slot = (unsigned int)slot;
	}
	probes_bind(t, link.ifindex);
}

static bool is_late(const struct tunnel *t, uint64_t now)
{
	return t->asked_ns && now - t->asked_ns >= probes_late_ns(t);
}

/* It was silent, or nobody has looked: then the tick is overdue by much of what a patience is. */
static void tunnel_expired(struct tunnel *t)
{
	uint64_t now = now_boot_ns(), due = now / 1000;
	char text[96] = "";

	sd_event_source_get_time(t->tick, &due);
	if (now > due * 1000 + OVERDUE_NS)
		snprintf(text, sizeof(text),
			 "vpnleash itself was stopped, asleep or starved for %.1f s",
			 (double)(now - due * 1000) / NS_PER_SEC);
	tunnel_input(t, IN_LEASE_EXPIRED, text, 0);
}

/* What is known of the tunnel's life now, link and route having been read and found good. */
static void tunnel_seen(struct tunnel *t, uint64_t seen_ns)
{
	uint64_t now = now_boot_ns();

	if (seen_ns > now)
		seen_ns = now;
	if (!t->ready || !t->slot)
		return;
	if (t->state == TUNNEL_UP && now >= lease_expires_ns(t->daemon->leases, t->slot)) {
		/* the expired is not renewed, whoever was late */
		tunnel_expired(t);
		return;
	}
	if (seen_ns <= t->seen_ns) {
		if (t->seen_ns) /* adopted and not yet seen: there is nothing to be patient from */
			tunnel_input(t, IN_PATIENT, NULL, 0);
		return;
	}
	t->seen_ns = seen_ns;
	/* the count of signs begins anew, and what the exit was is of before */
	if (t->state != TUNNEL_UP && seen_ns > t->reopen.last_seen_ns + REOPEN_SILENCE_NS)
		identity_forget(t);
	if (is_late(t, now))
		identity_doubt(t);
	t->asked_ns = 0;
	if (t->state == TUNNEL_UP) {
		tunnel_input(t, IN_SEEN, NULL, 0);
	} else if (reopen_seen(&t->reopen, seen_ns, now) && identity_is_right(t)) {
		struct error err;

		if (t->edge && edge_settle(t->edge, &err))
			tunnel_input(t, IN_UNGUARDED, err.text, 0);
		else
			tunnel_input(t, IN_PROVEN, NULL, 0);
	}
}

/* Link and guard both are well, or one of them is not any more. */
static void tunnel_set_ready(struct tunnel *t)
{
	bool was = t->ready;

	t->ready = t->link_ready && t->guarded && !*t->owner.unhealthy && !vpn_is_dead(t->vpn) &&
		   now_boot_ns() >= t->rehearsed_ns;
	if (was && !t->ready)
		forget_signs(t);
	/* also if it was so before link and guard were well: they are not why it is shut */
	if (*t->owner.unhealthy && t->link_ready && t->guarded && t->why != IN_UNHEALTHY)
		tunnel_input(t, IN_UNHEALTHY, quote(t->owner.unhealthy), now_boot_ns());
	if (!was && t->ready) /* prove it now */
		tunnel_look_now(t);
}

void tunnel_rehearse(struct tunnel *t, bool over)
{
	if (over && !t->rehearsed_ns)
		return;
	t->rehearsed_ns = now_boot_ns() + (over ? 0 : REHEARSAL_NS);
	tunnel_set_ready(t);
	if (!over)
		tunnel_input(t, IN_REHEARSED, NULL, 0);
	tunnel_look_now(t);
}

/* Whoever was spared meanwhile is not if the tunnel has really failed. */
static void rehearsal_look(struct tunnel *t)
{
	if (!t->rehearsed_ns || now_boot_ns() < t->rehearsed_ns + REHEARSAL_NS)
		return;
	t->rehearsed_ns = 0;
	tell_workloads(t);
}

static void tunnel_unguarded(struct tunnel *t, const char *detail, uint64_t evidence_ns)
{
	bool news = t->guarded || strncmp(detail, t->why_detail, sizeof(t->why_detail) - 1);

	t->guarded = false;
	tunnel_set_ready(t);
	if (news)
		tunnel_input(t, IN_UNGUARDED, detail, evidence_ns);
}

/* The edge read anew: the lease goes first, then the guard is completed. 0: it is. */
static int tunnel_look_at_edge(struct tunnel *t)
{
	uint64_t read_ns = now_boot_ns();
	struct error err;
	bool lease_lives = lease_expires_ns(t->daemon->leases, t->slot) > read_ns;
	int r = t->edge ? edge_read(t->edge, lease_lives, &err) : 0;

	if (!r)
		return 0;
	if (t->guarded)
		tunnel_unguarded(t, err.text, read_ns);
	if (r == -ESTALE)
		r = edge_complete(t->edge, &err);
	if (r) {
		tunnel_unguarded(t, err.text, read_ns);
		return -ENOLINK;
	}
	t->guarded = true;
	if (t->link_why) /* what is left to say */
		tunnel_input(t, t->link_why,
			     t->link_ready ? "the guard is complete" : quote(t->link_detail), 0);
	tunnel_set_ready(t);
	return 0;
}

/* Before a renewal. 0: link, route and guard are as they must be. */
static int tunnel_reread(struct tunnel *t)
{
	struct error err;

	if (watch_netlink_reread(t->link)) /* told as evidence; nothing is renewed */
		return -ENOLINK;
	if (!t->edge)
		return 0;
	if (watch_netlink_others_changed(t->link) || !t->guarded || edge_verify(t->edge, &err))
		return tunnel_look_at_edge(t);
	return 0;
}

static void on_tunnel_link(void *owner, const struct evidence *e)
{
	struct tunnel *t = owner;

	t->link_ready = e->what == IN_LINK_READY;
	t->link_why = e->what;
	snprintf(t->link_detail, sizeof(t->link_detail), "%s", e->detail);
	if (t->link_ready && t->link)
		tunnel_identify(t);
	else if (!t->link_ready) {
		forget_signs(t);
		probes_unbind(t); /* before another device has that index */
	}
	tunnel_input(t, e->what, quote(e->detail), e->seen_ns);
	if (!t->link_ready)
		edge_device_gone(t->edge);
	tunnel_set_ready(t);
}

static int on_link_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct tunnel *t = arg;

	watch_netlink_ready(t->link);
	if (watch_netlink_others_changed(t->link))
		tunnel_look_at_edge(t);
	return 0;
}

/* Is the netns that we hold still the one of that name? */
static bool netns_is_there(const struct tunnel *t)
{
	struct stat st;

	return !strcmp(t->where, "host") || (!stat(t->where, &st) && st.st_ino == t->netns_ino);
}

static void leave_netns(struct tunnel *t)
{
	edge_close(t->edge);
	t->edge = NULL;
	vpn_close(t->vpn);
	t->vpn = NULL;
	t->link_source = sd_event_source_disable_unref(t->link_source);
	watch_netlink_stop(t->link);
	t->link = NULL;
	t->netns_fd = close_fd(t->netns_fd); /* or we would keep it alive */
	probes_unbind(t);
	identity_forget(t);
}

/* A netns is guarded for those who are leashed in it, or will be from their first step on. */
static int follow_workloads(struct tunnel *t)
{
	bool any = t->of_labels || t->of_slice;
	struct error err;

	for_each_workload(t->daemon, w)
		any |= w->tunnel == t;
	if (t->edge && !any) {
		edge_close(t->edge);
		t->edge = NULL;
		t->guarded = true;
		tunnel_set_ready(t);
	} else if (!t->edge && any) {
		int r = edge_open(&t->edge, t->vpn, &err);

		if (r) {
			tunnel_unguarded(t, err.text, 0);
			return r;
		}
		if (t->edge)
			tunnel_unguarded(t, "the guard is not attached yet", 0);
	}
	return 0;
}

/* ------ what edge and VPN know, and ask ------ */

static bool is_leashed(void *owner, const char *cgroup)
{
	const struct tunnel *t = owner;
	const struct daemon *d = t->daemon;

	for_each_workload(d, w)
		if (*w->path &&
		    (cgroup_is_below(cgroup, w->path) || cgroup_is_below(w->path, cgroup)))
			return true;
	return d->slices_touch(d, cgroup);
}

static void each_workload(void *owner, void (*f)(const struct cgroup_ref *c, bool audit, void *arg),
			  void *arg)
{
	const struct tunnel *t = owner;

	for_each_workload(t->daemon, w)
		if (w->tunnel == t)
			f(w->bound ? watch_cgroup_ref(w->cgroup) : NULL, w->audit, arg);
}

static void each_edge(void *owner, void (*f)(const struct edge *e, void *arg), void *arg)
{
	const struct tunnel *t = owner;

	for_each_tunnel(t->daemon, other)
		if (other->edge && other->netns_cookie == t->netns_cookie)
			f(other->edge, arg);
}

static void each_exception(void *owner,
			   void (*f)(const struct allow_rules *allow,
				     const struct reach_rules *reach, void *arg),
			   void *arg)
{
	const struct tunnel *t = owner;
	const struct daemon *d = t->daemon;

	for_each_tunnel(d, other)
		if (other->netns_cookie == t->netns_cookie)
			f(&other->config.allow, &other->config.reach, arg);
	for_each_workload(d, w)
		if (w->tunnel->netns_cookie == t->netns_cookie)
			f(&w->allow, &w->reach, arg);
}

static const char *container_at(void *owner, const char *cgroup)
{
	const struct tunnel *t = owner;
	const struct engine_item *i = inventory_at(t->daemon->inventory, cgroup);

	return i ? i->name : NULL;
}

static void look_now(void *owner)
{
	tunnel_look_now(owner);
}

static void vpn_ended(void *owner, uint64_t evidence_ns)
{
	struct tunnel *t = owner;

	tunnel_set_ready(t);
	tunnel_input(t, IN_VPN_DEAD, quote(t->config.process), evidence_ns);
}

static const struct edge_calls edge_calls = {
	.is_leashed = is_leashed,
	.each_workload = each_workload,
	.each_edge = each_edge,
	.each_exception = each_exception,
	.container_at = container_at,
	.look_now = look_now,
	.asked = wireguard_asked,
	.vpn_ended = vpn_ended,
};

static int open_vpn(struct tunnel *t, struct error *err)
{
	struct daemon *d = t->daemon;
	struct edge_place place = { .config = &t->config,
				    .where = t->where,
				    .owner_cgroup = t->owner.cgroup,
				    .netns_fd = t->netns_fd,
				    .netns_cookie = t->netns_cookie,
				    .netns_ino = t->netns_ino,
				    .link = t->link,
				    .loop = d->loop,
				    .root = &d->root,
				    .gate = d->gate,
				    .guards = d->guards,
				    .audit = d->audit,
				    .log = &t->log,
				    .levels = &d->levels,
				    .calls = &edge_calls,
				    .owner = t };

	return vpn_open(&t->vpn, &place, err);
}

/* Everything that watches the netns, which was just opened. */
static int watch_netns(struct tunnel *t, struct error *err)
{
	struct daemon *d = t->daemon;
	int r = netns_cookie(t->netns_fd, &t->netns_cookie);

	if (r) /* before v5.14 */
		r = gate_netns_cookie(d->gate, t->netns_fd, &t->netns_cookie, err);
	if (r)
		return r;
	r = watch_netlink_start(&t->link, t->netns_fd, t->config.interface,
				*t->config.route ? t->config.route : NULL, on_tunnel_link, t, err);
	if (r)
		return r;
	r = sd_event_add_io(d->loop, &t->link_source, watch_netlink_fd(t->link), EPOLLIN,
			    on_link_readable, t);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "watch the links of '%s'", t->config.netns);
	sd_event_source_set_priority(t->link_source, PRIORITY_EVIDENCE);
	return open_vpn(t, err);
}

/* 0: in it; -ENOENT: not there (yet). */
static int enter_netns(struct tunnel *t, struct error *err)
{
	int r = *t->where ? netns_open(t->where, &t->netns_fd, err) : -ENOENT;

	if (r)
		return r;
	t->netns_ino = netns_ino(t->netns_fd);
	t->guarded = true;
	t->ready = t->link_ready = false;
	r = watch_netns(t, err);
	if (r) {
		leave_netns(t);
		return r;
	}
	if (t->link_ready) /* told before t->link was set */
		tunnel_identify(t);
	if (t->config.guard_off) {
		log_line(
			LOG_LEVEL_WARNING,
			"tunnel '%s': guard = off: packet sockets, foreign sockets, forwarding and "
			"the kernel's own answers get past the gate",
			t->config.interface);
		/* an earlier run's */
		if (guard_take_off(gate_pins(t->daemon->gate), t->netns_cookie, err))
			log_line(LOG_LEVEL_ERR, "%s", err->text);
	}
	if (t->config.endpoint_process)
		log_line(LOG_LEVEL_WARNING,
			 "tunnel '%s': endpoint = process: what the VPN's cgroup sends leaves "
			 "beside the tunnel, wherever it goes, also while it is up",
			 t->config.interface);
	vpn_look(t->vpn, t->state == TUNNEL_UP);
	if (!follow_workloads(t))
		tunnel_look_at_edge(t);
	tunnel_set_ready(t);
	return 0;
}

static int on_expiry(sd_event_source *s, uint64_t usec, void *arg)
{
	struct tunnel *t = arg;

	if (t->state == TUNNEL_UP && now_boot_ns() >= lease_expires_ns(t->daemon->leases, t->slot))
		tunnel_expired(t);
	return 0;
}

static void netns_gone(struct tunnel *t, uint64_t evidence_ns)
{
	if (!t->link)
		return;
	t->link_ready = false;
	tunnel_set_ready(t);
	tunnel_input(t, IN_NETNS_GONE, quote(t->config.netns), evidence_ns);
	leave_netns(t);
	unguard_sweep(t->daemon);
}

/* ------ the container or unit that the netns is of ------ */

static void forget_owner(struct tunnel_owner *o)
{
	o->end = sd_event_source_disable_unref(o->end);
	o->pidfd = close_fd(o->pidfd);
	o->pid = 0;
}

static void owner_gone(struct tunnel *t, uint64_t evidence_ns)
{
	forget_owner(&t->owner);
	t->where[0] = '\0';
	netns_gone(t, evidence_ns);
}

static int on_owner_end(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	owner_gone(arg, now_boot_ns());
	return 0;
}

static int watch_owner(struct tunnel *t, pid_t pid)
{
	int r;

	t->owner.pidfd = pidfd_open(pid, 0);
	if (t->owner.pidfd < 0)
		return -errno;
	r = sd_event_add_io(t->daemon->loop, &t->owner.end, t->owner.pidfd, EPOLLIN, on_owner_end,
			    t);
	if (r < 0)
		return r;
	sd_event_source_set_priority(t->owner.end, PRIORITY_EVIDENCE);
	return 0;
}

/* As the engine has it now; NULL: there is none. */
static void owner_is(void *arg, const struct engine_item *named)
{
	struct tunnel *t = arg;
	size_t others;
	const struct engine_item *owner = pod_vpn(t->daemon, named, t->owner.pid, &others);
	pid_t pid = owner && owner->running ? owner->pid : 0;
	bool unhealthy = pid && owner->health == HEALTH_UNHEALTHY && !t->config.health_ignored;
	uint64_t now = now_boot_ns();
	int r;

	if (named && !*named->unusable) /* else it may be called by its id */
		snprintf(t->owner.name, sizeof(t->owner.name), "%s", named->name);
	if (others > 1 && may_log(&t->log))
		log_line(LOG_LEVEL_WARNING,
			 "tunnel '%s': %zu containers in the network of '%s' have NET_ADMIN, and "
			 "which of them is the VPN is not known (name it in the file: netns = "
			 "container:NAME)",
			 t->config.interface, others, quote(named->name));

	if (owner && owner->running && !pid && may_log(&t->log))
		log_line(LOG_LEVEL_ERR,
			 "tunnel '%s': the first process of '%s' is not to be seen from here (run "
			 "vpnleash in the host's pid and cgroup namespaces)",
			 t->config.interface, t->config.netns);

	if (unhealthy != !!*t->owner.unhealthy) {
		snprintf(t->owner.unhealthy, sizeof(t->owner.unhealthy), "%s",
			 unhealthy ? owner->name : "");
		tunnel_set_ready(t);
	}
	if (pid == t->owner.pid)
		return;
	owner_gone(t, now);
	r = pid ? watch_owner(t, pid) : -ESRCH;
	t->owner.again = r && r != -ESRCH;
	if (r) {
		forget_owner(&t->owner);
		return;
	}
	t->owner.pid = pid;
	snprintf(t->owner.cgroup, sizeof(t->owner.cgroup), "%s", owner->cgroup);
	snprintf(t->where, sizeof(t->where), "/proc/%d/ns/net", pid);
	tunnel_look_now(t);
}

const struct engine_item *tunnel_owner_item(const struct tunnel *t)
{
	const struct inventory_watch *w = &t->owner.watch;

	return w->inventory ? inventory_find(w->inventory, w->kind, w->name) : NULL;
}

static const struct inventory_listener owner_news = { .item = owner_is };

static void tunnel_ask(struct tunnel *t, uint64_t now)
{
	if (probes_ask(t, is_late(t, now) || t->state != TUNNEL_UP, now) && !t->asked_ns)
		t->asked_ns = now;
}

/* Look at everything that nobody tells us, renew, ask where there was no sign of life. */
static void tunnel_look(struct tunnel *t)
{
	struct error err;
	uint64_t now;
	int r;

	if (t->link && !netns_is_there(t))
		netns_gone(t, 0);
	/* it may be another member of its pod by now */
	if (t->owner.again || t->owner.watch.kind == ENGINE_CONTAINER)
		inventory_tell(&t->owner.watch);
	for_each_workload(t->daemon, w) {
		if (w->tunnel != t)
			continue;
		container_look(w);
		workload_look(w);
	}
	rehearsal_look(t); /* also if its netns has gone meanwhile */
	if (!t->link) {
		r = enter_netns(t, &err);
		if (r && r != -ENOENT && may_log(&t->log))
			log_line(LOG_LEVEL_WARNING, "%s", err.text);
		if (r)
			return;
	}
	vpn_look(t->vpn, t->state == TUNNEL_UP);
	tunnel_set_ready(t); /* there may be one again */
	r = follow_workloads(t);
	r = r ? r : tunnel_look_at_edge(t); /* endpoints move without a word */
	if (t->edge)
		edge_bootstrap(t->edge, t->state == TUNNEL_UP);
	if (watch_netlink_reread(t->link) || r) /* told as evidence; nothing is renewed */
		return;
	now = now_boot_ns();
	if (!t->config.probes.n || probes_handshake(t, now))
		tunnel_seen(t, now);
	else
		tunnel_seen(t, lease_seen_ns(t->daemon->leases, t->slot));
	if (!t->slot && t->link_ready)
		tunnel_identify(t);
	probes_look(t, now);
	identity_look(t, now);
	if (t->state == TUNNEL_UP && now - t->seen_ns < TICK_NS / 2)
		return;
	/* A probe may make WireGuard shake hands with a server that it has had this instant.
	 * Dropped by the guard, which is to know it first, that is sent again 5 s later. */
	t->waits = t->state == TUNNEL_UP && !t->asked_ns && t->edge && edge_asks(t->edge);
	if (!t->waits)
		tunnel_ask(t, now);
}

static uint64_t next_tick_ns(const struct tunnel *t, uint64_t now)
{
	uint64_t term = min_u64(t->daemon->lease_ns, probes_patience_ns(t));
	uint64_t late_ns = t->asked_ns + probes_late_ns(t);

	if (!t->ready)
		return now < t->rehearsed_ns ? t->rehearsed_ns : now + TICK_NS;
	if (t->state != TUNNEL_UP)
		return now + TICK_PROVING_NS;
	if (!t->asked_ns)
		return now + min_u64(TICK_NS, term / 3);
	return now < late_ns ? late_ns : now + TICK_PROVING_NS;
}

static int on_tunnel_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	struct tunnel *t = arg;

	tunnel_look(t);
	set_timer(t->daemon->loop, &t->tick, next_tick_ns(t, now_boot_ns()), on_tunnel_tick, t);
	return 0;
}

static void wireguard_asked(void *owner)
{
	struct tunnel *t = owner;
	uint64_t now = now_boot_ns();

	if (!t->waits)
		return;
	t->waits = false;
	tunnel_ask(t, now);
	set_timer(t->daemon->loop, &t->tick, next_tick_ns(t, now), on_tunnel_tick, t);
}

void tunnel_workloads_changed(struct tunnel *t)
{
	if (!t->link || follow_workloads(t))
		return;
	edge_workloads_changed(t->edge);
	tunnel_look_at_edge(t);
}

void tunnel_look_now(struct tunnel *t)
{
	if (t->tick)
		set_timer(t->daemon->loop, &t->tick, now_boot_ns(), on_tunnel_tick, t);
}

/* A probe's answer. Never renew on evidence that lies unread. */
void tunnel_answered(struct tunnel *t, uint64_t seen_ns)
{
	uint64_t now, next_ns;

	if (!t->link || !netns_is_there(t) || tunnel_reread(t))
		return;
	tunnel_seen(t, seen_ns);
	/* Nothing else happens, or it would not have been asked. Where the lease is short that is
	 * too long. */
	now = now_boot_ns();
	next_ns = next_tick_ns(t, now);
	if (next_ns == now + TICK_NS && t->state == TUNNEL_UP)
		next_ns = now + TICK_IDLE_NS;
	set_timer(t->daemon->loop, &t->tick, next_ns, on_tunnel_tick, t);
}

void tunnel_exit_told(struct tunnel *t)
{
	char text[700];

	if (t->identity.exit == EXIT_WRONG)
		tunnel_input(t, IN_IDENTITY_WRONG, identity_text(t, text, sizeof(text)),
			     t->identity.answered_ns);
	else
		tunnel_look_now(t);
}

/* What an earlier daemon granted goes on, if the tunnel is still that device and alive. */
static void adopt_lease(struct tunnel *t)
{
	uint64_t expires = t->slot ? lease_expires_ns(t->daemon->leases, t->slot) : 0;
	uint64_t now = now_boot_ns();

	if (!t->ready || now >= expires || expires - now > VPNLEASH_LEASE_CAP_NS)
		return;
	t->state = TUNNEL_UP;
	t->why = IN_SEEN;
	t->changed_ns = now;
	t->seen_ns = 0; /* the next sign of life is news */
	set_timer(t->daemon->loop, &t->expiry, expires, on_expiry, t);
	log_line(LOG_LEVEL_NOTICE, "tunnel '%s': adopted, its lease is alive", t->config.interface);
	tell_workloads(t); /* of labels there may be some already */
}

int tunnel_start(struct tunnel *t, struct error *err)
{
	int r;

	inventory_tell(&t->owner.watch);
	r = enter_netns(t, err);
	if (r && r != -ENOENT)
		return r;
	if (r || t->state == TUNNEL_ABSENT)
		log_line(LOG_LEVEL_NOTICE, "tunnel '%s' in %s is not there yet: locked, waiting",
			 t->config.interface, quote(t->config.netns));
	adopt_lease(t);
	r = set_timer(t->daemon->loop, &t->tick, now_boot_ns(), on_tunnel_tick, t);
	return r < 0 ? fail(err, ERROR_OTHER, r, NULL, "start a timer") : 0;
}

int tunnel_add(struct tunnel *t, struct error *err)
{
	struct daemon *d = t->daemon;
	int r = daemon_add_tunnel(d, t, err);

	r = r ? r : tunnel_start(t, err);
	if (r) {
		daemon_remove_tunnel(d, t);
		tunnel_free(t);
	}
	return r;
}

int tunnel_add_workload(struct workload *w, struct error *err)
{
	int r = daemon_add_workload(w->daemon, w, err);

	if (r) {
		workload_free(w);
		return r;
	}
	tunnel_workloads_changed(w->tunnel); /* guarded before it is admitted */
	workload_start(w);
	return 0;
}

int tunnel_new(struct daemon *d, const struct tunnel_config *config, struct tunnel **ret,
	       struct error *err)
{
	static uint32_t last_id;
	struct tunnel *t = calloc(1, sizeof(*t));
	enum place_kind kind;
	const char *name;
	int r = probes_check(&config->probes, err);

	if (!t || r) {
		free(t);
		return r ? r : fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	}
	*t = (struct tunnel) { .daemon = d,
			       .id = last_id++,
			       .state = TUNNEL_ABSENT,
			       .netns_fd = -1,
			       .owner = { .pidfd = -1, .watch.first = true } };
	memcpy(&t->config, config, sizeof(*config)); /* reload compares bytes, padding too */
	kind = place_kind(t->config.netns, &name);
	if (kind == PLACE_CONTAINER || kind == PLACE_UNIT)
		inventory_watch(d->inventory, &t->owner.watch,
				kind == PLACE_UNIT ? ENGINE_UNIT : ENGINE_CONTAINER, name,
				&owner_news, t);
	else
		snprintf(t->where, sizeof(t->where), "%s", config->netns);
	*ret = t;
	return 0;
}

void tunnel_free(struct tunnel *t)
{
	inventory_unwatch(&t->owner.watch);
	leave_netns(t);
	forget_owner(&t->owner);
	sd_event_source_disable_unref(t->tick);
	sd_event_source_disable_unref(t->expiry);
	free(t);
}
