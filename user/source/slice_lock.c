/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "source/slice_lock.h"

#include <errno.h>
#include <unistd.h>

#include "act/gate.h"
#include "report/control.h"

static uint32_t depth(const char *path)
{
	uint32_t n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

int slice_lock(struct gate *g, const struct cgroup_root *root, const char *name,
	       struct cgroup_ref *ret, struct error *err)
{
	struct cgroup_ref c;
	char path[PATH_MAX];
	int r = slice_to_path(root, name, path, err);

	/* first, so that a cgroup that has to be made is locked in no time */
	r = r ? r : gate_load_level(g, depth(path) + 1, err);
	r = r ? r : cgroup_make(root, path, err);
	r = r ? r : resolve_cgroup(root, path, &c, err);
	if (r)
		return r;
	slice_name(path, c.name);
	r = gate_lock_slice(g, &c, err);
	if (!r && ret) {
		*ret = c;
		return 0;
	}
	close_fd(c.fd);
	return r;
}

/* Pins that are another version's may be a running daemon's, which would go on with maps that no
 * gate reads: they are replaced only where there is none. */
static int check_version(int *ret_lock, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	int r = pins_open(&pins, err);

	if (r == -EPROTO) {
		*ret_lock = control_lock(err);
		return *ret_lock < 0 ? *ret_lock : 0;
	}
	return r == -ENOENT ? 0 : r;
}

int slices_lock_with(struct gate *g, const struct cgroup_root *root, const struct config *config,
		     struct error *err)
{
	const char *name;
	int r = 0;

	for (size_t i = 0; !r && i < config->n_slices; i++)
		r = slice_lock(g, root, config->slices[i], NULL, err);
	for (size_t i = 0; !r && i < config->n_workloads; i++)
		if (place_kind(config->workloads[i].cgroup, &name) == PLACE_SLICE)
			r = slice_lock(g, root, name, NULL, err);
	return r;
}

static int open_and_lock(const struct config *config, const struct cgroup_root *root,
			 struct error *err)
{
	_cleanup_fd int lock = control_lock_pins(err), no_daemon = -1;
	struct gate *g;
	int r = lock < 0 ? lock : check_version(&no_daemon, err);

	r = r ? r : gate_open(&g, root, GATE_LEVEL, err);
	if (r)
		return r;
	r = slices_lock_with(g, root, config, err);
	gate_close(g);
	return r;
}

int slices_lock(const struct config *config, struct error *err)
{
	struct cgroup_root root;
	int r;

	if (geteuid() != 0)
		return fail(err, ERROR_PRIVILEGE, -EPERM, "run as root", "lock");
	r = resolve_cgroup_root(&root, err);
	if (r)
		return r;
	r = open_and_lock(config, &root, err);
	close_fd(root.fd);
	return r;
}
