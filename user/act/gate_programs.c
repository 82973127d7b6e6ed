/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The programs of the object, by name. */
#include "act/gate_internal.h"

static const struct {
	const char *name;
	enum bpf_attach_type type; /* of those on a cgroup */
} programs[GATE_PROGRAMS] = {
	[GATE_EGRESS] = { "gate_egress", BPF_CGROUP_INET_EGRESS },
	[GATE_INGRESS] = { "gate_ingress", BPF_CGROUP_INET_INGRESS },
	[GATE_SOCKET] = { "gate_socket", BPF_CGROUP_INET_SOCK_CREATE },
	[DNS_RECVMSG4] = { "dns_recvmsg4", BPF_CGROUP_UDP4_RECVMSG },
	[DNS_RECVMSG6] = { "dns_recvmsg6", BPF_CGROUP_UDP6_RECVMSG },
	[DNS_GETPEERNAME4] = { "dns_getpeername4", BPF_CGROUP_INET4_GETPEERNAME },
	[DNS_GETPEERNAME6] = { "dns_getpeername6", BPF_CGROUP_INET6_GETPEERNAME },
	[DNS_CONNECT4] = { "dns_connect4", BPF_CGROUP_INET4_CONNECT },
	[DNS_CONNECT6] = { "dns_connect6", BPF_CGROUP_INET6_CONNECT },
	[DNS_SENDMSG4] = { "dns_sendmsg4", BPF_CGROUP_UDP4_SENDMSG },
	[DNS_SENDMSG6] = { "dns_sendmsg6", BPF_CGROUP_UDP6_SENDMSG },
	[DENY_PACKET] = { "deny_packet", BPF_LSM_CGROUP },
	[GUARD_PEER_INGRESS] = { .name = "guard_peer_ingress" },
	[WITNESS_PEER] = { .name = "witness_peer" },
	[GUARD_PEER_EGRESS] = { .name = "guard_peer_egress" },
	[GUARD_INSIDE] = { .name = "guard_inside" },
	[GUARD_INSIDE_INGRESS] = { .name = "guard_inside_ingress" },
	[GUARD_PARENT_INGRESS] = { .name = "guard_parent_ingress" },
	[GUARD_PARENT_EGRESS] = { .name = "guard_parent_egress" },
	[GUARD_ALONE] = { .name = "guard_alone" },
	[GUARD_WEAK] = { .name = "guard_weak" },
};

const char *gate_program_name(enum gate_program p)
{
	return programs[p].name;
}

enum bpf_attach_type gate_program_type(enum gate_program p)
{
	return programs[p].type;
}
