/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/run_check.h"

#include <errno.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/netns.h"
#include "core/workload.h"

/* With its line of the file, if it is of one. */
static int wrong_in(const struct config_origin *at, int r, const struct error *why,
		    struct error *err)
{
	*err = *why;
	if (*at->file)
		config_fail_at((struct config_line) { at->file, at->line }, err, NULL, "%s",
			       why->text);
	return r;
}

/* A namespace that is not there (yet) is waited for. */
static int check_tunnel(const struct tunnel_config *t, const char **ret_absent, struct error *err)
{
	_cleanup_fd int fd = -1;
	const char *name;
	int r = place_kind(t->netns, &name) == PLACE_PATH ? netns_open(name, &fd, err) : 0;

	*ret_absent = r == -ENOENT ? ", not there yet" : "";
	return r == -ENOENT ? 0 : r;
}

static int check_slice(const struct cgroup_root *root, const char *name, struct error *err)
{
	char path[PATH_MAX];

	return slice_to_path(root, name, path, err);
}

/* A path must be there at the start; there is one gate from the root to a leaf. */
static int check_path(const struct cgroup_root *root, const struct config *c, size_t n,
		      struct error *err)
{
	char path[PATH_MAX], other[PATH_MAX];
	struct cgroup_ref there;
	const char *name;
	int r = cgroup_path(root, c->workloads[n].cgroup, path, err);

	r = r ? r : resolve_cgroup(root, path, &there, err);
	if (r)
		return r;
	close_fd(there.fd);
	for (size_t i = 0; i < n; i++) {
		if (place_kind(c->workloads[i].cgroup, &name) != PLACE_PATH ||
		    cgroup_path(root, c->workloads[i].cgroup, other, NULL))
			continue;
		if (cgroup_is_below(path, other) || cgroup_is_below(other, path))
			return fail(err, ERROR_INPUT, 0, "leash one of the two",
				    "cgroup '%s' and '%s': one gate on a path", quote(path),
				    quote(other));
	}
	return 0;
}

static int check_workload(const struct cgroup_root *root, const struct config *c, size_t n,
			  struct error *err)
{
	const struct workload_config *w = &c->workloads[n];
	const char *name;
	enum place_kind kind = place_kind(w->cgroup, &name);
	int r = kind == PLACE_PATH    ? check_path(root, c, n, err)
		: kind == PLACE_SLICE ? check_slice(root, name, err)
				      : 0;

	return r ? r : workload_check_hooks(w, err);
}

static void print_tunnel(const struct tunnel_config *t, const char *absent)
{
	char text[PROBE_TEXT];

	printf("tunnel %s: %s in %s%s", quote(t->name), quote(t->interface), quote(t->netns),
	       absent);
	for (size_t i = 0; i < t->probes.n; i++)
		printf("%s%s", i ? " " : ", probe ", quote(probe_text(&t->probes.rule[i], text)));
	printf("%s, route %s, guard %s\n", t->probes.n ? "" : ", no probe: silence is not noticed",
	       *t->route ? t->route : "none", t->guard_off ? "off" : "on");
}

static void print_workload(const struct workload_config *w)
{
	char text[1024];

	printf("  leash %s%s%s", *w->name ? quote(w->name) : "", *w->name ? ": " : "",
	       quote(w->cgroup));
	if (w->audit)
		printf(", audit: drops and freezes nothing");
	else
		printf(", when the tunnel fails: %s",
		       w->on_failure == ON_FAILURE_FREEZE ? "freeze" : "block");
	if (!w->audit && w->stop_after_ns != STOP_NEVER)
		printf(", stop after %llu s", (unsigned long long)(w->stop_after_ns / NS_PER_SEC));
	if (w->allow.n)
		printf(", allow %s", quote(allow_text(&w->allow, text, sizeof(text))));
	for (size_t i = 0; i < 2; i++) {
		const char *hook = i ? w->hook_inside : w->hook;

		if (*hook)
			printf(", hook%s %s", i ? "-inside" : "", quote(hook));
	}
	printf("\n");
}

int run_check(const struct config *c, const char *file, struct error *err)
{
	const char *absent[CONFIG_TUNNELS];
	struct cgroup_root root;
	struct error why;
	int r = resolve_cgroup_root(&root, err);

	if (r)
		return r;
	for (size_t i = 0; !r && i < c->n_tunnels; i++) {
		r = check_tunnel(&c->tunnels[i], &absent[i], &why);
		if (r)
			wrong_in(&c->tunnel_origins[i], r, &why, err);
	}
	for (size_t i = 0; !r && i < c->n_slices; i++)
		r = check_slice(&root, c->slices[i], err);
	for (size_t i = 0; !r && i < c->n_workloads; i++) {
		r = check_workload(&root, c, i, &why);
		if (r)
			wrong_in(&c->workload_origins[i], r, &why, err);
	}
	close_fd(root.fd);
	if (r)
		return r;
	printf("%s: nothing is wrong; `vpnleash run` would do this\n",
	       file ? quote(file) : "the command line");
	for (size_t i = 0; i < c->n_slices; i++)
		printf("lock %s: its children are shut until they are leashed\n",
		       quote(c->slices[i]));
	for (size_t i = 0; i < c->n_tunnels; i++) {
		print_tunnel(&c->tunnels[i], absent[i]);
		for (size_t n = 0; n < c->n_workloads; n++)
			if (c->workloads[n].tunnel == i)
				print_workload(&c->workloads[n]);
	}
	if (strcmp(c->engine, "none"))
		printf("leash containers by their labels; engine: %s\n", quote(c->engine));
	return 0;
}
