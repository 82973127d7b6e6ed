/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See daemon.h. */
#include "core/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "act/detach.h"
#include "act/freezer.h"
#include "act/gate.h"
#include "act/lease.h"
#include "base/netns.h"
#include "core/policy.h"
#include "core/reopen.h"
#include "core/resolve.h"
#include "out/control.h"
#include "out/report.h"
#include "prober/prober.h"
#include "watch/cgroup.h"
#include "watch/netlink.h"

#define TICK_NS		(1 * NS_PER_SEC)	/* idle: one look and one probe a second */
#define TICK_PROVING_NS (NS_PER_SEC / 5)	/* down, or a probe without an answer: five */
#define ANSWER_NS	(NS_PER_SEC / 2)	/* after which a probe is without an answer */
#define FREEZE_NS	(1 * NS_PER_SEC)	/* after which a freeze has failed */
#define TIMER_USEC	1000			/* accuracy of timers */
#define LOG_BURST	20			/* lines at once, then one a second */

/* Order of one turn of the loop: evidence first, then what is done on the strength of it. */
enum priority { PRIORITY_EVIDENCE = -20, PRIORITY_LIFE = -10, PRIORITY_TIMERS = 0 };

struct daemon;
struct member;

struct tunnel {
	struct daemon *daemon;
	const struct tunnel_config *config;
	enum tunnel_state state;
	enum input why; /* of the last change of state, or of why it stays down */
	char why_detail[96];
	uint64_t changed_ns;

	int netns_fd; /* -1: not there */
	uint64_t netns_cookie, netns_ino;
	struct watch_netlink *link;
	sd_event_source *link_source;
	bool ready;	       /* the last thing that the link watcher said */
	unsigned int slot;     /* 0: none yet */

	uint64_t seen_ns;      /* newest sign of life; older ones count no more */
	uint64_t asked_ns;     /* first probe since seen_ns, 0: none */
	struct reopen reopen;
	sd_event_source *tick, *expiry;

	unsigned int log_tokens, log_suppressed;
	uint64_t log_ns;
};

struct member {
	struct daemon *daemon;
	struct tunnel *tunnel;
	char path[PATH_MAX];
	enum workload_state state;
	uint64_t changed_ns, freezing_ns; /* freezing_ns: asked to freeze, 0: not asked */
	struct watch_cgroup *cgroup;
	sd_event_source *cgroup_source, *freeze_timer;
	uint64_t bound; /* cgroup id with record and gate, 0: none */
};

struct daemon {
	const struct config *config;
	sd_event *loop;
	struct cgroup_root root;
	struct gate *gate;
	struct leases *leases;
	struct prober *prober;
	sd_event_source *prober_source;
	struct control *control;
	struct tunnel tunnel;
	size_t n_members;
	struct member members[CONFIG_WORKLOADS];
	int lock_fd;
};

static void workload_input(struct member *m, enum input in);
static void start_prober(struct daemon *d);

/* ------ saying what changed ------ */

/* A flapping tunnel must not flood the log: the rest is counted and said with the next line. */
static bool may_log(struct tunnel *t)
{
	uint64_t now = now_boot_ns(), earned = (now - t->log_ns) / NS_PER_SEC;

	if (earned) {
		t->log_tokens = earned > LOG_BURST - t->log_tokens ? LOG_BURST :
			       t->log_tokens + (unsigned int)earned;
		t->log_ns = now;
	}
	if (!t->log_tokens) {
		t->log_suppressed++;
		return false;
	}
	t->log_tokens--;
	if (t->log_suppressed)
		log_line(LOG_LEVEL_NOTICE, "(%u lines left out)", t->log_suppressed);
	t->log_suppressed = 0;
	return true;
}

static void say_tunnel(struct tunnel *t, enum tunnel_state from)
{
	char netns[128], detail[256];

	if (!may_log(t))
		return;
	log_line(LOG_LEVEL_NOTICE, "tunnel '%s' in %s: %s -> %s: %s%s%s", t->config->interface,
		 escape(netns, sizeof(netns), t->config->netns), tunnel_state_name(from),
		 tunnel_state_name(t->state), input_text(t->why), *t->why_detail ? ": " : "",
		 escape(detail, sizeof(detail), t->why_detail));
}

