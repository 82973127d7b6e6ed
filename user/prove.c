/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See prove.h. In order: kinds, the sender, what a frame is, the capture and its fence. */
#include "prove.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define LENGTH_DEFAULT	64
#define LENGTH_MAX	4096
#define GSO_SEGMENT	64
#define KIND_FENCE	0xffff
#define MARKER_WINDOW	1600
#define MULTICAST_PORT	6771 /* BEP 14, local service discovery: what a torrent client does send */
#define CAPTURE_BUFFER	(64 << 20)
#define DRAIN_BOUND	65536
#define START_BOUND_MS	10000
#define FENCE_TRIES	3
#define FENCE_BOUND_MS	2000
#define REMEDY_ROOT	"needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN; run with sudo"

/* The payload is this, repeated. All in network order. */
struct unit {
	uint64_t marker;
	uint16_t kind;
	uint16_t zero;
	uint32_t sequence;
};
_Static_assert(sizeof(struct unit) == 16 && LENGTH_DEFAULT % 16 == 0, "units fill a payload");

struct shot {
	const struct kind *kind;
	const struct targets *targets;
	int ifindex; /* of the underlay, 0 if it is not there */
	uint16_t port;
	struct sockaddr_storage to;
	socklen_t to_size;
	const void *payload;
	size_t length;
	bool patient; /* a single run may wait a second for its connection */
};

int targets_init(struct targets *t, struct error *err)
{
	memset(t, 0, sizeof(*t));
	if (getrandom(&t->marker, sizeof(t->marker), 0) != sizeof(t->marker))
		return fail(err, EXIT_FAILURE_, -errno, NULL, "draw a random marker");
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

static size_t address_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

static bool address_equal(const struct address *a, const struct address *b)
{
	return a->family && a->family == b->family &&
	       !memcmp(a->bytes, b->bytes, address_size(a->family));
}

static socklen_t address_socket(const struct address *a, uint16_t port, int ifindex,
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
	struct unit u = { htobe64(marker), htons((uint16_t)kind), 0, htonl(sequence) };

	for (size_t at = 0; at + sizeof(u) <= length; at += sizeof(u))
		memcpy((char *)to + at, &u, sizeof(u));
}

/* ---- kinds: how each socket is prepared ---- */

static int set_option(int fd, int level, int name, const void *value, socklen_t size)
{
	return setsockopt(fd, level, name, value, size) < 0 ? -errno : 0;
}

static int set_int(int fd, int level, int name, int value)
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

	return s->kind->family == AF_INET ? set_int(fd, IPPROTO_IP, IP_UNICAST_IF, value) :
					    set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, value);
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
	(void)s;
	return set_int(fd, IPPROTO_UDP, UDP_SEGMENT, GSO_SEGMENT);
}

static int enable_zerocopy(int fd, const struct shot *s)
{
	(void)s;
	return set_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
}

