/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start, loop and end of the daemon. See daemon.h. */

#include "daemon/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "act/gate.h"
#include "act/guard.h"
#include "act/hooks.h"
#include "act/lease.h"
#include "base/netns.h"
#include "base/privilege.h"
#include "core/container_news.h"
#include "core/parked.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "daemon/refused.h"
#include "daemon/reload.h"
#include "daemon/verbs.h"
#include "edge/edge.h"
#include "prober/prober.h"
#include "report/audit.h"
#include "source/exec_cgroups.h"
#include "source/labels.h"
#include "source/slices.h"
#include "watch/cgroup.h"
#include "watch/drops.h"

#define SUMMARY_NS (10 * NS_PER_SEC)

/* ------ what the gates dropped ------ */

static void on_drop(void *owner, const struct drop_event *e)
{
	struct daemon *d = owner;
	struct workload *w = e->cgroup_id ? workload_of_cgroup(d, e->cgroup_id) : NULL;
	struct drop_source from = { 0 };
	const struct engine_item *i;
	char line[REFUSED_LEN];

	for_each_tunnel(d, t) {
		bool by_guard = e->guard && t->edge && edge_has_slot(t->edge, e->guard);

		if (by_guard) {
			from.tunnel = t->config.name;
			edge_name_sender(t->edge, e, from.cgroup, from.process);
		}
		/* in the host's netns no guard sees what comes in */
		if (by_guard || (w && w->tunnel == t &&
				 (e->reason == REASON_LAN_REPLY ||
				  e->ifindex != lease_ifindex(d->leases, t->slot))))
			from.remedy = refused_note(d, t, e, line);
	}
	i = *from.cgroup ? inventory_at(d->inventory, from.cgroup) : NULL;
	from.container = i ? i->name : NULL;
	if (w && e->reason)
		w->last_drop = *e;
	audit_drop(d->audit, w ? w->name : "-", &from, e);
}

static int on_drops_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct daemon *d = arg;

	drops_ready(d->drops);
	return 0;
}

static int on_summary(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;

	for_each_workload(d, w) {
		workload_summary(w);
		if (w->tunnel == d->nowhere) /* whose others have a tick */
		{
			container_look(w);
			workload_look(w);
		}
	}
	remains_scan(d);
	unguard(d);
	privilege_again();
	set_timer(d->loop, &d->summary_timer, now_boot_ns() + SUMMARY_NS, on_summary, d);
	return 0;
}

static void on_record(void *owner, const json_t *record)
{
	struct daemon *d = owner;

	if (d->control)
		control_publish(d->control, record);
}

static int start_drops(struct daemon *d, struct error *err)
{
	int r = drops_start(&d->drops, gate_pins(d->gate)->events, on_drop, d, err);

	if (r)
		return r;
	r = sd_event_add_io(d->loop, &d->drops_source, drops_fd(d->drops), EPOLLIN,
			    on_drops_readable, d);
	if (r >= 0)
		r = set_timer(d->loop, &d->summary_timer, now_boot_ns() + SUMMARY_NS, on_summary,
			      d);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "listen to the drop events");
	/* after everything that keeps a lease right */
	sd_event_source_set_priority(d->drops_source, PRIORITY_LAST);
	sd_event_source_set_priority(d->summary_timer, PRIORITY_LAST);
	return 0;
}

static void close_daemon(struct daemon **p)
{
	struct daemon *d = *p;

	if (!d)
		return;
	control_stop(d->control);
	d->control = NULL;
	worker_end(&d->hooks);
	sd_event_source_disable_unref(d->checks_source);
	worker_end(&d->checks);
	slices_stop(d);
	remains_close(d);
	sd_event_source_disable_unref(d->drops_source);
	sd_event_source_disable_unref(d->summary_timer);
	drops_stop(d->drops);
	for_each_workload(d, w)
		workload_free(w);
	for_each_tunnel(d, t)
		tunnel_free(t);
	if (d->nowhere)
		tunnel_free(d->nowhere);
	free(d->workloads);
	free(d->tunnels);
	parked_free(d);
	inventory_free(d->inventory);
	sd_event_source_disable_unref(d->labels_timer);
	sd_event_source_disable_unref(d->prober_source);
	prober_stop(d->prober);
	lease_close(d->leases);
	guards_close(d->guards);
	gate_close(d->gate);
	watch_cgroups_free(d->cgroups);
	d->root.fd = close_fd(d->root.fd);
	sd_event_unref(d->loop);
	audit_free(d->audit);
	d->lock_fd = close_fd(d->lock_fd);
	free(d);
}

static int check_start(struct error *err)
{
	if (geteuid() != 0)
		return fail(err, ERROR_PRIVILEGE, -EPERM, "run as root", "start");
	if (in_time_namespace())
		return fail(err, ERROR_PRIVILEGE, 0, "start vpnleash outside the time namespace",
			    "leases need the kernel's own boot clock");
	return 0;
}

/* What changes nothing outside. */
static int open_parts(struct daemon *d, struct error *err)
{
	int r = tunnel_new(d,
			   &(struct tunnel_config) { .name = "-", .interface = "-", .netns = "-" },
			   &d->nowhere, err);

	if (r)
		return r;
	d->audit = audit_new(on_record, d);
	if (!d->audit)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	r = check_start(err);
	if (r)
		return r;
	privilege_files();
	r = sd_event_new(&d->loop);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "start the event loop");
	r = resolve_cgroup_root(&d->root, err);
	r = r ? r : inventory_new(&d->inventory, d->loop, &d->root, &labels_news, d, err);
	return r ? r : watch_cgroups_new(&d->cgroups, d->loop, PRIORITY_EVIDENCE, &d->root, err);
}