static const char *member_name(const struct member *m)
{
	size_t length = strlen(m->path);

	return length < VPNLEASH_NAME_LEN ? m->path : m->path + length - VPNLEASH_NAME_LEN + 1;
}

static void say_workload(struct member *m, enum workload_state from, enum input in)
{
	char name[VPNLEASH_NAME_LEN * 4];

	if (!may_log(m->tunnel))
		return;
	escape(name, sizeof(name), member_name(m));
	if (in == IN_FREEZE_DONE && m->freezing_ns)
		log_line(LOG_LEVEL_NOTICE, "workload '%s': %s -> %s: %s, %.1f ms after it was asked to",
			 name, workload_state_name(from), workload_state_name(m->state),
			 input_text(in), (double)(now_boot_ns() - m->freezing_ns) / 1e6);
	else
		log_line(LOG_LEVEL_NOTICE, "workload '%s': %s -> %s: %s", name,
			 workload_state_name(from), workload_state_name(m->state), input_text(in));
}

/* ------ timers ------ */

static int set_timer(struct daemon *d, sd_event_source **s, uint64_t at_ns,
		     sd_event_time_handler_t f, void *arg)
{
	if (!*s)
		return sd_event_add_time(d->loop, s, CLOCK_BOOTTIME, at_ns / 1000, TIMER_USEC, f,
					 arg);
	sd_event_source_set_time(*s, at_ns / 1000);
	return sd_event_source_set_enabled(*s, SD_EVENT_ONESHOT);
}

/* ------ the tunnel ------ */

static void tunnel_input(struct tunnel *t, enum input in, const char *detail);
static int on_expiry(sd_event_source *s, uint64_t usec, void *arg);
static int on_tick(sd_event_source *s, uint64_t usec, void *arg);

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void carry_out_tunnel(struct tunnel *t, enum action action)
{
	struct daemon *d = t->daemon;
	uint64_t now = now_boot_ns();
	/* the lease is the patience: a hung daemon and a silent tunnel end alike, in the kernel */
	uint64_t expires = min_u64(now + d->config->lease_ns, t->seen_ns + t->config->patience_ns);

	switch (action) {
	case DO_GRANT:
		lease_grant(d->leases, t->slot, expires, t->seen_ns);
		reopen_opened(&t->reopen, now);
		set_timer(d, &t->expiry, expires, on_expiry, t);
		break;
	case DO_RENEW:
		lease_renew(d->leases, t->slot, expires, t->seen_ns);
		set_timer(d, &t->expiry, expires, on_expiry, t);
		break;
	case DO_REVOKE:
		lease_revoke(d->leases, t->slot);
		break;
	default:
		break;
	}
}

static void tell_members(struct tunnel *t)
{
	struct daemon *d = t->daemon;
	enum input in = t->state == TUNNEL_UP ? IN_TUNNEL_UP :
			d->config->on_failure == ON_FAILURE_BLOCK ? IN_TUNNEL_DOWN_BLOCK :
								    IN_TUNNEL_DOWN;

	for (size_t i = 0; i < d->n_members; i++)
		if (d->members[i].tunnel == t && d->members[i].cgroup)
			workload_input(&d->members[i], in);
}

static void tunnel_input(struct tunnel *t, enum input in, const char *detail)
{
	const struct step *step = policy_tunnel(t->state, in);
	enum tunnel_state from = t->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_tunnel(t, step->actions[i]);
	t->state = step->to;
	if (in != IN_SEEN && in != IN_LEASE_EXPIRED) /* why it is as it is; the two say nothing new */
		t->why = in;
	if (t->state == from)
		return;
	t->why = in;
	t->changed_ns = now_boot_ns();
	snprintf(t->why_detail, sizeof(t->why_detail), "%s", detail ? detail : "");
	if ((from == TUNNEL_UP) != (t->state == TUNNEL_UP))
		tell_members(t);
	if (from == TUNNEL_UP) {
		reopen_failed(&t->reopen);
		t->seen_ns = t->changed_ns; /* what was seen before the failure proves nothing */
		t->asked_ns = 0;
	}
	say_tunnel(t, from);
}