static int begin_connect(int fd, const struct shot *s)
{
	if (connect(fd, (const struct sockaddr *)&s->to, s->to_size) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

/* ---- kinds: how each packet is sent ---- */

static ssize_t fire_plain(int fd, const struct shot *s)
{
	return sendto(fd, s->payload, s->length, MSG_NOSIGNAL, (const struct sockaddr *)&s->to,
		      s->to_size);
}

static ssize_t fire_syn(int fd, const struct shot *s)
{
	int r = begin_connect(fd, s);

	errno = -r;
	return r < 0 ? -1 : 0;
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
	struct msghdr m = { .msg_name = (void *)&s->to, .msg_namelen = s->to_size, .msg_iov = &io,
			    .msg_iovlen = 1, .msg_control = &control,
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

	while (recvmsg(fd, &done, MSG_ERRQUEUE) >= 0)	/* completions, else ENOBUFS one day */
		done.msg_controllen = sizeof(control);
	memcpy(page, s->payload, s->length);
	return sendto(fd, page, s->length, MSG_NOSIGNAL | MSG_ZEROCOPY,
		      (const struct sockaddr *)&s->to, s->to_size);
}

static uint16_t ip_checksum(const void *data, size_t length)
{
	const unsigned char *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* An echo request; the kernel writes the checksum of ICMPv6, and the id on ping sockets. */
static ssize_t fire_echo(int fd, const struct shot *s)
{
	struct {
		struct icmphdr head;
		char payload[LENGTH_DEFAULT];
	} p = { .head.type = s->kind->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST };
	struct shot echo = *s;

	memcpy(p.payload, s->payload, sizeof(p.payload));
	p.head.un.echo.id = htons(s->port);
	if (s->kind->family == AF_INET)
		p.head.checksum = ip_checksum(&p, sizeof(p));
	echo.payload = &p;
	echo.length = sizeof(p);
	return fire_plain(fd, &echo);
}

static struct udphdr udp_header(const struct shot *s)
{
	return (struct udphdr){ .source = htons(s->port), .dest = htons(s->port),
				.len = htons(sizeof(struct udphdr) + LENGTH_DEFAULT) };
}

/* The kernel fills in source, id, total length and checksum: raw(7). */
static ssize_t fire_raw4(int fd, const struct shot *s)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char payload[LENGTH_DEFAULT];
	} p = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
			.daddr = ((const struct sockaddr_in *)&s->to)->sin_addr.s_addr },
		.udp = udp_header(s) };
	struct shot raw = *s;

	memcpy(p.payload, s->payload, sizeof(p.payload));
	raw.payload = &p;
	raw.length = sizeof(p);
	return fire_plain(fd, &raw);
}

/* Unlike IPv4's, the source is ours to find. The UDP checksum is left out: nobody reads it. */
static ssize_t fire_raw6(int fd, const struct shot *s)
{
	struct {
		struct ip6_hdr ip;
		struct udphdr udp;
		char payload[LENGTH_DEFAULT];
	} p = { .ip.ip6_flow = htonl(6 << 28), .ip.ip6_nxt = IPPROTO_UDP, .ip.ip6_hlim = 64,
		.udp = udp_header(s) };
	_cleanup_fd int route = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 from, to;
	socklen_t size = sizeof(from);
	struct shot raw = *s;

	memcpy(&to, &s->to, sizeof(to));
	to.sin6_port = htons(s->port);
	if (route < 0 || connect(route, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    getsockname(route, (struct sockaddr *)&from, &size) < 0)
		return -1;
	p.ip.ip6_plen = p.udp.len;
	p.ip.ip6_src = from.sin6_addr;
	p.ip.ip6_dst = to.sin6_addr;
	memcpy(p.payload, s->payload, sizeof(p.payload));
	raw.payload = &p;
	raw.length = sizeof(p);
	return fire_plain(fd, &raw);
}

#define UDP4 .family = AF_INET, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP
#define UDP6 .family = AF_INET6, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP
#define TCP4 .family = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_TCP
#define TCP6 .family = AF_INET6, .type = SOCK_STREAM, .protocol = IPPROTO_TCP
#define SYN  .life = LIFE_FRESH, .fire = fire_syn
#define FLOW .life = LIFE_KEPT, .setup = begin_connect, .fire = fire_flow, .inexact = true
#define ECHO4(t) .family = AF_INET, .type = (t), .protocol = IPPROTO_ICMP, .fire = fire_echo
#define ECHO6(t) .family = AF_INET6, .type = (t), .protocol = IPPROTO_ICMPV6, .fire = fire_echo
#define RAW(f)	 .family = (f), .type = SOCK_RAW, .protocol = IPPROTO_RAW

static const struct kind kinds[] = {
	{ "udp4", "UDP to the outside address", UDP4 },
	{ "udp6", "UDP to the outside address", UDP6 },
	{ "tcp4", "TCP SYN to the outside address", TCP4, SYN },
	{ "tcp6", "TCP SYN to the outside address", TCP6, SYN },
	{ "mptcp4", "multipath TCP SYN to the outside address", .family = AF_INET,
	  .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP, SYN },
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
	{ "onlink4", "UDP to a neighbour on the underlay", UDP4, .to = TO_ONLINK },
	{ "onlink6", "UDP to a neighbour on the underlay", UDP6, .to = TO_ONLINK },
	{ "multicast4", "local service discovery, 239.192.152.143:6771", UDP4, .to = TO_MULTICAST,
	  .setup = choose_multicast4 },
	{ "multicast6", "local service discovery, [ff15::efc0:988f]:6771", UDP6,
	  .to = TO_MULTICAST, .setup = choose_multicast6 },
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
};
_Static_assert(ARRAY_SIZE(kinds) <= KINDS_LIMIT, "a set of kinds is 64 bits");

const struct kind *kind_at(unsigned int i)
{
	return i < ARRAY_SIZE(kinds) ? &kinds[i] : NULL;
}

int kinds_parse(const char *list, uint64_t *ret, struct error *err)
{
	uint64_t set = 0;
	char shown[64];

	if (!strcmp(list, "all")) {
		*ret = (1ULL << ARRAY_SIZE(kinds)) - 1;
		return 0;
	}
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ","), i = 0;

		while (i < ARRAY_SIZE(kinds) &&
		       (strlen(kinds[i].name) != n || memcmp(kinds[i].name, at, n) != 0))
			i++;
		if (i == ARRAY_SIZE(kinds))
			return fail(err, EXIT_USAGE, 0, "list them with: prove kinds",
				    "unknown kind in '%s'", escape(shown, sizeof(shown), at));
		set |= 1ULL << i;
		at += n;
		if (!*at)
			break;
	}
	*ret = set;
	return 0;
}

