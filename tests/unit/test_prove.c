/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure half of prove: which frame is which packet. Frames are made by hand, byte by byte. */
#include "prove/prove.h" /* before cmocka.h, whose macro takes the name of fail() */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CLIENT4 "10.9.0.3"
#define CLIENT6 "fd09::3"

static struct targets targets;

struct packet {
	uint8_t bytes[2048];
	size_t length;
};

/* ---- making frames ---- */

static unsigned int kind_named(const char *name)
{
	uint64_t set;

	assert_int_equal(kinds_parse(name, &set, NULL), 0);
	return (unsigned int)__builtin_ctzll(set);
}

static void put(struct packet *p, const void *bytes, size_t n)
{
	assert_true(p->length + n <= sizeof(p->bytes));
	memcpy(p->bytes + p->length, bytes, n);
	p->length += n;
}

static void put8(struct packet *p, uint8_t value)
{
	put(p, &value, 1);
}

static void put16(struct packet *p, uint16_t value)
{
	value = htons(value);
	put(p, &value, sizeof(value));
}

static void put_zeros(struct packet *p, size_t n)
{
	while (n--)
		put8(p, 0);
}

static void put_address(struct packet *p, const char *text)
{
	struct address a;

	assert_int_equal(address_parse(text, 0, &a), 0);
	put(p, a.bytes, a.family == AF_INET ? 4 : 16);
}

static void put_ethernet(struct packet *p, uint16_t ethertype)
{
	put(p, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	put16(p, ethertype);
}

static void put_vlan(struct packet *p, uint16_t ethertype)
{
	put16(p, 42);
	put16(p, ethertype);
}

static void put_ip4(struct packet *p, uint8_t protocol, uint16_t fragment, const char *from,
		    const char *to)
{
	put(p, "\x45\0\0\0\x12\x34", 6);
	put16(p, fragment);
	put8(p, 64);
	put8(p, protocol);
	put16(p, 0);
	put_address(p, from);
	put_address(p, to);
}

static void put_ip6(struct packet *p, uint8_t next, const char *from, const char *to)
{
	put(p, "\x60\0\0\0\0\0", 6);
	put8(p, next);
	put8(p, 64);
	put_address(p, from);
	put_address(p, to);
}

static void put_extension(struct packet *p, uint8_t next, uint8_t units, uint16_t offset)
{
	put8(p, next);
	put8(p, units);
	put16(p, offset);
	put_zeros(p, 4 + units * 8U);
}

static void put_udp(struct packet *p, uint16_t port)
{
	put16(p, 4242);
	put16(p, port);
	put_zeros(p, 4);
}

static void put_tcp(struct packet *p, uint16_t port, uint8_t flags)
{
	put16(p, 4242);
	put16(p, port);
	put_zeros(p, 9);
	put8(p, flags);
	put_zeros(p, 6);
}

static void put_marker(struct packet *p, const char *kind, uint32_t sequence)
{
	uint8_t payload[64];

	marker_fill(payload, sizeof(payload), targets.marker, kind_named(kind), sequence);
	put(p, payload, sizeof(payload));
}

static struct frame seen(const struct packet *p)
{
	return classify(p->bytes, p->length, LINK_ETHERNET, &targets);
}

static void assert_kind(const struct packet *p, enum link_type link, const char *kind,
			uint32_t sequence)
{
	struct frame f = classify(p->bytes, p->length, link, &targets);

	assert_int_equal(f.class, FRAME_KIND);
	assert_string_equal(kind_at(f.kind)->name, kind);
	assert_int_equal(f.sequence, sequence);
}

static void assert_stray(const struct packet *p, const char *text)
{
	struct frame f = seen(p);
	char said[128];

	assert_int_equal(f.class, FRAME_STRAY);
	assert_string_equal(frame_describe(&f, said, sizeof(said)), text);
}

static struct packet udp4_packet(const char *kind, uint32_t sequence)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "198.51.100.1");
	put_udp(&p, targets.port);
	put_marker(&p, kind, sequence);
	return p;
}