/* The device that the tunnel is now gets its slot, its probe socket and its workloads. */
static void identify(struct tunnel *t)
{
	struct daemon *d = t->daemon;
	struct lease_identity identity = { .netns_cookie = t->netns_cookie,
					   .netns_ino = (uint32_t)t->netns_ino };
	struct link_identity link;
	struct error err;
	int slot;

	if (watch_netlink_identity(t->link, &link))
		return;
	identity.ifindex = link.ifindex;
	identity.link_type = link.type;
	slot = lease_slot(d->leases, &identity);
	if (slot < 0) {
		log_line(LOG_LEVEL_ERR, "no slot for a lease: %s: '%s' stays without one",
			 strerror(-slot), t->config->interface);
		slot = 0;
	}
	if ((unsigned int)slot != t->slot) {
		for (size_t i = 0; i < d->n_members; i++)
			if (d->members[i].tunnel == t && d->members[i].bound)
				workload_point(d->leases, d->members[i].bound, (unsigned int)slot);
		lease_retire(d->leases, t->slot);
		t->slot = (unsigned int)slot;
	}
	if (t->config->probe == PROBE_ICMP && d->prober) {
		_cleanup_fd int fd = prober_icmp_socket(t->netns_fd, link.ifindex,
							t->config->probe_address, &err);

		if (fd < 0 || prober_set(d->prober, 0, fd, t->config->probe_address))
			log_line(LOG_LEVEL_WARNING, "%s", fd < 0 ? err.text : "the prober is gone");
	}
}

static void tunnel_seen(struct tunnel *t, uint64_t seen_ns)
{
	uint64_t now = now_boot_ns();

	if (seen_ns > now)
		seen_ns = now;
	if (seen_ns <= t->seen_ns || !t->ready || !t->slot)
		return;
	t->seen_ns = seen_ns;
	t->asked_ns = 0;
	if (t->state == TUNNEL_UP) {
		/* the expired is not renewed, whoever was late */
		tunnel_input(t, now < lease_expires_ns(t->daemon->leases, t->slot) ?
				IN_SEEN : IN_LEASE_EXPIRED, NULL);
	} else if (reopen_seen(&t->reopen, seen_ns, now)) {
		tunnel_input(t, IN_PROVEN, NULL);
	}
}

static void on_link(void *owner, const struct evidence *e)
{
	struct tunnel *t = owner;

	t->ready = e->what == IN_LINK_READY;
	if (t->ready && t->link) {
		identify(t);
	} else if (!t->ready) {
		reopen_failed(&t->reopen);
		t->seen_ns = now_boot_ns();
	}
	tunnel_input(t, e->what, e->detail);
	if (t->ready && t->tick) /* prove it now, not at the next tick */
		set_timer(t->daemon, &t->tick, now_boot_ns(), on_tick, t);
}

static int on_link_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct tunnel *t = arg;

	(void)s;
	(void)fd;
	(void)events;
	watch_netlink_ready(t->link);
	return 0;
}

/* Is the netns that we hold still the one of that name? */
static bool netns_is_there(const struct tunnel *t)
{
	struct stat st;

	return !strcmp(t->config->netns, "host") ||
	       (!stat(t->config->netns, &st) && st.st_ino == t->netns_ino);
}

static void leave_netns(struct tunnel *t)
{
	sd_event_source_disable_unref(t->link_source);
	t->link_source = NULL;
	watch_netlink_stop(t->link);
	t->link = NULL;
	close_fd(&t->netns_fd); /* or we would keep it alive */
	t->netns_fd = -1;
	if (t->daemon->prober)
		prober_drop(t->daemon->prober, 0);
}