/* NULL-family if the targets have none of that kind. */
static const struct address *kind_address(const struct kind *k, const struct targets *t)
{
	static const struct address all = { AF_INET, { 255, 255, 255, 255 } };
	static const struct address groups[2] = {
		{ AF_INET, { 239, 192, 152, 143 } },
		{ AF_INET6, { 0xff, 0x15, [12] = 0xef, 0xc0, 0x98, 0x8f } },
	};
	int version = k->family == AF_INET6;

	return k->to == TO_BROADCAST ? &all :
	       k->to == TO_MULTICAST ? &groups[version] :
	       k->to == TO_ONLINK    ? &t->onlink[version] : &t->outside[version];
}

/* ---- sender: the child ---- */

enum { STATE_PREPARING, STATE_SENDING, STATE_FAILED };

struct sender_shared {
	int state;
	int result;	  /* -Exxx of STATE_FAILED */
	struct error err; /* of STATE_FAILED */
	struct tally tally[KINDS_LIMIT];
};

/* This kernel, not a gate, says no. A gate's answer to socket() is EPERM: that is a result. */
static bool is_unsupported(const struct kind *k, int r)
{
	bool ping = k->type == SOCK_DGRAM && k->fire == fire_echo;

	return r == -EAFNOSUPPORT || r == -EPROTONOSUPPORT || r == -ESOCKTNOSUPPORT ||
	       r == -EDESTADDRREQ || r == -ENOPROTOOPT || r == -EOPNOTSUPP ||
	       (ping && r == -EACCES);
}

static int shot_socket(const struct shot *s)
{
	const struct kind *k = s->kind;
	_cleanup_fd int fd = socket(k->family, k->type | SOCK_NONBLOCK | SOCK_CLOEXEC, k->protocol);
	int r;

	if (fd < 0)
		return -errno;
	r = k->setup ? k->setup(fd, s) : 0;
	return r < 0 ? r : TAKE_FD(fd);
}

static bool shot_aim(struct shot *s, unsigned int kind, const struct targets *t, int ifindex)
{
	const struct kind *k = &kinds[kind];
	const struct address *a = kind_address(k, t);

	s->kind = k;
	s->targets = t;
	s->ifindex = ifindex;
	s->port = k->to == TO_MULTICAST ? MULTICAST_PORT : (uint16_t)(t->port + kind);
	s->length = k->length ? k->length : LENGTH_DEFAULT;
	/* On raw IPv6 sockets the port means the protocol, and must be absent: ipv6(7). */
	s->to_size = address_socket(a, k->type == SOCK_RAW ? 0 : s->port, ifindex, &s->to);
	return a->family != 0;
}

