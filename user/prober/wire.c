/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "prober/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "base/util.h"

static bool value_fits(const struct wire *w)
{
	switch (w->op) {
	case WIRE_READY:
		return w->target == 0 && w->value < 4096; /* MAX_ERRNO */
	case WIRE_SET:
		return w->value != 0 && w->value <= UINT32_MAX;
	case WIRE_ASK:
	case WIRE_DROP:
		return w->value == 0;
	case WIRE_SEEN:
		return w->value != 0;
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

void wire_window_sent(struct wire_window *w, const struct wire_echo *echo, uint64_t sent_ns)
{
	w->probes[echo->seq % WIRE_WINDOW] =
		(struct wire_probe) { .echo = *echo, .sent_ns = sent_ns };
}

bool wire_window_answered(struct wire_window *w, const struct wire_echo *echo, uint64_t t_ns)
{
	struct wire_probe *p = &w->probes[echo->seq % WIRE_WINDOW];

	if (!p->sent_ns || p->echo.id != echo->id || p->echo.seq != echo->seq ||
	    memcmp(p->echo.token, echo->token, sizeof(echo->token)) != 0 || t_ns < p->sent_ns ||
	    t_ns - p->sent_ns > WIRE_WINDOW_NS)
		return false;
	p->sent_ns = 0;
	return true;
}