static int setup(void **state)
{
	assert_int_equal(targets_init(&targets, NULL), 0);
	assert_int_equal(address_parse("198.51.100.1", AF_INET, &targets.outside[0]), 0);
	assert_int_equal(address_parse("2001:db8::1", AF_INET6, &targets.outside[1]), 0);
	assert_int_equal(address_parse("10.9.0.1", AF_INET, &targets.onlink[0]), 0);
	assert_int_equal(address_parse("fd09::1", AF_INET6, &targets.onlink[1]), 0);
	targets.endpoint_port = 51820;
	return 0;
}

/* ---- kinds and targets ---- */

static void kinds_have_distinct_names(void **state)
{
	unsigned int n = 0;

	for (; kind_at(n); n++)
		assert_int_equal(kind_named(kind_at(n)->name), n);
	assert_in_range(n, 20, KINDS_LIMIT);
	assert_null(kind_at(n));
}

static void kind_lists(void **state)
{
	uint64_t set = 7, all;
	struct error err;

	assert_int_equal(kinds_parse("all", &all, NULL), 0);
	assert_int_equal(kinds_parse("udp4,tcp6,udp4", &set, NULL), 0);
	assert_int_equal(set, 1ULL << kind_named("udp4") | 1ULL << kind_named("tcp6"));
	assert_int_equal(set & ~all, 0);
	set = 7;
	assert_true(kinds_parse("udp4,", &set, &err) < 0);
	assert_true(kinds_parse("", &set, &err) < 0);
	assert_true(kinds_parse("udp4x", &set, &err) < 0);
	assert_true(kinds_parse("udp4,nope,tcp4", &set, &err) < 0);
	assert_int_equal(err.kind, ERROR_INPUT);
	assert_non_null(strstr(err.text, "nope"));
	assert_int_equal(set, 7); /* untouched on failure */
}

static void targets_are_drawn(void **state)
{
	struct targets a, b;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(targets_init(&a, NULL), 0);
		assert_int_equal(targets_init(&b, NULL), 0);
		assert_int_not_equal(a.marker, b.marker);
		assert_in_range(a.port, 20000, 59999 - KINDS_LIMIT);
	}
}

static void addresses_are_numeric(void **state)
{
	struct address a = { .family = 1 };

	assert_int_equal(address_parse("localhost", 0, &a), -EINVAL);
	assert_int_equal(address_parse("10.0.0.1", AF_INET6, &a), -EINVAL);
	assert_int_equal(address_parse("::1", AF_INET, &a), -EINVAL);
	assert_int_equal(a.family, 1);
	assert_int_equal(address_parse("::1", 0, &a), 0);
	assert_int_equal(a.family, AF_INET6);
}

static void skips_say_why(void **state)
{
	struct tally none = { .skip_errno = 0 }, address = { .skip_errno = EDESTADDRREQ };
	struct tally ping = { .skip_errno = EACCES };
	const struct kind *k = kind_at(kind_named("ping4"));
	char text[128];

	assert_string_equal(skip_reason(k, &none, text, sizeof(text)), "");
	assert_non_null(strstr(skip_reason(k, &address, text, sizeof(text)), "outside address"));
	assert_non_null(strstr(skip_reason(k, &ping, text, sizeof(text)), "ping_group_range"));
}

/* ---- frames with a marker ---- */

static void marked_udp4(void **state)
{
	struct packet p = udp4_packet("udp4", 77);
	struct frame f = seen(&p);

	assert_kind(&p, LINK_ETHERNET, "udp4", 77);
	assert_true(f.has_ports);
	assert_int_equal(f.to_port, targets.port);
	assert_int_equal(f.protocol, IPPROTO_UDP);
}

static void marked_below_vlan_tags(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x88a8);
	put_vlan(&p, 0x8100);
	put_vlan(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "198.51.100.1");
	put_udp(&p, targets.port);
	put_marker(&p, "device4", 1);
	assert_kind(&p, LINK_ETHERNET, "device4", 1);
	assert_int_equal(seen(&p).ethertype, 0x0800);
	assert_int_equal(seen(&p).to_port, targets.port);
}

