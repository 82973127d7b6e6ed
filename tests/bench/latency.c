/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From `ip link set … down` to a frozen workload, by the real daemon in the laboratory: the lease
 * gone (seen in the mapped array), cgroup.freeze written, `frozen 1`. All times count from the
 * return of the call that set the link down; the lease also from before it.
 *
 * The clock must not be late itself, so it looks under SCHED_FIFO: without pause at first, then
 * every 30 us or so, for a clock that spins has a CPU to itself and starves whatever the daemon may
 * wait for. What that costs in resolution is a row of its own. A tunnel that flaps is
 * opened ever more reluctantly, so each event meets a fresh daemon.
 */
#include "bench.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/child.h"
#include "base/netns.h"

#define TUNNEL	  "CloudflareWARP"
#define CLIENT	  "/run/netns/client"
#define PROBED	  "icmp:198.51.100.1"
#define SLEEPERS  4  /* processes of the workload */
#define REOPENED  30 /* runs in which the daemon may live on until it has opened again */
#define MANY_FILE "/run/bench-many.conf"
#define SPIN_NS	  500000
#define BOUND_NS  (20 * NS_PER_SEC)

struct lab {
	struct cgroup_root root;
	struct cgroup_ref app;
	struct child sleepers[SLEEPERS], daemon;
	struct pins pins;
	const volatile struct lease *leases; /* the map itself */
	int netlink, freeze, events, epoll;
	uint64_t old_expiry; /* what an earlier daemon left is not news */
	const char *cgroup;
	int log;     /* the daemon's output */
	size_t many; /* workloads beside it */
};

enum step { SYSCALL, LEASE_FROM_BEFORE, LEASE, FREEZE, FROZEN, RESOLUTION, OPENED, STEP_MAX };
static const char *const step_names[STEP_MAX] = {
	"link set down, the call itself",
	"lease gone, from before the call",
	"lease gone, after the call (0: during it)",
	"cgroup.freeze written, after the lease",
	"frozen 1, after cgroup.freeze",
	"(the clock's resolution for the lease)",
	"open again, tunnel working (2nd time)",
};

static int sleep_in_cgroup(void *arg)
{
	struct lab *l = arg;

	if (write_small(l->app.fd, "cgroup.procs", "0"))
		return 1;
	for (;;)
		pause();
}

static int spin(void *arg)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(*(int *)arg, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (volatile unsigned long i = 0;; i++)
		;
	return 0;
}

/* As `ip link set … down`; the kernel has done it when this returns. */
static void set_link_down(struct lab *l)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(h, sizeof(*i));

	h->nlmsg_type = RTM_NEWLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	i->ifi_change = IFF_UP;
	mnl_attr_put_strz(h, IFLA_IFNAME, TUNNEL);
	if (send(l->netlink, h, h->nlmsg_len, 0) < 0 ||
	    recv(l->netlink, buffer, sizeof(buffer), 0) < (ssize_t)sizeof(*h) + 4)
		die("set the link down: %s", strerror(errno));
	if (h->nlmsg_type != NLMSG_ERROR || *(int *)mnl_nlmsg_get_payload(h))
		die("set the link down: %s", strerror(-*(int *)mnl_nlmsg_get_payload(h)));
}

/* ------ the daemon ------ */

static uint64_t newest_expiry(const struct lab *l)
{
	uint64_t newest = 0;

	for (unsigned int i = 0; l->leases && i < VPNLEASH_SLOTS; i++)
		if (l->leases[i].expires_ns > newest)
			newest = l->leases[i].expires_ns;
	return newest;
}

/* WORKLOADS=N: as many more, children of a slice, on the same tunnel. */
static void make_many(struct lab *l)
{
	const char *asked = getenv("WORKLOADS");
	_cleanup_file FILE *f = NULL;
	char path[PATH_MAX];

	l->many = asked ? strtoul(asked, NULL, 10) : 0;
	if (!l->many)
		return;
	snprintf(path, sizeof(path), "%s/many", l->cgroup);
	for (size_t i = 0; i <= l->many; i++) {
		if (mkdirat(l->root.fd, path + 1, 0755) < 0 && errno != EEXIST)
			die("make the cgroup '%s': %s", path, strerror(errno));
		snprintf(path, sizeof(path), "%s/many/%zu", l->cgroup, i);
	}
	f = fopen(MANY_FILE, "we");
	if (!f)
		die("write '" MANY_FILE "': %s", strerror(errno));
	fprintf(f,
		"[tunnel t]\ninterface = " TUNNEL "\nnetns = " CLIENT "\nprobe = " PROBED
		"\npatience = 3s\n[workload app]\ncgroup = %s/app\ntunnel = t\n"
		"[workload many]\ncgroup = slice:%s/many\ntunnel = t\n",
		l->cgroup, l->cgroup);
}

