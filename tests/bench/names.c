/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the redirect of names costs a program: CPU time of the calls that it hooks, to port 53 and
 * to another. The resolver is a sink on loopback, the shortest way there is, so that the redirect's
 * share is as large as it can be.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/peers.skel.h"

#define CALLS  512 /* in one go: about a millisecond, too short for most disturbances */
#define SLICES 9   /* in turns; the best of them is the round's value */

enum hooked { NOTHING, EMPTY, REDIRECT, HOOKED_MAX };
static const char *const hooked_names[HOOKED_MAX] = { "no program", "empty program", "redirect" };

enum call { CONNECT, CONNECT_OTHER, SEND, SEND_OTHER, CALL_MAX };
static const struct {
	const char *title;
	bool connects;
	uint16_t port;
} calls[CALL_MAX] = {
	[CONNECT] = { "socket(), connect() to port 53, close(), CPU", true, 53 },
	[CONNECT_OTHER] = { "socket(), connect() to another port, close(), CPU", true, 54 },
	[SEND] = { "Unconnected sendto() to port 53, CPU", false, 53 },
	[SEND_OTHER] = { "Unconnected sendto() to another port, CPU", false, 54 },
};

static struct sockaddr_in address(const char *ip, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

/* A socket that drops whatever reaches it, at the socket. */
static void make_sink(uint16_t port)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = { 1, &nothing };
	struct sockaddr_in a = address("127.0.0.1", port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		die("make the sink at port %d: %s", port, strerror(errno));
}

static void put_on(struct place *p, enum hooked hooked, int links[2])
{
	int connect4 = bpf_program__fd(p->peers->progs.empty_connect4),
	    sendmsg4 = bpf_program__fd(p->peers->progs.empty_sendmsg4);
	struct resolver r = { .flags = RESOLVER_SET };
	__u64 id = p->work.id;

	links[0] = links[1] = -1;
	if (hooked == NOTHING)
		return;
	if (hooked == REDIRECT) {
		connect4 = gate_program(p->gate, "dns_connect4");
		sendmsg4 = gate_program(p->gate, "dns_sendmsg4");
	}
	links[0] = bpf_link_create(connect4, p->work.fd, BPF_CGROUP_INET4_CONNECT, NULL);
	links[1] = bpf_link_create(sendmsg4, p->work.fd, BPF_CGROUP_UDP4_SENDMSG, NULL);
	if (links[0] < 0 || links[1] < 0)
		die("attach: %s", strerror(errno));
	r.server[0] = r.server[1] = htonl(INADDR_LOOPBACK);
	if (hooked == REDIRECT &&
	    bpf_map_update_elem(gate_pins(p->gate)->resolvers, &id, &r, BPF_ANY) < 0)
		die("set the resolver: %s", strerror(errno));
}

static double cpu_per_call(enum call call, const struct sockaddr_in *to)
{
	static char question[40];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	double start = thread_cpu_ns();

	for (int i = 0; i < CALLS; i++) {
		int fresh =
			calls[call].connects ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
		ssize_t n = calls[call].connects
				    ? connect(fresh, (const struct sockaddr *)to, sizeof(*to))
				    : sendto(fd, question, sizeof(question), 0,
					     (const struct sockaddr *)to, sizeof(*to));

		if (n < 0)
			die("%s: %s", calls[call].title, strerror(errno));
		if (fresh >= 0)
			close(fresh);
	}
	start = thread_cpu_ns() - start;
	close(fd);
	return start / CALLS;
}

/* The redirect does what it is measured for: else the figures mean nothing. */
static void check_redirect(struct place *p, const struct sockaddr_in *asked)
{
	struct sockaddr_in there = { 0 };
	socklen_t length = sizeof(there);
	int fd, links[2];

	put_on(p, REDIRECT, links);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (const struct sockaddr *)asked, sizeof(*asked)) < 0 ||
	    getpeername(fd, (struct sockaddr *)&there, &length) < 0 ||
	    there.sin_addr.s_addr != htonl(INADDR_LOOPBACK))
		die("a question to port 53 was not redirected");
	close(fd);
	place_detach(links);
}

static void run_round(struct place *p, size_t round, double best[CALL_MAX][HOOKED_MAX])
{
	for (size_t turn = 0; turn < SLICES * HOOKED_MAX; turn++) {
		/* nobody is always first, nor always after the same */
		enum hooked i = (enum hooked)((turn + round + turn / HOOKED_MAX) % HOOKED_MAX);
		int links[2];

		put_on(p, i, links);
		for (int call = 0; call < CALL_MAX; call++) {
			/* where it was going anyway, or must be redirected to */
			struct sockaddr_in to = address(
				i == REDIRECT && calls[call].port == 53 ? "127.0.0.9" : "127.0.0.1",
				calls[call].port);
			double ns = cpu_per_call((enum call)call, &to);

			if (best[call][i] == 0 || ns < best[call][i])
				best[call][i] = ns;
		}
		if (i != NOTHING)
			place_detach(links);
	}
}

int bench_dns(const char *cgroup)
{
	struct peer peers[CALL_MAX][HOOKED_MAX] = { 0 };
	struct sockaddr_in asked = address("127.0.0.9", 53);
	struct place p;

	result_begin("dns");
	bench_place_open(&p, cgroup, "tun0");
	place_join(&p);
	make_sink(53);
	make_sink(54);
	check_redirect(&p, &asked);
	for (size_t n = rounds(41), round = 0; round < n; round++) {
		double best[CALL_MAX][HOOKED_MAX] = { 0 };

		run_round(&p, round, best);
		for (int call = 0; call < CALL_MAX; call++)
			for (int i = 0; i < HOOKED_MAX; i++)
				series_add(&peers[call][i].series, best[call][i]);
	}
	for (int call = 0; call < CALL_MAX; call++) {
		for (int i = 0; i < HOOKED_MAX; i++)
			peers[call][i].name = hooked_names[i];
		result_ratios(calls[call].title, "ns", peers[call], HOOKED_MAX,
			      (size_t[]) { NOTHING, EMPTY }, 2);
		for (int i = 0; i < HOOKED_MAX; i++)
			series_free(&peers[call][i].series);
	}
	bench_place_close(&p);
	return 0;
}
