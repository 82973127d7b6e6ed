/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate by BPF_PROG_TEST_RUN: verdict, reason and counter of hand-made packets, for both hooks
 * and both families, and the regrant race. The kernel bills a test packet to the cgroup of the
 * caller and lets us choose its device, so this process lives two levels below a workload, in a
 * netns and a mount namespace of its own.
 *
 * Where the gate compares the socket's netns (kernels before v6.2) a test packet has no such
 * socket: there only drops can be shown here, and the passes are the leak cases' to show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* cmocka's; ours is in util.h */

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/counters.h"
#include "act/gate_internal.h"
#include "act/lease.h"
#include "act/near.h"
#include "base/netns.h"
#include "report/report.h"
#include "vpnleash/reasons.h"

#define REGRANTS 100000

static struct {
	struct cgroup_root root;
	struct cgroup_ref workload;
	struct gate *gate;
	struct leases *leases;
	int egress, ingress; /* program fds */
	struct lease_identity tunnel, other;
	uint32_t eth0;
	unsigned int slot;
	uint64_t dropped[VPNLEASH_REASON_MAX];
	char top[64];
} t;

struct packet {
	struct ethhdr eth;
	union {
		struct iphdr ip4;
		struct ip6_hdr ip6;
		uint8_t room[64];
	};
} __attribute__((packed));

static struct packet make4(const char *from, const char *to)
{
	struct packet p = { .eth.h_proto = htons(ETH_P_IP),
			    .ip4 = { .version = 4,
				     .ihl = 5,
				     .ttl = 64,
				     .protocol = IPPROTO_UDP,
				     .tot_len = htons(64) } };

	inet_pton(AF_INET, from, &p.ip4.saddr);
	inet_pton(AF_INET, to, &p.ip4.daddr);
	return p;
}

static struct packet make6(const char *from, const char *to)
{
	struct packet p = {
		.eth.h_proto = htons(ETH_P_IPV6),
		.ip6 = { .ip6_hlim = 64, .ip6_nxt = IPPROTO_UDP, .ip6_plen = htons(24) }
	};

	p.ip6.ip6_vfc = 0x60; /* of the same union as the others */
	inet_pton(AF_INET6, from, &p.ip6.ip6_src);
	inet_pton(AF_INET6, to, &p.ip6.ip6_dst);
	return p;
}

static bool passes(int program, const struct packet *p, uint32_t ifindex)
{
	struct __sk_buff skb = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = p, .data_size_in = sizeof(*p),
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(program, &run), 0);
	return run.retval & 1;
}

/* Exactly this reason's counter moves by exactly one, or none does and the packet passes. */
static void expect(int program, const struct packet *p, uint32_t ifindex, enum reason reason)
{
	uint64_t now[VPNLEASH_REASON_MAX];
	bool passed = passes(program, p, ifindex);

	counters_read(gate_pins(t.gate), t.workload.id, now);
	for (int r = 1; r < VPNLEASH_REASON_MAX; r++) {
		if (now[r] != t.dropped[r] + (r == (int)reason))
			print_error("reason %d: %llu → %llu, expected reason %d\n", r,
				    (unsigned long long)t.dropped[r], (unsigned long long)now[r],
				    reason);
		assert_int_equal(now[r], t.dropped[r] + (r == (int)reason));
	}
	memcpy(t.dropped, now, sizeof(now));
	assert_int_equal(passed, reason == REASON_PASS);
}

static void expect_both(const struct packet *p, uint32_t ifindex, enum reason reason)
{
	expect(t.egress, p, ifindex, reason);
	expect(t.ingress, p, ifindex, reason);
}

/* Both families, both hooks: what is said of IPv6 once the workload may use it. */
static void expect_all(uint32_t ifindex, enum reason reason)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1"), p6 = make6("fd00::1", "2001:db8::1");

	expect_both(&p4, ifindex, reason);
	record_flags(t.leases, t.workload.id, WORKLOAD_IPV6, 0);
	expect_both(&p6, ifindex, reason);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_IPV6);
}

static void grant(uint64_t for_ns)
{
	uint64_t now = now_boot_ns();

	lease_renew(t.leases, t.slot, now + for_ns, now);
}

static void need_passes(void)
{
	if (t.gate->netns_by_socket)
		skip(); /* see the top */
}

static void good(int r, const struct error *err)
{
	if (r)
		print_error("%s\n", err->text);
	assert_int_equal(r, 0);
}

static int program_on(const char *hook, uint64_t cgroup_id)
{
	struct bpf_link_info info = { 0 };
	__u32 length = sizeof(info);
	char path[PINS_PATH_MAX];
	int fd;

	pins_link_path(path, hook, cgroup_id);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &length), 0);
	close(fd);
	return bpf_prog_get_fd_by_id(info.prog_id);
}

