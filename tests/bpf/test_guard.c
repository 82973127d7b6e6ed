/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guard remembers of a frame that passed (bpf/frames.bpf.h), by BPF_PROG_TEST_RUN: no
 * frame passes that would not have passed the long way, and what has changed counts at once.
 *
 * Before v6.2 the slot comes with the filter, which a test packet has not: the leak cases show it.
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
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "act/gate_internal.h"
#include "act/guard.h"
#include "act/near.h"
#include "base/netns.h"

#define OWN	 "10.0.0.1"
#define ENDPOINT "192.0.2.1"
#define BOOT	 "192.0.2.9" /* a host of `bootstrap` */
#define OWN_PORT 5000
#define PORT	 51820
#define TRIES	 50

static struct {
	struct cgroup_root root;
	struct gate *gate;
	struct guards *guards;
	struct guard_spec spec;
	uint64_t cookie;
	uint32_t eth0, eth1;
	int out, in, inside; /* program fds */
} t;

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t rest[40];
} __attribute__((packed));

static const uint8_t own_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };

static struct frame make(const char *from, uint16_t from_port, const char *to, uint16_t to_port)
{
	const uint16_t length = sizeof(struct frame) - ETH_HLEN;
	struct frame f = { .eth = { .h_dest = { 2, 0, 0, 0, 0, 9 }, .h_proto = htons(ETH_P_IP) },
			   .ip = { .version = 4,
				   .ihl = 5,
				   .ttl = 64,
				   .protocol = IPPROTO_UDP,
				   .frag_off = htons(IP_DF),
				   .tot_len = htons(length) } };

	memcpy(f.eth.h_source, own_mac, ETH_ALEN);
	inet_pton(AF_INET, from, &f.ip.saddr);
	inet_pton(AF_INET, to, &f.ip.daddr);
	f.udp.source = htons(from_port);
	f.udp.dest = htons(to_port);
	f.udp.len = htons(length - sizeof(f.ip));
	return f;
}

static struct frame leaving(void)
{
	return make(OWN, OWN_PORT, ENDPOINT, PORT);
}

static struct frame coming(void)
{
	return make(ENDPOINT, PORT, OWN, OWN_PORT);
}

static bool passes_as(int program, const void *frame, size_t size, uint32_t ifindex)
{
	struct __sk_buff skb = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)size,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(program, &run), 0);
	return (int)run.retval == TC_ACT_UNSPEC;
}

static bool passes(int program, const struct frame *f)
{
	return passes_as(program, f, sizeof(*f), t.eth0);
}

static void forget(void)
{
	near_guards_changed(gate_pins(t.gate)->near);
}

static void set_rules(bool endpoint, bool boot)
{
	uint8_t address[16] = { [10] = 0xff, 0xff };
	struct address_rule rules[2];
	size_t n = 0;

	inet_pton(AF_INET, ENDPOINT, address + 12);
	if (endpoint)
		address_rule(&rules[n++], t.cookie, ADDRESS_ENDPOINT, IPPROTO_UDP, PORT, address,
			     128, true, FROM_CONFIG);
	inet_pton(AF_INET, BOOT, address + 12);
	if (boot)
		address_rule(&rules[n++], t.cookie, ADDRESS_BOOTSTRAP, 0, 0, address, 128, true,
			     FROM_CONFIG);
	assert_int_equal(guard_rules(t.guards, TRIE_ENDPOINTS, t.cookie, rules, n), 0);
}

static void put_guard(uint16_t listen_port)
{
	struct error err = { 0 };

	t.spec.listen_port = htons(listen_port);
	assert_int_equal(guard_put(t.guards, &t.spec, &err), 0);
}

/* As no writer does it: nothing says that it has changed. */
static void take_endpoint_away(void)
{
	struct address_rule rule;
	uint8_t address[16] = { [10] = 0xff, 0xff };

	inet_pton(AF_INET, ENDPOINT, address + 12);
	address_rule(&rule, t.cookie, ADDRESS_ENDPOINT, IPPROTO_UDP, PORT, address, 128, true,
		     FROM_CONFIG);
	assert_int_equal(bpf_map_delete_elem(gate_pins(t.gate)->endpoints, &rule.key), 0);
}