/* One packet, from the kept socket or from a fresh one. `kept` is -1 until it is made. */
static int shoot(const struct shot *s, bool fresh, int *kept, struct tally *tally)
{
	_cleanup_fd int own = -1;
	int *fd = fresh ? &own : kept;
	ssize_t n = -1;

	if (*fd < 0)
		*fd = shot_socket(s);
	if (*fd < 0 && is_unsupported(s->kind, *fd))
		return *fd;
	__atomic_add_fetch(&tally->attempted, 1, __ATOMIC_RELAXED);
	if (*fd >= 0)
		n = (s->kind->fire ? s->kind->fire : fire_plain)(*fd, s);
	else
		errno = -*fd;
	if (n >= 0) {
		__atomic_add_fetch(&tally->ok, 1, __ATOMIC_RELAXED);
		return 0;
	}
	__atomic_store_n(&tally->last_errno, errno, __ATOMIC_RELAXED);
	if (*fd >= 0 && s->kind->type == SOCK_STREAM && errno != EAGAIN) {
		close(*fd);	/* a dead connection: the next packet tries a new one */
		*fd = -1;
	}
	return 0;
}

/* One packet of each kind; kinds that cannot be made here leave the set. */
static void send_round(const struct sending *plan, const struct targets *t, uint32_t round,
		       uint64_t *set, int kept[KINDS_LIMIT], struct tally *tally)
{
	static char payload[LENGTH_MAX];
	struct shot s = { .payload = payload, .patient = plan->count > 0 };
	int ifindex = (int)if_nametoindex(t->underlay);

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		enum socket_life life = kinds[i].life;
		bool fresh = life == LIFE_FRESH || (life == LIFE_BOTH && round % 2);
		int r = -EDESTADDRREQ;

		if (!(*set & 1ULL << i))
			continue;
		if (shot_aim(&s, i, t, ifindex)) {
			marker_fill(payload, s.length, t->marker, i, round);
			r = shoot(&s, fresh, &kept[i], &tally[i]);
		}
		if (r < 0) {
			__atomic_store_n(&tally[i].skip_errno, -r, __ATOMIC_RELAXED);
			*set &= ~(1ULL << i);
		}
	}
}

static void send_all(const struct sending *plan, const struct targets *t, struct tally *tally)
{
	uint64_t end = now_boot_ns() + plan->max_seconds * NS_PER_SEC, set = plan->kinds;
	uint64_t next = now_boot_ns();
	int kept[KINDS_LIMIT];

	for (unsigned int i = 0; i < KINDS_LIMIT; i++)
		kept[i] = -1;
	for (uint32_t round = 0; !plan->count || round < plan->count; round++) {
		uint64_t now = now_boot_ns();
		struct timespec until;

		if (now >= end)
			break;
		/* A slow machine sends less; it does not catch up in bursts. */
		next = next > now ? next : now;
		until.tv_sec = (time_t)(next / NS_PER_SEC);
		until.tv_nsec = (long)(next % NS_PER_SEC);
		clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL);
		send_round(plan, t, round, &set, kept, tally);
		next += plan->interval_ms * NS_PER_MSEC;
	}
}

/* Into the cgroup first: sockets belong to the cgroup in which they were made. */
static int take_place(const struct sending *plan, struct error *err)
{
	int r = plan->cgroup_fd < 0 ? 0 : write_small(plan->cgroup_fd, "cgroup.procs", "0");

	if (r < 0)
		return fail(err, EXIT_PRIVILEGE, r, "is it a cgroup v2 directory? run with sudo",
			    "join the workload's cgroup");
	if (plan->netns_fd >= 0 && setns(plan->netns_fd, CLONE_NEWNET) < 0)
		return fail(err, EXIT_PRIVILEGE, -errno, REMEDY_ROOT, "enter the sender's netns");
	return 0;
}

