/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture: counts, on one interface, what arrives there, and knows when it has missed
 * something. The fence: makes sure that "not seen" does not mean "not yet".
 */
#include "prove/prove_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define DRAIN_BOUND    65536
#define FENCE_TRIES    3
#define FENCE_BOUND_MS 2000

/* The link type of what is now captured, or -Exxx. */
static int capture_bind(int fd, const char *ifname, struct error *err)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	struct ifreq name = { 0 };

	snprintf(name.ifr_name, sizeof(name.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFINDEX, &name) < 0)
		return fail(err, ERROR_INPUT, -errno, "is it in that network namespace?",
			    "find interface '%s'", ifname);
	at.sll_ifindex = all.mr_ifindex = name.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &name) < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "capture on '%s'", ifname);
	/* Multicast that a real NIC would filter. Tunnels may not know it, nor need it. */
	set_option(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
	return name.ifr_hwaddr.sa_family == ARPHRD_ETHER ||
			       name.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK
		       ? LINK_ETHERNET
		       : LINK_RAW_IP;
}

int capture_open(struct capture *c, int netns_fd, const char *ifname, const struct targets *t,
		 struct error *err)
{
	/* Protocol 0: nothing is received before bind() has chosen the interface. */
	_cleanup_fd int fd = socket_in(netns_fd, AF_PACKET, SOCK_RAW, 0);
	int r;

	if (fd < 0)
		return fail(err, ERROR_PRIVILEGE, fd, REMEDY_ROOT, "open a capture for '%s'",
			    ifname);
	r = set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BUFFER);
	if (r < 0)
		return fail(err, ERROR_PRIVILEGE, r, REMEDY_ROOT, "enlarge the capture's buffer");
	r = set_int(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "ask for receive times");
	r = capture_bind(fd, ifname, err);
	if (r < 0)
		return r;
	*c = (struct capture) { .fd = TAKE_FD(fd),
				.link = (enum link_type)r,
				.targets = t,
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
		return fail(err, ERROR_OTHER, -errno, NULL, "read the capture's statistics");
	c->drops += stats.tp_drops; /* reading sets it back to zero */
	if (c->drops)
		return fail(err, ERROR_OTHER, -ENOBUFS, "use fewer kinds or a longer interval",
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
		struct msghdr m = { .msg_name = &from,
				    .msg_namelen = sizeof(from),
				    .msg_iov = &io,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(c->fd, &m, MSG_TRUNC);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno == ENETDOWN)
			c->downs++;
		else if (n < 0 && errno != EINTR)
			return fail(err, ERROR_OTHER, -errno, NULL, "read from the capture");
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
	c->fd = close_fd(c->fd);
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
	if (ioctl(fd, SIOCGIFINDEX, &name) < 0)
		return -errno;
	if (!t->frames)
		r = set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, t->underlay, IFNAMSIZ);
	else if (t->past_qdisc)
		r = frame_past_qdisc(fd);
	if (r < 0)
		return r;
	size = address_socket(&t->fence[version], port, name.ifr_ifindex, &to);
	if (sched_getaffinity(0, sizeof(before), &before) < 0)
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE && *count < FENCE_LIMIT && r == 0; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			continue; /* no such CPU, or not ours */
		marker_fill(payload, sizeof(payload), t->marker, KIND_FENCE,
			    (uint32_t)serial << 16 | (uint32_t)version << 15 | *count);
		if ((t->frames ? frame_send_udp(fd, t, &t->fence[version], port, payload,
						sizeof(payload))
			       : sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&to,
					size)) < 0)
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
		_cleanup_fd int fd = t->frames
					     ? socket_in(netns_fd, AF_PACKET, SOCK_RAW, 0)
					     : socket_in(netns_fd, family, SOCK_DGRAM, IPPROTO_UDP);
		r = fd < 0 ? fd : send_tokens(fd, t, version, c->fence_serial, &sent[version]);
		if (r < 0)
			return fail(err, ERROR_OTHER, r, "may this process send over the underlay?",
				    "send a fence to %s by '%s'",
				    inet_ntop(family, t->fence[version].bytes, to, sizeof(to)),
				    t->underlay);
	}
	if (!sent[0] && !sent[1])
		return fail(err, ERROR_INPUT, 0, NULL, "a fence needs an on-link address");
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
			if (r == 0 && c->fence_count[0] == sent[0] && c->fence_count[1] == sent[1])
				return 0;
		}
		if (r < 0)
			return r;
	}
	return fail(err, ERROR_OTHER, -ETIMEDOUT, "is the path from client to capture open?",
		    "fence packets arrived: %u of %u IPv4, %u of %u IPv6", c->fence_count[0],
		    sent[0], c->fence_count[1], sent[1]);
}
