/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many workloads that really send: each in a cgroup of its own below a slice, with a socket that
 * was made there, a packet each in turn. So the caches are cold for each, in the figure of every
 * filter.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/netns.h"

#define FAR	"10.66.0.1" /* made by tests/bench/run */
#define PAYLOAD 36	    /* + 28: packets of 64 bytes */
#define SLICES	5	    /* in turns; the best of them is the round's value */

static const size_t sizes[] = { 1, 100, 1000, 5000 };
#define SENDERS 5000

struct senders {
	struct place place; /* of one of the slice's children, for whose depth the gate is loaded */
	struct cgroup_ref slice;
	int sockets[SENDERS];
};

/* A directory below the slice, with this process in it while its socket is made. */
static int make_sender(struct senders *s, size_t i)
{
	struct sockaddr_in far = { .sin_family = AF_INET, .sin_port = htons(BENCH_PORT) };
	struct cgroup_ref c;
	struct error err = { 0 };
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%.3900s/%zu", s->slice.path, i);
	if (mkdirat(s->place.root.fd, path + 1, 0755) < 0 ||
	    resolve_cgroup(&s->place.root, path, &c, &err))
		die("make the cgroup '%s': %s", path, *err.text ? err.text : strerror(errno));
	if (write_small(c.fd, "cgroup.procs", "0") ||
	    record_bind(s->place.leases, c.id, c.level, path, 0) ||
	    record_point(s->place.leases, c.id, s->place.slot) ||
	    record_flags(s->place.leases, c.id, WORKLOAD_ADMITTED, 0))
		die("leash '%s': %s", path, strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, FAR, &far.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&far, sizeof(far)) < 0)
		die("connect to " FAR ": %s", strerror(errno));
	close(c.fd);
	return fd;
}

/* Of n senders, each sending in its turn until all have sent SENDERS packets. */
static double cpu_per_packet(const struct senders *s, size_t n)
{
	static char payload[PAYLOAD];
	double start = thread_cpu_ns();

	for (size_t i = 0; i < SENDERS; i++)
		if (send(s->sockets[i % n], payload, sizeof(payload), 0) < 0)
			die("send as %zu of %zu: %s", i % n, n, strerror(errno));
	return (thread_cpu_ns() - start) / SENDERS;
}

static void open_senders(struct senders *s, const char *cgroup)
{
	const struct rlimit files = { SENDERS + 1000, SENDERS + 1000 };
	char parent[PATH_MAX];
	struct error err = { 0 };
	int far;

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		die("open %d files: %s", SENDERS, strerror(errno));
	snprintf(parent, sizeof(parent), "%.3900s/slice", cgroup);
	if (netns_open("/run/netns/far", &far, &err))
		die("%s", err.text);
	bench_sink(far, "0.0.0.0");
	close(far);
	bench_place_open(&s->place, parent, "tunnel0");
	if (resolve_cgroup(&s->place.root, parent, &s->slice, &err))
		die("%s", err.text);
	for (size_t i = 0; i < SENDERS; i++)
		s->sockets[i] = make_sender(s, i);
	place_join(&s->place);
}

static void close_senders(struct senders *s)
{
	for (size_t i = 0; i < SENDERS; i++)
		close(s->sockets[i]);
	close_fd(s->slice.fd);
	bench_place_close(&s->place);
}

void bench_senders(const char *cgroup)
{
	static const enum program programs[] = { PROGRAM_EMPTY, PROGRAM_LISTED, PROGRAM_GATE };
	static const char *const names[] = { "empty program", "systemd-like", "gate" };
	struct peer peers[ARRAY_SIZE(sizes)][ARRAY_SIZE(programs)] = { 0 };
	static struct senders s;
	struct place *p = &s.place;

	open_senders(&s, cgroup);
	for (size_t round = 0, n = rounds(25); round < n; round++)
		for (size_t size = 0; size < ARRAY_SIZE(sizes); size++) {
			double best[ARRAY_SIZE(programs)] = { 0 };

			for (size_t turn = 0; turn < SLICES * ARRAY_SIZE(programs); turn++) {
				size_t i = (turn + round + turn / ARRAY_SIZE(programs)) %
					   ARRAY_SIZE(programs);
				int links[2];
				double ns;

				place_grant(p);
				place_attach_to(p, programs[i], s.slice.fd, links);
				ns = cpu_per_packet(&s, sizes[size]);
				place_detach(links);
				if (!best[i] || ns < best[i])
					best[i] = ns;
			}
			for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
				series_add(&peers[size][i].series, best[i]);
		}
	close_senders(&s);
	for (size_t size = 0; size < ARRAY_SIZE(sizes); size++) {
		char title[128];

		snprintf(title, sizeof(title),
			 "UDP, 64 bytes, sent in turn by %zu workloads of a slice, CPU per packet",
			 sizes[size]);
		for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
			peers[size][i].name = names[i];
		result_ratios(title, "ns", peers[size], ARRAY_SIZE(programs), (size_t[]) { 0, 1 },
			      2);
		for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
			series_free(&peers[size][i].series);
	}
}
