/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sniff CAPTURE-NETNS IF CLIENT-NETNS UNDERLAY FENCE-ADDRESS [out]: writes every frame that arrives
 * on IF (with "out" also what IF's own netns sends) as one line on stdout:
 *
 *   BOOT-MS PROTOCOL SOURCE SPORT DESTINATION DPORT FLAGS LENGTH TEXT
 *   81042.117 tcp 10.9.0.3 40000 10.9.0.2 7000 AP 20 T17-before
 *
 * FLAGS are those of TCP, LENGTH is that of the transport's payload, TEXT its first word. Of ARP
 * the addresses are the sender's and the one that is asked for. What has no ports shows 0, what has
 * no text "-". Unlike prove it knows single TCP segments.
 *
 * At SIGUSR1 it raises a fence: a datagram from the client's netns by UNDERLAY to FENCE-ADDRESS on
 * each CPU, since a packet on veth waits in the queue of the CPU that sent it. Once all have
 * arrived, whatever left before has been written, and then a line "fence N". Frames that the
 * kernel lost, or a fence that did not come through, end it with exit 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/tool.h"

#define BUFFER	    (64 << 20)
#define FENCE_TRIES 3
#define FENCE_MS    2000
#define FENCE_PORT  9

struct sniff {
	int capture, fence;
	bool ethernet, outgoing;
	unsigned int serial, sent, got;
	struct sockaddr_in to;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void open_capture(struct sniff *s, const char *netns, const char *ifname)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq name = { 0 };
	int size = BUFFER;

	enter_netns(netns);
	s->capture = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	snprintf(name.ifr_name, sizeof(name.ifr_name), "%s", ifname);
	if (s->capture < 0 || ioctl(s->capture, SIOCGIFINDEX, &name) < 0)
		die("capture on %s", ifname);
	at.sll_ifindex = name.ifr_ifindex;
	if (ioctl(s->capture, SIOCGIFHWADDR, &name) < 0 ||
	    setsockopt(s->capture, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    bind(s->capture, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("bind to %s", ifname);
	s->ethernet = name.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}

static void open_fence(struct sniff *s, const char *netns, const char *ifname, const char *address)
{
	enter_netns(netns);
	s->fence = socket(AF_INET, SOCK_DGRAM, 0);
	s->to = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons(FENCE_PORT) };
	if (s->fence < 0 || inet_pton(AF_INET, address, &s->to.sin_addr) != 1 ||
	    setsockopt(s->fence, SOL_SOCKET, SO_BINDTODEVICE, ifname, strlen(ifname)) < 0)
		die("open the fence by %s to %s", ifname, address);
}

static void first_word(char *word, size_t size, const uint8_t *p, ssize_t n)
{
	size_t i = 0;

	for (; i < size - 1 && (ssize_t)i < n &&
	       (p[i] == '-' || (p[i] >= '0' && p[i] <= '9') ||
		((p[i] | 32) >= 'a' && (p[i] | 32) <= 'z'));
	     i++)
		word[i] = (char)p[i];
	if (i == 0)
		word[i++] = '-';
	word[i] = 0;
}

static const char *tcp_flags(uint8_t bits, char out[9])
{
	size_t n = 0;

	for (int i = 0; i < 8; i++)
		if (bits & 1 << i)
			out[n++] = "FSRPAUEC"[i];
	if (n == 0)
		out[n++] = '-';
	out[n] = 0;
	return out;
}

/* `p` is at the transport's header, `n` bytes are left of the packet. */
static void write_transport(struct sniff *s, const char *from, const char *to, int protocol,
			    bool fragment, const uint8_t *p, ssize_t n)
{
	const char *names[256] = {
		[IPPROTO_TCP] = "tcp",	    [IPPROTO_UDP] = "udp",	   [IPPROTO_ICMP] = "icmp",
		[IPPROTO_ICMPV6] = "icmp6", [IPPROTO_UDPLITE] = "udplite", [IPPROTO_SCTP] = "sctp",
		[IPPROTO_DCCP] = "dccp",    [IPPROTO_IGMP] = "igmp"
	};
	const char *name = fragment ? "fragment" : names[protocol] ? names[protocol] : "other";
	bool ports = !fragment && n >= 8 &&
		     (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
		      protocol == IPPROTO_UDPLITE || protocol == IPPROTO_SCTP ||
		      protocol == IPPROTO_DCCP);
	ssize_t head = fragment ? 0 : protocol == IPPROTO_TCP && n >= 20 ? (p[12] >> 4) * 4 : 8;
	unsigned int serial;
	char word[32], flags[9] = "-", wanted[32];

	head = head > n ? n : head;
	first_word(word, sizeof(word), p + head, n - head);
	if (protocol == IPPROTO_TCP && ports && n >= 20)
		tcp_flags(p[13], flags);
	if (sscanf(word, "fence-%u-", &serial) == 1) {
		snprintf(wanted, sizeof(wanted), "fence-%u-", s->serial);
		s->got += !strncmp(word, wanted, strlen(wanted));
		return;
	}
	printf("%.3f %s %s %u %s %u %s %zd %s\n", (double)boot_ns() / 1e6, name, from,
	       ports ? be16(p) : 0, to, ports ? be16(p + 2) : 0, flags, n - head, word);
}

static void write_frame(struct sniff *s, const uint8_t *p, ssize_t n)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	uint16_t type = 0;

	if (s->ethernet && n >= 14) {
		type = be16(p + 12);
		p += 14, n -= 14;
	} else if (!s->ethernet && n > 0) {
		type = p[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6;
	}
	if (type == ETH_P_IP && n >= 20 && n >= (p[0] & 15) * 4 && (p[0] & 15) >= 5) {
		ssize_t head = (p[0] & 15) * 4, total = be16(p + 2);

		inet_ntop(AF_INET, p + 12, from, sizeof(from));
		inet_ntop(AF_INET, p + 16, to, sizeof(to));
		total = total < head || total > n ? n : total; /* 0: larger than 64 KiB */
		write_transport(s, from, to, p[9], be16(p + 6) & 0x1fff, p + head, total - head);
	} else if (type == ETH_P_IPV6 && n >= 40) {
		inet_ntop(AF_INET6, p + 8, from, sizeof(from));
		inet_ntop(AF_INET6, p + 24, to, sizeof(to));
		write_transport(s, from, to, p[6], false, p + 40, n - 40);
	} else if (type == ETH_P_ARP && n >= 28) { /* who asks, for whom */
		inet_ntop(AF_INET, p + 14, from, sizeof(from));
		inet_ntop(AF_INET, p + 24, to, sizeof(to));
		printf("%.3f arp %s 0 %s 0 - %zd -\n", (double)boot_ns() / 1e6, from, to, n);
	} else {
		printf("%.3f other - 0 - 0 - %zd -\n", (double)boot_ns() / 1e6, n);
	}
}

static void drain(struct sniff *s)
{
	static uint8_t bytes[1 << 16];
	struct tpacket_stats lost = { 0 };
	socklen_t size = sizeof(lost);

	for (;;) {
		struct sockaddr_ll from = { 0 };
		socklen_t from_size = sizeof(from);
		ssize_t n = recvfrom(s->capture, bytes, sizeof(bytes), 0, (struct sockaddr *)&from,
				     &from_size);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != ENETDOWN)
			die("read from the capture");
		if (n > 0 && (from.sll_pkttype != PACKET_OUTGOING || s->outgoing))
			write_frame(s, bytes, n);
	}
	if (getsockopt(s->capture, SOL_PACKET, PACKET_STATISTICS, &lost, &size) < 0 ||
	    lost.tp_drops)
		die("the capture lost %u frames", lost.tp_drops);
}

static void send_tokens(struct sniff *s)
{
	cpu_set_t before, one;
	char token[40];

	s->serial++;
	s->sent = s->got = 0;
	sched_getaffinity(0, sizeof(before), &before);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			continue;
		int n = snprintf(token, sizeof(token), "fence-%u-%d", s->serial, cpu);

		if (sendto(s->fence, token, (size_t)n, 0, (struct sockaddr *)&s->to,
			   sizeof(s->to)) < 0)
			die("send a fence");
		s->sent++;
	}
	sched_setaffinity(0, sizeof(before), &before);
}

static void fence(struct sniff *s, unsigned int number)
{
	struct pollfd p = { .fd = s->capture, .events = POLLIN };

	for (int try = 0; try < FENCE_TRIES; try++) {
		uint64_t end = boot_ns() + FENCE_MS * 1000000ULL;

		send_tokens(s);
		while (boot_ns() < end) {
			poll(&p, 1, 100);
			drain(s);
			if (s->got >= s->sent) {
				printf("fence %u\n", number);
				return;
			}
		}
	}
	errno = ETIMEDOUT;
	die("fence: %u of %u came through", s->got, s->sent);
}

int main(int argc, char **argv)
{
	struct sniff s = { .outgoing = argc == 7 && !strcmp(argv[6], "out") };
	struct signalfd_siginfo info;
	sigset_t signals;

	if (argc < 6)
		die("usage: sniff CAPTURE-NETNS IF CLIENT-NETNS UNDERLAY FENCE-ADDRESS [out]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	open_capture(&s, argv[1], argv[2]);
	open_fence(&s, argv[3], argv[4], argv[5]);
	struct pollfd p[] = { { .fd = s.capture, .events = POLLIN },
			      { .fd = signalfd(-1, &signals, 0), .events = POLLIN } };

	printf("sniffing\n");
	for (unsigned int number = 1;;) {
		poll(p, 2, -1);
		drain(&s);
		if (p[1].revents && read(p[1].fd, &info, sizeof(info)) > 0)
			fence(&s, number++);
	}
}
