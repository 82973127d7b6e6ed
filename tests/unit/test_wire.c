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
	uint32_t number = 0;

	assert_false(wire_window_answered(&w, &PROBE, 5 * SEC, &number)); /* never asked */
	wire_window_sent(&w, &PROBE, 99, 5 * SEC);
	other.id++;
	assert_false(wire_window_answered(&w, &other, 5 * SEC, &number));
	other = PROBE;
	other.token[7] ^= 1;
	assert_false(wire_window_answered(&w, &other, 5 * SEC, &number));
	other = PROBE;
	other.seq += WIRE_WINDOW;
	assert_false(wire_window_answered(&w, &other, 5 * SEC, &number));
	assert_false(wire_window_answered(&w, &PROBE, 5 * SEC - 1, &number)); /* not sent yet */
	assert_false(wire_window_answered(&w, &PROBE, 15 * SEC + 1, &number));
	assert_int_equal(number, 0);
	assert_true(wire_window_answered(&w, &PROBE, 15 * SEC, &number));
	assert_int_equal(number, 99);
	assert_false(wire_window_answered(&w, &PROBE, 15 * SEC, &number));
}

static void ten_seconds_of_probes_are_remembered(void **state)
{
	struct wire_window w = { 0 };
	struct wire_echo echo = PROBE;
	uint32_t number;

	assert_true(WIRE_WINDOW >= 5 * WIRE_WINDOW_NS / SEC);
	for (uint32_t i = 0; i < WIRE_WINDOW + 1; i++, echo.seq++)
		wire_window_sent(&w, &echo, i, SEC);
	assert_false(wire_window_answered(&w, &PROBE, SEC, &number));
	for (uint32_t i = WIRE_WINDOW; i > 0; i--) {
		echo.seq--;
		assert_true(wire_window_answered(&w, &echo, SEC, &number));
		assert_int_equal(number, i);
	}
}

/* The question, and what a resolver would say to it: the length. */
static size_t named(const char *name, uint8_t *buf)
{
	size_t n = wire_question(name, &PROBE, buf);

	buf[2] |= 0x80;
	buf[3] = 0x80;
	return n;
}

static void questions_are_well_formed(void **state)
{
	static const uint8_t of_root[] = {
		0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1
	};
	uint8_t q[WIRE_QUESTION_SIZE];
	char label[65] = { 0 }, name[300] = "";
	struct wire_echo echo = PROBE;

	assert_int_equal(wire_question(".", &PROBE, q), sizeof(of_root));
	assert_memory_equal(q, of_root, sizeof(of_root));
	memset(echo.token, 0xff, sizeof(echo.token));
	assert_int_equal(wire_question("ab-1.c", &echo, q), 12 + 8 + 4);
	assert_memory_equal(q + 12, "\4AB-1\1C\0", 8);
	memset(echo.token, 0, sizeof(echo.token));
	assert_int_equal(wire_question("Ab-1.c.", &echo, q), 12 + 8 + 4);
	assert_memory_equal(q + 12, "\4ab-1\1c\0", 8);
	assert_int_equal(wire_question("a..b", &PROBE, q), 0);
	assert_int_equal(wire_question("..", &PROBE, q), 0);
	memset(label, 'a', 64);
	assert_int_equal(wire_question(label, &PROBE, q), 0);
	label[63] = '\0';
	for (int i = 0; i < 3; i++)
		strcat(strcat(name, label), ".");
	label[61] = '\0';
	strcat(name, label); /* 253 letters: the longest */
	assert_int_equal(wire_question(name, &PROBE, q), WIRE_QUESTION_SIZE);
	strcat(name, "a");
	assert_int_equal(wire_question(name, &PROBE, q), 0);
}

static void only_its_own_question_is_answered(void **state)
{
	uint8_t q[WIRE_QUESTION_SIZE], a[WIRE_QUESTION_SIZE + 100] = { 0 };
	size_t n = wire_question("example.org", &PROBE, q);

	assert_int_equal(named("example.org", a), n);
	assert_int_equal(wire_answer_parse(a, n, q, n), 0);
	assert_int_equal(wire_answer_parse(a, sizeof(a), q, n), 0); /* what follows is not read */
	a[3] |= 3;
	assert_int_equal(wire_answer_parse(a, n, q, n), 3);
	for (size_t i = 0; i < n; i++) {
		uint8_t *exact = malloc(i ? i : 1);

		memcpy(exact, a, i);
		assert_int_equal(wire_answer_parse(exact, i, q, n), -EBADMSG);
		free(exact);
	}
	/* id, that it is an answer to a query, one question, and all of that, letters' case too */
	for (size_t i = 0; i < n; i++)
		for (int bit = 0; bit < 8; bit++) {
			bool looked_at =
				i < 2 || (i == 2 && bit >= 3) || i == 4 || i == 5 || i >= 12;
			int r;

			a[i] ^= (uint8_t)(1 << bit);
			r = wire_answer_parse(a, n, q, n);
			a[i] ^= (uint8_t)(1 << bit);
			if ((r == -EBADMSG) != looked_at)
				fail_msg("bit %d of byte %zu: %d", bit, i, r);
		}
}

