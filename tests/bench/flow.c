/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * End to end: what a sender's packet costs in CPU time, from sendmmsg to the far socket, with each
 * filter in turn. The sink is in another netns and throws all away unread; its softirq runs on the
 * sender's account. Then TCP, and what a refused packet costs.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/filter.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/child.h"
#include "base/netns.h"

#define TUNNEL	"tunnel0"
#define PORT	BENCH_PORT
#define PAYLOAD 36 /* + 28: packets of 64 bytes */
#define BATCH	64
#define PACKETS 512 /* in one go: some milliseconds, too short for most disturbances */
#define SLICES	9   /* in turns; the best of them is the round's value */
#define TCP_NS	15000000.0

enum filter {
	FILTER_NONE,
	FILTER_EMPTY,
	FILTER_LISTED,
	FILTER_GATE,
	FILTER_NFT,
	FILTER_IPTABLES,
	FILTER_MAX
};
static const char *const filter_names[FILTER_MAX] = {
	"no filter", "empty program",	    "systemd-like",
	"gate",	     "nft socket cgroupv2", "iptables -m cgroup",
};
static const enum program filter_programs[FILTER_MAX] = {
	[FILTER_EMPTY] = PROGRAM_EMPTY,
	[FILTER_LISTED] = PROGRAM_LISTED,
	[FILTER_GATE] = PROGRAM_GATE,
};

/* A netns with a veth to `far`. Programs come and go in the first; rules stay in theirs. */
enum way { WAY_PLAIN, WAY_NFT, WAY_IPTABLES, WAY_MAX };
static const struct {
	const char *netns, *far; /* made by tests/bench/run */
} way_places[WAY_MAX] = {
	{ "host", "10.66.0.1" },
	{ "/run/netns/nft", "10.66.1.1" },
	{ "/run/netns/iptables", "10.66.2.1" },
};

struct traffic {
	struct place place;
	bool lacks[FILTER_MAX];
	int links[2];
	int udp[WAY_MAX], tcp[WAY_MAX], listener;
};

static enum way way_of(enum filter filter)
{
	return filter == FILTER_NFT	   ? WAY_NFT
	       : filter == FILTER_IPTABLES ? WAY_IPTABLES
					   : WAY_PLAIN;
}

/* ------ filters ------ */

/* "Only by the tunnel and loopback", as one would write it there; both know the workload by its
 * cgroup. nft looks for that at /sys/fs/cgroup, whatever is mounted there. */
static int add_rules(const struct traffic *f, enum filter filter)
{
	const struct cgroup_ref *c = &f->place.work;
	char command[PATH_MAX * 2];
	char *const argv[] = { "sh", "-c", command, NULL };
	struct child child = CHILD_NONE;
	int r;

	if (filter == FILTER_NFT)
		snprintf(command, sizeof(command),
			 "exec 2>&1; nsenter --net=%s unshare -m sh -c '"
			 "mount --bind %s /sys/fs/cgroup && nft -f -' <<E\n"
			 "add table ip bench\n"
			 "add chain ip bench o { type filter hook output priority 0; }\n"
			 "add rule ip bench o oifname != { \"lo\", \"" TUNNEL "\" } "
			 "socket cgroupv2 level %u \"%s\" drop\nE",
			 way_places[WAY_NFT].netns, f->place.root.path, c->level, c->path + 1);
	else
		snprintf(command, sizeof(command),
			 "exec 2>&1; nsenter --net=%s sh -c '"
			 "iptables -A OUTPUT -o lo -j ACCEPT && "
			 "iptables -A OUTPUT -m cgroup --path %s ! -o " TUNNEL " -j DROP'",
			 way_places[WAY_IPTABLES].netns, c->path + 1);
	r = child_spawn(&child, argv, -1);
	return r ? r : child_wait(&child, 20000);
}

static void find_lacking(struct traffic *f)
{
	json_t *skipped = json_array();

	for (int i = FILTER_NFT; i <= FILTER_IPTABLES; i++) {
		f->lacks[i] = add_rules(f, (enum filter)i);
		if (!f->lacks[i])
			continue;
		printf("SKIPPED: %s: not on this machine (apt install nftables iptables; modules "
		       "nft_socket, xt_cgroup)\n",
		       filter_names[i]);
		json_array_append_new(skipped, json_string(filter_names[i]));
	}
	result_note("skipped", skipped);
}

static void put_on(struct traffic *f, enum filter filter)
{
	if (filter_programs[filter] != PROGRAM_EMPTY || filter == FILTER_EMPTY)
		place_attach(&f->place, filter_programs[filter], f->links);
}

