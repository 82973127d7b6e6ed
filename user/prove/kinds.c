/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every kind of packet that a program could try to get past its tunnel: one row of `kinds` each,
 * with what prepares its socket and what sends it. A new way around is a new row. Also the small
 * things that sender, frame and capture have in common: targets, addresses, the marker.
 */
#include "prove/prove_internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define GSO_SEGMENT 64
#define MARK	    51820 /* wg-quick's: "past the tunnel" wherever its rules are in place */

int targets_init(struct targets *t, struct error *err)
{
	memset(t, 0, sizeof(*t));
	if (getrandom(&t->marker, sizeof(t->marker), 0) != sizeof(t->marker))
		return fail(err, ERROR_OTHER, -errno, NULL, "draw a random marker");
	t->port = (uint16_t)(20000 + t->marker % (40000 - KINDS_LIMIT));
	return 0;
}

int address_parse(const char *text, int family, struct address *ret)
{
	struct address a = { .family = family };

	if (!family)
		a.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a.family, text, a.bytes) != 1)
		return -EINVAL;
	*ret = a;
	return 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->family && a->family == b->family &&
	       !memcmp(a->bytes, b->bytes, address_size(a->family));
}

socklen_t address_socket(const struct address *a, uint16_t port, int ifindex,
			 struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)a->family;
	if (a->family == AF_INET) {
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->bytes, 4);
		return sizeof(*in);
	}
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->bytes, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
		in6->sin6_scope_id = (uint32_t)ifindex;
	return sizeof(*in6);
}

void marker_fill(void *to, size_t length, uint64_t marker, unsigned int kind, uint32_t sequence)
{
	struct unit u = { .marker = htobe64(marker),
			  .kind = htons((uint16_t)kind),
			  .sequence = htonl(sequence) };

	for (size_t at = 0; at + sizeof(u) <= length; at += sizeof(u))
		memcpy((char *)to + at, &u, sizeof(u));
}

/* ---- how each socket is prepared ---- */

int set_option(int fd, int level, int name, const void *value, socklen_t size)
{
	return setsockopt(fd, level, name, value, size) < 0 ? -errno : 0;
}

int set_int(int fd, int level, int name, int value)
{
	return set_option(fd, level, name, &value, sizeof(value));
}

static int bind_device(int fd, const struct shot *s)
{
	const char *name = s->targets->underlay;

	return set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name));
}

static int choose_interface(int fd, const struct shot *s)
{
	int value = (int)htonl((uint32_t)s->ifindex); /* network order, in both families */

	return s->kind->family == AF_INET ? set_int(fd, IPPROTO_IP, IP_UNICAST_IF, value)
					  : set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, value);
}

static int allow_broadcast(int fd, const struct shot *s)
{
	int r = set_int(fd, SOL_SOCKET, SO_BROADCAST, 1);

	return r < 0 ? r : bind_device(fd, s);
}

/* No loop: a copy of our own on the way back would be counted where both directions are. */
static int choose_multicast4(int fd, const struct shot *s)
{
	struct ip_mreqn m = { .imr_ifindex = s->ifindex };
	int r = set_int(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);

	return r < 0 ? r : set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m));
}

static int choose_multicast6(int fd, const struct shot *s)
{
	int r = set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);

	return r < 0 ? r : set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, s->ifindex);
}

static int enable_gso(int fd, const struct shot *s)
{
	return set_int(fd, IPPROTO_UDP, UDP_SEGMENT, GSO_SEGMENT);
}

static int enable_zerocopy(int fd, const struct shot *s)
{
	return set_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
}

static int set_mark(int fd, const struct shot *s)
{
	return set_int(fd, SOL_SOCKET, SO_MARK, MARK);
}

/* From 203.0.113.7, an address that nobody has: RFC 5737. */
static int be_transparent(int fd, const struct shot *s)
{
	struct address foreign = { .family = AF_INET, .bytes = { 203, 0, 113, 7 } };
	struct sockaddr_storage from;
	socklen_t size = address_socket(&foreign, 0, 0, &from);
	int r = set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);

	if (r)
		return r;
	r = set_mark(fd, s);
	if (r)
		return r;
	return bind(fd, (struct sockaddr *)&from, size) < 0 ? -errno : 0;
}

/* A loose source route: routed to the hop, not to the destination. */
static int choose_hop(int fd, const struct shot *s)
{
	const uint8_t *hop = s->targets->onlink[0].bytes;
	uint8_t option[8] = { IPOPT_NOP, IPOPT_LSRR, 7, 4, hop[0], hop[1], hop[2], hop[3] };

	if (!s->targets->onlink[0].family)
		return -EDESTADDRREQ;
	return set_option(fd, IPPROTO_IP, IP_OPTIONS, option, sizeof(option));
}