static int set_up(void **state)
{
	char leaf[160], path[128];
	struct error err = { 0 };
	uint64_t cookie = 1;
	int netns;

	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	assert_int_equal(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0);
	assert_int_equal(system("ip link set lo up && ip tuntap add mode tun name tun0 && "
				"ip tuntap add mode tun name tun1 && ip link set tun1 up && "
				"ip link set tun0 up && ip link add eth0 type veth peer name eth1 "
				"&& ip link set eth0 up && ip link set eth1 up"),
			 0);

	good(resolve_cgroup_root(&t.root, &err), &err);
	snprintf(t.top, sizeof(t.top), "/vpnleash-bpf-%d", getpid());
	snprintf(path, sizeof(path), "%s/app", t.top);
	snprintf(leaf, sizeof(leaf), "%s/deeper", path + 1);
	assert_int_equal(mkdirat(t.root.fd, t.top + 1, 0755), 0);
	assert_int_equal(mkdirat(t.root.fd, path + 1, 0755), 0);
	assert_int_equal(mkdirat(t.root.fd, leaf, 0755), 0);
	assert_int_equal(resolve_cgroup(&t.root, path, &t.workload, &err), 0);
	assert_int_equal(t.workload.level, 2);

	good(gate_open(&t.gate, &t.root, t.workload.level, &err), &err);
	good(lease_open(&t.leases, gate_pins(t.gate), &err), &err);
	assert_int_equal(record_bind(t.leases, t.workload.id, t.workload.level, path, 0), 0);
	good(gate_attach(t.gate, &t.workload, &err), &err);
	t.egress = program_on("gate_egress", t.workload.id);
	t.ingress = program_on("gate_ingress", t.workload.id);

	assert_int_equal(netns_open("host", &netns, &err), 0);
	if (netns_cookie(netns, &cookie)) /* before v5.14 */
		assert_int_equal(gate_netns_cookie(t.gate, netns, &cookie, &err), 0);
	close(netns);
	t.eth0 = if_nametoindex("eth0");
	t.tunnel = (struct lease_identity) { cookie, 0, if_nametoindex("tun0"), ARPHRD_NONE };
	t.other = (struct lease_identity) { cookie, 0, t.eth0, ARPHRD_ETHER };
	t.slot = (unsigned int)lease_slot(t.leases, &t.tunnel);
	assert_true(t.slot > 0 && t.slot < VPNLEASH_SLOTS);
	assert_int_equal(write_small(t.workload.fd, "deeper/cgroup.procs", "0"), 0);
	return 0;
}

static int tear_down(void **state)
{
	char path[128];

	write_small(t.root.fd, "cgroup.procs", "0");
	lease_close(t.leases);
	gate_close(t.gate);
	pins_remove_all(NULL);
	snprintf(path, sizeof(path), "%s/app/deeper", t.top + 1);
	for (char *slash = path; *path; *(slash ? slash : path) = '\0') {
		unlinkat(t.root.fd, path, AT_REMOVEDIR);
		slash = strrchr(path, '/');
	}
	return 0;
}

static void barred_without_lease(void **state)
{
	struct packet p6 = make6("fd00::1", "2001:db8::1");

	expect_all(t.eth0, REASON_NO_LEASE); /* slot 0: no tunnel yet */
	record_point(t.leases, t.workload.id, t.slot);
	expect_all(t.eth0, REASON_NO_LEASE);
	expect_all(t.tunnel.ifindex, REASON_NO_LEASE);
	expect_both(&p6, t.tunnel.ifindex, REASON_IPV6);
}

static void leased_but_not_admitted(void **state)
{
	grant(3 * NS_PER_SEC);
	expect_all(t.tunnel.ifindex, REASON_BARRED);
	lease_revoke(t.leases, t.slot);
}

static void held_wins(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1"), p6 = make6("fd00::1", "2001:db8::1");

	grant(3 * NS_PER_SEC);
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED | WORKLOAD_HELD, 0);
	expect_both(&p4, t.tunnel.ifindex, REASON_HELD);
	expect_both(&p6, t.tunnel.ifindex, REASON_HELD);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_HELD | WORKLOAD_ADMITTED);
	lease_revoke(t.leases, t.slot);
}

static void open_only_through_the_tunnel(void **state)
{
	struct packet p6 = make6("fd00::1", "2001:db8::1");

	need_passes();
	grant(3 * NS_PER_SEC);
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	expect_all(t.tunnel.ifindex, REASON_PASS);
	expect_all(t.eth0, REASON_WRONG_IFINDEX);
	expect_all(if_nametoindex("tun1"), REASON_WRONG_IFINDEX); /* of the same type */
	expect_both(&p6, t.tunnel.ifindex, REASON_IPV6);
	expect_both(&p6, t.eth0, REASON_IPV6);
	record_flags(t.leases, t.workload.id, WORKLOAD_IPV6, 0);
	expect_both(&p6, t.tunnel.ifindex, REASON_PASS);
	expect_both(&p6, t.eth0, REASON_WRONG_IFINDEX);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_IPV6);
}

static void a_lease_ends_by_itself(void **state)
{
	uint64_t now = now_boot_ns();

	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	lease_renew(t.leases, t.slot, now - 1, now);
	expect_all(t.tunnel.ifindex, REASON_EXPIRED);
	grant(20 * NS_PER_MSEC);
	usleep(30000);
	expect_all(t.tunnel.ifindex, REASON_EXPIRED);
}

/*
 * T59: the gate compares the boot clock once a jiffy. A lease that ended meanwhile, be it by a
 * suspend in which jiffies stood still, is refused as soon as the jiffy has moved by one: here the
 * expiry passes between two packets, and the time for which the stamp outlives it is measured.
 */
