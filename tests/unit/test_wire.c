/* SPDX-License-Identifier: GPL-2.0-or-later */
/* user/prober/wire.c: everything that reads a stranger's bytes, without descriptors or clocks. */
#include "prober/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEC 1000000000ULL

static const struct wire_echo PROBE = { .id = 0x1234, .seq = 7, .token = "ABCDEFG" };

static struct in_addr target(void)
{
	return (struct in_addr) { htonl(0xc6336401) }; /* 198.51.100.1 */
}

/* What the target would answer to PROBE, with `options` bytes of IP options; the length. */
static size_t answer(uint8_t *buf, size_t options)
{
	struct iphdr ip = { .version = 4,
			    .ihl = (unsigned)(5 + options / 4) & 15,
			    .ttl = 64,
			    .protocol = IPPROTO_ICMP,
			    .saddr = target().s_addr,
			    .tot_len = htons((uint16_t)(20 + options + WIRE_ECHO_SIZE)) };
	uint8_t *icmp = buf + 20 + options;

	memset(buf, 0, 20 + options);
	memcpy(buf, &ip, sizeof(ip));
	wire_echo_request(&PROBE, icmp);
	icmp[0] = 0; /* reply; the checksum grows by what the type word (8 << 8) loses */
	icmp[2] += 8;
	return 20 + options + WIRE_ECHO_SIZE;
}

static void refused(const char *what, size_t at, uint8_t value)
{
	struct wire_echo echo;
	uint8_t buf[128];
	size_t len = answer(buf, 0);

	buf[at] = value;
	if (wire_echo_parse(buf, len, target(), &echo) != -EBADMSG)
		fail_msg("taken for an answer: %s", what);
}

static void answer_is_understood(void **state)
{
	for (size_t options = 0; options <= 40; options += 4) {
		struct wire_echo echo = { 0 };
		uint8_t buf[128];
		size_t len = answer(buf, options);

		assert_int_equal(wire_echo_parse(buf, len, target(), &echo), 0);
		assert_int_equal(echo.id, PROBE.id);
		assert_int_equal(echo.seq, PROBE.seq);
		assert_memory_equal(echo.token, PROBE.token, sizeof(echo.token));
	}
}

static void answer_of_any_other_length_is_refused(void **state)
{
	uint8_t buf[129] = { 0 };
	struct wire_echo echo;
	size_t len = answer(buf, 0);

	for (size_t n = 0; n < sizeof(buf); n++) {
		uint8_t *exact = malloc(n ? n : 1); /* so that a byte too far is the sanitizer's */

		memcpy(exact, buf, n);
		assert_int_equal(wire_echo_parse(exact, n, target(), &echo),
				 n == len ? 0 : -EBADMSG);
		free(exact);
	}
}

static void answer_with_one_wrong_field_is_refused(void **state)
{
	refused("IPv6", 0, 0x65);
	refused("a header of 16 bytes", 0, 0x44);
	refused("a header of 0 bytes", 0, 0x40);
	refused("a header longer than the packet", 0, 0x4f);
	refused("a total length that is not the length", 3, 37);
	refused("a first fragment", 6, 0x20);
	refused("a later fragment", 7, 1);
	refused("UDP", 9, 17);
	refused("another source", 15, 2);
	refused("an echo request", 20, 8);
	refused("code 1", 21, 1);
	refused("a wrong checksum", 22, 0);
	refused("a token whose checksum is the old one", 28, 'Z');
}

static void only_an_open_probe_counts_and_only_once(void **state)
{
	struct wire_window w = { 0 };
	struct wire_echo other = PROBE;

	assert_false(wire_window_answered(&w, &PROBE, 5 * SEC)); /* never asked */
	wire_window_sent(&w, &PROBE, 5 * SEC);
	other.id++;
	assert_false(wire_window_answered(&w, &other, 5 * SEC));
	other = PROBE;
	other.token[7] ^= 1;
	assert_false(wire_window_answered(&w, &other, 5 * SEC));
	other = PROBE;
	other.seq += WIRE_WINDOW;
	assert_false(wire_window_answered(&w, &other, 5 * SEC));
	assert_false(wire_window_answered(&w, &PROBE, 5 * SEC - 1)); /* before it was sent */
	assert_false(wire_window_answered(&w, &PROBE, 15 * SEC + 1));
	assert_true(wire_window_answered(&w, &PROBE, 15 * SEC));
	assert_false(wire_window_answered(&w, &PROBE, 15 * SEC));
}