/* What follows the question of `a.b`: records, and what there is to be found. */
static void an_address_is_found(void **state)
{
#define OF_A_B	"\xc0\x0c"
#define IN_60_S "\0\1\0\0\0\x3c"
	static const struct {
		const char *text;
		size_t n;
		int count;
		const char *found; /* NULL: none */
	} records[] = {
#define RECORDS(count, found, text) { text, sizeof(text) - 1, count, found }
		RECORDS(1, "1.2.3.4", OF_A_B "\0\1" IN_60_S "\0\4\1\2\3\4"),
		RECORDS(2, "1.2.3.4", /* an alias before it */
			OF_A_B "\0\5" IN_60_S "\0\3\1x\0"
			       "\1x\0\0\1" IN_60_S "\0\4\1\2\3\4"),
		RECORDS(2, "5.6.7.8", /* an address of IPv6 before it */
			OF_A_B "\0\x1c" IN_60_S "\0\x10"
			       "0123456789abcdef" OF_A_B "\0\1" IN_60_S "\0\4\5\6\7\10"
			       "what follows"),
		RECORDS(0, NULL, OF_A_B "\0\1" IN_60_S "\0\4\1\2\3\4"),
		RECORDS(1, NULL, ""),
		RECORDS(65535, NULL, OF_A_B "\0\5" IN_60_S "\0\0"),
		RECORDS(1, NULL, OF_A_B "\0\1" IN_60_S "\0\4\1\2\3"),
		RECORDS(1, NULL, OF_A_B "\0\1" IN_60_S "\0\5\1\2\3\4\5"),
		RECORDS(1, NULL, OF_A_B "\0\1" IN_60_S "\0\4\x7f\0\0\1"),
		RECORDS(1, NULL, OF_A_B "\0\1" IN_60_S "\0\4\0\0\0\0"),
		RECORDS(1, NULL, OF_A_B "\0\1" IN_60_S "\0\4\xe0\0\0\1"),
		RECORDS(1, NULL, "\x80x\0\1" IN_60_S "\0\4\1\2\3\4"),
		RECORDS(1, NULL, "\x3fx\0\1" IN_60_S "\0\4\1\2\3\4"),
		RECORDS(1, NULL, OF_A_B),
		RECORDS(1, NULL, "\xc0"),
	};
	uint8_t q[WIRE_QUESTION_SIZE];
	size_t n = wire_question("a.b", &PROBE, q);

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		uint8_t *exact = malloc(n + records[i].n);
		char text[INET_ADDRSTRLEN];
		struct in_addr to = { 0 };
		int r;

		memcpy(exact, q, n);
		memcpy(exact + n, records[i].text, records[i].n);
		exact[6] = (uint8_t)(records[i].count >> 8);
		exact[7] = (uint8_t)records[i].count;
		r = wire_answer_address(exact, n + records[i].n, n, &to);
		assert_int_equal(r, records[i].found ? 0 : -EBADMSG);
		if (records[i].found)
			assert_string_equal(inet_ntop(AF_INET, &to, text, sizeof(text)),
					    records[i].found);
		free(exact);
	}
}

static void an_answer_by_name_is_found_once(void **state)
{
	struct wire_window w = { 0 };
	struct wire_echo other = PROBE;
	uint8_t a[WIRE_QUESTION_SIZE];
	size_t n = named("example.org", a);
	uint32_t number = 0;

	assert_int_equal(wire_window_named(&w, "example.org", a, n, SEC, &number), -EBADMSG);
	other.seq++;
	other.token[0] ^= 2; /* the same id, another capital */
	wire_window_sent(&w, &other, 4, SEC);
	assert_int_equal(wire_window_named(&w, "example.org", a, n, SEC, &number), -EBADMSG);
	wire_window_sent(&w, &PROBE, 5, SEC);
	assert_int_equal(wire_window_named(&w, "example.com", a, n, SEC, &number), -EBADMSG);
	assert_int_equal(wire_window_named(&w, "example.org", a, n, SEC - 1, &number), -EBADMSG);
	assert_int_equal(wire_window_named(&w, "example.org", a, n, 11 * SEC + 1, &number),
			 -EBADMSG);
	assert_int_equal(wire_window_named(&w, "example.org", a, 1, SEC, &number), -EBADMSG);
	assert_int_equal(wire_window_named(&w, "example.org", a, n, SEC, &number), 0);
	assert_int_equal(number, 5);
	assert_int_equal(wire_window_named(&w, "example.org", a, n, SEC, &number), -EBADMSG);
}

