/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the VPN's own sockets ask to go: on its cgroup, while it has no tunnel yet. A VPN that is
 * not WireGuard shows its endpoint nowhere else (sock_diag has no peer for an unconnected socket).
 * Only notes; lets everything through.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"

static __always_inline int observe(struct bpf_sock_addr *ctx, bool ipv6)
{
	struct observed_key key = { .socket_cookie = bpf_get_socket_cookie(ctx),
				    .port = (__be16)ctx->user_port,
				    .protocol = (__u8)ctx->protocol };
	__u32 *address = (__u32 *)key.address;
	__u64 now_ns = bpf_ktime_get_boot_ns();

	if (ipv6) {
		address[0] = ctx->user_ip6[0];
		address[1] = ctx->user_ip6[1];
		address[2] = ctx->user_ip6[2];
		address[3] = ctx->user_ip6[3];
	} else {
		address[2] = bpf_htonl(0xffff);
		address[3] = ctx->user_ip4;
	}
	bpf_map_update_elem(&observed, &key, &now_ns, BPF_ANY);
	return 1;
}

SEC("cgroup/connect4")
int observe_connect4(struct bpf_sock_addr *ctx)
{
	return observe(ctx, false);
}

SEC("cgroup/connect6")
int observe_connect6(struct bpf_sock_addr *ctx)
{
	return observe(ctx, true);
}

SEC("cgroup/sendmsg4")
int observe_sendmsg4(struct bpf_sock_addr *ctx)
{
	return observe(ctx, false);
}

SEC("cgroup/sendmsg6")
int observe_sendmsg6(struct bpf_sock_addr *ctx)
{
	return observe(ctx, true);
}