static void marked_without_link_header(void **state)
{
	struct packet p = { .length = 0 };

	put_ip6(&p, IPPROTO_UDP, CLIENT6, "2001:db8::1");
	put_udp(&p, targets.port);
	put_marker(&p, "udp6", 3);
	assert_kind(&p, LINK_RAW_IP, "udp6", 3);
	p.length = 0;
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "198.51.100.1");
	put_udp(&p, targets.port);
	put_marker(&p, "udp4", 4);
	assert_kind(&p, LINK_RAW_IP, "udp4", 4);
}

static void marked_later_fragments(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0x2000 | 185, CLIENT4, "198.51.100.1");
	put_marker(&p, "fragment4", 5);
	assert_kind(&p, LINK_ETHERNET, "fragment4", 5);
	assert_true(seen(&p).fragment);
	assert_false(seen(&p).has_ports);

	p.length = 0;
	put_ethernet(&p, 0x86dd);
	put_ip6(&p, IPPROTO_FRAGMENT, CLIENT6, "2001:db8::1");
	put_extension(&p, IPPROTO_UDP, 0, 181 << 3);
	put_marker(&p, "fragment6", 6);
	assert_kind(&p, LINK_ETHERNET, "fragment6", 6);
	assert_true(seen(&p).fragment);
}

/* AF_PACKET, ARP and what else nobody thought of: the marker is enough. */
static void marked_in_any_protocol(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x88b5);
	put_marker(&p, "raw4", 8);
	assert_kind(&p, LINK_ETHERNET, "raw4", 8);
	p.length = 0;
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "203.0.113.9");
	put_udp(&p, 51820); /* in clear to the endpoint's port: a leak all the same */
	put_marker(&p, "udp4", 9);
	assert_kind(&p, LINK_ETHERNET, "udp4", 9);
}

static void fence_tokens(void **state)
{
	struct packet p = { .length = 0 };
	uint8_t payload[64];

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "10.9.0.1");
	put_udp(&p, targets.port);
	marker_fill(payload, sizeof(payload), targets.marker, 0xffff, 3 << 16 | 7);
	put(&p, payload, sizeof(payload));
	assert_int_equal(seen(&p).class, FRAME_FENCE);
	assert_int_equal(seen(&p).sequence, 3 << 16 | 7);
}

static void foreign_markers_are_not_ours(void **state)
{
	struct packet p = udp4_packet("udp4", 1);
	char text[64];

	targets.marker ^= 1;
	snprintf(text, sizeof(text), "udp " CLIENT4 "→198.51.100.1:%u", targets.port);
	assert_stray(&p, text);
}

static void kinds_beyond_the_table_are_strays(void **state)
{
	struct packet p = { .length = 0 };
	uint8_t payload[64];

	put_ethernet(&p, 0x88b5);
	marker_fill(payload, sizeof(payload), targets.marker, KINDS_LIMIT, 1);
	put(&p, payload, sizeof(payload));
	assert_stray(&p, "ethertype 0x88b5");
}

/* The answers of whoever echoes our marker are not packets of the client. */
static void answers(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_ICMP, 0, "198.51.100.1", CLIENT4);
	put_zeros(&p, 8);
	put_marker(&p, "icmp4", 1);
	assert_int_equal(seen(&p).class, FRAME_ANSWER);
}

/* ---- TCP has no payload ---- */

static void tcp_by_address_and_port(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "198.51.100.1");
	put_tcp(&p, (uint16_t)(targets.port + kind_named("tcp4")), 0x02);
	assert_kind(&p, LINK_ETHERNET, "tcp4", 0);

	p.length = 0;
	put_ethernet(&p, 0x86dd);
	put_ip6(&p, IPPROTO_HOPOPTS, CLIENT6, "2001:db8::1");
	put_extension(&p, IPPROTO_DSTOPTS, 1, 0);
	put_extension(&p, IPPROTO_TCP, 0, 0);
	put_tcp(&p, (uint16_t)(targets.port + kind_named("tcp6")), 0x02);
	assert_kind(&p, LINK_ETHERNET, "tcp6", 0);
}