static void sender_child(const struct sending *plan, const struct targets *t, pid_t parent,
			 int ready, struct sender_shared *shared)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return;
	shared->result = take_place(plan, &shared->err);
	__atomic_store_n(&shared->state, shared->result < 0 ? STATE_FAILED : STATE_SENDING,
			 __ATOMIC_RELEASE);
	if (ready > 3)
		close_range(3, (unsigned int)ready - 1, 0);
	close_range((unsigned int)ready, ~0U, 0);	/* the parent sees the pipe end */
	if (shared->result == 0)
		send_all(plan, t, shared->tally);
}

/* ---- sender: the parent ---- */

static int sender_ready(const struct sender *s, int ready, struct error *err)
{
	struct pollfd p = { .fd = ready, .events = POLLIN };

	if (poll(&p, 1, START_BOUND_MS) == 0)
		return fail(err, EXIT_FAILURE_, -ETIMEDOUT, "is its cgroup frozen?",
			    "the sender has not started");
	switch (__atomic_load_n(&s->shared->state, __ATOMIC_ACQUIRE)) {
	case STATE_SENDING:
		return 0;
	case STATE_FAILED:
		if (err)
			*err = s->shared->err;
		return s->shared->result;
	default:
		return fail(err, EXIT_FAILURE_, -ECANCELED, NULL, "the sender died at its start");
	}
}

int sender_start(struct sender *s, const struct sending *plan, const struct targets *t,
		 struct error *err)
{
	_cleanup_(sender_free) struct sender new = { .pidfd = -1 };
	int ends[2], r;
	pid_t parent = getpid();

	new.shared = mmap(NULL, sizeof(*new.shared), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (new.shared == MAP_FAILED) {
		new.shared = NULL;
		return fail(err, EXIT_FAILURE_, -errno, NULL, "map the sender's tallies");
	}
	new.tally = new.shared->tally;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "make a pipe to the sender");
	_cleanup_fd int ready = ends[0], child_end = ends[1];
	new.pid = fork();
	if (new.pid == 0) {
		sender_child(plan, t, parent, child_end, new.shared);
		_exit(0);
	}
	if (new.pid < 0) {
		r = -errno;
		new.pid = 0;
		return fail(err, EXIT_FAILURE_, r, NULL, "fork the sender");
	}
	close(TAKE_FD(child_end));
	new.pidfd = pidfd_open(new.pid, 0);
	if (new.pidfd < 0)
		return fail(err, EXIT_PRIVILEGE, -errno, "needs Linux 5.3", "watch the sender");
	r = sender_ready(&new, ready, err);
	if (r < 0)
		return r;
	*s = new;
	new = (struct sender){ .pidfd = -1 };
	return 0;
}

int sender_wait(struct sender *s, unsigned int timeout_ms, struct error *err)
{
	struct pollfd p = { .fd = s->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };

	if (!s->pid)
		return 0;
	if (poll(&p, 1, (int)timeout_ms) <= 0)
		return fail(err, EXIT_FAILURE_, -ETIMEDOUT, "is its cgroup frozen?",
			    "the sender has not finished");
	if (waitid(P_PID, (id_t)s->pid, &info, WEXITED) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "reap the sender");
	s->pid = 0;
	if (info.si_code != CLD_EXITED)
		return fail(err, EXIT_FAILURE_, -ECANCELED, NULL,
			    "the sender was killed by signal %d", info.si_status);
	return 0;
}

void sender_stop(struct sender *s)
{
	if (s->pid) {
		kill(s->pid, SIGKILL);	/* takes a process in a frozen cgroup v2 as well */
		sender_wait(s, START_BOUND_MS, NULL);
		s->pid = 0;	/* a child that even SIGKILL does not end is init's one day */
	}
	close_fd(&s->pidfd);
	s->pidfd = -1;
}

void sender_free(struct sender *s)
{
	if (!s->shared)
		return;
	sender_stop(s);
	munmap(s->shared, sizeof(*s->shared));
	*s = (struct sender){ .pidfd = -1 };
}