static void a_stamp_outlives_its_lease_by_one_jiffy(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	uint64_t worst_ns = 0;

	need_passes();
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	for (int i = 0; i < 50; i++) {
		uint64_t now = now_boot_ns(), expires = now + 3 * NS_PER_MSEC, before = now, begun;

		lease_renew(t.leases, t.slot, expires, now);
		/* before: when the last packet that passed was begun */
		for (begun = now; passes(t.egress, &p4, t.tunnel.ifindex); begun = now_boot_ns()) {
			before = begun;
			assert_true(before < now + NS_PER_SEC);
		}
		if (before > expires && before - expires > worst_ns)
			worst_ns = before - expires;
	}
	print_message("# passed at most %.1f ms after the end\n", (double)worst_ns / 1e6);
	assert_true(worst_ns < 30 * NS_PER_MSEC); /* a jiffy is 10 ms at HZ=100 */
	counters_read(gate_pins(t.gate), t.workload.id, t.dropped);
}

/* A packet passed just now: that hides nothing but the clock. */
static void what_changes_counts_at_once(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1"), p6 = make6("fd00::1", "2001:db8::1");
	const int programs[] = { t.egress, t.ingress };
	const uint16_t admitted = WORKLOAD_ADMITTED;

	need_passes();
	for (int i = 0; i < 20; i++) {
		int program = programs[i & 1];

		record_flags(t.leases, t.workload.id, admitted | WORKLOAD_IPV6, 0);
		grant(3 * NS_PER_SEC);
		assert_true(passes(program, &p4, t.tunnel.ifindex));
		assert_false(passes(program, &p4, t.eth0));
		assert_true(passes(program, &p6, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, 0, WORKLOAD_IPV6);
		assert_false(passes(program, &p6, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, WORKLOAD_HELD, 0);
		assert_false(passes(program, &p4, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, 0, WORKLOAD_HELD);
		assert_true(passes(program, &p4, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, 0, admitted);
		assert_false(passes(program, &p4, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, admitted, 0);
		assert_true(passes(program, &p4, t.tunnel.ifindex));
		lease_renew(t.leases, t.slot, now_boot_ns() - 1, 1);
		assert_false(passes(program, &p4, t.tunnel.ifindex));
		grant(3 * NS_PER_SEC);
		assert_true(passes(program, &p4, t.tunnel.ifindex));
		lease_revoke(t.leases, t.slot);
		assert_false(passes(program, &p4, t.tunnel.ifindex));
	}
	record_flags(t.leases, t.workload.id, 0, admitted);
	counters_read(gate_pins(t.gate), t.workload.id, t.dropped);
}

/* T58: an hour, for ever, and just beyond the cap are no leases. */
static void a_lease_that_is_too_long_is_none(void **state)
{
	lease_renew(t.leases, t.slot, now_boot_ns() + 3600 * NS_PER_SEC, 1);
	expect_all(t.tunnel.ifindex, REASON_EXPIRED);
	lease_renew(t.leases, t.slot, UINT64_MAX, 1);
	expect_all(t.tunnel.ifindex, REASON_EXPIRED);
	lease_renew(t.leases, t.slot, now_boot_ns() + VPNLEASH_LEASE_CAP_NS + NS_PER_SEC, 1);
	expect_all(t.tunnel.ifindex, REASON_EXPIRED);
	lease_renew(t.leases, t.slot, 0, 1);
	expect_all(t.tunnel.ifindex, REASON_NO_LEASE);
}

static void another_netns_or_device_of_that_index(void **state)
{
	struct lease_identity away = t.tunnel, impostor = t.tunnel;
	unsigned int slot;

	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	away.netns_cookie += 1000;
	slot = (unsigned int)lease_slot(t.leases, &away);
	lease_renew(t.leases, slot, now_boot_ns() + NS_PER_SEC, 1);
	record_point(t.leases, t.workload.id, slot);
	expect_all(t.tunnel.ifindex, REASON_WRONG_NETNS);
	lease_retire(t.leases, slot);

	if (!t.gate->netns_by_socket) {
		impostor.link_type = ARPHRD_ETHER; /* what the index was before it was a tun's */
		slot = (unsigned int)lease_slot(t.leases, &impostor);
		lease_renew(t.leases, slot, now_boot_ns() + NS_PER_SEC, 1);
		record_point(t.leases, t.workload.id, slot);
		expect_all(t.tunnel.ifindex, REASON_WRONG_IFINDEX);
		lease_retire(t.leases, slot);
	}
	record_point(t.leases, t.workload.id, t.slot);
}

static void loopback_is_for_oneself(void **state)
{
	const uint32_t lo = 1;
	struct packet local = make4("127.0.0.1", "127.0.0.53"), own = make4("10.0.0.1", "10.0.0.1"),
		      else4 = make4("10.0.0.1", "192.0.2.1"),
		      docker = make4("127.0.0.1", "127.0.0.11"),
		      answer = make4("127.0.0.11", "127.0.0.1"), local6 = make6("::1", "::1"),
		      own6 = make6("fd00::1", "fd00::1"), else6 = make6("fd00::1", "ff02::1");

	lease_revoke(t.leases, t.slot); /* loopback needs no lease */
	expect_both(&local, lo, REASON_PASS);
	expect_both(&own, lo, REASON_PASS);
	expect_both(&local6, lo, REASON_PASS);
	expect_both(&own6, lo, REASON_PASS);
	expect_both(&else4, lo, REASON_LOOPBACK);
	expect_both(&else6, lo, REASON_LOOPBACK);
	expect_both(&docker, lo, REASON_DOCKER_DNS);
	expect_both(&answer, lo, REASON_DOCKER_DNS);
	record_flags(t.leases, t.workload.id, WORKLOAD_DOCKER_DNS, 0);
	expect_both(&docker, lo, REASON_PASS);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_DOCKER_DNS);
}

static void a_sign_of_life_is_what_came_in_for_us(void **state)
{
	struct packet p4 = make4("192.0.2.1", "10.0.0.1"), group = p4;
	uint64_t before, seen;

	need_passes();
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_ADMITTED);
	usleep(20000); /* it is stamped once a jiffy */
	before = now_boot_ns();
	passes(t.egress, &p4, t.tunnel.ifindex);
	passes(t.ingress, &p4, t.eth0);
	group.eth.h_dest[0] = 1; /* PACKET_MULTICAST, as one's own that loops back */
	passes(t.ingress, &group, t.tunnel.ifindex);
	assert_true(lease_seen_ns(t.leases, t.slot) < before);
	passes(t.ingress, &p4, t.tunnel.ifindex); /* barred, and a sign of life all the same */
	seen = lease_seen_ns(t.leases, t.slot);
	assert_true(seen >= before && seen <= now_boot_ns());
	/* what passed and was none does not hide one that comes in the same jiffy */
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	for (int i = 0; i < 5; i++) {
		grant(3 * NS_PER_SEC);
		usleep(20000);
		before = now_boot_ns();
		assert_true(passes(t.ingress, &group, t.tunnel.ifindex));
		assert_true(passes(t.ingress, &p4, t.tunnel.ifindex));
		assert_true(lease_seen_ns(t.leases, t.slot) >= before);
	}
	lease_revoke(t.leases, t.slot);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_ADMITTED);
	counters_read(gate_pins(t.gate), t.workload.id, t.dropped);
}

static void no_record_is_unknown(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	struct workload_record w;

	assert_int_equal(record_get(t.leases, t.workload.id, &w), 0);
	record_unbind(gate_pins(t.gate), t.workload.id);
	memset(t.dropped, 0, sizeof(t.dropped)); /* unbind forgets the counters */
	expect_both(&p4, t.tunnel.ifindex, REASON_UNKNOWN);
	assert_int_equal(record_bind(t.leases, t.workload.id, t.workload.level, w.name, 0), 0);
	record_point(t.leases, t.workload.id, t.slot);
}

/* The kernel may hand a replaced element to another key while a gate still looks at it. */
static void a_record_that_is_anothers_now(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	int map = gate_pins(t.gate)->workloads;
	struct workload_record w, others;

	assert_int_equal(record_get(t.leases, t.workload.id, &w), 0);
	others = w;
	others.cgroup_tag++;
	near_take_out(gate_pins(t.gate)->near, t.workload.id);
	assert_int_equal(bpf_map_update_elem(map, &t.workload.id, &others, BPF_ANY), 0);
	expect_both(&p4, t.tunnel.ifindex, REASON_UNKNOWN);
	assert_int_equal(bpf_map_update_elem(map, &t.workload.id, &w, BPF_ANY), 0);
}

static struct near_line *line_of_workload(void)
{
	return &gate_pins(t.gate)->near->lines[near_line(t.workload.id)];
}

/* A full line, as thousands of workloads make some: the hash decides. */
static void a_record_that_has_no_room_near(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	struct near_line *line = line_of_workload(), was = *line;
	struct near *near = gate_pins(t.gate)->near;
	struct workload_record others = { .flags = WORKLOAD_ADMITTED, .slot = (uint8_t)t.slot };
	unsigned int n = 0;

	near_forget(near, t.workload.id);
	for (uint64_t id = 1 << 20; n < VPNLEASH_NEAR_WAYS; id++)
		if (near_line(id) == near_line(t.workload.id)) {
			others.cgroup_tag = (uint32_t)id;
			near_put(near, id, &others);
			n++;
		}
	grant(3 * NS_PER_SEC);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_ADMITTED);
	expect_both(&p4, t.tunnel.ifindex, REASON_BARRED);
	record_flags(t.leases, t.workload.id, WORKLOAD_HELD, 0);
	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++)
		assert_int_not_equal(line->cgroup_id[i], t.workload.id);
	expect_both(&p4, t.tunnel.ifindex, REASON_HELD);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_HELD);
	if (!t.gate->netns_by_socket) {
		record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
		expect_both(&p4, t.tunnel.ifindex, REASON_PASS);
		record_flags(t.leases, t.workload.id, 0, WORKLOAD_ADMITTED);
	}
	lease_revoke(t.leases, t.slot);
	*line = was;
}