static void record_is_taken_or_refused(const char *what, struct wire in, int expected)
{
	struct wire out;
	int r = wire_parse(&in, sizeof(in), &out);

	if (r != expected)
		fail_msg("%s: %d, not %d", what, r, expected);
	if (r == 0)
		assert_memory_equal(&in, &out, sizeof(in));
}

#define TAKEN(what, ...)   record_is_taken_or_refused(what, (struct wire) { __VA_ARGS__ }, 0)
#define REFUSED(what, ...) record_is_taken_or_refused(what, (struct wire) { __VA_ARGS__ }, -EBADMSG)

static void every_field_of_a_record_is_checked(void **state)
{
	struct wire w = { .op = WIRE_ASK }, out;
	char long_one[sizeof(w) + 1] = { 0 };

	TAKEN("set", WIRE_SET, UINT32_MAX, UINT32_MAX, 0, WIRE_ICMP, "");
	REFUSED("set without address", WIRE_SET, 1, 0, 0, WIRE_ICMP, "");
	REFUSED("set of 33 bits", WIRE_SET, 1, 1ULL << 32, 0, WIRE_ICMP, "");
	REFUSED("set of no way", WIRE_SET, 1, 1, 0, 0, "");
	REFUSED("set of an unknown way", WIRE_SET, 1, 1, 0, 4, "");
	REFUSED("set of ICMP with a number", WIRE_SET, 1, 1, 1, WIRE_ICMP, "");
	REFUSED("set of ICMP with a name", WIRE_SET, 1, 1, 0, WIRE_ICMP, "a");
	TAKEN("set of TCP", WIRE_SET, 1, 1, 7, WIRE_TCP, "");
	TAKEN("set of DNS", WIRE_SET, 1, 1, 0, WIRE_DNS, "a.b");
	REFUSED("set of DNS with a number", WIRE_SET, 1, 1, 1, WIRE_DNS, "a.b");
	REFUSED("set of DNS with no name", WIRE_SET, 1, 1, 0, WIRE_DNS, "a..b");
	TAKEN("ask", WIRE_ASK, 0, 0, 8, 0, "");
	REFUSED("ask with a value", WIRE_ASK, 0, 1, 0, 0, "");
	REFUSED("ask with a way", WIRE_ASK, 0, 0, 0, WIRE_DNS, "");
	REFUSED("ask with a name", WIRE_ASK, 0, 0, 0, 0, "\0b");
	TAKEN("drop", WIRE_DROP, 3, 0, 0, 0, "");
	REFUSED("drop with a value", WIRE_DROP, 3, 9, 0, 0, "");
	REFUSED("drop with a number", WIRE_DROP, 3, 0, 9, 0, "");
	TAKEN("seen", WIRE_SEEN, 3, SEC, 9, 0, "");
	REFUSED("seen at 0", WIRE_SEEN, 3, 0, 0, 0, "");
	TAKEN("failed", WIRE_FAILED, 3, WIRE_RCODE + 15, 9, 0, "");
	REFUSED("failed by nothing", WIRE_FAILED, 3, 0, 9, 0, "");
	REFUSED("failed by no code", WIRE_FAILED, 3, WIRE_RCODE + 16, 9, 0, "");
	TAKEN("ready", WIRE_READY, 0, EPERM, 0, 0, "");
	REFUSED("ready with a target", WIRE_READY, 1, 0, 0, 0, "");
	REFUSED("ready with no errno", WIRE_READY, 0, 4096, 0, 0, "");
	REFUSED("op 0", 0, 0, 0, 0, 0, "");
	REFUSED("op 7", 7, 0, 0, 0, 0, "");
	/* a name without an end */
	w = (struct wire) { .op = WIRE_SET, .value = 1, .way = WIRE_DNS };
	memset(w.name, 'a', sizeof(w.name));
	assert_int_equal(wire_parse(&w, sizeof(w), &out), -EBADMSG);
	w = (struct wire) { .op = WIRE_ASK };
	for (size_t n = 0; n < sizeof(w); n++)
		assert_int_equal(wire_parse(&w, n, &out), -EBADMSG);
	memcpy(long_one, &w, sizeof(w));
	assert_int_equal(wire_parse(long_one, sizeof(long_one), &out), -EBADMSG);
}

/* Half of the buffers are noise, half a good answer with a few bytes changed. */
static void garbage_harms_nobody(void **state)
{
	struct wire_window asked = { 0 };
	uint32_t number;
	int taken = 0;

	srand(1);
	wire_window_sent(&asked, &PROBE, 1, SEC);
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
		wire_window_named(&asked, "a.org", buf, len, SEC, &number);
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
		cmocka_unit_test(ten_seconds_of_probes_are_remembered),
		cmocka_unit_test(questions_are_well_formed),
		cmocka_unit_test(only_its_own_question_is_answered),
		cmocka_unit_test(an_address_is_found),
		cmocka_unit_test(an_answer_by_name_is_found_once),
		cmocka_unit_test(every_field_of_a_record_is_checked),
		cmocka_unit_test(garbage_harms_nobody),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
