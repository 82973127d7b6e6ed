/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One packet in place, by BPF_PROG_TEST_RUN: the program alone, without the way to it. The kernel
 * bills a test packet to the cgroup of the caller and takes the device that we name.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>

#include "act/guard.h"
#include "base/netns.h"

#include "tests/bench/peers.skel.h"

#define TUNNEL "tun0"
#define SLICE  20000 /* packets in one go: about a millisecond, too short for most disturbances */
#define SLICES 5     /* in turns; the best of them is the round's value */

struct packet {
	struct ethhdr eth;
	struct iphdr ip;
	uint8_t rest[44];
} __attribute__((packed));

static double run_slice(int program, uint32_t ifindex, bool pass)
{
	struct packet packet = { .eth.h_proto = htons(ETH_P_IP),
				 .ip = { .version = 4,
					 .ihl = 5,
					 .ttl = 64,
					 .protocol = IPPROTO_UDP,
					 .tot_len = htons(64),
					 .saddr = htonl(0x0a000001),
					 .daddr = htonl(0xc0000201) } };
	struct __sk_buff skb = { .ifindex = ifindex };

	packet.rest[0] = 0x13; /* from port 5000 to the endpoint's, 51820 */
	packet.rest[1] = 0x88;
	packet.rest[2] = 0xca;
	packet.rest[3] = 0x6c;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &packet, .data_size_in = sizeof(packet),
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = SLICE);
	double start = thread_cpu_ns();
	int r = bpf_prog_test_run_opts(program, &run);
	double end = thread_cpu_ns();

	if (r < 0)
		die("run a program in place: %s", strerror(errno));
	if ((run.retval & 1) != pass)
		die("a test packet %s", pass ? "was dropped" : "passed");
	return (end - start) / SLICE;
}

struct contender {
	int program;
	bool pass, lease;
};

static void run_round(struct place *p, const struct contender *c, struct peer *peers, size_t n)
{
	double best[16];

	for (size_t s = 0; s < SLICES; s++)
		for (size_t i = 0; i < n; i++) {
			size_t k = (i + peers[0].series.n + s) % n; /* nobody is always first */
			double ns;

			if (c[k].lease)
				place_grant(p); /* each time: a round may last for seconds */
			ns = run_slice(c[k].program, p->ifindex, c[k].pass);
			if (!s || ns < best[k])
				best[k] = ns;
		}
	for (size_t i = 0; i < n; i++)
		series_add(&peers[i].series, best[i]);
}

static void free_all(struct peer *peers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		series_free(&peers[i].series);
}

int bench_packet(const char *cgroup)
{
	struct peer peers[] = { { .name = "empty program" },
				{ .name = "systemd-like" },
				{ .name = "systemd-like, ingress" },
				{ .name = "gate_egress" },
				{ .name = "gate_ingress" } };
	struct place p;

	result_begin("packet");
	bench_place_open(&p, cgroup, TUNNEL);
	place_join(&p);
	const struct contender c[] = { { p.programs[PROGRAM_EMPTY].egress, true, false },
				       { p.programs[PROGRAM_LISTED].egress, true, false },
				       { p.programs[PROGRAM_LISTED].ingress, true, false },
				       { p.programs[PROGRAM_GATE].egress, true, true },
				       { p.programs[PROGRAM_GATE].ingress, true, true } };

	for (size_t n = rounds(101); n; n--)
		run_round(&p, c, peers, ARRAY_SIZE(peers));
	bench_place_close(&p);
	result_ratios("A passing packet in place, one workload", "ns", peers, ARRAY_SIZE(peers),
		      (size_t[]) { 0, 1 }, 2);
	free_all(peers, ARRAY_SIZE(peers));
	return 0;
}

/* In place the gate finds and counts the reason, which a bare drop does not; what that is in all
 * that a refused packet costs is the udp part's to say. */
int bench_refused(const char *cgroup)
{
	struct peer peers[] = { { .name = "empty program" },
				{ .name = "bare drop" },
				{ .name = "gate_egress, no lease" },
				{ .name = "gate_ingress, no lease" } };
	struct place p;

	result_begin("refused");
	bench_place_open(&p, cgroup, TUNNEL);
	place_join(&p);
	const struct contender c[] = { { p.programs[PROGRAM_EMPTY].egress, true, false },
				       { p.programs[PROGRAM_BARE].egress, false, false },
				       { p.programs[PROGRAM_GATE].egress, false, false },
				       { p.programs[PROGRAM_GATE].ingress, false, false } };

	for (size_t n = rounds(101); n; n--)
		run_round(&p, c, peers, ARRAY_SIZE(peers));
	bench_place_close(&p);
	result_ratios("A refused packet in place", "ns", peers, ARRAY_SIZE(peers),
		      (size_t[]) { 0, 1 }, 2);
	free_all(peers, ARRAY_SIZE(peers));
	return 0;
}

