/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "act/gate.h"
#include "act/lease.h"
#include "base/netns.h"
#include "base/privilege.h"
#include "config/config.h"
#include "core/leash.h"
#include "core/registry.h"
#include "core/remains.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "source/exec_cgroups.h"
#include "source/labels.h"
#include "source/slice_lock.h"
#include "source/slices.h"
#include "watch/cgroup.h"

/* Tunnels and workloads; for_each_tunnel() and for_each_workload() walk these as well. */
struct parts {
	size_t n_tunnels, n_workloads;
	struct tunnel **tunnels;
	struct workload **workloads;
};

static struct parts parts_of(const struct daemon *d)
{
	return (struct parts) { d->n_tunnels, d->n_workloads, d->tunnels, d->workloads };
}

static void take_over(struct daemon *d, const struct parts *p)
{
	d->tunnels = p->tunnels;
	d->n_tunnels = p->n_tunnels;
	d->workloads = p->workloads;
	d->n_workloads = p->n_workloads;
}

static struct tunnel *find_tunnel(const struct parts *p, const struct tunnel_config *c)
{
	for_each_tunnel(p, t)
		if (!memcmp(&t->config, c, sizeof(*c)))
			return t;
	return NULL;
}

static struct workload *find_workload(const struct parts *p, const char *given)
{
	for_each_workload(p, w)
		if (!strcmp(w->given, given))
			return w;
	return NULL;
}

static bool slot_in_use(const struct parts *p, unsigned int slot)
{
	for_each_tunnel(p, t)
		if (t->slot == slot)
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

static int make_new(struct daemon *d, const struct workload_config *config, const char *given,
		    struct tunnel *t, struct workload **ret, bool *ret_recorded, struct error *err)
{
	uint64_t id = 0;
	const char *name;
	int r;

	if (place_kind(given, &name) == PLACE_PATH)
		*ret_recorded = is_recorded(d, given, &id);
	if (gate_is_slice(gate_pins(d->gate), id, NULL))
		return fail(err, ERROR_INPUT, -EBUSY,
			    "leash its children, or detach the slice first",
			    "leash '%s': it is locked as a slice", given);
	r = workload_new(d, OF_FILE, config, given, t, ret, err);
	if (r && id && !*ret_recorded) /* no record without a gate */
		record_unbind(gate_pins(d->gate), id);
	return r;
}

static int make_workload(struct daemon *d, const struct workload_config *config,
			 const struct parts *old, struct parts *new, bool *ret_recorded,
			 struct error *err)
{
	struct workload *w;
	char given[PATH_MAX];
	const char *name;
	int r = 0;

	if (place_kind(config->cgroup, &name) == PLACE_PATH)
		r = cgroup_path(&d->root, config->cgroup, given, err);
	else
		snprintf(given, sizeof(given), "%s", config->cgroup);
	r = r ? r : workload_check_hooks(config, err);
	if (r)
		return r;
	if (find_workload(new, given))
		return fail(err, ERROR_INPUT, 0, "give each once", "cgroup '%s' is given twice",
			    given);
	w = find_workload(old, given);
	/* another name is another workload, and takes over the record */
	if (!w || (*config->name && strcmp(w->name, config->name)))
		r = make_new(d, config, given, new->tunnels[config->tunnel], &w, ret_recorded, err);
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
			    before->origin == OF_EXEC ? WORKLOAD_EXEC : 0);
	workload_free(w);
}

/* Into `new`, which has room for all. recorded: of its n-th workload, see undo_workload(). */
static int fill_parts(struct daemon *d, const struct config *config, const struct parts *old,
		      struct parts *new, bool *recorded, struct error *err)
{
	int r;

	for (size_t i = 0; i < config->n_tunnels; i++) {
		struct tunnel *t = find_tunnel(old, &config->tunnels[i]);

		r = t ? 0 : tunnel_new(d, &config->tunnels[i], &t, err);
		if (r)
			return r;
		new->tunnels[new->n_tunnels++] = t;
	}
	/* before the workloads, which may lie in them; locked they stay so, whatever else fails */
	r = slices_lock_with(d->gate, &d->root, config, err);
	if (r)
		return r;
	for (size_t i = 0; i < config->n_workloads; i++) {
		if (config->workloads[i].is_slice)
			continue;
		r = make_workload(d, &config->workloads[i], old, new, &recorded[new->n_workloads],
				  err);
		if (r)
			return r;
	}
	for_each_workload(old, w)
		if (w->origin != OF_FILE) /* so none ends it */
			new->workloads[new->n_workloads++] = w;
	for_each_tunnel(old, t)
		if (t->of_labels)
			new->tunnels[new->n_tunnels++] = t;
	return 0;
}