static int begin_connect(int fd, const struct shot *s)
{
	if (connect(fd, (const struct sockaddr *)&s->to, s->to_size) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int go_past(int fd, const struct shot *s)
{
	return frame_past_qdisc(fd);
}

/* ---- how each packet is sent ---- */

ssize_t fire_bytes(int fd, const struct shot *s, const void *bytes, size_t length, int flags)
{
	return sendto(fd, bytes, length, MSG_NOSIGNAL | flags, (const struct sockaddr *)&s->to,
		      s->to_size);
}

static ssize_t fire_syn(int fd, const struct shot *s)
{
	errno = -begin_connect(fd, s);
	return errno ? -1 : 0;
}

/* Data in the SYN itself, where sysctl net.ipv4.tcp_fastopen has 4; else a SYN with the option. */
static ssize_t fire_fastopen(int fd, const struct shot *s)
{
	ssize_t n = fire_bytes(fd, s, s->payload, s->length, MSG_FASTOPEN);

	return n < 0 && errno == EINPROGRESS ? 0 : n;
}

static ssize_t fire_flow(int fd, const struct shot *s)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (s->patient)
		poll(&p, 1, 1000);
	return send(fd, s->payload, s->length, MSG_NOSIGNAL);
}

static ssize_t fire_pktinfo(int fd, const struct shot *s)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = { 0 };
	struct in_pktinfo info4 = { .ipi_ifindex = s->ifindex };
	struct in6_pktinfo info6 = { .ipi6_ifindex = (unsigned int)s->ifindex };
	bool v4 = s->kind->family == AF_INET;
	size_t size = v4 ? sizeof(info4) : sizeof(info6);
	struct iovec io = { (void *)s->payload, s->length };
	struct msghdr m = { .msg_name = (void *)&s->to,
			    .msg_namelen = s->to_size,
			    .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = CMSG_SPACE(size) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(c), v4 ? (void *)&info4 : (void *)&info6, size);
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static ssize_t fire_zerocopy(int fd, const struct shot *s)
{
	/* Its own page: the kernel may still read it when the next kind fills the payload. */
	static char page[LENGTH_MAX];
	char control[256];
	struct msghdr done = { .msg_control = control, .msg_controllen = sizeof(control) };

	while (recvmsg(fd, &done, MSG_ERRQUEUE) >= 0) /* completions, else ENOBUFS one day */
		done.msg_controllen = sizeof(control);
	memcpy(page, s->payload, s->length);
	return fire_bytes(fd, s, page, s->length, MSG_ZEROCOPY);
}

/* An echo request; the kernel writes the checksum of ICMPv6, and the id on ping sockets. */
static ssize_t fire_echo(int fd, const struct shot *s)
{
	struct {
		struct icmphdr head;
		char payload[LENGTH_DEFAULT];
	} p = { .head.type = s->kind->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST };

	memcpy(p.payload, s->payload, sizeof(p.payload));
	p.head.un.echo.id = htons(s->port);
	if (s->kind->family == AF_INET)
		p.head.checksum = inet_checksum(&p, sizeof(p));
	return fire_bytes(fd, s, &p, sizeof(p), 0);
}

static struct udphdr udp_header(const struct shot *s)
{
	return (struct udphdr) { .source = htons(s->port),
				 .dest = htons(s->port),
				 .len = htons(sizeof(struct udphdr) + LENGTH_DEFAULT) };
}

/* The kernel fills in source, id, total length and checksum: raw(7). */
static ssize_t fire_raw4(int fd, const struct shot *s)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char payload[LENGTH_DEFAULT];
	} p = { .ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.daddr = ((const struct sockaddr_in *)&s->to)->sin_addr.s_addr },
		.udp = udp_header(s) };

	memcpy(p.payload, s->payload, sizeof(p.payload));
	return fire_bytes(fd, s, &p, sizeof(p), 0);
}