/* Half of a place is another's: a writer died there, or the low halves of two ids are the same. */
static void what_is_near_is_its_own(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	struct near_line *line = line_of_workload(), was = *line;
	union {
		struct workload_record record;
		uint64_t word;
	} admitted = { .record = { .cgroup_tag = (uint32_t)t.workload.id,
				   .flags = WORKLOAD_ADMITTED,
				   .slot = (uint8_t)t.slot } };

	record_flags(t.leases, t.workload.id, 0, WORKLOAD_ADMITTED);
	grant(3 * NS_PER_SEC);
	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++) {
		*line = (struct near_line) { 0 };
		line->cgroup_id[i] = t.workload.id + (1ULL << 32);
		line->word[i] = admitted.word;
		expect_both(&p4, t.tunnel.ifindex, REASON_BARRED);
		line->cgroup_id[i] = t.workload.id;
		line->word[i] = admitted.word + 1; /* another's tag */
		expect_both(&p4, t.tunnel.ifindex, REASON_BARRED);
		line->word[i] = 0; /* while it is written */
		expect_both(&p4, t.tunnel.ifindex, REASON_BARRED);
		if (t.gate->netns_by_socket)
			continue;
		line->word[i] = admitted.word; /* control: each place is looked at */
		expect_both(&p4, t.tunnel.ifindex, REASON_PASS);
	}
	lease_revoke(t.leases, t.slot);
	*line = was;
}