const char *skip_reason(const struct kind *k, const struct tally *t, char *buf, size_t size)
{
	int e = __atomic_load_n(&t->skip_errno, __ATOMIC_RELAXED);
	const char *hint = e == EACCES ? " (sysctl net.ipv4.ping_group_range of that netns)" :
			   e == EDESTADDRREQ && k->to == TO_ONLINK ? " (no on-link address given)" :
			   e == EDESTADDRREQ ? " (no outside address given)" : "";

	snprintf(buf, size, "%s%s", e ? strerror(e) : "", hint);
	return buf;
}

/* A socket of another netns; the calling thread is back in its own when this returns. */
static int socket_in(int netns_fd, int family, int type, int protocol)
{
	_cleanup_fd int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_fd int fd = -1;
	int r = 0;

	if (home < 0 || (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0))
		return -errno;
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		r = -errno;
	if (netns_fd >= 0 && setns(home, CLONE_NEWNET) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

/* Without SO_REUSEADDR on purpose: port and marker belong to this run alone. */
static int listen_at(int netns_fd, int family, uint16_t port)
{
	_cleanup_fd int fd = socket_in(netns_fd, family, SOCK_STREAM, IPPROTO_TCP);
	struct address any = { .family = family };
	struct sockaddr_storage at;
	socklen_t size = address_socket(&any, port, 0, &at);

	if (fd < 0)
		return fd;
	set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BUFFER);
	if (family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 1024) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int sink_open(int netns_fd, const struct targets *t, int ret[2], struct error *err)
{
	_cleanup_fd int v4 = -1;
	_cleanup_fd int v6 = -1;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		int *fd = kinds[i].family == AF_INET ? &v4 : &v6;

		if (kinds[i].fire != fire_flow)
			continue;
		*fd = listen_at(netns_fd, kinds[i].family, (uint16_t)(t->port + i));
		if (*fd < 0 && *fd != -EAFNOSUPPORT)
			return fail(err, EXIT_FAILURE_, *fd, NULL, "listen on TCP port %u",
				    t->port + i);
	}
	ret[0] = TAKE_FD(v4);
	ret[1] = TAKE_FD(v6);
	return 0;
}

/* ---- what a frame is ---- */

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
	return f->kind == KIND_FENCE || f->kind < ARRAY_SIZE(kinds);
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

	if (f->protocol != IPPROTO_TCP || !f->has_ports || kind >= ARRAY_SIZE(kinds) ||
	    kinds[kind].type != SOCK_STREAM || kinds[kind].family != f->to.family ||
	    !address_equal(&f->to, kind_address(&kinds[kind], t)))
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
	const char *flag = f->detail & TH_RST ? "/rst" : f->detail & TH_SYN ? "/syn" :
			   f->detail & TH_FIN ? "/fin" : "";

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

/* ---- capture ---- */

/* The link type of what is now captured, or -Exxx. */
static int capture_bind(int fd, const char *ifname, struct error *err)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	struct ifreq name = { 0 };

	snprintf(name.ifr_name, sizeof(name.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFINDEX, &name) < 0)
		return fail(err, EXIT_USAGE, -errno, "is it in that network namespace?",
			    "find interface '%s'", ifname);
	at.sll_ifindex = all.mr_ifindex = name.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &name) < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "capture on '%s'", ifname);
	/* Multicast that a real NIC would filter. Tunnels may not know it, nor need it. */
	set_option(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
	return name.ifr_hwaddr.sa_family == ARPHRD_ETHER ||
	       name.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK ? LINK_ETHERNET : LINK_RAW_IP;
}

int capture_open(struct capture *c, int netns_fd, const char *ifname, const struct targets *t,
		 struct error *err)
{
	/* Protocol 0: nothing is received before bind() has chosen the interface. */
	_cleanup_fd int fd = socket_in(netns_fd, AF_PACKET, SOCK_RAW, 0);
	int r;

