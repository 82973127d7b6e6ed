/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names through the tunnel: what a workload's program sends to port 53 goes to a resolver that is
 * reached by the tunnel, whatever resolv.conf says, and the answer seems to come from where it was
 * asked. Raw sockets do not pass here; the gate and the guard see to those.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.bpf.h"

#define DENY  0
#define ALLOW 1

#define DNS_PORT bpf_htons(53)

/* What is to be done about port 53; NULL: nothing, or it is another port. */
static __always_inline const struct resolver *resolver_for(struct bpf_sock_addr *ctx)
{
	const struct resolver *r;

	if ((__be16)ctx->user_port != DNS_PORT)
		return 0;
	r = bpf_get_local_storage(&resolvers, 0);
	return r->flags ? r : 0;
}

static __always_inline bool is_server(const struct resolver *r, __be32 address)
{
	return address == r->server[0] || address == r->server[1];
}

/* Where the program asked, by its socket: IPv4 as ::ffff:a.b.c.d. */
static __always_inline bool note_asked(struct bpf_sock_addr *ctx, const __u32 address[4])
{
	struct asked_resolver *a =
		bpf_sk_storage_get(&asked_resolvers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!a)
		return false;
	a->address[0] = address[0];
	a->address[1] = address[1];
	a->address[2] = address[2];
	a->address[3] = address[3];
	return true;
}

/* On loopback, and neither Docker's, which asks the host, nor systemd-resolved's, which asks whom
 * it likes: then it is the VPN's, and goes by its tunnel. */
static __always_inline bool is_vpns_own(__be32 address)
{
	return (address & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) &&
	       address != bpf_htonl(0x7f00000b) && address != bpf_htonl(0x7f000035) &&
	       address != bpf_htonl(0x7f000036);
}

static __always_inline bool is_left_alone(const struct resolver *r, __be32 address)
{
	return (r->flags & RESOLVER_AUTO && is_vpns_own(address)) || is_server(r, address);
}

static __always_inline int redirect4(struct bpf_sock_addr *ctx)
{
	const struct resolver *r = resolver_for(ctx);
	__u32 asked_at[4] = { 0, 0, bpf_htonl(0xffff), 0 };

	if (!r)
		return ALLOW;
	if (r->flags & RESOLVER_DENY)
		return DENY;
	asked_at[3] = ctx->user_ip4;
	if (is_left_alone(r, asked_at[3]))
		return ALLOW;
	if (!note_asked(ctx, asked_at))
		return DENY;
	/* two nameservers of a resolv.conf become two */
	ctx->user_ip4 = r->server[bpf_ntohl(asked_at[3]) & 1];
	return ALLOW;
}

static __always_inline int redirect6(struct bpf_sock_addr *ctx, bool connected)
{
	const struct resolver *r = resolver_for(ctx);
	__u32 asked_at[4];
	bool mapped;

	if (!r)
		return ALLOW;
	if (r->flags & RESOLVER_DENY)
		return DENY;
	asked_at[0] = ctx->user_ip6[0];
	asked_at[1] = ctx->user_ip6[1];
	asked_at[2] = ctx->user_ip6[2];
	asked_at[3] = ctx->user_ip6[3];
	mapped = !asked_at[0] && !asked_at[1] && asked_at[2] == bpf_htonl(0xffff);
	if (r->flags & RESOLVER_AUTO && !asked_at[0] && !asked_at[1] && !asked_at[2] &&
	    asked_at[3] == bpf_htonl(1)) /* ::1 */
		return ALLOW;
	if (mapped && is_left_alone(r, asked_at[3]))
		return ALLOW;
	/* an unconnected IPv6 socket can not be given an IPv4 address: the program tries another */
	if ((!mapped && !connected) || !note_asked(ctx, asked_at))
		return DENY;
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = bpf_htonl(0xffff);
	ctx->user_ip6[3] = r->server[bpf_ntohl(asked_at[3]) & 1];
	return ALLOW;
}

/* What the socket asked, if this comes from a resolver that we put in its place. */
static __always_inline struct asked_resolver *asked_for(struct bpf_sock_addr *ctx, __be32 from)
{
	const struct resolver *r = resolver_for(ctx);

	return r && is_server(r, from) ? bpf_sk_storage_get(&asked_resolvers, ctx->sk, 0, 0) : 0;
}

static __always_inline int restore4(struct bpf_sock_addr *ctx)
{
	struct asked_resolver *a = asked_for(ctx, ctx->user_ip4);

	if (a)
		ctx->user_ip4 = a->address[3];
	return ALLOW;
}

static __always_inline int restore6(struct bpf_sock_addr *ctx)
{
	struct asked_resolver *a;

	if (ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != bpf_htonl(0xffff))
		return ALLOW;
	a = asked_for(ctx, ctx->user_ip6[3]);
	if (a) {
		ctx->user_ip6[0] = a->address[0];
		ctx->user_ip6[1] = a->address[1];
		ctx->user_ip6[2] = a->address[2];
		ctx->user_ip6[3] = a->address[3];
	}
	return ALLOW;
}

SEC("cgroup/connect4")
int dns_connect4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx);
}

SEC("cgroup/connect6")
int dns_connect6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx, true);
}

SEC("cgroup/sendmsg4")
int dns_sendmsg4(struct bpf_sock_addr *ctx)
{
	return redirect4(ctx);
}

SEC("cgroup/sendmsg6")
int dns_sendmsg6(struct bpf_sock_addr *ctx)
{
	return redirect6(ctx, false);
}

SEC("cgroup/recvmsg4")
int dns_recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/recvmsg6")
int dns_recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("cgroup/getpeername4")
int dns_getpeername4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/getpeername6")
int dns_getpeername6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}