static void tcp_elsewhere_is_a_stray(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "198.51.100.2");
	put_tcp(&p, (uint16_t)(targets.port + kind_named("tcp4")), 0x02);
	assert_int_equal(seen(&p).class, FRAME_STRAY);

	p.length = 0; /* the port of a UDP kind */
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "198.51.100.1");
	put_tcp(&p, (uint16_t)(targets.port + kind_named("udp4")), 0x02);
	assert_int_equal(seen(&p).class, FRAME_STRAY);

	p.length = 0; /* the port of the other family's kind */
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "198.51.100.1");
	put_tcp(&p, (uint16_t)(targets.port + kind_named("tcp6")), 0x02);
	assert_int_equal(seen(&p).class, FRAME_STRAY);

	p.length = 0; /* one below the first kind's */
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "198.51.100.1");
	put_tcp(&p, (uint16_t)(targets.port - 1), 0x02);
	assert_int_equal(seen(&p).class, FRAME_STRAY);
}

/* ---- everything else ---- */

static void endpoint_traffic(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "203.0.113.9");
	put_udp(&p, 51820);
	assert_int_equal(seen(&p).class, FRAME_ENDPOINT);
	targets.endpoint_port = 0;
	assert_stray(&p, "udp " CLIENT4 "→203.0.113.9:51820");
}

static void strays_are_described(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_UDP, 0, CLIENT4, "10.9.0.53");
	put_udp(&p, 53);
	assert_stray(&p, "udp " CLIENT4 "→10.9.0.53:53");

	p.length = 0;
	put_ethernet(&p, 0x0800); /* as IGMP is: with a router alert option, ihl 6 */
	put_ip4(&p, IPPROTO_IGMP, 0, CLIENT4, "224.0.0.22");
	p.bytes[14] = 0x46;
	put(&p, "\x94\4\0\0\x22\0\0\0\0\0\0\0", 12);
	assert_stray(&p, "igmp " CLIENT4 "→224.0.0.22");

	p.length = 0;
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_TCP, 0, CLIENT4, "192.0.2.7");
	put_tcp(&p, 443, 0x14);
	assert_stray(&p, "tcp/rst " CLIENT4 "→192.0.2.7:443");

	p.length = 0;
	put_ethernet(&p, 0x86dd);
	put_ip6(&p, IPPROTO_ICMPV6, "fe80::1", "ff02::2");
	put(&p, "\x85\0\0\0\0\0\0\0", 8);
	assert_stray(&p, "icmp6/133 fe80::1→ff02::2");

	p.length = 0;
	put_ethernet(&p, 0x86dd);
	put_ip6(&p, IPPROTO_UDP, CLIENT6, "fd09::53");
	put_udp(&p, 53);
	assert_stray(&p, "udp " CLIENT6 "→[fd09::53]:53");

	p.length = 0;
	put_ethernet(&p, 0x0806);
	put(&p, "\0\1\x08\0\6\4\0\1\2\0\0\0\0\2", 14);
	put_address(&p, CLIENT4);
	put_zeros(&p, 6);
	put_address(&p, "10.9.0.1");
	assert_stray(&p, "arp " CLIENT4 "→10.9.0.1");

	p.length = 0;
	put_ethernet(&p, 0x88cc);
	assert_stray(&p, "ethertype 0x88cc");

	p.length = 0;
	put_ethernet(&p, 0x0800);
	put_ip4(&p, IPPROTO_SCTP, 0, CLIENT4, "192.0.2.7");
	assert_stray(&p, "protocol/132 " CLIENT4 "→192.0.2.7");
}

/* ---- hostile and broken frames: each in memory of just its size, for the sanitizer ---- */