/* 0: in it; -ENOENT: not there (yet). */
static int enter_netns(struct tunnel *t, struct error *err)
{
	struct daemon *d = t->daemon;
	int r = netns_open(t->config->netns, &t->netns_fd, err);

	if (r)
		return r;
	t->netns_ino = netns_ino(t->netns_fd);
	r = netns_cookie(t->netns_fd, &t->netns_cookie);
	if (r) /* before v5.14 */
		r = gate_netns_cookie(d->gate, &d->root, t->netns_fd, &t->netns_cookie, err);
	if (!r)
		r = watch_netlink_start(&t->link, t->netns_fd, t->config->interface,
					*t->config->route ? t->config->route : NULL, on_link, t, err);
	if (!r) {
		r = sd_event_add_io(d->loop, &t->link_source, watch_netlink_fd(t->link), EPOLLIN,
				    on_link_readable, t);
		if (r < 0)
			fail(err, EXIT_FAILURE_, r, NULL, "watch the links of '%s'", t->config->netns);
	}
	if (r < 0) {
		leave_netns(t);
		return r;
	}
	sd_event_source_set_priority(t->link_source, PRIORITY_EVIDENCE);
	if (t->ready) /* told before t->link was set */
		identify(t);
	return 0;
}

static int on_expiry(sd_event_source *s, uint64_t usec, void *arg)
{
	struct tunnel *t = arg;

	(void)s;
	(void)usec;
	if (t->state == TUNNEL_UP &&
	    now_boot_ns() >= lease_expires_ns(t->daemon->leases, t->slot))
		tunnel_input(t, IN_LEASE_EXPIRED, NULL);
	return 0;
}

static void ask_probe(struct tunnel *t)
{
	struct daemon *d = t->daemon;

	if (t->config->probe != PROBE_ICMP || !d->prober)
		return;
	if (prober_ask(d->prober, 0) == -EPIPE)
		start_prober(d);
	if (!t->asked_ns)
		t->asked_ns = now_boot_ns();
}

/* Look at everything that nobody tells us, renew, ask where there was no sign of life. */
static void look(struct tunnel *t)
{
	struct error err;
	uint64_t now;

	if (t->link && !netns_is_there(t)) {
		t->ready = false;
		reopen_failed(&t->reopen);
		tunnel_input(t, IN_NETNS_GONE, t->config->netns);
		leave_netns(t);
	}
	if (!t->link) {
		int r = enter_netns(t, &err);

		if (r && r != -ENOENT && may_log(t))
			log_line(LOG_LEVEL_WARNING, "%s", err.text);
		if (r)
			return;
	}
	if (watch_netlink_reread(t->link)) /* told as evidence; nothing is renewed */
		return;
	now = now_boot_ns();
	if (t->config->probe == PROBE_NONE)
		tunnel_seen(t, now);
	else
		tunnel_seen(t, lease_seen_ns(t->daemon->leases, t->slot));
	if (t->state != TUNNEL_UP || now - t->seen_ns >= TICK_NS / 2)
		ask_probe(t);
}

static uint64_t next_tick_ns(const struct tunnel *t, uint64_t now)
{
	if (!t->ready)
		return now + TICK_NS;
	if (t->state != TUNNEL_UP)
		return now + TICK_PROVING_NS;
	if (!t->asked_ns)
		return now + TICK_NS;
	return now - t->asked_ns < ANSWER_NS ? t->asked_ns + ANSWER_NS : now + TICK_PROVING_NS;
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	struct tunnel *t = arg;

	(void)s;
	(void)usec;
	look(t);
	set_timer(t->daemon, &t->tick, next_tick_ns(t, now_boot_ns()), on_tick, t);
	return 0;
}

static int on_prober(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct daemon *d = arg;
	struct tunnel *t = &d->tunnel;
	struct prober_seen seen;
	uint64_t newest = 0;
	int r = 0;

	(void)s;
	(void)fd;
	(void)events;
	for (int i = 0; i < WATCH_BOUND && !(r = prober_read(d->prober, &seen)); i++)
		newest = seen.t_ns > newest ? seen.t_ns : newest;
	/* never renew on evidence that lies unread */
	if (newest && t->link && netns_is_there(t) && !watch_netlink_reread(t->link)) {
		tunnel_seen(t, newest);
		set_timer(d, &t->tick, next_tick_ns(t, now_boot_ns()), on_tick, t);
	}
	if (r == -EPIPE || r == -EBADMSG)
		start_prober(d);
	return 0;
}