/* Two writers took a place each: a record that changes leaves no old word in either. */
static void no_old_word_stays_near(void **state)
{
	struct near_line *line = line_of_workload(), was = *line;
	struct near *near = gate_pins(t.gate)->near;
	struct workload_record w;

	assert_int_equal(record_get(t.leases, t.workload.id, &w), 0);
	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++) {
		line->cgroup_id[i] = t.workload.id;
		memcpy(&line->word[i], &w, sizeof(line->word[i]));
	}
	record_flags(t.leases, t.workload.id, WORKLOAD_HELD, 0);
	assert_int_equal(record_get(t.leases, t.workload.id, &w), 0);
	assert_memory_equal(&line->word[0], &w, sizeof(line->word[0]));
	for (int i = 1; i < VPNLEASH_NEAR_WAYS; i++)
		assert_int_equal(line->word[i], 0);
	record_flags(t.leases, t.workload.id, 0, WORKLOAD_HELD);
	near_forget(near, t.workload.id);
	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++)
		assert_int_equal(line->cgroup_id[i] | line->word[i], 0);
	*line = was;
}

/* ------ what is refused ------ */

/* One of that reason was refused in this jiffy: the next ones are counted each by its own. */
static void refused_each_by_its_own_reason(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1"), p6 = make6("fd00::1", "2001:db8::1"),
		      docker = make4("127.0.0.1", "127.0.0.11");

	lease_revoke(t.leases, t.slot);
	record_point(t.leases, t.workload.id, t.slot);
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, WORKLOAD_HELD | WORKLOAD_IPV6);
	for (int i = 0; i < 50; i++) {
		expect_both(&p4, t.tunnel.ifindex, REASON_NO_LEASE);
		expect_both(&p4, t.eth0, REASON_NO_LEASE);
		expect_both(&p6, t.tunnel.ifindex, REASON_IPV6);
		expect_both(&docker, 1, REASON_DOCKER_DNS);
		record_flags(t.leases, t.workload.id, WORKLOAD_HELD, 0);
		expect_both(&p4, t.tunnel.ifindex, REASON_HELD);
		record_flags(t.leases, t.workload.id, 0, WORKLOAD_HELD);
	}
}

static void audit_is_no_drop(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");

	for (int i = 0; i < 50; i++) {
		expect_both(&p4, t.tunnel.ifindex, REASON_NO_LEASE);
		record_flags(t.leases, t.workload.id, WORKLOAD_AUDIT, 0);
		assert_true(passes(t.egress, &p4, t.tunnel.ifindex));
		assert_true(passes(t.ingress, &p4, t.tunnel.ifindex));
		record_flags(t.leases, t.workload.id, 0, WORKLOAD_AUDIT);
		counters_read(gate_pins(t.gate), t.workload.id, t.dropped);
	}
}

/* What came in by another interface in the same jiffy hides no sign of life. */
static void a_refused_sign_of_life_counts(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");

	need_passes();
	for (int i = 0; i < 50; i++) {
		uint64_t before;

		usleep(11000);
		before = now_boot_ns();
		expect(t.ingress, &p4, t.eth0, REASON_NO_LEASE);
		expect(t.ingress, &p4, t.eth0, REASON_NO_LEASE);
		assert_true(lease_seen_ns(t.leases, t.slot) < before);
		expect(t.ingress, &p4, t.tunnel.ifindex, REASON_NO_LEASE);
		assert_true(lease_seen_ns(t.leases, t.slot) >= before);
	}
}

