/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/guard.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act/tc.h"
#include "base/netns.h"
#include "vmlinux/uapi.h"

#include "vpnleash.skel.h"

#define LINKS VPNLEASH_PIN_DIR "/links"

#define FLOWS_AT_ONCE 1024 /* more than ever share a bucket */

/* In the order of attaching: the one that counts first. */
enum { PEER_INGRESS, PEER_EGRESS, INSIDE, WEAK, PROGRAMS };
static const struct {
	const char *name;
	bool inside, egress, weak;
} programs[PROGRAMS] = {
	[PEER_INGRESS] = { "guard_peer_ingress", false, false, false },
	[PEER_EGRESS] = { "guard_peer_egress", false, true, false },
	[INSIDE] = { "guard_inside", true, true, false },
	[WEAK] = { "guard_weak", true, true, true },
};

struct guards {
	const struct pins *pins;
	int fds[PROGRAMS];
	uint32_t ids[PROGRAMS];
};

/* A link whose device is gone stays as a pin that sits on nothing. */
static void sweep_links(void)
{
	_cleanup_dir DIR *d = opendir(LINKS);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct tcx_link_info info = { 0 };
		__u32 length = sizeof(struct bpf_link_info);
		char path[PINS_PATH_MAX];
		_cleanup_fd int fd = -1;

		if (strncmp(e->d_name, "guard_", 6) ||
		    (size_t)snprintf(path, sizeof(path), LINKS "/%.60s", e->d_name) >= sizeof(path))
			continue;
		fd = bpf_obj_get(path);
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) && !info.ifindex)
			unlink(path);
	}
}

int guards_open(struct guards **ret, struct gate *gate, struct error *err)
{
	_cleanup_free struct guards *g = calloc(1, sizeof(*g));
	const struct vpnleash_bpf *skel = gate_programs(gate);

	if (!g)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "open the guard");
	g->pins = gate_pins(gate);
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct bpf_prog_info info = { 0 };
		__u32 length = sizeof(info);

		g->fds[i] = bpf_program__fd(
			bpf_object__find_program_by_name(skel->obj, programs[i].name));
		if (bpf_obj_get_info_by_fd(g->fds[i], &info, &length) < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "read the guard's programs");
		g->ids[i] = info.id;
	}
	*ret = TAKE_PTR(g);
	return 0;
}

void guards_close(struct guards *g)
{
	free(g);
}

/* ------ records ------ */

/* A free one has no netns and no interface. */
static uint32_t find_slot(const struct guards *g, uint64_t netns_cookie, uint32_t ifindex,
			  struct guard *ret)
{
	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++)
		if (!bpf_map_lookup_elem(g->pins->guards, &slot, ret) &&
		    ret->netns_cookie == netns_cookie && ret->ifindex == ifindex)
			return slot;
	return 0;
}

static uint32_t slot_of(const struct guards *g, const struct guard_spec *s, struct guard *ret)
{
	return find_slot(g, s->inside.netns_cookie, s->inside.ifindex, ret);
}

static struct guard_slot_key device_key(const struct device *d)
{
	return (struct guard_slot_key) { .netns_cookie = d->netns_cookie, .ifindex = d->ifindex };
}

static struct tc_place place_of(const struct guards *g, const struct guard_spec *s, size_t program,
				uint32_t slot)
{
	const struct device *d = programs[program].inside ? &s->inside : &s->outside;

	return (struct tc_place) { .netns_fd = d->netns_fd,
				   .netns_ino = d->netns_ino,
				   .ifindex = d->ifindex,
				   .egress = programs[program].egress,
				   .may_gap = programs[program].inside,
				   .program = programs[program].name,
				   .program_fd = g->fds[program],
				   .program_id = g->ids[program],
				   .slot = slot };
}