static int set_up(void **state)
{
	struct error err = { 0 };
	static const char *const names[] = { "guard_peer_ingress", "guard_peer_egress",
					     "guard_inside" };
	int netns;

	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	assert_int_equal(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0);
	assert_int_equal(system("ip link set lo up && ip link add eth0 type veth peer name eth1 && "
				"ip link set eth0 up && ip link set eth1 up"),
			 0);
	assert_int_equal(resolve_cgroup_root(&t.root, &err), 0);
	assert_int_equal(gate_open(&t.gate, &t.root, 1, &err), 0);
	if (t.gate->netns_by_socket)
		return 0; /* see the top */
	assert_int_equal(guards_open(&t.guards, t.gate, &err), 0);
	assert_int_equal(netns_open("host", &netns, &err), 0);
	assert_int_equal(netns_cookie(netns, &t.cookie), 0);
	t.eth0 = if_nametoindex("eth0");
	t.eth1 = if_nametoindex("eth1");
	t.spec = (struct guard_spec) { .kind = KIND_HOST,
				       .inside = { -1, (uint32_t)netns_ino(netns), t.cookie,
						   t.eth0 },
				       .n_addresses = 1,
				       .flags = GUARD_BOOTSTRAP_HOSTS };
	close(netns);
	memcpy(t.spec.mac, own_mac, sizeof(own_mac));
	t.spec.addresses[0].prefix = 120;
	memset(t.spec.addresses[0].address + 10, 0xff, 2);
	inet_pton(AF_INET, OWN, t.spec.addresses[0].address + 12);
	assert_int_equal(gate_load_programs(t.gate, names, ARRAY_SIZE(names), &err), 0);
	t.out = gate_program(t.gate, names[0]);
	t.in = gate_program(t.gate, names[1]);
	t.inside = gate_program(t.gate, names[2]);
	put_guard(OWN_PORT);
	set_rules(true, false);
	return 0;
}

static int tear_down(void **state)
{
	struct error err;

	if (t.cookie)
		guard_take_off(gate_pins(t.gate), t.cookie, &err);
	guards_close(t.guards);
	gate_close(t.gate);
	pins_remove_all(NULL);
	return 0;
}

static void need_guard(void)
{
	if (t.gate->netns_by_socket)
		skip(); /* see the top */
}

/* The control of all the others: something is remembered, and for no longer than a jiffy. */
static void what_passed_passes_for_a_jiffy(void **state)
{
	const struct frame f = leaving();
	const int programs[] = { t.out, t.inside };
	int remembered = 0;

	need_guard();
	for (int i = 0; i < TRIES; i++) {
		int program = programs[i & 1];

		set_rules(true, false);
		assert_true(passes(program, &f));
		take_endpoint_away();
		remembered += passes(program, &f);
		usleep(25000); /* a jiffy is 10 ms at HZ=100 */
		assert_false(passes(program, &f));
	}
	print_message("# remembered %d of %d\n", remembered, TRIES);
	assert_true(remembered > TRIES / 2);
	set_rules(true, false);
}

static void what_changes_is_forgotten_at_once(void **state)
{
	const struct frame out = leaving(), in = coming();
	struct error err = { 0 };

	need_guard();
	for (int i = 0; i < TRIES; i++) {
		assert_true(passes(t.out, &out) && passes(t.inside, &out) && passes(t.in, &in));
		set_rules(false, false);
		assert_false(passes(t.out, &out) || passes(t.inside, &out));
		set_rules(true, false);

		assert_true(passes(t.out, &out) && passes(t.in, &in));
		t.spec.mac[5] = 7;
		put_guard(OWN_PORT + 1);
		assert_false(passes(t.out, &out) || passes(t.in, &in));
		t.spec.mac[5] = own_mac[5];
		put_guard(OWN_PORT);

		assert_true(passes(t.out, &out) && passes(t.inside, &out) && passes(t.in, &in));
		assert_int_equal(guard_take_off(gate_pins(t.gate), t.cookie, &err), 0);
		assert_false(passes(t.out, &out) || passes(t.inside, &out) || passes(t.in, &in));
		put_guard(OWN_PORT);
		set_rules(true, false);
	}
}

/* An answer, of whose flow the endpoint may go away. */
static void an_answer_is_the_endpoints(void **state)
{
	const struct frame out = make(OWN, 5353, ENDPOINT, PORT),
			   in = make(ENDPOINT, PORT, OWN, 5353);

	need_guard();
	put_guard(0);
	for (int i = 0; i < TRIES; i++) {
		assert_true(passes(t.out, &out) && passes(t.in, &in) && passes(t.in, &in));
		set_rules(false, false);
		assert_false(passes(t.in, &in));
		set_rules(true, false);
	}
	put_guard(OWN_PORT);
}

