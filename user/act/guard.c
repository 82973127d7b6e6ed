/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/guard.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "act/near.h"
#include "act/tc.h"
#include "act/witness.h"
#include "base/netns.h"
#include "base/privilege.h"
#include "vmlinux/uapi.h"

#define LINKS VPNLEASH_PIN_DIR "/links"

#define FLOWS_AT_ONCE 1024 /* more than ever share a bucket */

/* In the order of attaching: the one that counts first. */
enum {
	PEER_INGRESS,
	WITNESS,
	PEER_EGRESS,
	PARENT_EGRESS,
	PARENT_INGRESS,
	ALONE,
	INSIDE,
	INSIDE_INGRESS,
	WEAK,
	PROGRAMS
};
#define OF(kind) (1U << (kind))
static const struct {
	const char *name;
	bool inside, egress;
	uint32_t kinds;
} programs[PROGRAMS] = {
	[PEER_INGRESS] = { "guard_peer_ingress", false, false, OF(KIND_VETH) },
	[WITNESS] = { "witness_peer", false, false, OF(KIND_VETH) },
	[PEER_EGRESS] = { "guard_peer_egress", false, true, OF(KIND_VETH) },
	[PARENT_EGRESS] = { "guard_parent_egress", false, true, OF(KIND_MACVLAN) },
	[PARENT_INGRESS] = { "guard_parent_ingress", false, false, OF(KIND_MACVLAN) },
	[ALONE] = { "guard_alone", true, true, OF(KIND_IPVLAN) },
	[INSIDE] = { "guard_inside", true, true, OF(KIND_VETH) | OF(KIND_MACVLAN) },
	[INSIDE_INGRESS] = { "guard_inside_ingress", true, false,
			     OF(KIND_MACVLAN) | OF(KIND_IPVLAN) },
	[WEAK] = { "guard_weak", true, true, OF(KIND_HOST) },
};

struct guards {
	struct gate *gate;
	const struct pins *pins;
	int fds[PROGRAMS]; /* 0: not loaded */
	uint32_t ids[PROGRAMS];
	uint64_t expected_ns; /* when the witness is due to expect less; 0: it is not */
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

		if ((strncmp(e->d_name, "guard_", 6) && strncmp(e->d_name, "witness_", 8)) ||
		    (size_t)snprintf(path, sizeof(path), LINKS "/%.60s", e->d_name) >= sizeof(path))
			continue;
		fd = bpf_obj_get(path);
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) && !info.ifindex)
			unlink(path);
	}
}

/* Those that are loaded. */
static int note_programs(struct guards *g, struct error *err)
{
	for (size_t i = 0; i < PROGRAMS; i++) {
		struct bpf_prog_info info = { 0 };
		__u32 length = sizeof(info);
		int fd = gate_program(g->gate, programs[i].name);

		if (!fd)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "read the guard's programs");
		g->fds[i] = fd;
		g->ids[i] = info.id;
	}
	return 0;
}

int guards_open(struct guards **ret, struct gate *gate, struct error *err)
{
	_cleanup_free struct guards *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "open the guard");
	g->gate = gate;
	g->pins = gate_pins(gate);
	g->expected_ns = now_boot_ns(); /* an earlier daemon's */
	r = note_programs(g, err);
	if (!r)
		*ret = TAKE_PTR(g);
	return r;
}

static int load_programs_of(struct guards *g, enum guard_kind kind, struct error *err)
{
	const char *lacking[PROGRAMS];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < PROGRAMS; i++)
		if (programs[i].kinds & OF(kind) && !g->fds[i])
			lacking[n++] = programs[i].name;
	r = n ? gate_load_programs(g->gate, lacking, n, err) : 0;
	return r || !n ? r : note_programs(g, err);
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
	return (struct guard_slot_key) { .who = d->netns_cookie, .ifindex = d->ifindex };
}

static enum guard_kind kind_of(const struct guard *record)
{
	return record->flags & GUARD_MACVLAN  ? KIND_MACVLAN
	       : record->flags & GUARD_IPVLAN ? KIND_IPVLAN
	       : record->peer_ifindex	      ? KIND_VETH
					      : KIND_HOST;
}

static bool is_of(size_t program, const struct guard_spec *s)
{
	return programs[program].kinds & OF(s->kind);
}