int guard_put(struct guards *g, const struct guard_spec *s, struct error *err)
{
	struct guard_slot_key inside = device_key(&s->inside), outside = device_key(&s->outside);
	struct guard record = { 0 };
	uint32_t slot = slot_of(g, s, &record);
	int r = 0;

	if (!slot)
		slot = find_slot(g, 0, 0, &record);
	if (!slot)
		return fail(err, ERROR_OTHER, -ENOSPC, NULL, "guard interface %u",
			    s->inside.ifindex);
	record.netns_cookie = s->inside.netns_cookie;
	record.netns_ino = s->inside.netns_ino;
	record.ifindex = s->inside.ifindex;
	record.peer_netns_ino = s->outside.netns_ino;
	record.peer_ifindex = s->outside.ifindex;
	record.flags = s->flags;
	record.levels = s->levels;
	record.listen_port = s->listen_port;
	record.n_addresses = (uint32_t)s->n_addresses;
	memcpy(record.mac, s->mac, sizeof(record.mac));
	memcpy(record.addresses, s->addresses, sizeof(record.addresses));
	/* the record before the programs: one without a record would shut the VPN out */
	if (bpf_map_update_elem(g->pins->guards, &slot, &record, BPF_ANY) < 0 ||
	    (!s->weak && bpf_map_update_elem(g->pins->guard_slots, &outside, &slot, BPF_ANY) < 0) ||
	    bpf_map_update_elem(g->pins->guard_slots, &inside, &slot, BPF_ANY) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "record the guard of interface %u",
			    s->inside.ifindex);
	for (size_t i = 0; !r && i < PROGRAMS; i++) {
		struct tc_place place = place_of(g, s, i, slot);

		if (programs[i].weak == s->weak && tc_check(&place))
			r = tc_attach(&place, err);
	}
	return r;
}

unsigned int guard_slot(const struct guards *g, const struct guard_spec *s)
{
	struct guard record;

	return slot_of(g, s, &record);
}

int guard_check(const struct guards *g, const struct guard_spec *s, const char **ret_which)
{
	struct guard record;
	uint32_t slot = slot_of(g, s, &record);

	*ret_which = "its record";
	if (!slot)
		return -ENOLINK;
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct tc_place place = place_of(g, s, i, slot);
		int r = programs[i].weak == s->weak ? tc_check(&place) : 0;

		*ret_which = programs[i].name;
		if (r)
			return r;
	}
	return 0;
}

static void remove_guard(const struct guards *g, const struct guard_spec *s)
{
	const struct pins *p = g->pins;
	struct guard_slot_key inside = device_key(&s->inside), outside = device_key(&s->outside);
	struct guard record;
	uint32_t slot = slot_of(g, s, &record);
	/* the underlay may have another end by now: then the rest is that one's */
	bool other_end = slot && (record.peer_ifindex != s->outside.ifindex ||
				  record.peer_netns_ino != s->outside.netns_ino);

	for (size_t i = PROGRAMS; i-- > 0;) {
		struct tc_place place = place_of(g, s, i, slot);

		if (!programs[i].inside || !other_end)
			tc_detach(&place);
	}
	bpf_map_delete_elem(p->guard_slots, &outside);
	if (other_end)
		return;
	bpf_map_delete_elem(p->guard_slots, &inside);
	if (slot) {
		memset(&record, 0, sizeof(record));
		bpf_map_update_elem(p->guards, &slot, &record, BPF_ANY);
	}
}

int guard_bootstrap(struct guards *g, const struct guard_spec *s, uint64_t until_ns,
		    uint64_t since_ns, uint64_t vpn_cgroup, uint32_t vpn_level)
{
	struct guard record;
	uint32_t slot = slot_of(g, s, &record);

	if (!slot)
		return until_ns ? -ENOENT : 0;
	if (record.bootstrap_until_ns == until_ns && record.bootstrap_since_ns == since_ns &&
	    record.vpn_cgroup == vpn_cgroup)
		return 0;
	record.bootstrap_until_ns = until_ns;
	record.bootstrap_since_ns = since_ns;
	record.vpn_cgroup = vpn_cgroup;
	record.vpn_level = vpn_level;
	return bpf_map_update_elem(g->pins->guards, &slot, &record, BPF_ANY) < 0 ? -errno : 0;
}

void guard_lost(struct guards *g, const struct guard_spec *s)
{
	struct tc_place outside = place_of(g, s, s->weak ? WEAK : PEER_INGRESS, 0);

	if (tc_check(&outside) == -ENODEV)
		remove_guard(g, s);
}

/* ------ rules ------ */

void address_rule(struct address_rule *ret, uint64_t netns_cookie, enum address_kind kind,
		  uint8_t protocol, uint16_t port, const uint8_t address[16], unsigned int prefix,
		  bool allowed, enum endpoint_source source)
{
	memset(ret, 0, sizeof(*ret));
	ret->key.prefixlen = ADDRESS_KEY_BITS + prefix;
	ret->key.kind = kind;
	ret->key.protocol = protocol;
	ret->key.port = htons(port);
	ret->key.netns_cookie = netns_cookie;
	memcpy(ret->key.address, address, 16);
	ret->value.allowed = allowed;
	ret->value.source = source;
}

static bool is_among(const struct address_key *key, const struct address_rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(key, &rules[i].key, sizeof(*key)))
			return true;
	return false;
}

