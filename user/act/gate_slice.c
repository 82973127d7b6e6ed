/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A slice: a cgroup whose gate judges each of its direct children by the child's own record. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/gate_internal.h"
#include "act/lease.h"

bool gate_is_slice(const struct pins *pins, uint64_t cgroup_id, struct workload_record *ret)
{
	_cleanup_fd int out = -1, in = -1;
	struct workload_record w;

	if (bpf_map_lookup_elem(pins->workloads, &cgroup_id, &w) || !(w.flags & WORKLOAD_SLICE))
		return false;
	out = pins_open_link("gate_egress", cgroup_id);
	in = pins_open_link("gate_ingress", cgroup_id);
	if (out < 0 || in < 0)
		return false;
	w.name[sizeof(w.name) - 1] = '\0'; /* a pin is input */
	if (ret)
		*ret = w;
	return true;
}

int gate_slice_above(const struct pins *pins, int cgroup_fd, struct workload_record *ret,
		     uint64_t *ret_id)
{
	_cleanup_fd int fd = openat(cgroup_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	/* 1 is the root's */
	for (int above = 1; fd >= 0 && !fstat(fd, &st) && st.st_ino != 1; above++) {
		int up;

		if (gate_is_slice(pins, st.st_ino, ret)) {
			if (ret_id)
				*ret_id = st.st_ino;
			return above;
		}
		up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	return 0;
}

void gate_put_slice(struct gate *g, const struct cgroup_ref *slice, uint64_t since_ns)
{
	struct workload_record w = { .cgroup_tag = (uint32_t)slice->id,
				     .flags = WORKLOAD_SLICE,
				     .level = slice->level,
				     .since_ns = since_ns };

	slice_name(slice->path, w.name);
	bpf_map_update_elem(g->pins.workloads, &slice->id, &w, BPF_ANY);
}

/* ------ locking ------ */

/* Call f for each direct child. A return other than 0 ends the walk. */
static int each_child(const struct cgroup_ref *c,
		      int (*f)(int fd, uint64_t id, const char *name, void *arg), void *arg)
{
	int list = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	_cleanup_dir DIR *d = list < 0 ? NULL : fdopendir(list);
	struct dirent *e;

	if (!d)
		return -errno;
	while (!r && (e = readdir(d))) {
		_cleanup_fd int fd = -1;
		struct stat st;

		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		fd = openat(c->fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && !fstat(fd, &st))
			r = f(fd, st.st_ino, e->d_name, arg);
	}
	return r;
}

struct below {
	struct gate *gate;
	const struct cgroup_ref *slice;
	struct error *err;
};

/* A direct child may be leashed by itself: its gate looks where the slice's will. */
static int check_child(int fd, uint64_t id, const char *name, void *arg)
{
	struct below *b = arg;
	char path[PATH_MAX * 2 + NAME_MAX];

	if (gate_is_on(fd)) {
		_cleanup_fd int ours = pins_open_link("gate_egress", id);

		if (ours < 0 || gate_is_slice(&b->gate->pins, id, NULL))
			return fail(b->err, ERROR_INPUT, -EBUSY, "lock only one of the two",
				    "lock '%s': '%s' in it has a gate %s", b->slice->name,
				    quote(name),
				    ours < 0 ? "that is not pinned here" : "as a slice");
	}
	snprintf(path, sizeof(path), "%s%s/%s", b->gate->root->path, b->slice->path, name);
	return gate_check_below(path, b->slice, b->err);
}

static int check_slice(struct gate *g, const struct cgroup_ref *c, struct error *err)
{
	struct below b = { g, c, err };
	int r = gate_check_above(g->root, c, err);

	return r ? r : each_child(c, check_child, &b);
}

static int take_childs_gate_off(int fd, uint64_t id, const char *name, void *arg)
{
	const struct below *b = arg;
	struct cgroup_ref c = { .fd = fd, .id = id };
	_cleanup_fd int gate = pins_open_link("gate_egress", id);
	int r;

	if (gate < 0 || gate_is_slice(&b->gate->pins, id, NULL))
		return 0;
	snprintf(c.name, sizeof(c.name), "%.63s", name);
	r = gate_link_witness(b->gate, &c, b->err);
	if (r)
		return r;
	gate_unlink(id);
	return 0;
}

/* A cgroup that was removed had the slice's name before. Its gate stays while a socket of one of
 * its children lives. */
static int part_with_former(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	const struct below *b = arg;
	struct workload_record gone = *w;
	char name[VPNLEASH_NAME_LEN];
	_cleanup_fd int fd = -1;

	slice_name(b->slice->path, name);
	if (!(w->flags & WORKLOAD_SLICE) || strcmp(w->name, name))
		return 0;
	fd = resolve_cgroup_id(b->gate->root, cgroup_id);
	if (fd != -ESTALE)
		return 0;
	if (pins_in_force(cgroup_id)) { /* the daemon's, to look after */
		gone.flags |= WORKLOAD_GONE;
		bpf_map_update_elem(b->gate->pins.workloads, &cgroup_id, &gone, BPF_EXIST);
	} else if (!pins_remove_links(cgroup_id, NULL)) {
		record_unbind(&b->gate->pins, cgroup_id);
	}
	return 0;
}

int gate_lock_slice(struct gate *g, const struct cgroup_ref *slice, struct error *err)
{
	struct below b = { g, slice, err };
	struct workload_record w;
	bool known = !bpf_map_lookup_elem(g->pins.workloads, &slice->id, &w);
	uint64_t since_ns = known ? w.since_ns : now_boot_ns();
	int r;

	if (known && !(w.flags & WORKLOAD_SLICE)) {
		w.name[sizeof(w.name) - 1] = '\0';
		return fail(err, ERROR_INPUT, -EBUSY, "vpnleash detach it first",
			    "lock '%s': it is leashed as the workload '%s'", slice->name,
			    quote(w.name));
	}
	if (gate_slice_above(&g->pins, slice->fd, &w, NULL))
		return fail(err, ERROR_INPUT, -EBUSY, "lock only one of the two",
			    "lock '%s': it lies in '%s'", slice->name, quote(w.name));
	/* the record first: from the first packet on it is known whose gate it is */
	gate_put_slice(g, slice, since_ns);
	r = gate_link(g, slice, slice->level + 1, check_slice, err);
	if (r) {
		if (!known)
			bpf_map_delete_elem(g->pins.workloads, &slice->id);
		return r;
	}
	/* the upper is attached, and the records are in place: now the lower come off */
	r = each_child(slice, take_childs_gate_off, &b);
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "look into '%s'", slice->name);
	pins_each_workload(&g->pins, part_with_former, &b);
	pins_touch(&g->pins);
	return 0;
}
