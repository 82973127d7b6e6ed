/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pinned links of one cgroup: its gate, and the programs that redirect its DNS questions. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "act/gate_internal.h"

/* ------ the gate ------ */

struct hook {
	int made; /* 0: the link that was there is updated */
	bool pinned;
};

/* 1: updated in place, so that no packet meets a cgroup without a gate; 0: no link of the cgroup is
 * there, or of one that is gone (-EPROTO); or -Exxx: there may be one that is in force. */
static int update_hook(const char *name, int program, const struct cgroup_ref *c, struct error *err)
{
	_cleanup_fd int link = pins_open_link(name, c->id);

	if (link == -ENOENT || link == -EPROTO)
		return 0;
	if (link < 0)
		return fail(err, ERROR_OTHER, link, NULL, "open %s of '%s'", name, c->name);
	if (bpf_link_update(link, program, NULL) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "replace %s of '%s'", name, c->name);
	return 1;
}

static int create_link(enum gate_program p, int program, const struct cgroup_ref *c)
{
	int fd = bpf_link_create(program, c->fd, gate_program_type(p), NULL);

	return fd < 0 ? -errno : fd;
}

static int check_free(struct gate *g, const struct cgroup_ref *c, gate_check check,
		      struct error *err)
{
	int r = check(g, c, err);

	if (r)
		return r;
	if (gate_is_on(c->fd))
		return fail(err, ERROR_INPUT, -EBUSY, "end the other vpnleash first",
			    "leash '%s': it has a gate that is not pinned here", c->name);
	return 0;
}

static int pin_hook(struct hook *h, const char *name, const struct cgroup_ref *c, struct error *err)
{
	char path[PINS_PATH_MAX];

	pins_link_path(path, name, c->id);
	unlink(path); /* of a cgroup that is gone, see update_hook() */
	if (bpf_obj_pin(h->made, path) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "pin '%s'", path);
	h->pinned = true;
	return 0;
}

static int link_hooks(struct gate *g, const struct cgroup_ref *c, const int *programs,
		      struct hook *hooks, size_t n, gate_check check, struct error *err)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		const char *name = gate_program_name(i);

		r = update_hook(name, programs[i], c, err);
		if (r < 0)
			return r;
		if (r)
			continue;
		r = i ? 0 : check_free(g, c, check, err);
		if (r)
			return r;
		r = create_link(i, programs[i], c);
		if (r < 0)
			return fail(err, ERROR_PRIVILEGE, r, GATE_REMEDY_LOAD, "attach %s to '%s'",
				    name, c->name);
		hooks[i].made = r;
	}
	/* all are attached: publish */
	for (size_t i = 0; i < n; i++) {
		r = hooks[i].made ? pin_hook(&hooks[i], gate_program_name(i), c, err) : 0;
		if (r)
			return r;
	}
	return 0;
}

int gate_link(struct gate *g, const struct cgroup_ref *c, uint32_t level, gate_check check,
	      struct error *err)
{
	struct hook hooks[GATE_HOOKS] = { 0 };
	int r = gate_load_level(g, level, err);
	char path[PINS_PATH_MAX];

	if (r)
		return r;
	r = link_hooks(g, c, g->programs[level], hooks, gate_hooks(g), check, err);
	for (size_t i = 0; i < GATE_HOOKS; i++) {
		pins_link_path(path, gate_program_name(i), c->id);
		if (r && hooks[i].pinned)
			unlink(path);
		if (hooks[i].made)
			close_fd(hooks[i].made); /* a pinned one stays attached */
	}
	return r;
}

void gate_unlink(uint64_t cgroup_id)
{
	char path[PINS_PATH_MAX];

	for (size_t i = 0; i < GATE_HOOKS; i++) {
		pins_link_path(path, gate_program_name(i), cgroup_id);
		unlink(path);
	}
}

/* ------ DNS ------ */

/* One of the programs that look at no cgroup's depth. In place if it is there, unless anew or if
 * the kernel refuses one whose place is in another version's map (-EINVAL, seen on 6.18.44). */
static int link_dns(struct gate *g, enum gate_program p, const struct cgroup_ref *c, bool anew,
		    struct error *err)
{
	const char *name = gate_program_name(p);
	int program = g->programs[0][p], r = anew ? 0 : update_hook(name, program, c, err);
	_cleanup_fd int link = -1;
	char path[PINS_PATH_MAX];

	if (r && r != -EINVAL)
		return r < 0 ? r : 0;
	link = create_link(p, program, c);
	pins_link_path(path, name, c->id);
	if (link >= 0)
		unlink(path); /* of a cgroup that is gone, see update_hook() */
	r = link < 0 ? link : bpf_obj_pin(link, path) < 0 ? -errno : 0;
	return r ? fail(err, ERROR_PRIVILEGE, r, GATE_REMEDY_LOAD, "attach %s to '%s'", name,
			c->name)
		 : 0;
}

int gate_link_witness(struct gate *g, const struct cgroup_ref *c, struct error *err)
{
	return link_dns(g, DNS_RECVMSG4, c, false, err);
}

int gate_resolve_by(struct gate *g, const struct cgroup_ref *c, const struct resolver *r,
		    struct error *err)
{
	__u64 id = c->id;
	int e = 0;

	/* The kernel makes a cgroup's place in the map when a program of that map is attached, not
	 * when one replaces, in place, that of another version's map, where it allows that at all:
	 * then a link of its own. */
	for (bool anew = false;; anew = true) {
		for (enum gate_program p = DNS_RECVMSG4; !e && p <= DNS_SENDMSG6; p++)
			e = link_dns(g, p, c, anew, err);
		if (e)
			return e;
		if (!bpf_map_update_elem(g->pins.resolvers, &id, r, BPF_ANY))
			return 0;
		if (errno != ENOENT || anew)
			return fail(err, ERROR_OTHER, -errno, NULL, "set the resolver of '%s'",
				    c->name);
	}
}

/* ------ packet sockets ------ */

/* A program that loads and attaches without complaint need not be in force: the kernel's list says
 * whether it is. */
static bool has_bpf_lsm(void)
{
	char list[256], *save;

	if (read_small(AT_FDCWD, "/sys/kernel/security/lsm", list, sizeof(list)) < 0)
		return false;
	for (char *lsm = strtok_r(list, ",", &save); lsm; lsm = strtok_r(NULL, ",", &save))
		if (!strcmp(lsm, "bpf"))
			return true;
	return false;
}

int gate_deny_packets(struct gate *g, const struct cgroup_ref *c)
{
	_cleanup_fd int link = -1;
	char path[PINS_PATH_MAX];
	struct error none;

	pins_link_path(path, "deny_packet", c->id);
	if (!access(path, F_OK)) /* an earlier daemon's */
		return 0;
	if (!has_bpf_lsm() || gate_want(g, 0, 1U << DENY_PACKET, &none))
		return -EOPNOTSUPP;
	link = create_link(DENY_PACKET, g->programs[0][DENY_PACKET], c);
	return link < 0 ? link : bpf_obj_pin(link, path) < 0 ? -errno : 0;
}

/* ------ off ------ */

int gate_detach(uint64_t cgroup_id, struct error *err)
{
	/* at once: of a pin that is removed the kernel takes the program off a while later */
	for (size_t i = 0; i < GATE_HOOKS; i++) {
		_cleanup_fd int link = pins_open_link(gate_program_name(i), cgroup_id);

		if (link >= 0)
			bpf_link_detach(link);
	}
	return pins_remove_links(cgroup_id, err);
}