/* A dead prober is silence; a new one gets a new socket. */
static void start_prober(struct daemon *d)
{
	struct error err;
	int r;

	sd_event_source_disable_unref(d->prober_source);
	d->prober_source = NULL;
	prober_stop(d->prober);
	d->prober = NULL;
	r = prober_start(&d->prober, &err);
	if (!r)
		r = sd_event_add_io(d->loop, &d->prober_source, prober_fd(d->prober), EPOLLIN,
				    on_prober, d);
	if (r < 0) {
		log_line(LOG_LEVEL_ERR, "%s", err.text);
		return;
	}
	sd_event_source_set_priority(d->prober_source, PRIORITY_LIFE);
	if (d->tunnel.ready && d->tunnel.link)
		identify(&d->tunnel);
}

/* ------ workloads ------ */

static int on_freeze_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	struct member *m = arg;

	(void)s;
	(void)usec;
	if (!watch_cgroup_frozen(m->cgroup))
		workload_input(m, IN_FREEZE_FAILED);
	return 0;
}

static void freeze(struct member *m, int cgroup_fd)
{
	struct daemon *d = m->daemon;
	struct workload w;
	int r = workload_get(d->leases, m->bound, &w);

	/* Frozen already, and not by us: whoever did it thaws it. */
	if (!r && !(w.flags & WORKLOAD_FROZEN_BY_US) && freezer_asked(cgroup_fd) == 1)
		return;
	/* the flag first: after a crash in between it is thawed once too often, never forgotten */
	if (!r)
		r = workload_flags(d->leases, m->bound, WORKLOAD_FROZEN_BY_US, 0);
	m->freezing_ns = now_boot_ns();
	if (!r)
		r = freezer_freeze(cgroup_fd);
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': freeze: %s (it stays blocked)",
			 member_name(m), strerror(-r));
	set_timer(d, &m->freeze_timer, now_boot_ns() + FREEZE_NS, on_freeze_timeout, m);
}

static void thaw(struct member *m, int cgroup_fd)
{
	struct daemon *d = m->daemon;
	struct workload w;

	if (workload_get(d->leases, m->bound, &w) || !(w.flags & WORKLOAD_FROZEN_BY_US))
		return;
	if (now_boot_ns() >= lease_expires_ns(d->leases, m->tunnel->slot))
		return; /* it ran out on the way here; the expiry's input follows */
	if (!freezer_thaw(cgroup_fd))
		workload_flags(d->leases, m->bound, 0, WORKLOAD_FROZEN_BY_US);
}

static void carry_out_workload(struct member *m, enum action action)
{
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	struct daemon *d = m->daemon;
	int r = 0;

	if (!c || !m->bound)
		return;
	switch (action) {
	case DO_ADMIT:
		r = workload_flags(d->leases, m->bound, WORKLOAD_ADMITTED, 0);
		break;
	case DO_BAR:
		r = workload_flags(d->leases, m->bound, 0, WORKLOAD_ADMITTED);
		break;
	case DO_FREEZE:
		freeze(m, c->fd);
		break;
	case DO_THAW:
		thaw(m, c->fd);
		break;
	case DO_ALERT:
		log_line(LOG_LEVEL_ERR, "workload '%s' does not freeze; it is blocked by the gate",
			 member_name(m));
		break;
	default:
		break;
	}
	if (r)
		log_line(LOG_LEVEL_ERR, "workload '%s': %s: %s", member_name(m),
			 action_name(action), strerror(-r));
}

static void workload_input(struct member *m, enum input in)
{
	const struct step *step = policy_workload(m->state, in);
	enum workload_state from = m->state;

	for (size_t i = 0; i < STEP_ACTIONS && step->actions[i]; i++)
		carry_out_workload(m, step->actions[i]);
	m->state = step->to;
	if (m->state == from)
		return;
	m->changed_ns = now_boot_ns();
	say_workload(m, from, in);
	if (m->state != WORKLOAD_BLOCKED)
		m->freezing_ns = 0;
	/* frozen at once, or frozen all along: the kernel tells only changes */
	if (m->state == WORKLOAD_BLOCKED && m->cgroup && watch_cgroup_frozen(m->cgroup) &&
	    in != IN_THAWED)
		workload_input(m, IN_FREEZE_DONE);
}