static void take_off(struct traffic *f, enum filter filter)
{
	if (filter_programs[filter] != PROGRAM_EMPTY || filter == FILTER_EMPTY)
		place_detach(f->links);
}

/* ------ UDP ------ */

static struct sockaddr_in address(const char *ip)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

void bench_sink(int netns, const char *ip)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = { 1, &nothing };
	struct sockaddr_in a = address(ip);
	int fd = netns_socket(netns, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		die("make the sink %s: %s", ip, strerror(errno));
}

static double cpu_per_packet(int fd, const char *to)
{
	static char payload[PAYLOAD];
	struct sockaddr_in a = address(to);
	struct iovec iov = { payload, sizeof(payload) };
	struct mmsghdr m[BATCH];
	double start;

	for (int i = 0; i < BATCH; i++)
		m[i] = (struct mmsghdr) { .msg_hdr = { .msg_name = &a,
						       .msg_namelen = sizeof(a),
						       .msg_iov = &iov,
						       .msg_iovlen = 1 } };
	sendmmsg(fd, m, BATCH, 0); /* warms up */
	start = thread_cpu_ns();
	for (int sent = 0; sent < PACKETS; sent += BATCH)
		if (sendmmsg(fd, m, BATCH, 0) != BATCH)
			die("send to %s: %s", to, strerror(errno));
	return (thread_cpu_ns() - start) / PACKETS;
}

/* sendmmsg() ends at the first refusal, so by sendto(). */
static double cpu_per_refusal(int fd, const char *to, bool refused)
{
	static char payload[PAYLOAD];
	struct sockaddr_in a = address(to);
	double start = thread_cpu_ns();

	for (int i = 0; i < PACKETS; i++) {
		ssize_t n =
			sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&a, sizeof(a));

		if ((n < 0) != refused)
			die("send to %s: %s", to, n < 0 ? strerror(errno) : "not refused");
	}
	return (thread_cpu_ns() - start) / PACKETS;
}

/* ------ TCP ------ */

static void *swallow(void *arg)
{
	int fd = *(int *)arg;

	/* MSG_TRUNC: thrown away without a copy */
	while (recv(fd, NULL, 1 << 20, MSG_TRUNC) > 0)
		;
	return NULL;
}

