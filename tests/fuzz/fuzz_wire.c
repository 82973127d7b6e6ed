/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the prober gets: records of the daemon's socketpair, and packets of the network, as
 * hexadecimal digits with whatever between them; after a ';' the next one, of one conversation. */
#include "prober/wire.h"

#include <ctype.h>
#include <errno.h>

#include "fuzz.h"

static int digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10
					    : -1;
}

/* An answer to a question for a name: of all that was asked only that very question, and once. */
static void take_named(const char *name, const uint8_t *packet, size_t n, uint64_t now)
{
	struct wire_window w = { 0 };
	struct wire_echo echo = { .id = n >= 2 ? (uint16_t)(packet[0] << 8 | packet[1]) : 0 };
	uint8_t question[WIRE_QUESTION_SIZE];
	uint32_t number = 0;
	size_t length;

	/* the capitals that the packet has, so that what is asked is what it answers, if it may */
	for (size_t i = 13, bit = 1; bit < 64 && i < n; i++, bit++)
		if (packet[i] >= 'A' && packet[i] <= 'Z')
			echo.token[bit / 8] |= (uint8_t)(1 << bit % 8);
	MUST(wire_window_named(&w, name, packet, n, now, &number) == -EBADMSG);
	wire_window_sent(&w, &echo, 7, now);
	length = wire_question(name, &echo, question);
	MUST(length);
	if (wire_window_named(&w, name, packet, n, now, &number) < 0)
		return;
	MUST(number == 7 && n >= length && packet[2] & 0x80);
	MUST(!memcmp(packet + 12, question + 12, length - 12) && !memcmp(packet, question, 2));
	MUST(wire_window_named(&w, name, packet, n, now, &number) == -EBADMSG);
	echo.id++;
	wire_window_sent(&w, &echo, 8, now);
	MUST(wire_window_named(&w, name, packet, n, now, &number) == -EBADMSG);
}

/* The address in an answer: of a host elsewhere, and of bytes that are there. */
static void take_address(const uint8_t *packet, size_t n)
{
	for (size_t question = 17; question <= n; question += 16) {
		struct in_addr to = { 0 };
		bool found = !wire_answer_address(packet, n, question, &to);

		MUST(found == (to.s_addr != 0));
		if (found)
			MUST(memmem(packet + question, n - question, &to, sizeof(to)) &&
			     (to.s_addr & 0xff) != 127 && (to.s_addr & 0xff) < 224);
	}
}

static void take(struct wire_window *w, const uint8_t *packet, size_t n, uint64_t now)
{
	uint8_t *exact = malloc(n ? n : 1), request[WIRE_ECHO_SIZE];
	struct in_addr from = { .s_addr = 0x0100007f };
	struct wire_echo echo;
	struct wire record;
	uint32_t number;

	if (!exact)
		abort();
	memcpy(exact, packet, n);
	if (!wire_parse(exact, n, &record))
		MUST(n == sizeof(record) && record.op >= WIRE_READY && record.op <= WIRE_FAILED);
	if (n >= 16) { /* or an input of nothing but ends would take its time */
		take_named(".", exact, n, now);
		take_named("aB.example", exact, n, now);
	}
	take_address(exact, n);
	if (n >= 16)
		memcpy(&from, exact + 12, sizeof(from));
	if (!wire_echo_parse(exact, n, from, &echo)) {
		/* what was never asked is no answer; what was is one, once */
		MUST(!wire_window_answered(&(struct wire_window) { 0 }, &echo, now, &number));
		wire_window_sent(w, &echo, 9, now);
		MUST(!wire_window_answered(w, &echo, now - 1, &number));
		MUST(wire_window_answered(w, &echo, now + 1, &number) && number == 9);
		MUST(!wire_window_answered(w, &echo, now + 1, &number));
		wire_echo_request(&echo, request);
		from.s_addr ^= 1;
		MUST(wire_echo_parse(exact, n, from, &echo));
	}
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire_window w;
	uint8_t packet[400];
	uint64_t now = 1000;
	size_t n = 0;
	int high = -1;

	memset(&w, 0, sizeof(w));
	for (size_t i = 0; i <= size; i++) {
		int d = i < size ? digit((char)data[i]) : -1;

		if (i == size || data[i] == ';') {
			take(&w, packet, n, now++);
			n = 0;
			high = -1;
		} else if (d >= 0 && high < 0) {
			high = d;
		} else if (d >= 0 && n < sizeof(packet)) {
			packet[n++] = (uint8_t)(high << 4 | d);
			high = -1;
		}
	}
	return 0;
}
