/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bootstrap by notes. Outside the namespace nobody can tell who sent a frame; inside, the hook can,
 * but packet sockets go round it. So the hook inside notes the very frame that a socket of the
 * VPN's cgroup sends, and the hook outside passes a frame that was noted, once. Whoever forges one
 * can at most repeat what the VPN has just sent, byte by byte but for its transport checksum.
 */
#ifndef VPNLEASH_NOTES_BPF_H
#define VPNLEASH_NOTES_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

#define NOTE_CHUNK 128
#define NOTE_CHUNKS \
	80 /* 10 KiB, so a jumbo frame; longer is not noted, and TCP sends it in parts */

/* Set by the daemon at random, so that nobody can find another frame of the same digest. */
const volatile __u64 note_secret[2];

#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

/* SipHash (Aumasson, Bernstein 2012), one round for each word and three at the end: of each chunk
 * of a frame and the digest of those before. */
static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[2] = ROTATE(v[2], 32);
}

static __always_inline void sip_word(__u64 v[4], __u64 word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* The sum of TCP or UDP is there at one hook and may not yet be there at the other: a device's
 * work. It follows from the rest. By masks, for each branch would be one more way for the verifier
 * to walk. */
static __always_inline void leave_out_checksum(__u64 words[NOTE_CHUNK / 8], __u32 at)
{
	const struct iphdr *ip = (const struct iphdr *)((__u8 *)words + ETH_HLEN);
	/* in a later chunk is no header, nor in a later fragment */
	__u32 protocol = at || ip->frag_off & bpf_htons(IP_OFFSET) ? 0 : ip->protocol;

	words[5] &= protocol == IPPROTO_UDP ? ~0xffffULL : ~0ULL;
	words[6] &= protocol == IPPROTO_TCP ? ~0xffff0000ULL : ~0ULL;
}
_Static_assert(ETH_HLEN + sizeof(struct iphdr) + offsetof(struct udphdr, check) == 40 &&
		       ETH_HLEN + sizeof(struct iphdr) + offsetof(struct tcphdr, check) == 50,
	       "the words they are in");

/* One chunk of the frame, and with it all before it: a link of the chain. 0: not to be read. Not
 * static: so the verifier walks through it once, and not for each chunk. */
__noinline __u64 digest_chunk(struct __sk_buff *skb, __u32 at, __u64 before)
{
	__u64 v[4] = { note_secret[0] ^ 0x736f6d6570736575ULL,
		       note_secret[1] ^ 0x646f72616e646f6dULL,
		       note_secret[0] ^ 0x6c7967656e657261ULL,
		       note_secret[1] ^ 0x7465646279746573ULL };
	__u64 words[NOTE_CHUNK / 8] = {};
	__u32 n = skb->len - at;

	if (n > NOTE_CHUNK)
		n = NOTE_CHUNK;
	asm volatile("" : "+r"(n)); /* the verifier is to see the bounds, the compiler not */
	if (!n || !read_bytes(skb, at, words, ((n - 1) & (NOTE_CHUNK - 1)) + 1))
		return 0;
	leave_out_checksum(words, at);
	sip_word(v, before);
#pragma unroll
	for (int w = 0; w < NOTE_CHUNK / 8; w++)
		sip_word(v, words[w]);
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Of an IPv4 frame without options; 0: too long, or not to be read. The length goes first, so that
 * no frame's chain is the beginning of another's. */
__noinline __u64 digest(struct __sk_buff *skb)
{
	__u32 length = skb->len;
	__u64 d = length;

	if (length > NOTE_CHUNK * NOTE_CHUNKS)
		return 0;
	asm volatile("" : "+r"(length)); /* or the loop's bound would be left out: see 5.10 */
	for (__u32 at = 0; at < NOTE_CHUNK * NOTE_CHUNKS && at < length; at += NOTE_CHUNK) {
		d = digest_chunk(skb, at, d);
		if (!d)
			return 0;
	}
	return d;
}

static __always_inline bool note_key(struct __sk_buff *skb, const struct guard *g,
				     struct note_key *key)
{
	key->netns_cookie = g->netns_cookie;
	key->ifindex = g->ifindex;
	key->length = skb->len;
	key->digest = digest(skb);
	return key->digest;
}

static __always_inline void note_frame(struct __sk_buff *skb, const struct guard *g)
{
	struct note n = { bpf_ktime_get_boot_ns(), bpf_get_socket_cookie(skb) };
	struct note_key key;

	if (note_key(skb, g, &key))
		bpf_map_update_elem(&notes, &key, &n, BPF_ANY);
}

/* Whether it was noted; then it is so no more. */
static __always_inline bool take_note(struct __sk_buff *skb, const struct guard *g,
				      __u64 *ret_socket_cookie)
{
	struct note_key key;
	struct note *n;
	__u64 at_ns;

	if (!note_key(skb, g, &key))
		return false;
	n = bpf_map_lookup_elem(&notes, &key);
	if (!n)
		return false;
	at_ns = n->at_ns;
	*ret_socket_cookie = n->socket_cookie;
	/* of two that come at once one finds it deleted */
	return !bpf_map_delete_elem(&notes, &key) && at_ns >= g->bootstrap_since_ns &&
	       bpf_ktime_get_boot_ns() - at_ns <= VPNLEASH_NOTE_NS;
}

#endif