static struct tc_place place_of(const struct guards *g, const struct guard_spec *s, size_t program,
				uint32_t slot)
{
	const struct device *d = programs[program].inside ? &s->inside : &s->outside;

	return (struct tc_place) { .netns_fd = d->netns_fd,
				   .netns_ino = d->netns_ino,
				   .ifindex = d->ifindex,
				   .egress = programs[program].egress,
				   .may_gap = programs[program].inside || program == WITNESS,
				   .behind_id = program == WITNESS ? g->ids[PEER_INGRESS] : 0,
				   .program = programs[program].name,
				   .program_fd = g->fds[program],
				   .program_id = g->ids[program],
				   /* a parent's are of all guards on it, and look for themselves */
				   .slot = s->kind == KIND_MACVLAN && !programs[program].inside
						   ? 0
						   : slot };
}

/* ------ a macvlan's parent, which several may share ------ */

static struct guard_slot_key netns_key(const struct guard *record)
{
	return (struct guard_slot_key) { .who = record->netns_ino,
					 .ifindex = record->peer_ifindex,
					 .by = GUARD_SLOT_NETNS };
}

static struct guard_slot_key mac_key(const struct guard *record)
{
	struct guard_slot_key key = { .ifindex = record->peer_ifindex, .by = GUARD_SLOT_MAC };

	memcpy(&key.who, record->mac, sizeof(record->mac));
	return key;
}

/* The slot of another guard on that parent, of that netns if it is given; 0: none. */
static uint32_t find_sibling(const struct guards *g, uint32_t slot, const struct device *parent,
			     uint32_t netns_ino)
{
	struct guard other;

	for (uint32_t i = 1; i < VPNLEASH_GUARDS; i++)
		if (i != slot && !bpf_map_lookup_elem(g->pins->guards, &i, &other) &&
		    other.flags & GUARD_MACVLAN && other.peer_ifindex == parent->ifindex &&
		    other.peer_netns_ino == parent->netns_ino &&
		    (!netns_ino || other.netns_ino == netns_ino))
			return i;
	return 0;
}

static void forget_slot(const struct guards *g, const struct guard_slot_key *key, uint32_t slot)
{
	uint32_t whose;

	if (!bpf_map_lookup_elem(g->pins->guard_slots, key, &whose) && whose == slot)
		bpf_map_delete_elem(g->pins->guard_slots, key);
}

static void leave_parent(const struct guards *g, const struct device *parent, uint32_t slot,
			 const struct guard *record)
{
	struct guard_slot_key netns = netns_key(record), mac = mac_key(record);
	uint32_t sibling = find_sibling(g, slot, parent, record->netns_ino);

	forget_slot(g, &mac, slot);
	if (sibling)
		bpf_map_update_elem(g->pins->guard_slots, &netns, &sibling, BPF_ANY);
	else
		forget_slot(g, &netns, slot);
}

/* ------ one guard ------ */

static int write_slots(const struct guards *g, const struct guard_spec *s, uint32_t slot,
		       const struct guard *record, const struct guard *was)
{
	struct guard_slot_key inside = device_key(&s->inside), outside = device_key(&s->outside),
			      netns = netns_key(record), mac = mac_key(record), old = mac_key(was);
	int fd = g->pins->guard_slots;

	if (s->kind == KIND_VETH && bpf_map_update_elem(fd, &outside, &slot, BPF_ANY) < 0)
		return -errno;
	if (s->kind == KIND_MACVLAN && (bpf_map_update_elem(fd, &netns, &slot, BPF_ANY) < 0 ||
					bpf_map_update_elem(fd, &mac, &slot, BPF_ANY) < 0))
		return -errno;
	if (was->flags & GUARD_MACVLAN && memcmp(&old, &mac, sizeof(mac)))
		forget_slot(g, &old, slot);
	return bpf_map_update_elem(fd, &inside, &slot, BPF_ANY) < 0 ? -errno : 0;
}

/* Before the record says so. Where bootstrap has its hosts, these are expected, and no others. */
static void excuse(const struct guards *g, uint32_t slot, const struct guard *record)
{
	witness_excuse(g->pins, slot,
		       record->flags & GUARD_AUDIT	       ? UINT64_MAX
		       : record->flags & GUARD_BOOTSTRAP_HOSTS ? 0
							       : record->bootstrap_until_ns);
}