/* One that is there and says the same is left alone: what it counts goes on. */
static int put_rule(int fd, const struct address_rule *r, const struct address_key *present,
		    size_t n)
{
	struct address_value is;

	for (size_t i = 0; i < n; i++)
		if (!memcmp(&present[i], &r->key, sizeof(r->key)) &&
		    !bpf_map_lookup_elem(fd, &r->key, &is) && is.allowed == r->value.allowed &&
		    is.source == r->value.source && is.by_gate == r->value.by_gate)
			return 0;
	return bpf_map_update_elem(fd, &r->key, &r->value, BPF_ANY) < 0 ? -errno : 0;
}

int guard_rules(const struct guards *g, enum address_trie trie, uint64_t netns_cookie,
		const struct address_rule *rules, size_t n)
{
	int fd = trie == TRIE_ENDPOINTS ? g->pins->endpoints : g->pins->exceptions;
	_cleanup_free struct address_key *present = calloc(VPNLEASH_ENDPOINTS, sizeof(*present));
	struct address_key key, *previous = NULL;
	size_t n_present = 0;
	int r = present ? 0 : -ENOMEM;

	while (!r && n_present < VPNLEASH_ENDPOINTS && !bpf_map_get_next_key(fd, previous, &key)) {
		if (key.netns_cookie == netns_cookie)
			present[n_present++] = key;
		previous = &key;
	}
	/* what takes back comes before what it is taken out of */
	for (uint32_t allowed = 0; allowed < 2; allowed++)
		for (size_t i = 0; !r && i < n; i++)
			if (rules[i].value.allowed == allowed)
				r = put_rule(fd, &rules[i], present, n_present);
	for (size_t i = 0; i < n_present; i++)
		if (!is_among(&present[i], rules, n))
			bpf_map_delete_elem(fd, &present[i]);
	return r;
}

static int forget_rules(const struct guards *g, uint64_t netns_cookie)
{
	int r = guard_rules(g, TRIE_ENDPOINTS, netns_cookie, NULL, 0);

	return r ? r : guard_rules(g, TRIE_EXCEPTIONS, netns_cookie, NULL, 0);
}

int guard_rule_read(const struct guards *g, enum address_trie trie, struct address_rule *r)
{
	int fd = trie == TRIE_ENDPOINTS ? g->pins->endpoints : g->pins->exceptions;

	return bpf_map_lookup_elem(fd, &r->key, &r->value) < 0 ? -errno : 0;
}

size_t guard_rules_read(struct guards *g, enum address_trie trie, uint64_t netns_cookie,
			struct address_rule *ret, size_t max)
{
	int fd = trie == TRIE_ENDPOINTS ? g->pins->endpoints : g->pins->exceptions;
	struct address_key key, *previous = NULL;
	size_t n = 0;

	while (n < max && !bpf_map_get_next_key(fd, previous, &key)) {
		struct address_key exact = key;

		/* a lookup finds the longest prefix, which may be another one's: only for reading
		 */
		if (key.netns_cookie == netns_cookie) {
			ret[n].key = key;
			if (!bpf_map_lookup_elem(fd, &exact, &ret[n].value))
				n++;
		}
		previous = &key;
	}
	return n;
}

/* ------ what is left of a netns that is gone ------ */

static void sweep_records(struct guards *g)
{
	_cleanup_fd int ours = -1;
	struct error err;

	if (netns_open("host", &ours, &err))
		return;
	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++) {
		struct guard record;
		struct guard_spec s = { .outside.netns_fd = -1 };
		struct tc_place place;

		if (bpf_map_lookup_elem(g->pins->guards, &slot, &record) || !record.netns_cookie ||
		    record.peer_netns_ino != (uint32_t)netns_ino(ours))
			continue;
		s.outside.ifindex = record.peer_ifindex;
		place = place_of(g, &s, PEER_INGRESS, slot);
		if (!tc_check(&place))
			continue;
		memset(&record, 0, sizeof(record));
		bpf_map_update_elem(g->pins->guards, &slot, &record, BPF_ANY);
	}
}