/* Record and gate for the cgroup that is there now. A record of an earlier run keeps its flags. */
static int bind_member(struct member *m, struct error *err)
{
	struct daemon *d = m->daemon;
	const struct cgroup_ref *c = watch_cgroup_ref(m->cgroup);
	int r = workload_bind(d->leases, c->id, c->level, c->name);

	if (r)
		return fail(err, EXIT_FAILURE_, r, NULL, "record workload '%s'", c->name);
	r = gate_attach(d->gate, &d->root, c, err);
	if (r)
		return r;
	m->bound = c->id;
	pins_touch(gate_pins(d->gate));
	return 0;
}

static void unbind_member(struct member *m)
{
	struct error err;

	if (!m->bound)
		return;
	if (gate_detach(m->bound, &err)) /* the cgroup is gone, so is what it was attached to */
		log_line(LOG_LEVEL_WARNING, "%s", err.text);
	workload_unbind(gate_pins(m->daemon->gate), m->bound);
	pins_touch(gate_pins(m->daemon->gate));
	m->bound = 0;
}

/* The cgroup is there and the gate on it: go on from what its record says, or bar it. */
static void join_member(struct member *m)
{
	struct daemon *d = m->daemon;
	struct tunnel *t = m->tunnel;
	struct workload w;

	workload_point(d->leases, m->bound, t->slot);
	if (!workload_get(d->leases, m->bound, &w) && w.flags & WORKLOAD_ADMITTED &&
	    t->state == TUNNEL_UP) {
		m->state = WORKLOAD_OPEN; /* adopted: its traffic runs on */
		m->changed_ns = w.since_ns;
	} else {
		workload_input(m, IN_CGROUP_BORN);
	}
	workload_input(m, t->state == TUNNEL_UP ? IN_TUNNEL_UP :
			  d->config->on_failure == ON_FAILURE_BLOCK ? IN_TUNNEL_DOWN_BLOCK :
								      IN_TUNNEL_DOWN);
}

static void on_cgroup(void *owner, const struct evidence *e)
{
	struct member *m = owner;
	struct error err;

	if (!m->cgroup) /* told by watch_cgroup_start(): start_member() goes on */
		return;
	if (e->what == IN_CGROUP_GONE) {
		workload_input(m, IN_CGROUP_GONE);
		unbind_member(m);
	} else if (e->what == IN_CGROUP_BORN) {
		if (bind_member(m, &err))
			log_line(LOG_LEVEL_ERR, "%s: it is NOT leashed", err.text);
		else
			join_member(m);
	} else {
		workload_input(m, e->what);
	}
}

static int on_cgroup_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct member *m = arg;

	(void)s;
	(void)fd;
	(void)events;
	watch_cgroup_ready(m->cgroup);
	return 0;
}

static int start_member(struct daemon *d, struct member *m, const struct workload_config *config,
			struct error *err)
{
	struct cgroup_ref there;
	int r;

	*m = (struct member){ .daemon = d, .tunnel = &d->tunnel, .state = WORKLOAD_WAITING };
	r = cgroup_path(&d->root, config->cgroup, m->path, err);
	for (struct member *other = d->members; !r && other < m; other++)
		if (!strcmp(other->path, m->path))
			r = fail(err, EXIT_USAGE, 0, "give each once", "cgroup '%s' is given twice",
				 member_name(m));
	if (!r)
		r = resolve_cgroup(&d->root, m->path, &there, err);
	if (r)
		return r;
	close_fd(&there.fd);
	r = watch_cgroup_start(&m->cgroup, &d->root, m->path, on_cgroup, m, err);
	if (!r && !watch_cgroup_ref(m->cgroup))
		r = fail(err, EXIT_USAGE, -ENOENT, NULL, "cgroup '%s' vanished", m->path);
	if (!r)
		r = bind_member(m, err);
	return r;
}

/* ------ the control socket ------ */

