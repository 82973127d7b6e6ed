/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start, loop and end of the daemon. See daemon.h and state.h. */
#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/netns.h"
#include "base/privilege.h"
#include "config/file.h"
#include "source/slice_lock.h"
#include "core/state.h"
#include "edge/sweep.h"

#define SUMMARY_NS (10 * NS_PER_SEC)

/* ------ what the gates dropped ------ */

static void on_drop(void *owner, const struct drop_event *e)
{
	struct daemon *d = owner;
	struct workload *w = e->cgroup_id ? workload_of_cgroup(d, e->cgroup_id) : NULL;
	struct drop_source from = { 0 };

	for (size_t i = 0; e->guard && i < d->n_tunnels; i++)
		if (d->tunnels[i]->edge && edge_has_slot(d->tunnels[i]->edge, e->guard)) {
			from.tunnel = d->tunnels[i]->config.name;
			edge_name_sender(d->tunnels[i]->edge, e, from.cgroup, from.process);
		}
	if (w)
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
			workload_look(w);
	}
	remains_scan(d);
	tunnels_unguard(d);
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
		return fail(err, EXIT_FAILURE_, r, NULL, "listen to the drop events");
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
	containers_stop(d);
	hooks_stop(d->hooks);
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

/* ------ from a configuration to tunnels and workloads ------ */

struct parts {
	size_t n_tunnels, n_workloads;
	struct tunnel **tunnels;
	struct workload **workloads;
};

static bool has_tunnel(const struct parts *p, const struct tunnel *t)
{
	for (size_t i = 0; i < p->n_tunnels; i++)
		if (p->tunnels[i] == t)
			return true;
	return false;
}

static bool has_workload(const struct parts *p, const struct workload *w)
{
	for (size_t i = 0; i < p->n_workloads; i++)
		if (p->workloads[i] == w)
			return true;
	return false;
}

static struct tunnel *find_tunnel(const struct parts *p, const struct tunnel_config *c)
{
	for (size_t i = 0; i < p->n_tunnels; i++)
		if (!memcmp(&p->tunnels[i]->config, c, sizeof(*c)))
			return p->tunnels[i];
	return NULL;
}

static struct workload *find_workload(const struct parts *p, const char *given)
{
	for (size_t i = 0; i < p->n_workloads; i++)
		if (!strcmp(p->workloads[i]->given, given))
			return p->workloads[i];
	return NULL;
}

static bool slot_in_use(const struct parts *p, unsigned int slot)
{
	for (size_t i = 0; i < p->n_tunnels; i++)
		if (p->tunnels[i]->slot == slot)
			return true;
	return false;
}

static void free_arrays(struct parts *p)
{
	free(p->tunnels);
	free(p->workloads);
}

/* Has it a record already: of an earlier daemon, of `lock`, of a workload no longer in the file? */
static bool is_recorded(struct daemon *d, const char *path, uint64_t *ret_id)
{
	_cleanup_fd int link = -1;
	struct workload_record record;
	struct cgroup_ref c;

	*ret_id = 0;
	if (resolve_cgroup(&d->root, path, &c, NULL))
		return false;
	close_fd(c.fd);
	*ret_id = c.id;
	link = pins_open_link("gate_egress", c.id);
	return !record_get(d->leases, c.id, &record) || link >= 0;
}

static int make_workload(struct daemon *d, const struct workload_config *config,
			 const struct parts *old, struct parts *new, bool *ret_recorded,
			 struct error *err)
{
	struct tunnel *t = new->n_tunnels ? new->tunnels[config->tunnel] : NULL;
	struct workload *w = NULL;
	char given[PATH_MAX];
	const char *name;
	bool is_path = place_kind(config->cgroup, &name) == PLACE_PATH;
	uint64_t id = 0;
	int r = is_path ? cgroup_path(&d->root, config->cgroup, given, err) : 0;

	if (!is_path)
		snprintf(given, sizeof(given), "%s", config->cgroup);
	if (!r && *config->hook)
		r = hooks_check(config->hook, err);
	if (!r && *config->hook_inside)
		r = hooks_check(config->hook_inside, err);
	if (!r && find_workload(new, given))
		r = fail(err, EXIT_USAGE, 0, "give each once", "cgroup '%s' is given twice", given);
	if (!r)
		w = find_workload(old, given);
	if (w && *config->name && strcmp(w->name, config->name))
		w = NULL; /* another name is another workload, and takes over the record */
	if (!r && !w) {
		if (is_path)
			*ret_recorded = is_recorded(d, given, &id);
		if (gate_is_slice(gate_pins(d->gate), id, NULL))
			return fail(err, EXIT_USAGE, -EBUSY,
				    "leash its children, or detach the slice first",
				    "leash '%s': it is locked as a slice", given);
		r = workload_new(d, config, given, t, &w, err);
		if (r && id && !*ret_recorded) /* no record without a gate */
			record_unbind(gate_pins(d->gate), id);
	}
	if (!r)
		new->workloads[new->n_workloads++] = w;
	return r;
}