/* How deep the first of the configuration lies, for which the gate is loaded first. */
static uint32_t config_level(const struct config *config)
{
	for (size_t i = 0; i < config->n_workloads; i++) {
		const char *name;
		uint32_t depth = 0;

		if (place_kind(config->workloads[i].cgroup, &name) != PLACE_PATH)
			continue;
		for (; *name; name++)
			depth += *name == '/' && name[1] && name[1] != '/';
		return depth;
	}
	return GATE_LEVEL;
}

/* The gate on every cgroup, and no lease that was not there. */
static int open_pins(struct daemon *d, const struct config *config, struct error *err)
{
	_cleanup_fd int pins_lock = control_lock_pins(err);
	int r;

	if (pins_lock < 0)
		return pins_lock;
	r = gate_open(&d->gate, &d->root, config_level(config), err);
	r = r ? r : lease_open(&d->leases, gate_pins(d->gate), err);
	r = r ? r : remains_open(d, err);
	r = r ? r : guards_open(&d->guards, d->gate, err);
	return r ? r : reload_begin(d, config, err);
}

static int open_daemon(struct daemon **ret, const struct config *config, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	*d = (struct daemon) { .lease_ns = config->lease_ns,
			       .container_news = &container_news,
			       .slices_touch = slices_touch,
			       .answered = tunnel_answered,
			       .exit_told = tunnel_exit_told,
			       .root.fd = -1,
			       .lock_fd = -1 };
	r = open_parts(d, err);
	if (r)
		return r;
	d->lock_fd = control_lock(err);
	if (d->lock_fd < 0)
		return d->lock_fd;
	r = open_pins(d, config, err);
	if (r)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

int daemon_lock(const struct config *config, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = NULL;

	return open_daemon(&d, config, err);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct daemon *d = arg;
	struct error err;

	if (!d->file)
		log_line(LOG_LEVEL_WARNING, "reload: started by options, there is no file to read");
	else if (reload(d, &err))
		log_line(LOG_LEVEL_ERR, "reload: %s; the old configuration is kept", err.text);
	else
		log_line(LOG_LEVEL_NOTICE, "reload: %zu workload(s) on %zu tunnel(s)",
			 d->n_workloads, d->n_tunnels);
	return 0;
}

static int listen_to_signals(struct daemon *d, struct error *err)
{
	sigset_t stop;
	int r;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	r = sd_event_add_signal(d->loop, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGHUP, on_reload, d);
	return r < 0 ? fail(err, ERROR_OTHER, r, NULL, "listen to SIGTERM, SIGINT and SIGHUP") : 0;
}

static int start_loop(struct daemon *d, const char *engine, struct error *err)
{
	int r = listen_to_signals(d, err);

	/* of the BPF object, which is closed: each child would have it */
	malloc_trim(0);
	r = r ? r : prober_begin(d, err);
	r = r ? r : start_drops(d, err);
	/* also for those that labels will name */
	r = r ? r : hooks_start(&d->hooks, err);
	r = r ? r : checks_begin(d, err);
	_Static_assert(CONFIG_SOCKETS == ENGINES && CONFIG_SOCKET_LEN == ENGINE_WHERE_LEN,
		       "what can be set can be asked");
	if (!r)
		parked_begin(d);
	r = r ? r : inventory_start(d->inventory, engine, err);
	return r ? r : control_start(&d->control, d->loop, verbs_answer, d, err);
}

static bool is_adopted(unsigned int slot, void *arg)
{
	const struct daemon *d = arg;

	for_each_tunnel(d, t)
		if (t->slot == slot && t->state == TUNNEL_UP)
			return true;
	return false;
}

/* The tunnels first: a workload joins the state that its tunnel is in. */
static int start_parts(struct daemon *d, const struct config *config, struct error *err)
{
	int r;

	for (size_t i = 0; i < config->n_workloads; i++)
		if (config->workloads[i].is_slice)
			d->tunnels[config->workloads[i].tunnel]->of_slice = true;
	for_each_tunnel(d, t) {
		r = t->tick ? 0 : tunnel_start(t, err); /* of labels it was started already */
		if (r)
			return r;
	}
	/* an earlier daemon's, of a tunnel that is not up now, or not ours: hard evidence */
	lease_revoke_others(d->leases, is_adopted, d);
	for_each_workload(d, w)
		if (!w->started)
			workload_start(w);
	r = slices_reload(d, config, err);
	if (r)
		return r;
	d->running = true;
	exec_adopt(d);
	unguard_sweep(d);
	remains_scan(d);
	return 0;
}

int daemon_run(const struct config *config, const char *file, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = NULL;
	int r = open_daemon(&d, config, err);

	if (r)
		return r;
	d->file = file;
	r = start_loop(d, config->engine, err);
	r = r ? r : start_parts(d, config, err);
	if (r)
		return r;
	privilege_take();
	r = privilege_drop(err);
	if (r)
		return r;
	sd_notify(0, "READY=1");
	log_line(LOG_LEVEL_NOTICE, "%zu workload(s) on %zu tunnel(s)", d->n_workloads,
		 d->n_tunnels);
	r = sd_event_loop(d->loop);
	sd_notify(0, "STOPPING=1");
	return r < 0 ? fail(err, ERROR_OTHER, r, NULL, "run the event loop") : 0;
}