/* What is in `old` as it is wanted is taken over, the rest is made; all or nothing. */
static int make_parts(struct daemon *d, const struct config *config, const struct parts *old,
		      struct parts *ret, struct error *err)
{
	struct parts new = { .tunnels = calloc(config->n_tunnels + old->n_tunnels + 1,
					       sizeof(*new.tunnels)),
			     .workloads = calloc(config->n_workloads + old->n_workloads + 1,
						 sizeof(*new.workloads)) };
	bool recorded[CONFIG_WORKLOADS] = { false };
	int r;

	if (new.tunnels &&new.workloads)
		r = fill_parts(d, config, old, &new, recorded, err);
	else
		r = fail(err, ERROR_OTHER, -ENOMEM, NULL, "take over the configuration");
	if (!r) {
		*ret = new;
		return 0;
	}
	for (size_t i = 0; i < new.n_workloads; i++)
		if (!is_among(old->workloads, old->n_workloads, new.workloads[i]))
			undo_workload(d, old, new.workloads[i], recorded[i]);
	for_each_tunnel(&new, t)
		if (!is_among(old->tunnels, old->n_tunnels, t))
			tunnel_free(t);
	free_arrays(&new);
	return r;
}

int reload_begin(struct daemon *d, const struct config *config, struct error *err)
{
	struct parts parts;
	int r = make_parts(d, config, &(struct parts) { 0 }, &parts, err);

	if (!r)
		take_over(d, &parts);
	return r;
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

/* A path that is no network namespace is an error; one that is not there yet is waited for. */
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

/* What is no longer there stays shut: only `detach` takes the gate off. */
static void shut_what_is_gone(struct daemon *d, const struct parts *old, const struct parts *new)
{
	for_each_workload(old, w) {
		if (is_among(new->workloads, new->n_workloads, w))
			continue;
		if (!find_workload(new, w->given))
			log_line(LOG_LEVEL_NOTICE,
				 "workload '%s' is no longer in the file: it stays shut until: "
				 "vpnleash detach",
				 quote(w->name));
		leash_shut(w);
		workload_free(w);
	}
	/* a changed tunnel is the same device, so the same slot: not to be adopted, nor retired */
	for_each_tunnel(old, t)
		if (!slot_in_use(new, t->slot))
			lease_revoke(d->leases, t->slot);
}

/* new: as make_parts() has made it of that configuration, the file's workloads first. */
static void configure(const struct config *config, const struct parts *new)
{
	for (size_t i = 0, n = 0; i < config->n_workloads; i++) {
		struct tunnel *t = new->tunnels[config->workloads[i].tunnel];
		struct workload *w;

		if (config->workloads[i].is_slice)
			continue;
		w = new->workloads[n++];
		workload_configure(w, &config->workloads[i]);
		if (w->tunnel != t)
			workload_move(w, t);
		else /* who is shut is frozen, if on-failure says so by now */
			workload_tunnel_changed(w);
	}
}

/* Only those of its tunnels are left in `old` that are not in `new`. */
static void keep_gone_tunnels(struct parts *old, const struct parts *new)
{
	size_t n = 0;

	for_each_tunnel(old, t)
		if (!is_among(new->tunnels, new->n_tunnels, t))
			old->tunnels[n++] = t;
	old->n_tunnels = n;
}

static void free_tunnels(struct daemon *d, struct parts *gone)
{
	struct parts now = parts_of(d);

	for_each_tunnel(gone, t) {
		if (!slot_in_use(&now, t->slot))
			lease_retire(d->leases, t->slot);
		tunnel_free(t);
	}
	free_arrays(gone);
}

/* A tunnel or workload that is in the new configuration as it was in the old one goes on
 * undisturbed. A changed or new tunnel starts absent, its workloads shut until it is proven. */
static void change(struct daemon *d, const struct config *config, struct parts *old,
		   const struct parts *new)
{
	struct error err;

	d->lease_ns = config->lease_ns;
	take_over(d, new);
	shut_what_is_gone(d, old, new);
	start_what_is_new(d);
	configure(config, new);
	exec_reload(d);
	if (slices_reload(d, config, &err))
		log_line(LOG_LEVEL_ERR, "reload: %s", err.text);
	remains_scan(d); /* what was audit may be no longer */
	keep_gone_tunnels(old, new);
	/* from here on d's arrays are others than `new`, and tunnels of labels may be gone */
	labels_again(d);
	for_each_tunnel(d, t)
		tunnel_workloads_changed(t);
	free_tunnels(d, old);
}

int reload(struct daemon *d, struct error *err)
{
	struct parts old = parts_of(d), new;
	struct config config;
	int r = config_read(d->file, &config, err);

	if (r)
		return r;
	r = check_netns(&config, err);
	privilege_long_work(true); /* a new depth is another instance of the gate to be loaded */
	r = r ? r : make_parts(d, &config, &old, &new, err);
	privilege_long_work(false);
	if (!r)
		change(d, &config, &old, &new);
	config_free(&config);
	return r;
}
