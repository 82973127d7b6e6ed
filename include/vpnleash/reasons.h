/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why the gate decided as it did: one list for BPF, daemon, JSON and manual.
 *
 * X(number, NAME, name, sentence). Numbers leave the process (the pinned map `counters` is keyed
 * by them), so they are append-only: never renumber, never reuse one.
 */
#ifndef VPNLEASH_REASONS_H
#define VPNLEASH_REASONS_H

/* clang-format off */
#define VPNLEASH_REASONS(X)                                                                        \
	X(1, UNKNOWN, unknown, "no workload is recorded for the socket's cgroup")                  \
	X(2, BARRED, barred, "the workload is not admitted")                                       \
	X(3, HELD, held, "an operator holds the workload")                                         \
	X(4, NO_LEASE, no_lease, "the tunnel holds no lease")                                      \
	X(5, EXPIRED, expired, "the lease ran out, or ends too far ahead to be one")               \
	X(6, WRONG_IFINDEX, wrong_ifindex, "the packet does not use the tunnel's interface")       \
	X(7, WRONG_NETNS, wrong_netns, "the packet is in another network namespace")               \
	X(8, IPV6, ipv6, "IPv6 is not allowed")                                                     \
	X(9, DOCKER_DNS, docker_dns, "Docker's resolver 127.0.0.11 would carry names out")         \
	X(10, LOOPBACK, loopback, "a loopback packet that is not from and to this host itself")    \
	X(11, LAN_REPLY, lan_reply, "the answer to a LAN client would go into the tunnel")         \
	X(12, UNGUARDED, unguarded, "the guard has no record of the interface")                    \
	X(13, SPOOFED, spoofed, "the source address is not the namespace's own")                   \
	X(14, ETHERTYPE, ethertype, "neither IP nor ARP, or with a VLAN tag")                      \
	X(15, ARP, arp, "an ARP frame that says more than ARP must")                               \
	X(16, HEADER, header, "an IP packet of unusual shape: options, length, multicast")         \
	X(17, NOT_ENDPOINT, not_endpoint, "beside the tunnel, and not to the VPN's endpoint")      \
	X(18, UNSOLICITED, unsolicited, "nobody inside asked for it")                              \
	X(19, PACKET_SOCKET, packet_socket, "a workload's packet socket")                           \
	X(20, RESOLVER, resolver, "a resolver on loopback would ask by the underlay")
/* clang-format on */

#define VPNLEASH_REASON_MAX 21 /* one more than the last number */

enum reason {
	REASON_PASS = 0,
#define X(number, NAME, name, sentence) REASON_##NAME = number,
	VPNLEASH_REASONS(X)
#undef X
};

#endif