static void eight_probes_are_remembered(void **state)
{
	struct wire_window w = { 0 };
	struct wire_echo echo = PROBE;

	for (int i = 0; i < WIRE_WINDOW + 1; i++, echo.seq++)
		wire_window_sent(&w, &echo, SEC);
	assert_false(wire_window_answered(&w, &PROBE, SEC));
	for (int i = 0; i < WIRE_WINDOW; i++) {
		echo.seq--;
		assert_true(wire_window_answered(&w, &echo, SEC));
	}
}

static void record_is_taken_or_refused(const char *what, uint32_t op, uint32_t target_number,
				       uint64_t value, int expected)
{
	struct wire in = { .op = op, .target = target_number, .value = value }, out;
	int r = wire_parse(&in, sizeof(in), &out);

	if (r != expected)
		fail_msg("%s: %d, not %d", what, r, expected);
	if (r == 0)
		assert_memory_equal(&in, &out, sizeof(in));
}

static void every_field_of_a_record_is_checked(void **state)
{
	struct wire w = { .op = WIRE_ASK }, out;
	char long_one[sizeof(w) + 1] = { 0 };

	record_is_taken_or_refused("set", WIRE_SET, UINT32_MAX, UINT32_MAX, 0);
	record_is_taken_or_refused("set without address", WIRE_SET, 1, 0, -EBADMSG);
	record_is_taken_or_refused("set of 33 bits", WIRE_SET, 1, 1ULL << 32, -EBADMSG);
	record_is_taken_or_refused("ask", WIRE_ASK, 0, 0, 0);
	record_is_taken_or_refused("ask with a value", WIRE_ASK, 0, 1, -EBADMSG);
	record_is_taken_or_refused("drop", WIRE_DROP, 3, 0, 0);
	record_is_taken_or_refused("drop with a value", WIRE_DROP, 3, 9, -EBADMSG);
	record_is_taken_or_refused("seen", WIRE_SEEN, 3, SEC, 0);
	record_is_taken_or_refused("seen at 0", WIRE_SEEN, 3, 0, -EBADMSG);
	record_is_taken_or_refused("ready", WIRE_READY, 0, EPERM, 0);
	record_is_taken_or_refused("ready with a target", WIRE_READY, 1, 0, -EBADMSG);
	record_is_taken_or_refused("ready with no errno", WIRE_READY, 0, 4096, -EBADMSG);
	record_is_taken_or_refused("op 0", 0, 0, 0, -EBADMSG);
	record_is_taken_or_refused("op 6", 6, 0, 0, -EBADMSG);
	for (size_t n = 0; n < sizeof(w); n++)
		assert_int_equal(wire_parse(&w, n, &out), -EBADMSG);
	memcpy(long_one, &w, sizeof(w));
	assert_int_equal(wire_parse(long_one, sizeof(long_one), &out), -EBADMSG);
}

/* Half of the buffers are noise, half a good answer with a few bytes changed. */
static void garbage_harms_nobody(void **state)
{
	int taken = 0;

	srand(1);
	for (int i = 0; i < 100000; i++) {
		uint8_t good[128];
		size_t good_len = answer(good, (size_t)(rand() % 11) * 4);
		size_t len = i % 2 ? (size_t)rand() % sizeof(good) : good_len;
		uint8_t *buf = malloc(len ? len : 1);
		struct wire_echo echo;
		struct wire w;

		for (size_t j = 0; j < len; j++)
			buf[j] = i % 2 ? (uint8_t)rand() : good[j];
		for (int j = rand() % 4; j > 0 && len; j--)
			buf[(size_t)rand() % len] = (uint8_t)rand();
		taken += wire_echo_parse(buf, len, target(), &echo) == 0;
		wire_parse(buf, len, &w);
		wire_parse(buf, len < sizeof(w) ? len : sizeof(w), &w);
		free(buf);
	}
	/* The control: unchanged ones, and those changed where nobody looks, are among them. */
	assert_in_range(taken, 12000, 49000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answer_is_understood),
		cmocka_unit_test(answer_of_any_other_length_is_refused),
		cmocka_unit_test(answer_with_one_wrong_field_is_refused),
		cmocka_unit_test(only_an_open_probe_counts_and_only_once),
		cmocka_unit_test(eight_probes_are_remembered),
		cmocka_unit_test(every_field_of_a_record_is_checked),
		cmocka_unit_test(garbage_harms_nobody),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