/* Of what had a gate before, the gate stays: an error in a file opens nothing. */
static void undo_workload(struct daemon *d, const struct parts *old, struct workload *w,
			  bool recorded)
{
	const struct workload *before = find_workload(old, w->given);

	if (!recorded) {
		workload_undo(w);
		return;
	}
	if (before)
		record_bind(d->leases, w->bound, watch_cgroup_ref(w->cgroup)->level, before->name,
			    before->made ? WORKLOAD_EXEC : 0);
	workload_free(w);
}

static bool is_of_no_file(const struct workload *w)
{
	return w->exec || w->of_labels || w->slice;
}

/* Before the workloads, which may lie in them. Locked, a slice stays so, whatever else fails. */
static int lock_slices(struct daemon *d, const struct config *config, struct error *err)
{
	const char *name;
	int r = 0;

	for (size_t i = 0; !r && i < config->n_slices; i++)
		r = slice_lock(d->gate, &d->root, config->slices[i], NULL, err);
	for (size_t i = 0; !r && i < config->n_workloads; i++)
		if (place_kind(config->workloads[i].cgroup, &name) == PLACE_SLICE)
			r = slice_lock(d->gate, &d->root, name, NULL, err);
	return r;
}

/* What is in `old` as the configuration wants it is taken over, the rest is made; all or nothing.
 */
static int make_parts(struct daemon *d, const struct config *config, const struct parts *old,
		      struct parts *ret, struct error *err)
{
	struct parts new = { .tunnels = calloc(config->n_tunnels + old->n_tunnels + 1,
					       sizeof(*new.tunnels)),
			     .workloads = calloc(config->n_workloads + old->n_workloads + 1,
						 sizeof(*new.workloads)) };
	bool recorded[CONFIG_WORKLOADS] = { false };
	int r = new.tunnels &&new.workloads
			? 0
			: fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "take over the configuration");

	for (size_t i = 0; !r && i < config->n_tunnels; i++) {
		new.tunnels[i] = find_tunnel(old, &config->tunnels[i]);
		if (!new.tunnels[i])
			r = tunnel_new(d, &config->tunnels[i], &new.tunnels[i], err);
		new.n_tunnels += !r;
	}
	r = r ? r : lock_slices(d, config, err);
	for (size_t i = 0; !r && i < config->n_workloads; i++)
		r = config->workloads[i].is_slice
			    ? 0
			    : make_workload(d, &config->workloads[i], old, &new,
					    &recorded[new.n_workloads], err);
	for (size_t i = 0; !r && i < old->n_workloads; i++)
		if (is_of_no_file(old->workloads[i])) /* so none ends it */
			new.workloads[new.n_workloads++] = old->workloads[i];
	for (size_t i = 0; !r && i < old->n_tunnels; i++)
		if (old->tunnels[i]->of_labels)
			new.tunnels[new.n_tunnels++] = old->tunnels[i];
	if (!r) {
		*ret = new;
		return 0;
	}
	for (size_t i = 0; i < new.n_workloads; i++)
		if (!has_workload(old, new.workloads[i]))
			undo_workload(d, old, new.workloads[i], recorded[i]);
	for (size_t i = 0; i < new.n_tunnels; i++)
		if (!has_tunnel(old, new.tunnels[i]))
			tunnel_free(new.tunnels[i]);
	free_arrays(&new);
	return r;
}

