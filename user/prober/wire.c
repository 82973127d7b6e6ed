/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "prober/wire.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "base/util.h"

static bool value_fits(const struct wire *w)
{
	static const char nothing[WIRE_NAME_SIZE];
	bool plain = !w->way && !memcmp(w->name, nothing, sizeof(nothing));
	uint8_t question[WIRE_QUESTION_SIZE];

	switch (w->op) {
	case WIRE_READY:
		return plain && !w->target && !w->number && w->value < WIRE_RCODE;
	case WIRE_SET:
		if (!w->value || w->value > UINT32_MAX)
			return false;
		if (w->way == WIRE_DNS)
			return !w->number && memchr(w->name, 0, sizeof(w->name)) &&
			       wire_question(w->name, &(struct wire_echo) { 0 }, question);
		return !*w->name && (w->way == WIRE_TCP || (w->way == WIRE_ICMP && !w->number));
	case WIRE_ASK:
		return plain && !w->value;
	case WIRE_DROP:
		return plain && !w->value && !w->number;
	case WIRE_SEEN:
		return plain && w->value;
	case WIRE_FAILED:
		return plain && w->value && w->value < WIRE_RCODE + 16;
	default:
		return false;
	}
}

int wire_parse(const void *buf, size_t len, struct wire *ret)
{
	struct wire w;

	if (len != sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	if (!value_fits(&w))
		return -EBADMSG;
	*ret = w;
	return 0;
}

void wire_echo_request(const struct wire_echo *echo, uint8_t ret[WIRE_ECHO_SIZE])
{
	struct icmphdr icmp = { .type = ICMP_ECHO };

	icmp.un.echo.id = htons(echo->id);
	icmp.un.echo.sequence = htons(echo->seq);
	memcpy(ret, &icmp, sizeof(icmp));
	memcpy(ret + sizeof(icmp), echo->token, sizeof(echo->token));
	icmp.checksum = inet_checksum(ret, WIRE_ECHO_SIZE);
	memcpy(ret, &icmp, sizeof(icmp));
}

int wire_echo_parse(const void *buf, size_t len, struct in_addr from, struct wire_echo *ret)
{
	struct iphdr ip;
	struct icmphdr icmp;
	const uint8_t *echo;

	if (len < sizeof(ip) + WIRE_ECHO_SIZE)
		return -EBADMSG;
	memcpy(&ip, buf, sizeof(ip)); /* the buffer may be anywhere: copies need no alignment */
	if (ip.version != 4 || ip.ihl < 5 || len != ip.ihl * 4u + WIRE_ECHO_SIZE ||
	    ntohs(ip.tot_len) != len || ip.protocol != IPPROTO_ICMP ||
	    (ntohs(ip.frag_off) & (IP_MF | IP_OFFMASK)) || ip.saddr != from.s_addr)
		return -EBADMSG;
	echo = (const uint8_t *)buf + ip.ihl * 4u;
	memcpy(&icmp, echo, sizeof(icmp));
	if (icmp.type != ICMP_ECHOREPLY || icmp.code != 0 ||
	    inet_checksum(echo, WIRE_ECHO_SIZE) != 0)
		return -EBADMSG;
	ret->id = ntohs(icmp.un.echo.id);
	ret->seq = ntohs(icmp.un.echo.sequence);
	memcpy(ret->token, echo + sizeof(icmp), sizeof(ret->token));
	return 0;
}

/* In the name: a length before each label, 0 at the end. What there is room for, or 0. */
static size_t put_name(const char *name, uint64_t capitals, uint8_t ret[255])
{
	size_t n = 0;

	if (!strcmp(name, "."))
		name = "";
	while (*name) {
		size_t length = strcspn(name, ".");

		if (!length || length > 63 || n + 1 + length + 1 > 255)
			return 0;
		ret[n++] = (uint8_t)length;
		for (size_t i = 0; i < length; i++, n++) {
			char c = name[i];

			if (isalpha((unsigned char)c))
				c = (char)((c & ~32) | (capitals >> n % 64 & 1 ? 0 : 32));
			ret[n] = (uint8_t)c;
		}
		name += length + (name[length] == '.');
	}
	ret[n++] = 0;
	return n;
}

size_t wire_question(const char *name, const struct wire_echo *echo,
		     uint8_t ret[WIRE_QUESTION_SIZE])
{
	static const uint8_t recursive_one[] = { 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	static const uint8_t address_internet[] = { 0, 1, 0, 1 };
	uint64_t capitals;
	size_t n;

	memcpy(&capitals, echo->token, sizeof(capitals));
	ret[0] = (uint8_t)(echo->id >> 8);
	ret[1] = (uint8_t)echo->id;
	memcpy(ret + 2, recursive_one, sizeof(recursive_one));
	n = put_name(name, capitals, ret + 12);
	if (!n)
		return 0;
	memcpy(ret + 12 + n, address_internet, sizeof(address_internet));
	return 12 + n + sizeof(address_internet);
}

int wire_answer_parse(const void *buf, size_t len, const uint8_t *question, size_t n)
{
	const uint8_t *b = buf;

	/* id; a response to a standard query; one question, which is ours */
	if (len < n || memcmp(b, question, 2) || (b[2] & 0xf8) != 0x80 || b[4] || b[5] != 1 ||
	    memcmp(b + 12, question + 12, n - 12))
		return -EBADMSG;
	return b[3] & 15;
}

/* Where a name ends that begins at `at`, or 0. It is never followed. */
static size_t skip_name(const uint8_t *b, size_t len, size_t at)
{
	for (; at < len && b[at] < 64; at += 1u + b[at])
		if (!b[at])
			return at + 1;
	return at < len && b[at] >= 192 ? at + 2 : 0;
}

int wire_answer_address(const void *buf, size_t len, size_t n, struct in_addr *ret)
{
	static const uint8_t address_internet[] = { 0, 1, 0, 1 };
	const uint8_t *b = buf;
	size_t at = n;

	if (len < n)
		return -EBADMSG;
	for (unsigned int left = (unsigned int)b[6] << 8 | b[7]; left; left--) {
		at = skip_name(b, len, at);
		if (!at || len < 10 || at > len - 10) /* type, class, time to live, length */
			return -EBADMSG;
		n = (size_t)b[at + 8] << 8 | b[at + 9];
		if (n > len - at - 10)
			return -EBADMSG;
		if (!memcmp(b + at, address_internet, 4) && n == 4) {
			uint8_t first = b[at + 10];

			if (!first || first == 127 || first >= 224) /* no host elsewhere */
				return -EBADMSG;
			memcpy(ret, b + at + 10, 4);
			return 0;
		}
		at += 10 + n;
	}
	return -EBADMSG;
}

void wire_window_sent(struct wire_window *w, const struct wire_echo *echo, uint32_t number,
		      uint64_t sent_ns)
{
	w->probes[echo->seq % WIRE_WINDOW] =
		(struct wire_probe) { .echo = *echo, .number = number, .sent_ns = sent_ns };
}

/* Can it still be answered? */
static bool is_open(const struct wire_probe *p, uint64_t t_ns)
{
	return p->sent_ns && t_ns >= p->sent_ns && t_ns - p->sent_ns <= WIRE_WINDOW_NS;
}

bool wire_window_answered(struct wire_window *w, const struct wire_echo *echo, uint64_t t_ns,
			  uint32_t *ret_number)
{
	struct wire_probe *p = &w->probes[echo->seq % WIRE_WINDOW];

	if (!is_open(p, t_ns) || p->echo.id != echo->id || p->echo.seq != echo->seq ||
	    memcmp(p->echo.token, echo->token, sizeof(echo->token)) != 0)
		return false;
	p->sent_ns = 0;
	*ret_number = p->number;
	return true;
}

int wire_window_named(struct wire_window *w, const char *name, const void *buf, size_t len,
		      uint64_t t_ns, uint32_t *ret_number)
{
	uint8_t question[WIRE_QUESTION_SIZE];
	const uint8_t *id = buf;

	for (size_t i = 0; len >= 2 && i < WIRE_WINDOW; i++) {
		struct wire_probe *p = &w->probes[i];
		size_t n;
		int r;

		if (!is_open(p, t_ns) || p->echo.id != (id[0] << 8 | id[1]))
			continue;
		n = wire_question(name, &p->echo, question);
		r = n ? wire_answer_parse(buf, len, question, n) : -EBADMSG;
		if (r < 0)
			continue;
		p->sent_ns = 0;
		*ret_number = p->number;
		return r;
	}
	return -EBADMSG;
}