int guard_put(struct guards *g, const struct guard_spec *s, struct error *err)
{
	struct guard record = { 0 }, was;
	uint32_t slot = slot_of(g, s, &record);
	int r = load_programs_of(g, s->kind, err);

	if (r)
		return r;
	if (!slot)
		slot = find_slot(g, 0, 0, &record);
	if (!slot)
		return fail(err, ERROR_OTHER, -ENOSPC, NULL, "guard interface %u",
			    s->inside.ifindex);
	was = record;
	record.netns_cookie = s->inside.netns_cookie;
	record.netns_ino = s->inside.netns_ino;
	record.ifindex = s->inside.ifindex;
	record.peer_netns_ino = s->outside.netns_ino;
	record.peer_ifindex = s->outside.ifindex;
	record.flags = s->flags | (s->kind == KIND_MACVLAN  ? GUARD_MACVLAN
				   : s->kind == KIND_IPVLAN ? GUARD_IPVLAN
							    : 0);
	record.levels = s->levels;
	record.listen_port = s->listen_port;
	record.n_addresses = (uint32_t)s->n_addresses;
	memcpy(record.mac, s->mac, sizeof(record.mac));
	memcpy(record.addresses, s->addresses, sizeof(record.addresses));
	r = s->kind == KIND_VETH ? witness_put(g->pins, slot, record.netns_cookie) : 0;
	excuse(g, slot, &record);
	/* the record before the programs: one without a record would shut the VPN out */
	if (!r && bpf_map_update_elem(g->pins->guards, &slot, &record, BPF_ANY) < 0)
		r = -errno;
	r = r ? r : write_slots(g, s, slot, &record, &was);
	near_guards_changed(g->pins->near);
	if (r)
		return fail(err, ERROR_OTHER, r, NULL, "record the guard of interface %u",
			    s->inside.ifindex);
	for (size_t i = 0; !r && i < PROGRAMS; i++) {
		struct tc_place place = place_of(g, s, i, slot);

		if (is_of(i, s) && tc_check(&place))
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
		int r = is_of(i, s) ? tc_check(&place) : 0;

		*ret_which = programs[i].name;
		if (r)
			return r;
	}
	return 0;
}

static uint32_t witness_slot(const struct guards *g, const struct guard_spec *s)
{
	return s->kind == KIND_VETH ? guard_slot(g, s) : 0;
}

bool guard_witnessed(const struct guards *g, const struct guard_spec *s, struct witnessed *ret)
{
	uint32_t slot = witness_slot(g, s);

	return slot && witness_read(g->pins, slot, ret);
}

uint64_t guard_strays(struct guards *g, const struct guard_spec *s, struct drop_event *ret_last)
{
	uint32_t slot = witness_slot(g, s);
	struct witnessed w;

	if (g->expected_ns && now_boot_ns() >= g->expected_ns && witness_sweep(g->pins))
		g->expected_ns = 0;
	if (!slot || !witness_read(g->pins, slot, &w))
		return 0;
	*ret_last = w.last;
	return witness_tell(g->pins, slot, w.strays);
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
	bool shared = s->kind == KIND_MACVLAN && find_sibling(g, slot, &s->outside, 0);

	for (size_t i = PROGRAMS; i-- > 0;) {
		struct tc_place place = place_of(g, s, i, slot);

		if (is_of(i, s) && !(programs[i].inside ? other_end : shared))
			tc_detach(&place);
	}
	if (slot && !other_end && s->kind == KIND_MACVLAN)
		leave_parent(g, &s->outside, slot, &record);
	if (s->kind == KIND_VETH)
		bpf_map_delete_elem(p->guard_slots, &outside);
	if (!other_end)
		bpf_map_delete_elem(p->guard_slots, &inside);
	if (!other_end && slot) {
		memset(&record, 0, sizeof(record));
		bpf_map_update_elem(p->guards, &slot, &record, BPF_ANY);
		witness_forget(p, slot);
	}
	near_guards_changed(p->near);
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
	excuse(g, slot, &record);
	return bpf_map_update_elem(g->pins->guards, &slot, &record, BPF_ANY) < 0 ? -errno : 0;
}