static void unmake_many(struct lab *l)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < l->many; i++) {
		snprintf(path, sizeof(path), "%s/many/%zu", l->cgroup, i);
		unlinkat(l->root.fd, path + 1, AT_REMOVEDIR);
	}
}

static void start_daemon(struct lab *l)
{
	char cgroup[PATH_MAX], binary[PATH_MAX];
	char *of_file[] = { "sh",      "-c", "exec $WRAP \"$0\" \"$@\"", binary, "run", "-c",
			    MANY_FILE, NULL };
	char *argv[] = { "sh",	    "-c",	   "exec $WRAP \"$0\" \"$@\"",
			 binary,    "run",	   "--cgroup",
			 cgroup,    "--interface", TUNNEL,
			 "--netns", CLIENT,	   "--probe",
			 PROBED,    "--patience",  "3s",
			 NULL };

	snprintf(binary, sizeof(binary), "%s", build_path("vpnleash"));
	snprintf(cgroup, sizeof(cgroup), "%s/app", l->cgroup);
	l->old_expiry = newest_expiry(l);
	if (child_spawn(&l->daemon, l->many ? of_file : argv, l->log))
		die("start the daemon: %s", strerror(errno));
}

static void stop_daemon(struct lab *l)
{
	kill(l->daemon.pid, SIGTERM);
	if (child_wait(&l->daemon, 10000) < 0)
		child_kill(&l->daemon);
}

static bool is_open(struct lab *l, unsigned int *ret_slot)
{
	struct workload_record w;
	struct error err;
	char text[8];

	if (!l->leases) {
		if (pins_open(&l->pins, &err))
			return false;
		l->leases = mmap(NULL, sizeof(struct lease) * VPNLEASH_SLOTS, PROT_READ, MAP_SHARED,
				 l->pins.leases, 0);
		if (l->leases == MAP_FAILED)
			die("map the leases: %s", strerror(errno));
	}
	if (bpf_map_lookup_elem(l->pins.workloads, &l->app.id, &w) < 0 ||
	    !(w.flags & WORKLOAD_ADMITTED) || l->leases[w.slot].expires_ns <= now_boot_ns() ||
	    l->leases[w.slot].expires_ns == l->old_expiry)
		return false;
	*ret_slot = w.slot;
	return read_small(l->app.fd, "cgroup.freeze", text, sizeof(text)) > 0 && *text == '0';
}

static unsigned int wait_open(struct lab *l)
{
	uint64_t end = now_boot_ns() + BOUND_NS;
	unsigned int slot = 0;

	while (!is_open(l, &slot)) {
		if (now_boot_ns() > end)
			die("the workload is not open after 20 s; see '%s'", DAEMON_LOG);
		usleep(500);
	}
	return slot;
}

static void make_tunnel_work(void)
{
	char *const argv[] = { "bash", "-c", ". user/lab.sh && lab_tunnel_up", NULL };
	struct child c = CHILD_NONE;

	if (child_spawn(&c, argv, -1) || child_wait(&c, 30000))
		die("bring the tunnel back");
}

/* ------ one event ------ */

static bool says_frozen(int fd)
{
	char text[128];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return strstr(text, "frozen 1") != NULL;
}

static void be_the_clock(bool on)
{
	struct sched_param p = { .sched_priority = on ? 50 : 0 };

	if (sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &p) < 0)
		die("take a real-time priority: %s", strerror(errno));
}

static uint64_t look_again(uint64_t began)
{
	if (now_boot_ns() - began > SPIN_NS)
		nanosleep(&(struct timespec) { .tv_nsec = 30000 }, NULL);
	return now_boot_ns();
}