	if (fd < 0)
		return fail(err, EXIT_PRIVILEGE, fd, REMEDY_ROOT, "open a capture for '%s'",
			    ifname);
	r = set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BUFFER);
	if (r < 0)
		return fail(err, EXIT_PRIVILEGE, r, REMEDY_ROOT, "enlarge the capture's buffer");
	r = set_int(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	if (r < 0)
		return fail(err, EXIT_FAILURE_, r, NULL, "ask for receive times");
	r = capture_bind(fd, ifname, err);
	if (r < 0)
		return r;
	*c = (struct capture){ .fd = TAKE_FD(fd), .link = (enum link_type)r, .targets = t,
			       .opened_ns = now_boot_ns() };
	return 0;
}

static bool is_client(const struct capture *c, const struct address *a)
{
	for (size_t i = 0; i < c->n_clients; i++)
		if (address_equal(a, &c->clients[i]))
			return true;
	return c->n_clients == 0;
}

static void count_stray(struct capture *c, const struct frame *f)
{
	char text[sizeof(c->strays[0].text)];
	size_t i = 0;

	if (!is_client(c, &f->from))
		return;
	frame_describe(f, text, sizeof(text));
	while (i < c->n_strays && strcmp(c->strays[i].text, text) != 0)
		i++;
	if (i == STRAYS_LIMIT) {
		c->more_strays++;
		return;
	}
	if (i == c->n_strays)
		memcpy(c->strays[c->n_strays++].text, text, sizeof(text));
	c->strays[i].frames++;
}

/* Twice the same token is one: some captures see both ways of a bridge. */
static void count_fence(struct capture *c, uint32_t token)
{
	unsigned int version = token >> 15 & 1, index = token & 0x7fff;

	if (token >> 16 != c->fence_serial || index >= FENCE_LIMIT)
		return;
	c->fence_count[version] += !c->fence_got[version][index];
	c->fence_got[version][index] = true;
}

static void count_frame(struct capture *c, const void *bytes, size_t length, uint64_t when_ns)
{
	struct frame f = classify(bytes, length, c->link, c->targets);
	struct seen *seen = &c->seen[f.class == FRAME_KIND ? f.kind : 0];

	c->classes[f.class]++;
	if (f.class == FRAME_KIND) {
		if (!seen->frames++)
			seen->first_ns = when_ns;
		seen->last_ns = when_ns;
	} else if (f.class == FRAME_FENCE) {
		count_fence(c, f.sequence);
	} else if (f.class == FRAME_STRAY) {
		count_stray(c, &f);
	}
}

/* Boot time at which the kernel received the frame. */
static uint64_t received_ns(struct msghdr *m, uint64_t opened_ns)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	uint64_t now = now_boot_ns(), wall, then;
	struct timespec t;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
		return now;
	memcpy(&t, CMSG_DATA(c), sizeof(t));
	then = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
	clock_gettime(CLOCK_REALTIME, &t);
	wall = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
	/* Outgoing TCP of older kernels bears a monotonic stamp here; and clocks are set. */
	return then <= wall && wall - then <= now - opened_ns ? now - (wall - then) : now;
}

static int capture_check(struct capture *c, struct error *err)
{
	struct tpacket_stats stats = { 0 };
	socklen_t size = sizeof(stats);

	if (getsockopt(c->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "read the capture's statistics");
	c->drops += stats.tp_drops;	/* reading sets it back to zero */
	if (c->drops)
		return fail(err, EXIT_FAILURE_, -ENOBUFS, "use fewer kinds or a longer interval",
			    "the capture lost %llu frames, its counts prove nothing",
			    (unsigned long long)c->drops);
	return 0;
}

int capture_drain(struct capture *c, struct error *err)
{
	uint8_t bytes[2048];

	for (int i = 0; i < DRAIN_BOUND; i++) {
		struct sockaddr_ll from = { 0 };
		char control[CMSG_SPACE(sizeof(struct timespec))];
		struct iovec io = { bytes, sizeof(bytes) };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &io,
				    .msg_iovlen = 1, .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(c->fd, &m, MSG_TRUNC);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno == ENETDOWN)
			c->downs++;
		else if (n < 0 && errno != EINTR)
			return fail(err, EXIT_FAILURE_, -errno, NULL, "read from the capture");
		if (n < 0 || (from.sll_pkttype == PACKET_OUTGOING && !c->outgoing))
			continue;
		c->frames++;
		c->bytes += (uint64_t)n;
		count_frame(c, bytes, (size_t)n < sizeof(bytes) ? (size_t)n : sizeof(bytes),
			    received_ns(&m, c->opened_ns));
	}
	return capture_check(c, err);
}

