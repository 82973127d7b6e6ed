/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the prober gets: records of the daemon's socketpair, and packets of the network, as
 * hexadecimal digits with whatever between them; after a ';' the next one, of one conversation. */
#include "prober/wire.h"

#include <ctype.h>

#include "fuzz.h"

static int digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10
					    : -1;
}

static void take(struct wire_window *w, const uint8_t *packet, size_t n, uint64_t now)
{
	uint8_t *exact = malloc(n ? n : 1), request[WIRE_ECHO_SIZE];
	struct in_addr from = { .s_addr = 0x0100007f };
	struct wire_echo echo;
	struct wire record;

	if (!exact)
		abort();
	memcpy(exact, packet, n);
	if (!wire_parse(exact, n, &record))
		MUST(n == sizeof(record) && record.op >= WIRE_READY && record.op <= WIRE_SEEN);
	if (n >= 16)
		memcpy(&from, exact + 12, sizeof(from));
	if (!wire_echo_parse(exact, n, from, &echo)) {
		/* what was never asked is no answer; what was is one, once */
		MUST(!wire_window_answered(&(struct wire_window) { 0 }, &echo, now));
		wire_window_sent(w, &echo, now);
		MUST(!wire_window_answered(w, &echo, now - 1));
		MUST(wire_window_answered(w, &echo, now + 1));
		MUST(!wire_window_answered(w, &echo, now + 1));
		wire_echo_request(&echo, request);
		from.s_addr ^= 1;
		MUST(wire_echo_parse(exact, n, from, &echo));
	}
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire_window w;
	uint8_t packet[256];
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
