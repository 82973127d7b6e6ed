/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/witness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

int witness_put(const struct pins *p, uint32_t slot, uint64_t netns_cookie)
{
	struct witness w = { 0 };

	if (!bpf_map_lookup_elem(p->witnesses, &slot, &w) && w.netns_cookie == netns_cookie)
		return 0;
	witness_forget(p, slot);
	w = (struct witness) { .netns_cookie = netns_cookie };
	return bpf_map_update_elem(p->witnesses, &slot, &w, BPF_ANY) < 0 ? -errno : 0;
}

void witness_forget(const struct pins *p, uint32_t slot)
{
	_cleanup_free struct witnessed *zero =
		calloc((size_t)libbpf_num_possible_cpus(), sizeof(*zero));
	const struct witness none = { 0 };

	bpf_map_update_elem(p->witnesses, &slot, &none, BPF_ANY);
	if (zero)
		bpf_map_update_elem(p->witnessed, &slot, zero, BPF_ANY);
}

int witness_expect(const struct pins *p, const struct address_key *key)
{
	const uint64_t holds = 0;

	return bpf_map_update_elem(p->expected, key, &holds, BPF_ANY) < 0 ? -errno : 0;
}

void witness_expect_no_more(const struct pins *p, const struct address_key *key)
{
	const uint64_t now = now_boot_ns();

	bpf_map_update_elem(p->expected, key, &now, BPF_EXIST);
}

void witness_excuse(const struct pins *p, uint32_t slot, uint64_t until_ns)
{
	uint64_t soon = now_boot_ns() + VPNLEASH_EXPECTED_NS, was;
	struct witness w;

	if (bpf_map_lookup_elem(p->witnesses, &slot, &w))
		return;
	was = w.excused_until_ns;
	if (until_ns < was)
		until_ns = was < soon ? was : until_ns > soon ? until_ns : soon;
	if (until_ns == was)
		return;
	w.excused_until_ns = until_ns;
	bpf_map_update_elem(p->witnesses, &slot, &w, BPF_ANY);
}

bool witness_read(const struct pins *p, uint32_t slot, struct witnessed *ret)
{
	int n = libbpf_num_possible_cpus();
	_cleanup_free struct witnessed *each = n > 0 ? calloc((size_t)n, sizeof(*each)) : NULL;

	*ret = (struct witnessed) { 0 };
	if (!each || bpf_map_lookup_elem(p->witnessed, &slot, each))
		return false;
	for (int i = 0; i < n; i++) {
		ret->frames += each[i].frames;
		ret->excused += each[i].excused;
		ret->strays += each[i].strays;
		if (each[i].last.at_ns >= ret->last.at_ns)
			ret->last = each[i].last;
	}
	return true;
}

uint64_t witness_tell(const struct pins *p, uint32_t slot, uint64_t strays)
{
	struct witness w;
	uint64_t new;

	if (bpf_map_lookup_elem(p->witnesses, &slot, &w) || w.told >= strays)
		return 0;
	new = strays - w.told;
	w.told = strays;
	bpf_map_update_elem(p->witnesses, &slot, &w, BPF_ANY);
	return new;
}

bool witness_sweep(const struct pins *p)
{
	struct address_key stale[64], key, *previous = NULL;
	uint64_t now = now_boot_ns(), since;
	bool all = true;
	size_t n = 0;

	/* deleted after the walk, which would begin anew else */
	for (; n < ARRAY_SIZE(stale) && !bpf_map_get_next_key(p->expected, previous, &key);
	     previous = &key) {
		struct address_key exact = key;

		if (bpf_map_lookup_elem(p->expected, &exact, &since) || !since)
			continue;
		if (now - since > VPNLEASH_EXPECTED_NS)
			stale[n++] = key;
		else
			all = false;
	}
	for (size_t i = 0; i < n; i++)
		bpf_map_delete_elem(p->expected, &stale[i]);
	return all && n < ARRAY_SIZE(stale);
}