/* Bootstrap's end is one store: what passed by it is not remembered, either way. */
static void bootstrap_is_not_remembered(void **state)
{
	const struct frame out = make(OWN, 5454, BOOT, 443), in = make(BOOT, 443, OWN, 5454);
	uint32_t slot;
	struct guard g;

	need_guard();
	set_rules(true, true);
	slot = guard_slot(t.guards, &t.spec);
	for (int i = 0; i < TRIES; i++) {
		assert_int_equal(
			guard_bootstrap(t.guards, &t.spec, now_boot_ns() + NS_PER_SEC, 1, 0, 0), 0);
		assert_true(passes(t.out, &out) && passes(t.in, &in));
		assert_int_equal(bpf_map_lookup_elem(gate_pins(t.gate)->guards, &slot, &g), 0);
		g.bootstrap_until_ns = 0;
		assert_int_equal(bpf_map_update_elem(gate_pins(t.gate)->guards, &slot, &g, 0), 0);
		assert_false(passes(t.out, &out) || passes(t.in, &in));
	}
	set_rules(true, false);
}

static void another_device_is_another(void **state)
{
	const struct frame out = leaving(), in = coming();

	need_guard();
	/* so many that some have eth0's place */
	assert_int_equal(system("for i in $(seq 40); do ip link add a$i type veth peer name b$i; "
				"done"),
			 0);
	for (uint32_t i = t.eth1; i < t.eth1 + 80; i++) {
		if (i == t.eth0)
			continue;
		assert_true(passes(t.out, &out) && passes(t.inside, &out) && passes(t.in, &in));
		assert_false(passes_as(t.out, &out, sizeof(out), i));
		assert_false(passes_as(t.inside, &out, sizeof(out), i));
		assert_false(passes_as(t.in, &in, sizeof(in), i));
	}
}

/* The verdict on `other`, just after `f` has passed, is that of the long way. Returns it. */
static bool same_verdict(int program, const struct frame *f, const void *other, size_t size)
{
	bool expected, is;

	forget();
	expected = passes_as(program, other, size, t.eth0);
	forget(); /* `other` itself may have been remembered */
	assert_true(passes(program, f));
	is = passes_as(program, other, size, t.eth0);
	if (is != expected)
		print_error("after %zu bytes: %d, the long way %d\n", size, is, expected);
	assert_int_equal(is, expected);
	return is;
}

/* Every bit of the headers; each length; VLAN tags in the frame; fragments; another protocol. */
static void what_differs_goes_the_long_way(void **state)
{
	const struct frame out = leaving(), in = coming();
	const struct {
		int program;
		const struct frame *f;
		unsigned int dropped;
	} ways[] = { { t.out, &out, 150 }, { t.in, &in, 50 }, { t.inside, &out, 80 } };
	const size_t headers = offsetof(struct frame, rest);

	need_guard();
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		unsigned int dropped = 0;
		uint8_t other[sizeof(struct frame) + 64];

		for (size_t bit = 0; bit < headers * 8; bit++) {
			memcpy(other, ways[w].f, sizeof(struct frame));
			other[bit / 8] ^= (uint8_t)(1 << bit % 8);
			dropped += !same_verdict(ways[w].program, ways[w].f, other,
						 sizeof(struct frame));
		}
		print_message("# of %zu frames with one bit flipped %u do not pass\n", headers * 8,
			      dropped);
		assert_true(dropped >= ways[w].dropped);
		memset(other, 0, sizeof(other));
		memcpy(other, ways[w].f, sizeof(struct frame));
		for (size_t size = ETH_HLEN + sizeof(struct iphdr); size < sizeof(other); size++)
			assert_int_equal(same_verdict(ways[w].program, ways[w].f, other, size),
					 size == sizeof(struct frame));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_passed_passes_for_a_jiffy),
		cmocka_unit_test(what_changes_is_forgotten_at_once),
		cmocka_unit_test(an_answer_is_the_endpoints),
		cmocka_unit_test(bootstrap_is_not_remembered),
		cmocka_unit_test(another_device_is_another),
		cmocka_unit_test(what_differs_goes_the_long_way),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
