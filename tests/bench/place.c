/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the gate and its peers are measured. See bench.h. */
#include "bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/netns.h"

#include "tests/bench/peers.skel.h"

void die(const char *format, ...)
{
	va_list ap;

	fputs("bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(ERROR_OTHER);
}

double thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

size_t rounds(size_t otherwise)
{
	const char *asked = getenv("ROUNDS");
	size_t n = asked ? strtoul(asked, NULL, 10) : otherwise;

	return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : n;
}

const char *build_path(const char *file)
{
	static char path[PATH_MAX];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/%s", build ? build : "build", file);
	return path;
}

static int pinned_program(const char *hook, uint64_t cgroup_id)
{
	struct bpf_link_info info = { 0 };
	__u32 length = sizeof(info);
	char path[PINS_PATH_MAX];
	int link, program = -1;

	pins_link_path(path, hook, cgroup_id);
	link = bpf_obj_get(path);
	if (link >= 0 && !bpf_obj_get_info_by_fd(link, &info, &length))
		program = bpf_prog_get_fd_by_id(info.prog_id);
	if (program < 0)
		die("open the program of '%s': %s", path, strerror(errno));
	close(link);
	return program;
}

static void load_peers(struct place *p)
{
	const __u32 loopback = 1;
	__u8 yes = 1;

	p->peers = peers_bpf__open_and_load();
	if (!p->peers)
		die("load the peers: %s", strerror(errno));
	if (bpf_map_update_elem(bpf_map__fd(p->peers->maps.interfaces), &p->ifindex, &yes, 0) < 0 ||
	    bpf_map_update_elem(bpf_map__fd(p->peers->maps.interfaces), &loopback, &yes, 0) < 0)
		die("fill the list of interfaces: %s", strerror(errno));
#define HOOKS(name)                                                      \
	(struct hooks) { bpf_program__fd(p->peers->progs.name##_egress), \
			 bpf_program__fd(p->peers->progs.name##_ingress) }
	p->programs[PROGRAM_EMPTY] = HOOKS(empty);
	p->programs[PROGRAM_BARE] = HOOKS(bare);
	p->programs[PROGRAM_LISTED] = HOOKS(listed);
#undef HOOKS
}

static uint32_t type_of(const char *interface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq q = { 0 };
	int r;

	snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", interface);
	r = ioctl(fd, SIOCGIFHWADDR, &q);
	close(fd);
	if (r < 0)
		die("read the type of '%s': %s", interface, strerror(errno));
	return q.ifr_hwaddr.sa_family;
}

void bench_place_open(struct place *p, const char *cgroup, const char *interface)
{
	struct lease_identity tunnel = { .ifindex = if_nametoindex(interface),
					 .link_type = type_of(interface) };
	struct error err = { 0 };
	char path[PATH_MAX];
	int netns = -1, r;

	*p = (struct place) { .ifindex = tunnel.ifindex };
	snprintf(path, sizeof(path), "%s/work", cgroup);
	r = resolve_cgroup_root(&p->root, &err);
	if (!r)
		r = resolve_cgroup(&p->root, path, &p->work, &err);
	if (!r)
		r = gate_open(&p->gate, &p->root, p->work.level, &err);
	if (!r)
		r = lease_open(&p->leases, gate_pins(p->gate), &err);
	if (!r)
		r = record_bind(p->leases, p->work.id, p->work.level, path, 0);
	if (!r)
		r = gate_attach(p->gate, &p->work, &err);
	if (!r)
		r = netns_open("host", &netns, &err);
	if (!r)
		r = netns_cookie(netns, &tunnel.netns_cookie);
	if (r)
		die("%s", *err.text ? err.text : strerror(-r));
	close(netns);
	p->programs[PROGRAM_GATE] = (struct hooks) { pinned_program("gate_egress", p->work.id),
						     pinned_program("gate_ingress", p->work.id) };
	gate_detach(p->work.id, NULL);
	load_peers(p);
	p->slot = (unsigned int)lease_slot(p->leases, &tunnel);
	record_point(p->leases, p->work.id, p->slot);
	record_flags(p->leases, p->work.id, WORKLOAD_ADMITTED, 0);
}

void place_grant(struct place *p)
{
	uint64_t now = now_boot_ns();

	lease_renew(p->leases, p->slot, now + 4 * NS_PER_SEC, now);
}

void place_join(struct place *p)
{
	int r = write_small(p->work.fd, "cgroup.procs", "0");

	if (r)
		die("join the workload's cgroup: %s", strerror(-r));
}

void bench_place_close(struct place *p)
{
	write_small(p->root.fd, "cgroup.procs", "0");
	peers_bpf__destroy(p->peers);
	close(p->programs[PROGRAM_GATE].egress);
	close(p->programs[PROGRAM_GATE].ingress);
	lease_close(p->leases);
	gate_close(p->gate);
	pins_remove_all(NULL);
	close_fd(p->work.fd);
	close_fd(p->root.fd);
}

void place_attach_to(struct place *p, enum program program, int cgroup_fd, int links[2])
{
	const struct hooks *h = &p->programs[program];

	links[0] = bpf_link_create(h->egress, cgroup_fd, BPF_CGROUP_INET_EGRESS, NULL);
	links[1] = bpf_link_create(h->ingress, cgroup_fd, BPF_CGROUP_INET_INGRESS, NULL);
	if (links[0] < 0 || links[1] < 0)
		die("attach: %s", strerror(errno));
}

void place_attach(struct place *p, enum program program, int links[2])
{
	place_attach_to(p, program, p->work.fd, links);
}

void place_detach(int links[2])
{
	close(links[0]);
	close(links[1]);
}