/* Unlike IPv4's, the source is ours to find. The UDP checksum is left out: nobody reads it. */
static ssize_t fire_raw6(int fd, const struct shot *s)
{
	struct {
		struct ip6_hdr ip;
		struct udphdr udp;
		char payload[LENGTH_DEFAULT];
	} p = { .ip.ip6_flow = htonl(6 << 28),
		.ip.ip6_nxt = IPPROTO_UDP,
		.ip.ip6_hlim = 64,
		.udp = udp_header(s) };
	_cleanup_fd int route = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 from, to;
	socklen_t size = sizeof(from);

	memcpy(&to, &s->to, sizeof(to));
	to.sin6_port = htons(s->port);
	if (route < 0 || connect(route, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    getsockname(route, (struct sockaddr *)&from, &size) < 0)
		return -1;
	p.ip.ip6_plen = p.udp.len;
	p.ip.ip6_src = from.sin6_addr;
	p.ip.ip6_dst = to.sin6_addr;
	memcpy(p.payload, s->payload, sizeof(p.payload));
	return fire_bytes(fd, s, &p, sizeof(p), 0);
}

/* A question for the address of MARKER.invalid (RFC 6761: nobody has it). */
static ssize_t fire_question(int fd, const struct shot *s)
{
	struct __attribute__((packed)) {
		uint8_t head[12], length, label[sizeof(struct unit)];
		char end[9]; /* with the root's empty label */
		uint8_t type[4];
	} q = { .head = { s->port >> 8, s->port & 255, 1, 0, 0, 1 },
		.length = sizeof(q.label),
		.end = "\7invalid",
		.type = { 0, 1, 0, 1 } };

	memcpy(q.label, s->payload, sizeof(q.label));
	return fire_bytes(fd, s, &q, sizeof(q), 0);
}

static ssize_t fire_packet(int fd, const struct shot *s)
{
	return frame_send_udp(fd, s->targets, &s->targets->outside[0], s->port, s->payload,
			      s->length);
}

/* IEEE's first type for local experiments. */
static ssize_t fire_ether(int fd, const struct shot *s)
{
	return frame_send(fd, s->targets, 0x88b5, s->payload, s->length);
}

static ssize_t fire_vlan(int fd, const struct shot *s)
{
	uint8_t tagged[4 + LENGTH_DEFAULT] = { 0, 7, 0x88, 0xb5 };

	memcpy(tagged + 4, s->payload, LENGTH_DEFAULT);
	return frame_send(fd, s->targets, ETH_P_8021Q, tagged, sizeof(tagged));
}

/* A request for 192.0.2.1 that carries something behind its end. */
static ssize_t fire_arp(int fd, const struct shot *s)
{
	uint8_t body[28 + sizeof(struct unit)] = { 0, 1, 8, 0, 6, 4, 0, 1, [24] = 192, 0, 2, 1 };

	memcpy(body + 28, s->payload, sizeof(struct unit));
	return frame_send(fd, s->targets, ETH_P_ARP, body, sizeof(body));
}

#define UDP4	 .family = AF_INET, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP
#define UDP6	 .family = AF_INET6, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP
#define TCP4	 .family = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_TCP
#define TCP6	 .family = AF_INET6, .type = SOCK_STREAM, .protocol = IPPROTO_TCP
#define SYN	 .life = LIFE_FRESH, .fire = fire_syn
#define FLOW	 .life = LIFE_KEPT, .setup = begin_connect, .fire = fire_flow, .inexact = true
#define ECHO4(t) .family = AF_INET, .type = (t), .protocol = IPPROTO_ICMP, .fire = fire_echo
#define ECHO6(t) .family = AF_INET6, .type = (t), .protocol = IPPROTO_ICMPV6, .fire = fire_echo
#define PACKET	 .family = AF_PACKET, .type = SOCK_RAW, .apart = true
#define PAST	 PACKET, .setup = go_past
#define RAW(f)	 .family = (f), .type = SOCK_RAW, .protocol = IPPROTO_RAW

static const struct kind kinds[] = {
	{ "udp4", "UDP to the outside address", UDP4 },
	{ "udp6", "UDP to the outside address", UDP6 },
	{ "tcp4", "TCP SYN to the outside address", TCP4, SYN },
	{ "tcp6", "TCP SYN to the outside address", TCP6, SYN },
	{ "mptcp4", "multipath TCP SYN to the outside address", .family = AF_INET,
	  .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP, SYN },
	{ "fastopen4", "TCP SYN with data (TCP fast open) to the outside address", TCP4,
	  .life = LIFE_FRESH, .fire = fire_fastopen },
	{ "flow4", "data on one long TCP connection (needs a sink)", TCP4, FLOW },
	{ "flow6", "data on one long TCP connection (needs a sink)", TCP6, FLOW },
	{ "icmp4", "echo request from a raw socket", ECHO4(SOCK_RAW) },
	{ "icmp6", "echo request from a raw socket", ECHO6(SOCK_RAW) },
	{ "ping4", "echo request from a ping socket", ECHO4(SOCK_DGRAM) },
	{ "ping6", "echo request from a ping socket", ECHO6(SOCK_DGRAM) },
	{ "raw4", "UDP under an IP header of its own (IPPROTO_RAW)", RAW(AF_INET),
	  .fire = fire_raw4 },
	{ "raw6", "UDP under an IP header of its own (IPPROTO_RAW)", RAW(AF_INET6),
	  .fire = fire_raw6 },
	{ "device4", "UDP bound to the underlay (SO_BINDTODEVICE)", UDP4, .setup = bind_device },
	{ "device6", "UDP bound to the underlay (SO_BINDTODEVICE)", UDP6, .setup = bind_device },
	{ "pktinfo4", "UDP with the underlay in IP_PKTINFO", UDP4, .fire = fire_pktinfo },
	{ "pktinfo6", "UDP with the underlay in IPV6_PKTINFO", UDP6, .fire = fire_pktinfo },
	{ "unicastif4", "UDP with the underlay in IP_UNICAST_IF", UDP4, .setup = choose_interface },
	{ "unicastif6", "UDP with the underlay in IPV6_UNICAST_IF", UDP6,
	  .setup = choose_interface },
	{ "mark4", "UDP with wg-quick's fwmark 51820 (SO_MARK)", UDP4, .setup = set_mark },
	{ "transparent4", "UDP from a foreign source with that mark (IP_TRANSPARENT)", UDP4,
	  .setup = be_transparent },
	{ "hop4", "UDP by a neighbour on the underlay (loose source route)", UDP4,
	  .setup = choose_hop },
	{ "onlink4", "UDP to a neighbour on the underlay", UDP4, .to = TO_ONLINK },
	{ "onlink6", "UDP to a neighbour on the underlay", UDP6, .to = TO_ONLINK },
	{ "multicast4", "local service discovery, 239.192.152.143:6771", UDP4, .to = TO_MULTICAST,
	  .setup = choose_multicast4 },
	{ "multicast6", "local service discovery, [ff15::efc0:988f]:6771", UDP6, .to = TO_MULTICAST,
	  .setup = choose_multicast6 },
	{ "broadcast4", "UDP to 255.255.255.255 on the underlay", UDP4, .to = TO_BROADCAST,
	  .setup = allow_broadcast },
	{ "udplite4", "UDP-Lite to the outside address", .family = AF_INET, .type = SOCK_DGRAM,
	  .protocol = IPPROTO_UDPLITE },
	{ "fragment4", "UDP of 4000 bytes, in fragments", UDP4, .length = 4000, .inexact = true },
	{ "fragment6", "UDP of 4000 bytes, in fragments", UDP6, .length = 4000, .inexact = true },
	{ "gso4", "20 UDP segments in one send (UDP_SEGMENT)", UDP4, .length = 20 * GSO_SEGMENT,
	  .inexact = true, .setup = enable_gso },
	{ "zerocopy4", "UDP from the program's own page (MSG_ZEROCOPY)", UDP4,
	  .setup = enable_zerocopy, .fire = fire_zerocopy },
	{ "dns4", "a question for a name, to port 53 of the outside address", UDP4, .port = 53,
	  .apart = true, .fire = fire_question },
	{ "packet4", "UDP in a frame from a packet socket", PACKET, .fire = fire_packet },
	{ "past4", "the same past the qdisc (PACKET_QDISC_BYPASS)", PAST, .fire = fire_packet },
	{ "ether", "a frame of an unknown type past the qdisc", PAST, .fire = fire_ether },
	{ "vlan", "a frame with a VLAN tag past the qdisc", PAST, .fire = fire_vlan },
	{ "arp", "an ARP request that carries something past the qdisc", PAST, .fire = fire_arp },
};
_Static_assert(ARRAY_SIZE(kinds) <= KINDS_LIMIT, "a set of kinds is 64 bits");

const struct kind *kind_at(unsigned int i)
{
	return i < ARRAY_SIZE(kinds) ? &kinds[i] : NULL;
}

int kinds_parse(const char *list, uint64_t *ret, struct error *err)
{
	uint64_t set = 0;

	if (!strcmp(list, "all")) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			set |= kinds[i].apart ? 0 : 1ULL << i;
		*ret = set;
		return 0;
	}
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ","), i = 0;

		while (i < ARRAY_SIZE(kinds) &&
		       (strlen(kinds[i].name) != n || memcmp(kinds[i].name, at, n) != 0))
			i++;
		if (i == ARRAY_SIZE(kinds))
			return fail(err, ERROR_INPUT, 0, "list them with: prove kinds",
				    "unknown kind in '%s'", quote(at));
		set |= 1ULL << i;
		at += n;
		if (!*at)
			break;
	}
	*ret = set;
	return 0;
}

const struct address *kind_address(const struct kind *k, const struct targets *t)
{
	static const struct address all = { AF_INET, { 255, 255, 255, 255 } };
	static const struct address groups[2] = {
		{ AF_INET, { 239, 192, 152, 143 } },
		{ AF_INET6, { 0xff, 0x15, [12] = 0xef, 0xc0, 0x98, 0x8f } },
	};
	int version = k->family == AF_INET6;

	return k->to == TO_BROADCAST   ? &all
	       : k->to == TO_MULTICAST ? &groups[version]
	       : k->to == TO_ONLINK    ? &t->onlink[version]
				       : &t->outside[version];
}