/* The lock, the gate on every cgroup, and no lease that was not there. */
static int open_daemon(struct daemon **ret, const struct config *config, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = calloc(1, sizeof(*d));
	_cleanup_fd int pins_lock = -1;
	struct parts parts;
	int r;

	if (!d)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	*d = (struct daemon) { .lease_ns = config->lease_ns, .root.fd = -1, .lock_fd = -1 };
	r = tunnel_new(d, &(struct tunnel_config) { .name = "-", .interface = "-", .netns = "-" },
		       &d->nowhere, err);
	if (r)
		return r;
	d->audit = audit_new(on_record, d);
	if (!d->audit)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "start");
	if (geteuid() != 0)
		return fail(err, EXIT_PRIVILEGE, -EPERM, "run as root", "start");
	if (in_time_namespace())
		return fail(err, EXIT_PRIVILEGE, 0, "start vpnleash outside the time namespace",
			    "leases need the kernel's own boot clock");
	privilege_files();
	r = sd_event_new(&d->loop);
	if (r < 0)
		return fail(err, EXIT_FAILURE_, r, NULL, "start the event loop");
	r = resolve_cgroup_root(&d->root, err);
	if (!r)
		r = watch_cgroups_new(&d->cgroups, d->loop, PRIORITY_EVIDENCE, &d->root, err);
	if (r)
		return r;
	d->lock_fd = control_lock(err);
	if (d->lock_fd < 0)
		return d->lock_fd;
	pins_lock = control_lock_pins(err);
	if (pins_lock < 0)
		return pins_lock;
	r = gate_open(&d->gate, &d->root, err);
	if (!r)
		r = lease_open(&d->leases, gate_pins(d->gate), err);
	if (!r)
		r = remains_open(d, err);
	if (!r)
		r = guards_open(&d->guards, d->gate, err);
	if (!r)
		r = make_parts(d, config, &(struct parts) { 0 }, &parts, err);
	if (r)
		return r;
	d->tunnels = parts.tunnels;
	d->n_tunnels = parts.n_tunnels;
	d->workloads = parts.workloads;
	d->n_workloads = parts.n_workloads;
	*ret = TAKE_PTR(d);
	return 0;
}

int daemon_lock(const struct config *config, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = NULL;

	return open_daemon(&d, config, err);
}

static void start_what_is_new(struct daemon *d)
{
	struct error err;

	for_each_tunnel(d, t)
		if (!t->tick && tunnel_start(t, &err))
			log_line(LOG_LEVEL_ERR, "%s", err.text);
	for_each_workload(d, w)
		if (!w->started)
			workload_start(w);
}