/* A record comes before its slots and goes with them, but for a device that went by itself. */
static void sweep_slots(struct guards *g)
{
	struct guard_slot_key stale[64], key, *previous = NULL;
	size_t n = 0;

	while (n < ARRAY_SIZE(stale) &&
	       !bpf_map_get_next_key(g->pins->guard_slots, previous, &key)) {
		struct guard record = { 0 };
		uint32_t slot = 0;

		if (!bpf_map_lookup_elem(g->pins->guard_slots, &key, &slot) &&
		    !bpf_map_lookup_elem(g->pins->guards, &slot, &record) &&
		    !(record.netns_cookie == key.netns_cookie && record.ifindex == key.ifindex) &&
		    !(record.netns_cookie && record.peer_ifindex == key.ifindex))
			stale[n++] = key;
		previous = &key;
	}
	for (size_t i = 0; i < n; i++)
		bpf_map_delete_elem(g->pins->guard_slots, &stale[i]);
}

static bool has_record(const struct pins *p, uint64_t netns_cookie)
{
	struct guard record;

	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++)
		if (!bpf_map_lookup_elem(p->guards, &slot, &record) &&
		    record.netns_cookie == netns_cookie)
			return true;
	return false;
}

/* A netns that is known may have no record for now, and needs its rules with its next underlay. */
static void sweep_rules(struct guards *g, int fd, bool (*is_known)(uint64_t cookie, void *arg),
			void *arg)
{
	struct address_key key, *previous = NULL;
	uint64_t judged[64];
	bool gone[ARRAY_SIZE(judged)];
	size_t n = 0, i;

	/* what does not fit is the next sweep's */
	for (; n < ARRAY_SIZE(judged) && !bpf_map_get_next_key(fd, previous, &key);
	     previous = &key) {
		for (i = 0; i < n && judged[i] != key.netns_cookie;)
			i++;
		if (i < n)
			continue;
		gone[n] =
			!is_known(key.netns_cookie, arg) && !has_record(g->pins, key.netns_cookie);
		judged[n++] = key.netns_cookie;
	}
	for (i = 0; i < n; i++)
		if (gone[i])
			forget_rules(g, judged[i]);
}

void guard_sweep(struct guards *g, bool (*is_known)(uint64_t cookie, void *arg), void *arg)
{
	sweep_links();
	sweep_records(g);
	sweep_slots(g);
	sweep_rules(g, g->pins->endpoints, is_known, arg);
	sweep_rules(g, g->pins->exceptions, is_known, arg);
}

/* ------ by what the records say ------ */

static bool has_ino(int netns_fd, void *arg)
{
	return netns_ino(netns_fd) == *(uint32_t *)arg;
}

int guard_take_off(const struct pins *p, uint64_t cookie, struct error *err)
{
	const struct guards g = { .pins = p };
	_cleanup_fd int ours = -1;
	int r = netns_open("host", &ours, err);
	uint32_t our_ino;

	if (r)
		return r;
	our_ino = (uint32_t)netns_ino(ours);
	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++) {
		struct guard record;
		struct guard_spec s = { 0 };
		_cleanup_fd int in = -1, out = -1;

		if (bpf_map_lookup_elem(p->guards, &slot, &record) || record.netns_cookie != cookie)
			continue;
		in = netns_find(has_ino, &record.netns_ino);
		if (record.peer_netns_ino != our_ino)
			out = netns_find(has_ino, &record.peer_netns_ino);
		s.inside = (struct device) { in, record.netns_ino, cookie, record.ifindex };
		s.outside = (struct device) { out, record.peer_netns_ino, 0, record.peer_ifindex };
		if (record.peer_netns_ino == our_ino || out >= 0)
			netns_cookie(out < 0 ? ours : out, &s.outside.netns_cookie);
		remove_guard(&g, &s);
	}
	r = forget_rules(&g, cookie);
	return r ? fail(err, ERROR_OTHER, r, NULL, "take the guard's rules off") : 0;
}

/* ------ who spoke to whom ------ */

void guard_each_flow(struct guards *g,
		     void (*f)(const struct flow_key *key, const struct flow *flow, void *arg),
		     void *arg)
{
	_cleanup_free struct flow_key *keys = calloc(FLOWS_AT_ONCE, sizeof(*keys));
	_cleanup_free struct flow *flows = calloc(FLOWS_AT_ONCE, sizeof(*flows));
	__u32 at, *from = NULL, n = FLOWS_AT_ONCE;
	int r = keys && flows ? 0 : -ENOMEM;

	/* in batches (v5.6): whoever may begin LAN flows fills the map, and a lease waits for this
	 */
	while (!r) {
		n = FLOWS_AT_ONCE;
		r = bpf_map_lookup_batch(g->pins->flows, from, &at, keys, flows, &n, NULL);
		if (r && r != -ENOENT)
			break;
		for (__u32 i = 0; i < n; i++)
			f(&keys[i], &flows[i], arg);
		from = &at;
	}
}