void capture_close(struct capture *c)
{
	close_fd(&c->fd);
	c->fd = -1;
}

/* ---- fence ---- */

/* One token to each CPU that we may run on, all through `fd`; the affinity is as before after. */
static int send_tokens(int fd, const struct targets *t, int version, uint16_t serial,
		       unsigned int *count)
{
	uint16_t port = t->fence_port ? t->fence_port : t->port;
	struct ifreq name = { 0 };
	char payload[LENGTH_DEFAULT];
	struct sockaddr_storage to;
	cpu_set_t before, one;
	socklen_t size;
	int r = 0;

	memcpy(name.ifr_name, t->underlay, sizeof(name.ifr_name));
	if (ioctl(fd, SIOCGIFINDEX, &name) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, t->underlay, IFNAMSIZ) < 0)
		return -errno;
	size = address_socket(&t->fence[version], port, name.ifr_ifindex, &to);
	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE && *count < FENCE_LIMIT && r == 0; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			continue;	/* no such CPU, or not ours */
		marker_fill(payload, sizeof(payload), t->marker, KIND_FENCE,
			    (uint32_t)serial << 16 | (uint32_t)version << 15 | *count);
		if (sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&to, size) < 0)
			r = -errno;
		else
			(*count)++;
	}
	sched_setaffinity(0, sizeof(before), &before);
	return r;
}

static int raise_fence(struct capture *c, int netns_fd, unsigned int sent[2], struct error *err)
{
	const struct targets *t = c->targets;
	char to[INET6_ADDRSTRLEN];

	c->fence_serial++;
	sent[0] = sent[1] = 0;
	memset(c->fence_count, 0, sizeof(c->fence_count));
	memset(c->fence_got, 0, sizeof(c->fence_got));
	for (int version = 0; version < 2; version++) {
		int family = t->fence[version].family, r;

		if (!family)
			continue;
		_cleanup_fd int fd = socket_in(netns_fd, family, SOCK_DGRAM, IPPROTO_UDP);
		r = fd < 0 ? fd : send_tokens(fd, t, version, c->fence_serial, &sent[version]);
		if (r < 0)
			return fail(err, EXIT_FAILURE_, r,
				    "may this process send over the underlay?",
				    "send a fence to %s by '%s'",
				    inet_ntop(family, t->fence[version].bytes, to, sizeof(to)),
				    t->underlay);
	}
	if (!sent[0] && !sent[1])
		return fail(err, EXIT_USAGE, 0, NULL, "a fence needs an on-link address");
	return 0;
}

int capture_fence(struct capture *c, int client_netns_fd, struct error *err)
{
	unsigned int sent[2];

	/* Tried anew with new tokens: a busy backlog or a neighbour not yet known may lose some. */
	for (int try = 0; try < FENCE_TRIES; try++) {
		int r = raise_fence(c, client_netns_fd, sent, err);
		uint64_t end = now_boot_ns() + FENCE_BOUND_MS * NS_PER_MSEC;

		for (uint64_t now = 0; r == 0 && now < end; now = now_boot_ns()) {
			struct pollfd p = { .fd = c->fd, .events = POLLIN };

			poll(&p, 1, now ? (int)((end - now) / NS_PER_MSEC) + 1 : FENCE_BOUND_MS);
			r = capture_drain(c, err);
			if (r == 0 && c->fence_count[0] == sent[0] &&
			    c->fence_count[1] == sent[1])
				return 0;
		}
		if (r < 0)
			return r;
	}
	return fail(err, EXIT_FAILURE_, -ETIMEDOUT, "is the path from client to capture open?",
		    "fence packets arrived: %u of %u IPv4, %u of %u IPv6", c->fence_count[0],
		    sent[0], c->fence_count[1], sent[1]);
}