/* Another's row is left alone, whatever the record says, and no row is given away twice. */
static void a_row_is_of_one_alone(void **state)
{
	const int cpus = libbpf_num_possible_cpus();
	struct near_counters *row = calloc((size_t)cpus, sizeof(*row));
	struct near_counters *now = calloc((size_t)cpus, sizeof(*now));
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	const uint64_t first = 1 << 24;
	uint64_t owner[VPNLEASH_NEAR_COUNTERS] = { 0 };
	struct workload_record w;
	unsigned int without = 0;
	uint32_t at;

	assert_int_equal(record_get(t.leases, t.workload.id, &w), 0);
	at = w.row;
	assert_int_not_equal(at, 0);
	assert_int_equal(bpf_map_lookup_elem(gate_pins(t.gate)->near_counters, &at, row), 0);
	assert_int_equal(row->cgroup_id, t.workload.id);
	for (int i = 0; i < cpus; i++)
		row[i].cgroup_id = first;
	bpf_map_update_elem(gate_pins(t.gate)->near_counters, &at, row, 0);
	counters_read(gate_pins(t.gate), t.workload.id, t.dropped);
	for (int i = 0; i < 50; i++)
		expect_both(&p4, t.tunnel.ifindex, REASON_NO_LEASE);
	assert_int_equal(bpf_map_lookup_elem(gate_pins(t.gate)->near_counters, &at, now), 0);
	assert_memory_equal(row, now, (size_t)cpus * sizeof(*row));
	for (int i = 0; i < cpus; i++)
		row[i].cgroup_id = t.workload.id;
	bpf_map_update_elem(gate_pins(t.gate)->near_counters, &at, row, 0);
	counters_read(gate_pins(t.gate), t.workload.id, t.dropped);

	owner[at] = t.workload.id;
	for (uint64_t id = first; id < first + 600; id++) {
		assert_int_equal(record_bind(t.leases, id, 2, "filler", 0), 0);
		assert_int_equal(record_get(t.leases, id, &w), 0);
		without += !w.row;
		assert_true(!w.row || !owner[w.row]);
		owner[w.row] = w.row ? id : 0;
	}
	assert_true(without >= 600 - VPNLEASH_NEAR_COUNTERS && without < 400);
	for (uint64_t id = first; id < first + 600; id++)
		record_unbind(gate_pins(t.gate), id);
	assert_int_equal(record_bind(t.leases, first, 2, "filler", 0), 0);
	assert_int_equal(record_get(t.leases, first, &w), 0);
	assert_int_not_equal(w.row, 0); /* given back */
	record_unbind(gate_pins(t.gate), first);
	free(row);
	free(now);
}

/* ------ slices ------ */

/* A fresh slice DEPTH levels below the top with a child in it; this process lives in the child. */
struct slice {
	struct cgroup_ref slice, child;
	int egress, ingress;
	uint64_t dropped[VPNLEASH_REASON_MAX];
};

static void enter(const struct cgroup_ref *c)
{
	assert_int_equal(write_small(c->fd, "cgroup.procs", "0"), 0);
}

static struct cgroup_ref make_ref(const char *path)
{
	struct error err = { 0 };
	struct cgroup_ref c;

	good(cgroup_make(&t.root, path, &err), &err);
	good(resolve_cgroup(&t.root, path, &c, &err), &err);
	return c;
}

static struct slice make_slice(const char *name)
{
	char path[160];
	struct slice s = { .egress = -1, .ingress = -1 };
	struct error err = { 0 };

	snprintf(path, sizeof(path), "%s/%s", t.top, name);
	s.slice = make_ref(path);
	good(gate_lock_slice(t.gate, &s.slice, &err), &err);
	snprintf(path, sizeof(path), "%s/%s/child", t.top, name);
	s.child = make_ref(path);
	s.egress = program_on("gate_egress", s.slice.id);
	s.ingress = program_on("gate_ingress", s.slice.id);
	return s;
}

static void remove_slice(struct slice *s)
{
	struct error err = { 0 };

	assert_int_equal(write_small(t.workload.fd, "deeper/cgroup.procs", "0"), 0);
	record_unbind(gate_pins(t.gate), s->child.id);
	good(gate_detach(s->slice.id, &err), &err);
	record_unbind(gate_pins(t.gate), s->slice.id);
	close(s->egress);
	close(s->ingress);
	close(s->child.fd);
	close(s->slice.fd);
	unlinkat(t.root.fd, s->child.path + 1, AT_REMOVEDIR);
	unlinkat(t.root.fd, s->slice.path + 1, AT_REMOVEDIR);
}

/* As expect_both(), counted under the cgroup `id`. */
static void expect_under(uint64_t id, const struct slice *s, const struct packet *p,
			 uint32_t ifindex, enum reason reason)
{
	int programs[] = { s->egress, s->ingress };

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		uint64_t before[VPNLEASH_REASON_MAX], now[VPNLEASH_REASON_MAX];
		bool passed;

		counters_read(gate_pins(t.gate), id, before);
		passed = passes(programs[i], p, ifindex);
		counters_read(gate_pins(t.gate), id, now);
		for (int r = 1; r < VPNLEASH_REASON_MAX; r++)
			assert_int_equal(now[r], before[r] + (r == (int)reason));
		assert_int_equal(passed, reason == REASON_PASS);
	}
}

