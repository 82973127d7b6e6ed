/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/reopen.h"

unsigned int reopen_recent(const struct reopen *r, uint64_t now_ns)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < REOPEN_REMEMBER; i++)
		n += r->openings_ns[i] && now_ns - r->openings_ns[i] < REOPEN_WINDOW_NS;
	return n;
}

uint64_t reopen_gap_ns(const struct reopen *r, uint64_t now_ns)
{
	uint64_t gap = REOPEN_GAP_NS << reopen_recent(r, now_ns);

	return gap < REOPEN_GAP_MAX_NS ? gap : REOPEN_GAP_MAX_NS;
}

bool reopen_seen(struct reopen *r, uint64_t seen_ns, uint64_t now_ns)
{
	if (!r->first_seen_ns || seen_ns > r->last_seen_ns + REOPEN_SILENCE_NS)
		r->first_seen_ns = seen_ns;
	if (seen_ns > r->last_seen_ns)
		r->last_seen_ns = seen_ns;
	return seen_ns >= r->first_seen_ns + reopen_gap_ns(r, now_ns);
}

void reopen_opened(struct reopen *r, uint64_t now_ns)
{
	r->openings_ns[r->next++ % REOPEN_REMEMBER] = now_ns;
	r->first_seen_ns = 0;
}

void reopen_failed(struct reopen *r)
{
	r->first_seen_ns = 0;
}