static void run_event(struct lab *l, unsigned int slot, struct peer steps[STEP_MAX])
{
	const volatile uint64_t *expires = (const volatile uint64_t *)&l->leases[slot].expires_ns;
	uint64_t before, after, looked, gone, written, frozen, end;
	struct epoll_event e;
	char c = '0';

	says_frozen(l->events); /* arms EPOLLPRI */
	be_the_clock(true);
	before = now_boot_ns();
	end = before + BOUND_NS / 20;
	set_link_down(l);
	after = now_boot_ns();
	gone = looked = after;
	while (*expires && gone < end) {
		looked = gone;
		gone = look_again(before);
	}
	written = gone;
	while (pread(l->freeze, &c, 1, 0) == 1 && c != '1' && written < end)
		written = look_again(before);
	while (!says_frozen(l->events) && now_boot_ns() < end)
		epoll_wait(l->epoll, &e, 1, 100);
	frozen = now_boot_ns();
	be_the_clock(false);
	if (frozen >= end)
		fprintf(stderr, "bench: an event took more than 1 s\n");
	series_add(&steps[SYSCALL].series, (double)(after - before) / 1e6);
	series_add(&steps[LEASE_FROM_BEFORE].series, (double)(gone - before) / 1e6);
	series_add(&steps[LEASE].series, (double)(gone - after) / 1e6);
	series_add(&steps[RESOLUTION].series, (double)(gone - looked) / 1e6);
	series_add(&steps[FREEZE].series, (double)(written - gone) / 1e6);
	series_add(&steps[FROZEN].series, (double)(frozen - written) / 1e6);
}

static void run_events(struct lab *l, const char *title, size_t n)
{
	struct peer steps[STEP_MAX] = { 0 };

	for (int i = 0; i < STEP_MAX; i++)
		steps[i].name = step_names[i];
	for (size_t i = 0; i < n; i++) {
		unsigned int slot;
		uint64_t working;

		start_daemon(l);
		slot = wait_open(l);
		usleep(100000 + (useconds_t)(i * 7919 % 200000)); /* anywhere between its ticks */
		run_event(l, slot, steps);
		if (i < REOPENED) {
			l->old_expiry = newest_expiry(l);
			make_tunnel_work();
			working = now_boot_ns();
			wait_open(l);
			series_add(&steps[OPENED].series, (double)(now_boot_ns() - working) / 1e6);
			stop_daemon(l);
		} else {
			stop_daemon(l);
			make_tunnel_work();
		}
	}
	result_distributions(title, "ms", steps, STEP_MAX);
	for (int i = 0; i < STEP_MAX; i++)
		series_free(&steps[i].series);
}

/* ------ */

static void open_lab(struct lab *l, const char *cgroup, const char *log)
{
	struct epoll_event pri = { .events = EPOLLPRI };
	struct error err;
	char path[PATH_MAX];
	int netns;

	*l = (struct lab) { .cgroup = cgroup, .pins = PINS_NONE };
	snprintf(path, sizeof(path), "%s/app", cgroup);
	if (resolve_cgroup_root(&l->root, &err))
		die("%s", err.text);
	if (mkdirat(l->root.fd, path + 1, 0755) < 0 && errno != EEXIST)
		die("make the cgroup '%s': %s", path, strerror(errno));
	if (resolve_cgroup(&l->root, path, &l->app, &err) || netns_open(CLIENT, &netns, &err))
		die("%s", err.text);
	for (int i = 0; i < SLEEPERS; i++)
		if (child_start(&l->sleepers[i], sleep_in_cgroup, l))
			die("start a process");
	l->log = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	l->netlink = netns_socket(netns, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	l->freeze = openat(l->app.fd, "cgroup.freeze", O_RDONLY | O_CLOEXEC);
	l->events = openat(l->app.fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->log < 0 || l->netlink < 0 || l->freeze < 0 ||
	    epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->events, &pri) < 0)
		die("open the laboratory: %s", strerror(errno));
	close(netns);
}

int bench_latency(const char *cgroup)
{
	const char *asked = getenv("RUNS");
	size_t n = asked ? strtoul(asked, NULL, 10) : 200;
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	struct child hogs[64];
	int n_hogs = 0;
	struct lab l;

	result_begin("latency");
	open_lab(&l, cgroup, DAEMON_LOG);
	make_many(&l);
	run_events(&l, "A tunnel set down, no CPU hogs of ours", n);
	for (; n_hogs < 2 * cpus && n_hogs < (int)ARRAY_SIZE(hogs); n_hogs++) {
		int cpu = n_hogs % cpus;

		if (child_start(&hogs[n_hogs], spin, &cpu))
			die("start a busy loop");
	}
	run_events(&l, "A tunnel set down, two busy loops on each CPU", n);
	while (n_hogs)
		child_kill(&hogs[--n_hogs]);
	unmake_many(&l);
	write_small(l.app.fd, "cgroup.freeze", "0");
	for (int i = 0; i < SLEEPERS; i++)
		child_kill(&l.sleepers[i]);
	return 0;
}