/* No record: UNKNOWN, counted for the slice, so that nothing stays behind of children that go. */
static void a_slice_drops_whom_it_does_not_know(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1"), p6 = make6("fd00::1", "2001:db8::1"),
		      local = make4("127.0.0.1", "127.0.0.53"),
		      docker = make4("127.0.0.1", "127.0.0.11");
	struct slice s = make_slice("slice");
	uint64_t none[VPNLEASH_REASON_MAX];
	struct workload_record w;
	char inner[PATH_MAX + 8];
	struct cgroup_ref c;

	assert_true(gate_is_slice(gate_pins(t.gate), s.slice.id, &w));
	assert_int_equal(w.flags, WORKLOAD_SLICE);
	assert_int_equal(w.level, s.slice.level);
	assert_memory_equal(w.name, "slice:/vpnleash-bpf-", 20);
	grant(3 * NS_PER_SEC); /* of the tunnel: no help without a record */
	enter(&s.child);
	for (int i = 0; i < 2; i++) { /* a child; deeper below it */
		expect_under(s.slice.id, &s, &p4, t.eth0, REASON_UNKNOWN);
		expect_under(s.slice.id, &s, &p4, t.tunnel.ifindex, REASON_UNKNOWN);
		expect_under(s.slice.id, &s, &p6, t.tunnel.ifindex, REASON_UNKNOWN);
		expect_under(s.slice.id, &s, &docker, 1, REASON_DOCKER_DNS);
		expect_under(s.slice.id, &s, &local, 1, REASON_PASS);
		snprintf(inner, sizeof(inner), "%s/inner", s.child.path);
		c = make_ref(inner);
		enter(&c);
		close(c.fd);
	}
	counters_read(gate_pins(t.gate), s.child.id, none);
	for (int r = 1; r < VPNLEASH_REASON_MAX; r++)
		assert_int_equal(none[r], 0);
	enter(&s.slice); /* the slice itself has no ancestor at its children's level */
	expect_under(s.slice.id, &s, &p4, t.eth0, REASON_UNKNOWN);
	expect_under(s.slice.id, &s, &p4, t.tunnel.ifindex, REASON_UNKNOWN);
	expect_under(s.slice.id, &s, &docker, 1, REASON_DOCKER_DNS);
	counters_read(gate_pins(t.gate), 0, none); /* nor under cgroup 0 */
	for (int r = 1; r < VPNLEASH_REASON_MAX; r++)
		assert_int_equal(none[r], 0);
	unlinkat(t.root.fd, inner + 1, AT_REMOVEDIR);
	remove_slice(&s);
}

/* The child's own record decides, and the slice's gate is the only one. */
static void a_slices_child_by_its_own_record(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	struct slice s = make_slice("slice");
	struct error err = { 0 };
	struct workload_record w;

	assert_int_equal(record_bind(t.leases, s.child.id, s.child.level, "child", 0), 0);
	good(gate_attach(t.gate, &s.child, &err), &err);
	assert_int_equal(pins_open_link("gate_egress", s.child.id), -ENOENT);
	assert_int_equal(gate_slice_above(gate_pins(t.gate), s.child.fd, &w, NULL), 1);
	assert_int_equal(gate_slice_above(gate_pins(t.gate), s.slice.fd, &w, NULL), 0);
	enter(&s.child);
	expect_under(s.child.id, &s, &p4, t.tunnel.ifindex, REASON_NO_LEASE);
	record_point(t.leases, s.child.id, t.slot);
	grant(3 * NS_PER_SEC);
	expect_under(s.child.id, &s, &p4, t.tunnel.ifindex, REASON_BARRED);
	record_flags(t.leases, s.child.id, WORKLOAD_ADMITTED, 0);
	if (!t.gate->netns_by_socket) { /* see the top */
		expect_under(s.child.id, &s, &p4, t.tunnel.ifindex, REASON_PASS);
		expect_under(s.child.id, &s, &p4, t.eth0, REASON_WRONG_IFINDEX);
	}
	/* locked again: in place, and the child's record as it was */
	good(gate_lock_slice(t.gate, &s.slice, &err), &err);
	assert_int_equal(record_get(t.leases, s.child.id, &w), 0);
	assert_true(w.flags & WORKLOAD_ADMITTED);
	enter(&s.slice); /* its child's lease is not its own */
	expect_under(s.slice.id, &s, &p4, t.tunnel.ifindex, REASON_UNKNOWN);
	lease_revoke(t.leases, t.slot);
	remove_slice(&s);
}

/* Leashed one by one, then locked: the upper on, then the lower off; and what may not be nested. */
static void one_gate_on_a_path_of_a_slice(void **state)
{
	struct error err = { 0 };
	struct slice s = { 0 };
	char path[160];
	struct cgroup_ref inner, top;
	int r;

	snprintf(path, sizeof(path), "%s/s", t.top);
	s.slice = make_ref(path);
	snprintf(path, sizeof(path), "%s/s/child", t.top);
	s.child = make_ref(path);
	snprintf(path, sizeof(path), "%s/s/child/inner", t.top);
	inner = make_ref(path);
	assert_int_equal(record_bind(t.leases, inner.id, inner.level, "inner", 0), 0);
	good(gate_attach(t.gate, &inner, &err), &err);
	assert_int_equal(gate_lock_slice(t.gate, &s.slice, &err), -EBUSY);
	assert_int_equal(err.kind, ERROR_INPUT);
	assert_non_null(strstr(err.text, "/s/child/inner"));
	assert_false(gate_is_slice(gate_pins(t.gate), s.slice.id, NULL));
	good(gate_detach(inner.id, &err), &err);

	assert_int_equal(record_bind(t.leases, s.child.id, s.child.level, "child", 0), 0);
	r = gate_attach(t.gate, &s.child, &err);
	for (int i = 0; r == -EBUSY && i < 200; i++) { /* an unpinned link goes a moment later */
		usleep(10000);
		r = gate_attach(t.gate, &s.child, &err);
	}
	good(r, &err);
	good(gate_lock_slice(t.gate, &s.slice, &err), &err);
	assert_int_equal(pins_open_link("gate_egress", s.child.id), -ENOENT);
	assert_int_equal(pins_open_link("gate_ingress", s.child.id), -ENOENT);
	assert_int_equal(gate_slice_above(gate_pins(t.gate), inner.fd, NULL, NULL), 2);
	assert_int_equal(gate_attach(t.gate, &inner, &err), -EBUSY);
	assert_non_null(strstr(err.text, "deeper in 'slice:"));
	assert_int_equal(gate_lock_slice(t.gate, &inner, &err), -EBUSY);
	assert_int_equal(gate_attach(t.gate, &s.slice, &err), -EBUSY);
	assert_non_null(strstr(err.text, "locked as a slice"));
	assert_int_equal(record_bind(t.leases, s.slice.id, s.slice.level, "x", 0), -EBUSY);
	/* above: a workload's parent, and one that has a workload deeper below */
	good(resolve_cgroup(&t.root, t.top, &top, &err), &err);
	assert_int_equal(gate_lock_slice(t.gate, &top, &err), -EBUSY);
	close(top.fd);
	assert_int_equal(gate_lock_slice(t.gate, &t.workload, &err), -EBUSY);
	assert_non_null(strstr(err.text, "leashed as the workload"));

	record_unbind(gate_pins(t.gate), inner.id);
	unlinkat(t.root.fd, inner.path + 1, AT_REMOVEDIR);
	close(inner.fd);
	s.egress = s.ingress = -1;
	remove_slice(&s);
}

