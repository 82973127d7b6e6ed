/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a captured frame is: bytes → struct frame, and that in words. Pure. The bytes are anybody's:
 * all reading goes through take(), which never goes beyond their end.
 */
#include "prove/prove_internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#define MARKER_WINDOW 1600

struct view {
	const uint8_t *at;
	size_t left;
};

static const uint8_t *take(struct view *v, size_t n)
{
	const uint8_t *p = v->at;

	if (n > v->left)
		return NULL;
	v->at += n;
	v->left -= n;
	return p;
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool find_marker(struct frame *f, const uint8_t *bytes, size_t length, uint64_t marker)
{
	uint64_t wanted = htobe64(marker);
	size_t window = length < MARKER_WINDOW ? length : MARKER_WINDOW;
	const uint8_t *p = memmem(bytes, window, &wanted, sizeof(wanted));
	struct unit u;

	if (!p || (size_t)(bytes + length - p) < sizeof(u))
		return false;
	memcpy(&u, p, sizeof(u));
	f->kind = ntohs(u.kind);
	f->sequence = ntohl(u.sequence);
	return f->kind == KIND_FENCE || kind_at(f->kind);
}

static void read_link(struct frame *f, struct view *v, enum link_type link)
{
	const uint8_t *p;

	if (link == LINK_RAW_IP) {
		int version = v->left ? v->at[0] >> 4 : 0;

		f->ethertype = version == 4 ? ETH_P_IP : version == 6 ? ETH_P_IPV6 : 0;
		return;
	}
	p = take(v, 14);
	f->ethertype = p ? be16(p + 12) : 0;
	while (f->ethertype == ETH_P_8021Q || f->ethertype == ETH_P_8021AD) {
		p = take(v, 4);
		f->ethertype = p ? be16(p + 2) : 0;
	}
}

static void set_addresses(struct frame *f, int family, const uint8_t *from, const uint8_t *to)
{
	f->from.family = f->to.family = family;
	memcpy(f->from.bytes, from, address_size(family));
	memcpy(f->to.bytes, to, address_size(family));
}

static void read_arp(struct frame *f, struct view *v)
{
	const uint8_t *p = take(v, 28);

	if (p && p[4] == 6 && p[5] == 4)
		set_addresses(f, AF_INET, p + 14, p + 24);
}

static bool read_ip4(struct frame *f, struct view *v)
{
	const uint8_t *p = take(v, 20);

	if (!p || p[0] >> 4 != 4)
		return false;
	set_addresses(f, AF_INET, p + 12, p + 16);
	f->protocol = p[9];
	f->fragment = be16(p + 6) & 0x1fff;
	return (p[0] & 15) >= 5 && take(v, (p[0] & 15) * 4U - 20);
}

static bool read_ip6(struct frame *f, struct view *v)
{
	const uint8_t *p = take(v, 40);

	if (!p || p[0] >> 4 != 6)
		return false;
	set_addresses(f, AF_INET6, p + 8, p + 24);
	f->protocol = p[6];
	/* Ends by itself: each turn takes at least eight bytes of the frame. */
	while (f->protocol == IPPROTO_HOPOPTS || f->protocol == IPPROTO_ROUTING ||
	       f->protocol == IPPROTO_DSTOPTS || f->protocol == IPPROTO_FRAGMENT) {
		bool fragment = f->protocol == IPPROTO_FRAGMENT;

		p = take(v, 8);
		if (!p)
			return false;
		f->protocol = p[0];
		if (fragment && be16(p + 2) >> 3) {
			f->fragment = true;
			break;
		}
		if (!fragment && !take(v, p[1] * 8U))
			return false;
	}
	return true;
}

static void read_transport(struct frame *f, struct view *v)
{
	const uint8_t *p = f->fragment ? NULL : v->at;

	if (!p || v->left < 4)
		return;
	if (f->protocol == IPPROTO_ICMP || f->protocol == IPPROTO_ICMPV6 ||
	    f->protocol == IPPROTO_IGMP)
		f->detail = p[0];
	if (f->protocol != IPPROTO_TCP && f->protocol != IPPROTO_UDP &&
	    f->protocol != IPPROTO_UDPLITE)
		return;
	f->has_ports = true;
	f->from_port = be16(p);
	f->to_port = be16(p + 2);
	if (f->protocol == IPPROTO_TCP && v->left >= 14)
		f->detail = p[13];
}

static bool is_target(const struct address *a, const struct targets *t)
{
	return address_equal(a, &t->outside[0]) || address_equal(a, &t->outside[1]) ||
	       address_equal(a, &t->onlink[0]) || address_equal(a, &t->onlink[1]);
}

/* TCP's SYN has no payload: the port that belongs to this run and kind is its marker. */
static bool is_tcp_kind(struct frame *f, const struct targets *t)
{
	unsigned int kind = (unsigned int)f->to_port - t->port;
	const struct kind *k = kind_at(kind);

	if (f->protocol != IPPROTO_TCP || !f->has_ports || !k || k->type != SOCK_STREAM ||
	    k->family != f->to.family || !address_equal(&f->to, kind_address(k, t)))
		return false;
	f->kind = kind;
	return true;
}

struct frame classify(const void *bytes, size_t length, enum link_type link,
		      const struct targets *t)
{
	struct view v = { bytes, length };
	struct frame f = { .class = FRAME_STRAY };
	bool ip = false;

	read_link(&f, &v, link);
	if (f.ethertype == ETH_P_IP)
		ip = read_ip4(&f, &v);
	else if (f.ethertype == ETH_P_IPV6)
		ip = read_ip6(&f, &v);
	else if (f.ethertype == ETH_P_ARP)
		read_arp(&f, &v);
	if (ip)
		read_transport(&f, &v);

	/* Echoed markers come back from the targets. Everything else with a marker is a leak,
	 * whatever the headers say: hence before the endpoint. */
	if (is_target(&f.from, t))
		f.class = FRAME_ANSWER;
	else if (find_marker(&f, bytes, length, t->marker))
		f.class = f.kind == KIND_FENCE ? FRAME_FENCE : FRAME_KIND;
	else if (is_tcp_kind(&f, t))
		f.class = FRAME_KIND;
	else if (f.protocol == IPPROTO_UDP && f.has_ports && t->endpoint_port &&
		 f.to_port == t->endpoint_port)
		f.class = FRAME_ENDPOINT;
	return f;
}

static void describe_protocol(const struct frame *f, char *buf, size_t size)
{
	const char *flag = f->detail & TH_RST	? "/rst"
			   : f->detail & TH_SYN ? "/syn"
			   : f->detail & TH_FIN ? "/fin"
						: "";

	if (f->ethertype == ETH_P_ARP)
		snprintf(buf, size, "arp");
	else if (f->fragment)
		snprintf(buf, size, "fragment/%u", f->protocol);
	else if (f->protocol == IPPROTO_TCP)
		snprintf(buf, size, "tcp%s", flag);
	else if (f->protocol == IPPROTO_ICMP)
		snprintf(buf, size, "icmp/%u", f->detail);
	else if (f->protocol == IPPROTO_ICMPV6)
		snprintf(buf, size, "icmp6/%u", f->detail);
	else if (f->protocol == IPPROTO_UDP || f->protocol == IPPROTO_IGMP)
		snprintf(buf, size, f->protocol == IPPROTO_UDP ? "udp" : "igmp");
	else
		snprintf(buf, size, "protocol/%u", f->protocol);
}

const char *frame_describe(const struct frame *f, char *buf, size_t size)
{
	char protocol[24], from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	bool v6 = f->to.family == AF_INET6;

	if (!f->from.family) {
		snprintf(buf, size, "ethertype 0x%04x", f->ethertype);
		return buf;
	}
	describe_protocol(f, protocol, sizeof(protocol));
	inet_ntop(f->from.family, f->from.bytes, from, sizeof(from));
	inet_ntop(f->to.family, f->to.bytes, to, sizeof(to));
	if (f->has_ports)
		snprintf(buf, size, v6 ? "%s %s→[%s]:%u" : "%s %s→%s:%u", protocol, from, to,
			 f->to_port);
	else
		snprintf(buf, size, "%s %s→%s", protocol, from, to);
	return buf;
}