int bench_scale(const char *cgroup)
{
	static const size_t sizes[] = { 1, 100, 1000, 5000 };
	static char names[ARRAY_SIZE(sizes)][32];
	struct peer peers[ARRAY_SIZE(sizes) + 1] = { { .name = "systemd-like" } };
	struct place p;

	result_begin("scale");
	bench_place_open(&p, cgroup, TUNNEL);
	place_join(&p);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(names[i], sizeof(names[i]), "gate, %zu records", sizes[i]);
		peers[i + 1].name = names[i];
	}
	/* the tables' sizes take turns: records come and go with each round */
	for (size_t n = rounds(25); n; n--) {
		size_t made = 1, round = peers[0].series.n;
		double best[ARRAY_SIZE(peers)] = { 0 };

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			for (; made < sizes[i]; made++) {
				/* ids near our own, as the kernel hands them out */
				uint64_t id = p.work.id + made;

				if (record_bind(p.leases, id, p.work.level, "filler", 0))
					die("add a record: %s", strerror(errno));
				record_point(p.leases, id, p.slot);
			}
			for (size_t s = 0; s < SLICES; s++) {
				double ns[2];

				for (size_t k = 0; k < 2; k++) {
					size_t which = (k + s + round) & 1;

					place_grant(&p);
					ns[which] = run_slice(
						p.programs[which ? PROGRAM_GATE : PROGRAM_LISTED]
							.egress,
						p.ifindex, true);
				}
				if (!best[0] || ns[0] < best[0])
					best[0] = ns[0];
				if (!best[i + 1] || ns[1] < best[i + 1])
					best[i + 1] = ns[1];
			}
		}
		while (made > 1)
			record_unbind(gate_pins(p.gate), p.work.id + --made);
		for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
			series_add(&peers[i].series, best[i]);
	}
	bench_place_close(&p);
	result_ratios("A passing packet in place, by records in `workloads`", "ns", peers,
		      ARRAY_SIZE(peers), (size_t[]) { 0, 1 }, 2);
	free_all(peers, ARRAY_SIZE(peers));
	bench_senders(cgroup);
	return 0;
}

/* A transport packet of WireGuard's at the edge, as each of the guard's programs meets it. */
int bench_guard(const char *cgroup)
{
	struct peer peers[] = { { .name = "empty tc program" },
				{ .name = "guard_peer_ingress" },
				{ .name = "guard_inside" },
				{ .name = "witness_peer" } };
	const uint64_t holds = 0;
	struct witness witness = { 0 };
	const struct pins *pins;
	struct address_rule rule;
	struct guard_slot_key key = { 0 };
	struct guard record = { .n_addresses = 1, .listen_port = htons(5000) };
	uint8_t endpoint[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	__u32 slot = 1;
	uint64_t cookie;
	struct error err;
	int netns;
	struct place p;

	result_begin("guard");
	bench_place_open(&p, cgroup, TUNNEL);
	place_join(&p);
	pins = gate_pins(p.gate);
	if (netns_open("host", &netns, &err) || netns_cookie(netns, &cookie))
		die("this netns");
	record.netns_cookie = cookie;
	witness.netns_cookie = cookie;
	record.ifindex = p.ifindex;
	memcpy(record.addresses[0].address, (uint8_t[16]) { [10] = 0xff, 0xff, 10, 0, 0, 1 }, 16);
	key.who = record.netns_cookie;
	key.ifindex = p.ifindex;
	address_rule(&rule, record.netns_cookie, ADDRESS_ENDPOINT, IPPROTO_UDP, 51820, endpoint,
		     128, true, FROM_CONFIG);
	if (bpf_map_update_elem(pins->guards, &slot, &record, BPF_ANY) ||
	    bpf_map_update_elem(pins->guard_slots, &key, &slot, BPF_ANY) ||
	    bpf_map_update_elem(pins->endpoints, &rule.key, &rule.value, BPF_ANY) ||
	    bpf_map_update_elem(pins->witnesses, &slot, &witness, BPF_ANY) ||
	    bpf_map_update_elem(pins->expected, &rule.key, &holds, BPF_ANY))
		die("record a guard");
	const struct contender c[] = { { bpf_program__fd(p.peers->progs.empty_tc), true, false },
				       { gate_program(p.gate, "guard_peer_ingress"), true, false },
				       { gate_program(p.gate, "guard_inside"), true, false },
				       { gate_program(p.gate, "witness_peer"), true, false } };

	for (size_t n = rounds(101); n; n--)
		run_round(&p, c, peers, ARRAY_SIZE(peers));
	bench_place_close(&p);
	result_ratios("A transport packet at the edge, in place", "ns", peers, ARRAY_SIZE(peers),
		      (size_t[]) { 0 }, 1);
	free_all(peers, ARRAY_SIZE(peers));
	return 0;
}