/* ------ the regrant race ------ */

/* What is granted now; odd while it changes. Read before and after each packet. */
static atomic_uint grants;
static atomic_int granted; /* 0: tunnel, 1: other */
static atomic_ulong runs;
static atomic_bool regrants_done;

static void *regrant(void *arg)
{
	const struct lease_identity *identities[] = { &t.tunnel, &t.other };
	unsigned int slot = t.slot, fresh;

	for (int i = 0; i < REGRANTS; i++) {
		/* as the daemon does when a tunnel is another device: core/tunnel.c,
		 * tunnel_identify() */
		atomic_fetch_add(&grants, 1);
		lease_revoke(t.leases, slot);
		fresh = (unsigned int)lease_slot(t.leases, identities[i & 1]);
		record_point(t.leases, t.workload.id, fresh);
		lease_retire(t.leases, slot);
		slot = fresh;
		lease_renew(t.leases, slot, now_boot_ns() + NS_PER_SEC, 1);
		atomic_store(&granted, i & 1);
		atomic_fetch_add(&grants, 1);
		/* some grants stay for a few packets, the rest goes while one is judged */
		for (unsigned long now = runs; i % 16 == 0 && runs < now + 4;)
			sched_yield();
	}
	lease_revoke(t.leases, slot);
	atomic_store(&regrants_done, true);
	return NULL;
}

static void no_packet_for_what_is_not_granted(void **state)
{
	struct packet p4 = make4("10.0.0.1", "192.0.2.1");
	uint32_t ifindexes[] = { t.tunnel.ifindex, t.other.ifindex };
	unsigned long right = 0, wrong = 0, stable = 0;
	pthread_t writer;

	need_passes();
	record_flags(t.leases, t.workload.id, WORKLOAD_ADMITTED, 0);
	assert_int_equal(pthread_create(&writer, NULL, regrant, NULL), 0);
	while (!atomic_load(&regrants_done)) {
		int which = (int)(atomic_fetch_add(&runs, 1) >> 1 & 1);
		unsigned int before = atomic_load(&grants);
		int now = atomic_load(&granted);
		bool passed = passes(t.egress, &p4, ifindexes[which]);

		if (before & 1 || before != atomic_load(&grants) || !before)
			continue; /* it changed meanwhile: either answer is right */
		stable++;
		if (passed && now != which)
			wrong++;
		right += passed;
	}
	pthread_join(writer, NULL);
	print_message(
		"# %d regrants, %lu packets, %lu of them between two, %lu passed, %lu wrongly\n",
		REGRANTS, (unsigned long)runs, stable, right, wrong);
	assert_int_equal(wrong, 0);
	assert_true(right > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(barred_without_lease),
		cmocka_unit_test(leased_but_not_admitted),
		cmocka_unit_test(held_wins),
		cmocka_unit_test(open_only_through_the_tunnel),
		cmocka_unit_test(a_lease_ends_by_itself),
		cmocka_unit_test(a_stamp_outlives_its_lease_by_one_jiffy),
		cmocka_unit_test(what_changes_counts_at_once),
		cmocka_unit_test(a_lease_that_is_too_long_is_none),
		cmocka_unit_test(another_netns_or_device_of_that_index),
		cmocka_unit_test(loopback_is_for_oneself),
		cmocka_unit_test(a_sign_of_life_is_what_came_in_for_us),
		cmocka_unit_test(no_record_is_unknown),
		cmocka_unit_test(a_record_that_is_anothers_now),
		cmocka_unit_test(a_record_that_has_no_room_near),
		cmocka_unit_test(what_is_near_is_its_own),
		cmocka_unit_test(no_old_word_stays_near),
		cmocka_unit_test(refused_each_by_its_own_reason),
		cmocka_unit_test(audit_is_no_drop),
		cmocka_unit_test(a_refused_sign_of_life_counts),
		cmocka_unit_test(a_row_is_of_one_alone),
		cmocka_unit_test(a_slice_drops_whom_it_does_not_know),
		cmocka_unit_test(a_slices_child_by_its_own_record),
		cmocka_unit_test(one_gate_on_a_path_of_a_slice),
		cmocka_unit_test(no_packet_for_what_is_not_granted),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