void guard_lost(struct guards *g, const struct guard_spec *s, bool gone)
{
	bool shared = s->kind == KIND_MACVLAN || s->kind == KIND_IPVLAN;
	struct tc_place place = place_of(g, s,
					 s->kind == KIND_HOST ? WEAK
					 : shared	      ? INSIDE_INGRESS
							      : PEER_INGRESS,
					 0);

	if ((gone && shared) || tc_check(&place) == -ENODEV)
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

static void expect_no_more(struct guards *g, const struct address_key *key)
{
	witness_expect_no_more(g->pins, key);
	g->expected_ns = now_boot_ns() + VPNLEASH_EXPECTED_NS + 1;
}

/* One that is there and says the same is left alone: what it counts goes on. */
static int put_rule(struct guards *g, int fd, const struct address_rule *r,
		    const struct address_key *present, size_t n)
{
	struct address_value is;
	int result;

	for (size_t i = 0; i < n; i++)
		if (!memcmp(&present[i], &r->key, sizeof(r->key)) &&
		    !bpf_map_lookup_elem(fd, &r->key, &is) && is.allowed == r->value.allowed &&
		    is.source == r->value.source && is.by_gate == r->value.by_gate)
			return 0;
	result = r->value.allowed ? witness_expect(g->pins, &r->key) : 0;
	if (result)
		return result;
	if (bpf_map_update_elem(fd, &r->key, &r->value, BPF_ANY) < 0)
		return -errno;
	if (!r->value.allowed)
		expect_no_more(g, &r->key);
	return 0;
}

int guard_rules(struct guards *g, enum address_trie trie, uint64_t netns_cookie,
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
				r = put_rule(g, fd, &rules[i], present, n_present);
	for (size_t i = 0; i < n_present; i++)
		if (!is_among(&present[i], rules, n)) {
			bpf_map_delete_elem(fd, &present[i]);
			expect_no_more(g, &present[i]);
		}
	near_guards_changed(g->pins->near);
	return r;
}

static int forget_rules(struct guards *g, uint64_t netns_cookie)
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

static bool has_ino(int netns_fd, void *arg)
{
	return netns_ino(netns_fd) == *(uint32_t *)arg;
}

/* Where the record says it is; the caller closes what was found. */
static struct guard_spec find_places(const struct guard *record, int ours)
{
	struct device in = { -1, record->netns_ino, record->netns_cookie, record->ifindex };
	struct device out = { -1, record->peer_netns_ino, 0, record->peer_ifindex };
	uint32_t our_ino = (uint32_t)netns_ino(ours);

	in.netns_fd = netns_find(has_ino, &in.netns_ino);
	if (out.netns_ino && out.netns_ino != our_ino)
		out.netns_fd = netns_find(has_ino, &out.netns_ino);
	if (out.netns_ino == our_ino || out.netns_fd >= 0)
		netns_cookie(out.netns_fd < 0 ? ours : out.netns_fd, &out.netns_cookie);
	return (struct guard_spec) { .kind = kind_of(record), .inside = in, .outside = out };
}

/* One that shares its parent leaves nothing there that says it is gone, and its MAC may soon be
 * another's. */
static void sweep_shared(struct guards *g, const struct guard *record, int ours)
{
	struct guard_spec s;
	uint64_t cookie;

	privilege_long_work(true); /* all of /proc */
	s = find_places(record, ours);
	privilege_long_work(false);
	/* the inode's number may be another's by now */
	if (s.inside.netns_fd >= 0 && !netns_cookie(s.inside.netns_fd, &cookie) &&
	    cookie != record->netns_cookie)
		s.inside.netns_fd = close_fd(s.inside.netns_fd);
	if (s.inside.netns_fd < 0)
		remove_guard(g, &s);
	close_fd(s.inside.netns_fd);
	close_fd(s.outside.netns_fd);
}

static void sweep_records(struct guards *g, bool (*is_known)(uint64_t cookie, void *arg), void *arg)
{
	_cleanup_fd int ours = -1;
	struct error err;

	if (netns_open("host", &ours, &err))
		return;
	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++) {
		struct guard record;
		struct guard_spec s = { .outside.netns_fd = -1 };
		struct tc_place place;

		if (bpf_map_lookup_elem(g->pins->guards, &slot, &record) || !record.netns_cookie)
			continue;
		if (record.flags & (GUARD_MACVLAN | GUARD_IPVLAN) &&
		    !is_known(record.netns_cookie, arg))
			sweep_shared(g, &record, ours);
		if (record.flags & (GUARD_MACVLAN | GUARD_IPVLAN) ||
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
		    !(key.by == GUARD_SLOT_DEVICE && record.netns_cookie == key.who &&
		      record.ifindex == key.ifindex) &&
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
	sweep_records(g, is_known, arg);
	sweep_slots(g);
	near_guards_changed(g->pins->near);
	sweep_rules(g, g->pins->endpoints, is_known, arg);
	sweep_rules(g, g->pins->exceptions, is_known, arg);
}

/* ------ by what the records say ------ */

int guard_take_off(const struct pins *p, uint64_t cookie, struct error *err)
{
	struct guards g = { .pins = p };
	_cleanup_fd int ours = -1;
	int r = netns_open("host", &ours, err);

	if (r)
		return r;
	for (uint32_t slot = 1; slot < VPNLEASH_GUARDS; slot++) {
		struct guard record;
		struct guard_spec s;

		if (bpf_map_lookup_elem(p->guards, &slot, &record) || record.netns_cookie != cookie)
			continue;
		s = find_places(&record, ours);
		remove_guard(&g, &s);
		close_fd(s.inside.netns_fd);
		close_fd(s.outside.netns_fd);
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