static struct frame seen_exactly(const struct packet *p, size_t length, enum link_type link)
{
	uint8_t *bytes = malloc(length ? length : 1);
	struct frame f;
	char text[128];

	assert_non_null(bytes);
	memcpy(bytes, p->bytes, length);
	f = classify(bytes, length, link, &targets);
	frame_describe(&f, text, sizeof(text));
	free(bytes);
	return f;
}

static void truncated_frames(void **state)
{
	struct packet p = udp4_packet("udp4", 1);
	size_t whole = 14 + 20 + 8 + 16; /* up to the first complete marker */

	for (size_t n = 0; n <= p.length; n++)
		assert_int_equal(seen_exactly(&p, n, LINK_ETHERNET).class,
				 n < whole ? FRAME_STRAY : FRAME_KIND);
	p.length = 0;
	put_ip6(&p, IPPROTO_HOPOPTS, CLIENT6, "2001:db8::2");
	put_extension(&p, IPPROTO_ROUTING, 2, 0);
	put_extension(&p, IPPROTO_FRAGMENT, 1, 0);
	put_extension(&p, IPPROTO_TCP, 0, 0);
	put_tcp(&p, 443, 0x02);
	for (size_t n = 0; n <= p.length; n++)
		assert_int_equal(seen_exactly(&p, n, LINK_RAW_IP).class, FRAME_STRAY);
}

static void marker_is_looked_for_near_the_front(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x88b5);
	put_zeros(&p, 1600 - 14 - 8);
	put_marker(&p, "udp4", 1);
	assert_kind(&p, LINK_ETHERNET, "udp4", 1);
	p.length = 0;
	put_ethernet(&p, 0x88b5);
	put_zeros(&p, 1600 - 14);
	put_marker(&p, "udp4", 1);
	assert_int_equal(seen(&p).class, FRAME_STRAY);
}

static void endless_extension_headers(void **state)
{
	struct packet p = { .length = 0 };

	put_ethernet(&p, 0x86dd);
	put_ip6(&p, IPPROTO_HOPOPTS, CLIENT6, "2001:db8::1");
	while (p.length + 8 <= sizeof(p.bytes))
		put_extension(&p, IPPROTO_HOPOPTS, 0, 0);
	assert_int_equal(seen(&p).class, FRAME_STRAY);
}

static void random_frames(void **state)
{
	struct packet p = { .length = 0 };

	srandom(1);
	for (int i = 0; i < 100000; i++) {
		p.length = (size_t)random() % 160;
		for (size_t at = 0; at < p.length; at++)
			p.bytes[at] = (uint8_t)random();
		if (p.length > 14) /* else few would get past the first test */
			memcpy(p.bytes + 12, i % 2 ? "\x08\0\x45" : "\x86\xdd\x60", 3);
		assert_in_range(seen_exactly(&p, p.length, LINK_ETHERNET).class, 0,
				FRAME_CLASSES - 1);
		assert_in_range(seen_exactly(&p, p.length, LINK_RAW_IP).class, 0,
				FRAME_CLASSES - 1);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		CASE(kinds_have_distinct_names),
		CASE(kind_lists),
		CASE(targets_are_drawn),
		CASE(addresses_are_numeric),
		CASE(skips_say_why),
		CASE(marked_udp4),
		CASE(marked_below_vlan_tags),
		CASE(marked_without_link_header),
		CASE(marked_later_fragments),
		CASE(marked_in_any_protocol),
		CASE(fence_tokens),
		CASE(foreign_markers_are_not_ours),
		CASE(kinds_beyond_the_table_are_strays),
		CASE(answers),
		CASE(tcp_by_address_and_port),
		CASE(tcp_elsewhere_is_a_stray),
		CASE(endpoint_traffic),
		CASE(strays_are_described),
		CASE(truncated_frames),
		CASE(marker_is_looked_for_near_the_front),
		CASE(endless_extension_headers),
		CASE(random_frames),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("prove", tests, NULL, NULL);
}
