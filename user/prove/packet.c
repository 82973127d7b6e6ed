/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole frames by packet sockets: no cgroup's gate sees them, and past the qdisc no guard inside.
 */
#include "prove/prove_internal.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>

static int ask_device(int fd, const struct targets *t, unsigned long request, struct ifreq *ret)
{
	*ret = (struct ifreq) { 0 };
	memcpy(ret->ifr_name, t->underlay, sizeof(ret->ifr_name));
	return ioctl(fd, request, ret);
}

ssize_t frame_send(int fd, const struct targets *t, uint16_t ethertype, const void *body,
		   size_t length)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ethertype) };
	uint8_t frame[ETH_HLEN + LENGTH_MAX];
	struct ether_header head = { .ether_type = htons(ethertype) };
	struct ifreq name;

	if (length > LENGTH_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	if (ask_device(fd, t, SIOCGIFHWADDR, &name) < 0)
		return -1;
	memcpy(head.ether_shost, name.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(head.ether_dhost, t->next_hop, ETH_ALEN);
	if (ask_device(fd, t, SIOCGIFINDEX, &name) < 0)
		return -1;
	at.sll_ifindex = name.ifr_ifindex;
	memcpy(frame, &head, sizeof(head));
	memcpy(frame + sizeof(head), body, length);
	return sendto(fd, frame, sizeof(head) + length, 0, (struct sockaddr *)&at, sizeof(at));
}

ssize_t frame_send_udp(int fd, const struct targets *t, const struct address *to, uint16_t port,
		       const void *payload, size_t length)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char payload[LENGTH_DEFAULT];
	} p = { .ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.tot_len = htons(sizeof(p)),
			.protocol = IPPROTO_UDP },
		.udp = { .source = htons(port),
			 .dest = htons(port),
			 .len = htons(sizeof(struct udphdr) + LENGTH_DEFAULT) } };
	struct ifreq own;

	if (length != sizeof(p.payload)) {
		errno = EMSGSIZE;
		return -1;
	}
	if (ask_device(fd, t, SIOCGIFADDR, &own) == 0)
		p.ip.saddr = ((const struct sockaddr_in *)&own.ifr_addr)->sin_addr.s_addr;
	memcpy(&p.ip.daddr, to->bytes, sizeof(p.ip.daddr));
	p.ip.check = inet_checksum(&p.ip, sizeof(p.ip));
	memcpy(p.payload, payload, length);
	return frame_send(fd, t, ETH_P_IP, &p, sizeof(p));
}

int frame_past_qdisc(int fd)
{
	return setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &(int) { 1 }, sizeof(int)) ? -errno
											  : 0;
}
