/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/own_vpn.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/container.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "watch/cgroup.h"
#include "watch/netlink.h"
#include "watch/process.h"

struct search {
	const struct workload *workload;
	bool found;
};

static void note_descriptor(const struct descriptor *d, void *arg)
{
	struct search *s = arg;

	s->found |= *d->tun && !strcmp(d->tun, s->workload->tunnel->config.interface);
}

static void look_at_processes(struct search *s, int cgroup_fd)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_file FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	pid_t pid;

	while (f && !s->found && fscanf(f, "%d", &pid) == 1)
		if (process_lives_in(pid, s->workload->tunnel->netns_ino))
			descriptors_each(pid, note_descriptor, s);
}

/* And in those below it. */
static void look_in_cgroup(struct search *s, int cgroup_fd)
{
	int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	look_at_processes(s, cgroup_fd);
	while (d && !s->found && (e = readdir(d))) {
		_cleanup_fd int below = -1;

		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		below = openat(cgroup_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0)
			look_in_cgroup(s, below);
	}
}

/* Does a process of the workload hold the tunnel's device? One that was made elsewhere and moved
 * here is held elsewhere. Not by a walk over /proc, which a thousand workloads would do each. */
static bool holds_the_tunnel(const struct workload *w)
{
	const struct cgroup_ref *c = watch_cgroup_ref(w->cgroup);
	struct search s = { .workload = w };

	if (c)
		look_in_cgroup(&s, c->fd);
	return s.found;
}

/* Is the tunnel's netns that of the workload's own container or unit? */
static bool is_in_its_container(const struct workload *w)
{
	const struct inventory_watch *owner = &w->tunnel->owner.watch;
	const struct engine_item *i = container_item(w);

	if (!w->container.kind || !owner->inventory || owner->kind != w->container.kind)
		return false;
	return !strcmp(owner->name, w->container.watch.name) ||
	       (i && inventory_find(owner->inventory, owner->kind, owner->name) == i);
}

static enum own_vpn look_anew(struct workload *w)
{
	const struct tunnel *t = w->tunnel;
	struct link_identity link;

	if (!t->link || watch_netlink_identity(t->link, &link)) {
		w->own_vpn_of = 0;
		return is_in_its_container(w) ? OWN_VPN_AWAITED : OWN_VPN_NONE;
	}
	/* once for each device: a tun is held from its first moment on */
	if (link.ifindex == w->own_vpn_of && w->own_vpn != OWN_VPN_AWAITED)
		return w->own_vpn;
	if (w->bound)
		w->own_vpn_of = link.ifindex;
	if (w->bound && !strcmp(link.kind, "tun") && holds_the_tunnel(w))
		return OWN_VPN_PROGRAM;
	return is_in_its_container(w) ? OWN_VPN_KERNEL : OWN_VPN_NONE;
}

bool own_vpn_look(struct workload *w)
{
	enum own_vpn now = look_anew(w);
	char text[300];

	if (now == w->own_vpn)
		return false;
	w->own_vpn = now;
	if (now == OWN_VPN_KERNEL)
		log_line(LOG_LEVEL_NOTICE,
			 "workload '%s': its VPN is in its own network: on-failure = block",
			 w->name);
	else if (*own_vpn_trouble(w, text, sizeof(text)))
		log_line(LOG_LEVEL_ERR, "workload '%s': %s", w->name, text);
	return true;
}

const char *own_vpn_remedy(const struct workload *w)
{
	if (w->own_vpn != OWN_VPN_PROGRAM &&
	    !(w->own_vpn == OWN_VPN_AWAITED && w->container.running))
		return NULL;
	return w->container.kind == ENGINE_CONTAINER
		       ? "use two containers: the VPN in one of its own, and this one with " CONTAINER_TO_THE_VPN
		       : "run the VPN outside of the workload, in a container, unit or cgroup of its "
			 "own";
}

const char *own_vpn_trouble(const struct workload *w, char *buf, size_t size)
{
	const char *remedy = own_vpn_remedy(w);
	char shown[64];

	if (!remedy)
		return "";
	if (w->own_vpn == OWN_VPN_PROGRAM)
		snprintf(buf, size,
			 "its VPN is a program of its own, and what that sends is dropped like all "
			 "else of it (%s)",
			 remedy);
	else
		snprintf(buf, size,
			 "'%s' is not in its own network; there only the kernel's WireGuard would "
			 "work, with its server's address and not its name (%s)",
			 escape(shown, sizeof(shown), w->tunnel->config.interface), remedy);
	return buf;
}