/* What is no network namespace; one that is not there yet is waited for. */
static int check_netns(const struct config *config, struct error *err)
{
	for (size_t i = 0; i < config->n_tunnels; i++) {
		_cleanup_fd int fd = -1;
		const char *name;
		enum place_kind kind = place_kind(config->tunnels[i].netns, &name);
		int r = kind == PLACE_PATH ? netns_open(name, &fd, err) : 0;

		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

static void move_execs(struct daemon *d)
{
	for (size_t i = 0; i < d->n_workloads;) {
		struct workload *w = d->workloads[i];
		struct tunnel *t = w->exec ? exec_tunnel(w, d->tunnels, d->n_tunnels) : w->tunnel;

		if (t && t != w->tunnel)
			workload_move(w, t);
		if (t) {
			i++;
			continue;
		}
		log_line(LOG_LEVEL_WARNING,
			 "workload '%s': its tunnel is no longer in the file: it "
			 "stays shut",
			 w->name);
		workload_shut(w);
		workload_free(w);
		d->workloads[i] = d->workloads[--d->n_workloads];
	}
}

/*
 * A tunnel or workload that is in the new configuration as it was in the old one goes on
 * undisturbed. A changed or new tunnel starts absent, its workloads shut until it is proven. What
 * is no longer there stays shut: only `detach` takes the gate off.
 */
static int reload(struct daemon *d, struct error *err)
{
	struct parts old = { d->n_tunnels, d->n_workloads, d->tunnels, d->workloads }, new;
	struct config config;
	char name[VPNLEASH_NAME_LEN * 4];
	size_t n_gone = 0;
	int r = config_read(d->file, &config, err);

	if (r)
		return r;
	r = check_netns(&config, err);
	privilege_long_work(true); /* a new depth is another instance of the gate to be loaded */
	if (!r)
		r = make_parts(d, &config, &old, &new, err);
	privilege_long_work(false);
	if (r) {
		config_free(&config);
		return r;
	}
	d->lease_ns = config.lease_ns;
	d->tunnels = new.tunnels;
	d->n_tunnels = new.n_tunnels;
	d->workloads = new.workloads;
	d->n_workloads = new.n_workloads;
	for (size_t i = 0; i < old.n_workloads; i++)
		if (!has_workload(&new, old.workloads[i])) {
			if (!find_workload(&new, old.workloads[i]->given))
				log_line(LOG_LEVEL_NOTICE,
					 "workload '%s' is no longer in the file: it "
					 "stays shut until: vpnleash detach",
					 escape(name, sizeof(name), old.workloads[i]->name));
			workload_shut(old.workloads[i]);
			workload_free(old.workloads[i]);
		}
	/* a changed tunnel is the same device, so the same slot: not to be adopted, nor retired */
	for (size_t i = 0; i < old.n_tunnels; i++)
		if (!slot_in_use(&new, old.tunnels[i]->slot))
			lease_revoke(d->leases, old.tunnels[i]->slot);
	start_what_is_new(d);
	for (size_t i = 0, n = 0; i < config.n_workloads; i++) {
		struct tunnel *t = new.tunnels[config.workloads[i].tunnel];
		struct workload *w;

		if (config.workloads[i].is_slice)
			continue;
		w = new.workloads[n++];
		workload_configure(w, &config.workloads[i]);
		if (w->tunnel != t)
			workload_move(w, t);
	}
	for (size_t i = 0; i < d->n_workloads && !d->hooks; i++)
		if (*d->workloads[i]->hook || *d->workloads[i]->hook_inside) {
			log_line(LOG_LEVEL_WARNING,
				 "reload: the first hook is run by the next daemon: "
				 "restart vpnleash (execve() is given up by now)");
			break;
		}
	move_execs(d);
	if (slices_reload(d, &config, err))
		log_line(LOG_LEVEL_ERR, "reload: %s", err->text);
	remains_scan(d); /* what was audit may be no longer */
	for (size_t i = 0; i < old.n_tunnels; i++)
		if (!has_tunnel(&new, old.tunnels[i]))
			old.tunnels[n_gone++] = old.tunnels[i];
	/* from here on d's arrays are others than `new`, and tunnels of labels may be gone */
	labels_again(d);
	for_each_tunnel(d, other)
		tunnel_workloads_changed(other);
	new = (struct parts) { d->n_tunnels, d->n_workloads, d->tunnels, d->workloads };
	for (size_t i = 0; i < n_gone; i++) {
		if (!slot_in_use(&new, old.tunnels[i]->slot))
			lease_retire(d->leases, old.tunnels[i]->slot);
		tunnel_free(old.tunnels[i]);
	}
	free_arrays(&old);
	config_free(&config);
	return 0;
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct daemon *d = arg;
	struct error err;

	if (!d->file)
		log_line(LOG_LEVEL_WARNING, "reload: started without a file, nothing to read");
	else if (reload(d, &err))
		log_line(LOG_LEVEL_ERR, "reload: %s; the old configuration is kept", err.text);
	else
		log_line(LOG_LEVEL_NOTICE, "reload: %zu workload(s) on %zu tunnel(s)",
			 d->n_workloads, d->n_tunnels);
	return 0;
}

static int start_hooks(struct daemon *d, struct error *err)
{
	bool any = false;

	for_each_workload(d, w)
		any |= *w->hook || *w->hook_inside;
	return any ? hooks_start(&d->hooks, err) : 0;
}

static int start_loop(struct daemon *d, const char *file, const char *engine, struct error *err)
{
	sigset_t stop;
	int r;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	d->file = file;
	r = sd_event_add_signal(d->loop, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGHUP, on_reload, d);
	if (r < 0)
		return fail(err, EXIT_FAILURE_, r, NULL, "listen to SIGTERM, SIGINT and SIGHUP");
	r = prober_begin(d, err);
	if (!r)
		r = start_drops(d, err);
	if (!r)
		r = start_hooks(d, err);
	if (!r)
		r = containers_start(d, engine, err);
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

int daemon_run(const struct config *config, const char *file, struct error *err)
{
	_cleanup_(close_daemon) struct daemon *d = NULL;
	int r = open_daemon(&d, config, err);

	if (!r)
		r = start_loop(d, file, config->engine, err);
	for (size_t i = 0; !r && i < config->n_workloads; i++)
		if (config->workloads[i].is_slice)
			d->tunnels[config->workloads[i].tunnel]->of_slice = true;
	/* the tunnels first: a workload joins the state that its tunnel is in */
	for (size_t i = 0; !r && i < d->n_tunnels; i++)
		r = d->tunnels[i]->tick ? 0 : tunnel_start(d->tunnels[i], err);
	if (!r) /* an earlier daemon's, of a tunnel that is not up now, or not ours: hard evidence
		 */
		lease_revoke_others(d->leases, is_adopted, d);
	for (size_t i = 0; !r && i < d->n_workloads; i++)
		if (!d->workloads[i]->started)
			workload_start(d->workloads[i]);
	if (!r)
		r = slices_reload(d, config, err);
	if (!r) {
		d->running = true;
		d->no_engine = !strcmp(config->engine, "none");
		exec_adopt(d);
		tunnel_sweep(d);
		remains_scan(d);
		privilege_take();
		r = privilege_drop(err);
	}
	if (r)
		return r;
	sd_notify(0, "READY=1");
	log_line(LOG_LEVEL_NOTICE, "%zu workload(s) on %zu tunnel(s)", d->n_workloads,
		 d->n_tunnels);
	r = sd_event_loop(d->loop);
	sd_notify(0, "STOPPING=1");
	return r < 0 ? fail(err, EXIT_FAILURE_, r, NULL, "run the event loop") : 0;
}