static json_t *answer_status(struct daemon *d)
{
	json_t *tunnels = json_array(), *workloads = json_array();
	struct tunnel *t = &d->tunnel;
	uint64_t now = now_boot_ns(), expires = lease_expires_ns(d->leases, t->slot);
	uint64_t left = expires > now ? expires - now : 0;
	char watched[64] = "silence not watched", address[INET_ADDRSTRLEN], why[256];

	if (t->config->probe == PROBE_ICMP)
		snprintf(watched, sizeof(watched), "icmp:%s",
			 inet_ntop(AF_INET, &t->config->probe_address, address, sizeof(address)));
	snprintf(why, sizeof(why), "%s%s%s", t->why ? input_text(t->why) :
		 "no such network namespace yet", *t->why_detail ? ": " : "", t->why_detail);
	json_array_append_new(tunnels, report_tunnel_json(&(struct report_tunnel){
		.interface = t->config->interface, .netns = t->config->netns,
		.state = tunnel_state_name(t->state), .lease_left_ns = left,
		.ifindex = lease_ifindex(d->leases, t->slot), .watched = watched,
		.why = why, .changed_ns = t->changed_ns }));
	for (size_t i = 0; i < d->n_members; i++) {
		struct member *m = &d->members[i];
		struct workload w = { 0 };
		struct report_workload r = { .cgroup_id = m->bound, .name = member_name(m),
					     .state = workload_state_name(m->state),
					     .tunnel = t->config->interface, .lease_left_ns = left,
					     .changed_ns = m->changed_ns };

		if (!m->cgroup) /* detached */
			continue;
		if (m->bound && !workload_get(d->leases, m->bound, &w))
			r.frozen_by_us = w.flags & WORKLOAD_FROZEN_BY_US;
		report_read_drops(gate_pins(d->gate), m->bound, r.dropped);
		json_array_append_new(workloads, report_workload_json(&r));
	}
	return report_json(getpid(), tunnels, workloads);
}

static void drop_member(struct member *m)
{
	sd_event_source_disable_unref(m->cgroup_source);
	sd_event_source_disable_unref(m->freeze_timer);
	watch_cgroup_stop(m->cgroup);
	*m = (struct member){ 0 };
}

/* All, or the one of that name, also one that an earlier run left behind. A daemon with no workload
 * left ends. */
static json_t *answer_detach(struct daemon *d, const char *name)
{
	struct error err;
	size_t left = 0;
	int r = detach_recorded(gate_pins(d->gate), &d->root, name, &err);
	char shown[256];

	if (!r)
		r = fail(&err, EXIT_USAGE, -ENOENT, "see: vpnleash status", "detach '%s'",
			 escape(shown, sizeof(shown), name ? name : "--all"));
	if (r < 0)
		return control_refusal(&err);
	for (size_t i = 0; i < d->n_members; i++) {
		if (d->members[i].cgroup && (!name || !strcmp(name, member_name(&d->members[i]))))
			drop_member(&d->members[i]);
		left += d->members[i].cgroup != NULL;
	}
	log_line(LOG_LEVEL_NOTICE, "detached %d workload(s)", r);
	if (!left)
		sd_event_exit(d->loop, 0);
	return json_pack("{s:i}", "detached", r);
}

static json_t *on_request(void *owner, const json_t *request)
{
	const char *verb = json_string_value(json_object_get(request, "verb"));
	struct error err;

	if (verb && !strcmp(verb, "status"))
		return answer_status(owner);
	if (verb && !strcmp(verb, "detach"))
		return answer_detach(owner, json_string_value(json_object_get(request, "workload")));
	fail(&err, EXIT_USAGE, 0, NULL, "unknown verb");
	return control_refusal(&err);
}

/* ------ life of the daemon ------ */

static void close_daemon(struct daemon *d)
{
	control_stop(d->control);
	for (size_t i = 0; i < CONFIG_WORKLOADS; i++)
		drop_member(&d->members[i]);
	leave_netns(&d->tunnel);
	sd_event_source_disable_unref(d->tunnel.tick);
	sd_event_source_disable_unref(d->tunnel.expiry);
	sd_event_source_disable_unref(d->prober_source);
	prober_stop(d->prober);
	lease_close(d->leases);
	gate_close(d->gate);
	close_fd(&d->root.fd);
	sd_event_unref(d->loop);
	close_fd(&d->lock_fd);
	free(d);
}

static void close_daemon_(struct daemon **d)
{
	if (*d)
		close_daemon(*d);
}

