/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a drill is: the workload's record and lease in the pins, its cgroup, its tunnel's netns. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/netns.h"
#include "base/nl.h"
#include "drill/rehearse.h"
#include "report/control_client.h"
#include "report/report.h"
#include "watch/process.h"

static int open_record(struct drill *d, struct error *err)
{
	struct workload_record w;
	void *leases;
	int r = pins_open(&d->pins, err);

	if (r)
		return r;
	if (bpf_map_lookup_elem(d->pins.workloads, &d->cgroup_id, &w) < 0 || !w.slot)
		return fail(err, ERROR_OTHER, -ESTALE, "try again", "read the record of '%s'",
			    d->workload);
	leases = mmap(NULL, sizeof(struct lease) * VPNLEASH_SLOTS, PROT_READ, MAP_SHARED,
		      d->pins.leases, 0);
	if (leases == MAP_FAILED)
		return fail(err, ERROR_OTHER, -errno, NULL, "map the leases");
	d->leases = leases;
	d->slot = w.slot;
	d->broken.ifindex = d->leases[d->slot].ifindex;
	d->broken.netns_ino = d->leases[d->slot].netns_ino;
	return 0;
}

static int open_cgroup(struct drill *d, struct error *err)
{
	struct cgroup_root root;
	int r = resolve_cgroup_root(&root, err), fd;

	if (r)
		return r;
	fd = resolve_cgroup_id(&root, d->cgroup_id);
	d->events = fd < 0 ? fd : openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = d->events < 0 ? -errno : 0;
	close_fd(fd);
	close_fd(root.fd);
	return r ? fail(err, ERROR_OTHER, r, NULL, "open the cgroup of '%s'", d->workload) : 0;
}

/* A cookie is never used again, but before Linux 5.14 only the kernel itself reads it. */
static bool is_of_the_lease(int netns_fd, void *arg)
{
	const volatile struct lease *l = arg;
	uint64_t cookie;
	int r = netns_cookie(netns_fd, &cookie);

	return r == -ENOPROTOOPT ? netns_ino(netns_fd) == l->netns_ino
				 : !r && cookie == l->netns_cookie;
}

static int note_pid(const struct netns_process *p, void *arg)
{
	*(pid_t *)arg = p->pid;
	return 1;
}

static int open_netns(struct drill *d, struct error *err)
{
	struct broken *b = &d->broken;
	struct ifreq link = { .ifr_ifindex = (int)b->ifindex };
	_cleanup_fd int fd = netns_find(is_of_the_lease, (void *)&d->leases[d->slot]);
	_cleanup_fd int any = -1, own = -1;
	pid_t pid = 0;

	if (fd < 0 || (any = netns_socket(fd, AF_INET, SOCK_DGRAM, 0)) < 0)
		return fail(err, ERROR_PRIVILEGE, fd < 0 ? fd : any, "run in the host's namespaces",
			    "enter the network namespace of '%s'", d->tunnel);
	if (ioctl(any, SIOCGIFNAME, &link) < 0)
		return fail(err, ERROR_OTHER, -errno, "try again", "find the interface of '%s'",
			    d->tunnel);
	memcpy(b->interface, link.ifr_name, sizeof(b->interface));
	b->netlink = nl_open(fd, NETLINK_ROUTE);
	if (b->netlink < 0)
		return fail(err, ERROR_OTHER, b->netlink, NULL, "open rtnetlink");
	if (netns_open("host", &own, err))
		return -EPERM;
	netns_processes(b->netns_ino, note_pid, &pid);
	if (netns_ino(own) != b->netns_ino && pid)
		snprintf(b->place, sizeof(b->place), "nsenter -t %d -n ", pid);
	return 0;
}

int drill_open(struct drill *d, const json_t *workload, const json_t *tunnel, struct error *err)
{
	int r;

	d->pins = PINS_NONE;
	d->events = d->broken.netlink = -1;
	d->workload = report_get(workload, "name");
	d->tunnel = report_get(tunnel, "name");
	d->broken.route = report_get(tunnel, "route");
	d->cgroup_id = (uint64_t)json_integer_value(json_object_get(workload, "cgroup_id"));
	d->patience_ns =
		(uint64_t)json_integer_value(json_object_get(tunnel, "patience_ms")) * NS_PER_MSEC;
	r = control_daemon(&d->broken.daemon, err);
	r = r ? r : open_record(d, err);
	r = r ? r : open_cgroup(d, err);
	return r ? r : open_netns(d, err);
}

void drill_close(struct drill *d)
{
	if (d->leases)
		munmap((void *)d->leases, sizeof(struct lease) * VPNLEASH_SLOTS);
	d->leases = NULL;
	d->events = close_fd(d->events);
	d->broken.netlink = close_fd(d->broken.netlink);
	pins_close(&d->pins);
}