static void connect_tcp(struct traffic *f, enum way way, int netns)
{
	static int accepted[WAY_MAX];
	struct sockaddr_in a = address(way_places[way].far);
	pthread_t receiver;

	f->tcp[way] = netns_socket(netns, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->tcp[way] < 0 || connect(f->tcp[way], (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect to %s: %s", way_places[way].far, strerror(errno));
	accepted[way] = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	if (accepted[way] < 0 || pthread_create(&receiver, NULL, swallow, &accepted[way]))
		die("accept: %s", strerror(errno));
	pthread_detach(receiver);
}

/* *ret_cpu: the sender's CPU time, µs per MiB; *ret_rate: Gbit/s. */
static void run_tcp(int fd, double *ret_cpu, double *ret_rate)
{
	static char chunk[65536];
	double sent = 0, start, cpu, end;

	for (int i = 0; i < 16; i++) /* warms up */
		if (send(fd, chunk, sizeof(chunk), 0) < 0)
			die("send: %s", strerror(errno));
	start = (double)now_boot_ns();
	cpu = thread_cpu_ns();
	for (end = start; end < start + TCP_NS; end = (double)now_boot_ns()) {
		ssize_t n = send(fd, chunk, sizeof(chunk), 0);

		if (n < 0)
			die("send: %s", strerror(errno));
		sent += (double)n;
	}
	*ret_cpu = (thread_cpu_ns() - cpu) / 1e3 / (sent / 1048576);
	*ret_rate = sent * 8 / (end - start);
}

/* ------ */

static void open_flow(struct traffic *f, const char *cgroup)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int here, beyond, netns[WAY_MAX], one = 1;
	struct error err = { 0 };

	bench_place_open(&f->place, cgroup, TUNNEL);
	if (netns_open("host", &here, &err) || netns_open("/run/netns/far", &beyond, &err))
		die("%s", err.text);
	/* made before we join: the far side is no part of the workload */
	bench_sink(here, "127.0.0.1");
	bench_sink(beyond, "0.0.0.0");
	f->listener = netns_socket(beyond, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(f->listener, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(f->listener, 8) < 0)
		die("listen: %s", strerror(errno));
	find_lacking(f);
	place_join(&f->place);
	for (int way = 0; way < WAY_MAX; way++) {
		if (netns_open(way_places[way].netns, &netns[way], &err))
			die("%s", err.text);
		f->udp[way] = netns_socket(netns[way], AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		connect_tcp(f, (enum way)way, netns[way]);
	}
}

static void run_refused(struct traffic *f, size_t n)
{
	static const struct {
		const char *name;
		enum program program;
		bool leased, refused;
	} c[] = { { "systemd-like, passing", PROGRAM_LISTED, false, false },
		  { "bare drop", PROGRAM_BARE, false, true },
		  { "gate, no lease", PROGRAM_GATE, false, true },
		  { "gate, passing", PROGRAM_GATE, true, false } };
	struct peer peers[ARRAY_SIZE(c)] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		peers[i].name = c[i].name;
	for (size_t round = 0; round < n; round++) {
		double best[ARRAY_SIZE(c)] = { 0 };

		for (size_t turn = 0; turn < SLICES * ARRAY_SIZE(c); turn++) {
			size_t i = (turn + round + turn / ARRAY_SIZE(c)) % ARRAY_SIZE(c);
			double ns;

			if (c[i].leased)
				place_grant(&f->place);
			else
				lease_revoke(f->place.leases, f->place.slot);
			place_attach(&f->place, c[i].program, f->links);
			ns = cpu_per_refusal(f->udp[WAY_PLAIN], way_places[WAY_PLAIN].far,
					     c[i].refused);
			place_detach(f->links);
			if (best[i] == 0 || ns < best[i])
				best[i] = ns;
		}
		for (size_t i = 0; i < ARRAY_SIZE(c); i++)
			series_add(&peers[i].series, best[i]);
	}
	result_ratios("A refused packet of 64 bytes end to end (sendto), CPU", "ns", peers,
		      ARRAY_SIZE(peers), (size_t[]) { 0, 1 }, 2);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		series_free(&peers[i].series);
}

enum measure { VETH, LOOPBACK, TCP_CPU, TCP_RATE, MEASURE_MAX };

/* Every filter SLICES times, in turns; the best of each. */
static void run_flow_round(struct traffic *f, size_t round, double best[MEASURE_MAX][FILTER_MAX])
{
	for (size_t turn = 0; turn < SLICES * FILTER_MAX; turn++) {
		/* nobody is always first, nor always after the same */
		enum filter i = (enum filter)((turn + round + turn / FILTER_MAX) % FILTER_MAX);
		enum way way = way_of(i);
		double now[MEASURE_MAX];

		if (f->lacks[i])
			continue;
		place_grant(&f->place);
		put_on(f, i);
		now[VETH] = cpu_per_packet(f->udp[way], way_places[way].far);
		/* loopback: only here, where the sink is */
		now[LOOPBACK] = way == WAY_PLAIN ? cpu_per_packet(f->udp[way], "127.0.0.1") : 0;
		run_tcp(f->tcp[way], &now[TCP_CPU], &now[TCP_RATE]);
		take_off(f, i);
		for (int m = 0; m < MEASURE_MAX; m++)
			if (best[m][i] == 0 ||
			    (m == TCP_RATE ? now[m] > best[m][i] : now[m] < best[m][i]))
				best[m][i] = now[m];
	}
}

int bench_udp(const char *cgroup)
{
	static const char *const titles[MEASURE_MAX] = {
		[VETH] = "UDP, 64 bytes, to the other end of a veth, CPU per packet",
		[LOOPBACK] = "UDP, 64 bytes, over loopback, CPU per packet",
		[TCP_CPU] = "TCP to the other end of a veth (MTU 1420), sender's CPU per MiB",
		[TCP_RATE] = "TCP to the other end of a veth (MTU 1420), throughput",
	};
	static const char *const units[MEASURE_MAX] = { "ns", "ns", "us", "Gbit/s" };
	struct peer peers[MEASURE_MAX][FILTER_MAX] = { 0 };
	struct traffic f = { 0 };
	size_t n = rounds(41);

	result_begin("udp");
	open_flow(&f, cgroup);
	for (size_t round = 0; round < n; round++) {
		double best[MEASURE_MAX][FILTER_MAX] = { 0 };

		run_flow_round(&f, round, best);
		for (int m = 0; m < MEASURE_MAX; m++)
			for (int i = 0; i < FILTER_MAX; i++)
				if (best[m][i] > 0)
					series_add(&peers[m][i].series, best[m][i]);
	}
	for (int m = 0; m < MEASURE_MAX; m++) {
		for (int i = 0; i < FILTER_MAX; i++)
			peers[m][i].name = filter_names[i];
		result_ratios(titles[m], units[m], peers[m], FILTER_MAX,
			      (size_t[]) { FILTER_NONE, FILTER_LISTED, FILTER_NFT }, 3);
		for (int i = 0; i < FILTER_MAX; i++)
			series_free(&peers[m][i].series);
	}
	run_refused(&f, n);
	bench_place_close(&f.place);
	return 0;
}