/* The lock, the gate on every cgroup, and no lease that was not there. */
static int open_daemon(struct daemon **ret, const struct config *config, struct error *err)
{
	_cleanup_(close_daemon_) struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	*d = (struct daemon){ .config = config, .root.fd = -1, .lock_fd = -1,
			      .tunnel = { .daemon = d, .config = &config->tunnel, .netns_fd = -1,
					  .state = TUNNEL_ABSENT, .log_tokens = LOG_BURST,
					  .log_ns = now_boot_ns() } };
	if (geteuid() != 0)
		return fail(err, EXIT_PRIVILEGE, -EPERM, "run as root", "start");
	if (in_time_namespace()) /* leases would end too early, or far too late */
		return fail(err, EXIT_PRIVILEGE, 0, "start vpnleash in the host's time namespace",
			    "keep leases: the clock of this time namespace is not the kernel's");
	r = resolve_cgroup_root(&d->root, err);
	if (r)
		return r;
	d->lock_fd = control_lock(err);
	if (d->lock_fd < 0)
		return d->lock_fd;
	r = gate_open(&d->gate, &d->root, err);
	if (!r)
		r = lease_open(&d->leases, gate_pins(d->gate), err);
	for (size_t i = 0; !r && i < config->n_workloads; i++) {
		d->n_members = i + 1;
		r = start_member(d, &d->members[i], &config->workloads[i], err);
	}
	if (r)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

int daemon_lock(const struct config *config, struct error *err)
{
	_cleanup_(close_daemon_) struct daemon *d = NULL;

	return open_daemon(&d, config, err);
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
	set_timer(t->daemon, &t->expiry, expires, on_expiry, t);
	log_line(LOG_LEVEL_NOTICE, "tunnel '%s': adopted, its lease is alive", t->config->interface);
}

static int start_tunnel(struct tunnel *t, struct error *err)
{
	char netns[128];
	int r = enter_netns(t, err);

	if (r && r != -ENOENT)
		return r;
	if (r || t->state == TUNNEL_ABSENT)
		log_line(LOG_LEVEL_NOTICE, "tunnel '%s' in %s is not there yet: locked, waiting",
			 t->config->interface, escape(netns, sizeof(netns), t->config->netns));
	adopt_lease(t);
	r = set_timer(t->daemon, &t->tick, now_boot_ns(), on_tick, t);
	return r < 0 ? fail(err, EXIT_FAILURE_, r, NULL, "start a timer") : 0;
}

int daemon_run(const struct config *config, struct error *err)
{
	_cleanup_(close_daemon_) struct daemon *d = NULL;
	int r = open_daemon(&d, config, err);

	if (r)
		return r;
	r = sd_event_new(&d->loop);
	if (r >= 0) {
		sigset_t stop;

		sigemptyset(&stop);
		sigaddset(&stop, SIGTERM);
		sigaddset(&stop, SIGINT);
		sigprocmask(SIG_BLOCK, &stop, NULL);
		sd_event_add_signal(d->loop, NULL, SIGTERM, NULL, NULL);
		sd_event_add_signal(d->loop, NULL, SIGINT, NULL, NULL);
		start_prober(d);
		if (!d->prober)
			return fail(err, EXIT_PRIVILEGE, -EPERM, "see the log", "start the prober");
	}
	if (r >= 0)
		r = control_start(&d->control, d->loop, on_request, d, err);
	else
		fail(err, EXIT_FAILURE_, r, NULL, "start the event loop");
	if (r >= 0)
		r = start_tunnel(&d->tunnel, err);
	for (size_t i = 0; r >= 0 && i < d->n_members; i++) {
		struct member *m = &d->members[i];

		r = sd_event_add_io(d->loop, &m->cgroup_source, watch_cgroup_fd(m->cgroup), EPOLLIN,
				    on_cgroup_readable, m);
		if (r < 0)
			return fail(err, EXIT_FAILURE_, r, NULL, "watch cgroup '%s'", m->path);
		sd_event_source_set_priority(m->cgroup_source, PRIORITY_EVIDENCE);
		join_member(m);
	}
	if (r < 0)
		return r;
	sd_notify(0, "READY=1");
	log_line(LOG_LEVEL_NOTICE, "%zu workload(s) locked to '%s'", d->n_members,
		 config->tunnel.interface);
	r = sd_event_loop(d->loop);
	sd_notify(0, "STOPPING=1");
	return r < 0 ? fail(err, EXIT_FAILURE_, r, NULL, "run the event loop") : 0;
}
