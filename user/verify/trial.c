/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verify/trial.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#define PACKETS	    3 /* of each kind: from old sockets and new ones */
#define INTERVAL_MS 10
#define SEND_MS	    5000 /* a bound */

/* These choose their interface themselves; all others follow routes, which lead to the decoy. */
#define BY_UNDERLAY                                                                      \
	"device4,device6,pktinfo4,pktinfo6,unicastif4,unicastif6,multicast4,multicast6," \
	"broadcast4,packet4,past4,ether,vlan,arp"
/* Needs an answer; a packet socket passes every gate, and no guard is on the decoy. */
static bool is_for_decoy(const struct kind *k)
{
	return k->family != AF_PACKET && !(k->type == SOCK_STREAM && k->life == LIFE_KEPT);
}

static uint64_t kinds_of(size_t way)
{
	uint64_t set = 0;

	if (way)
		kinds_parse(BY_UNDERLAY, &set, NULL);
	for (unsigned int i = 0; !way && kind_at(i); i++)
		set |= is_for_decoy(kind_at(i)) ? 1ULL << i : 0;
	return set;
}

void trial_begin(struct trial *t)
{
	t->n_rows = 0;
	for (unsigned int way = 0; way < t->place.n_ways; way++)
		for (unsigned int i = 0; kind_at(i) && t->n_rows < TRIAL_ROWS; i++)
			if (t->place.ways[way].capture.fd >= 0 && kinds_of(way) & 1ULL << i)
				t->rows[t->n_rows++] = (struct row) { .way = way, .kind = i };
}

/* Frames of that kind at the way's end, and beyond all ends. */
struct counts {
	uint64_t end, beyond;
};

static struct counts count(const struct place *p, const struct row *r)
{
	struct counts c = { .end = p->ways[r->way].capture.seen[r->kind].frames };

	for (size_t i = 0; i < p->n_beyond; i++) {
		uint64_t n = p->beyond[i].capture.seen[r->kind].frames;

		c.beyond = n > c.beyond ? n : c.beyond;
	}
	return c;
}

/* Only a bridge shows every frame that the guard there lets through; an uplink what is routed. */
static bool bridge_is_seen(const struct place *p)
{
	for (size_t i = 0; i < p->n_beyond; i++)
		if (p->beyond[i].fenced && !strcmp(p->beyond[i].what, "bridge"))
			return true;
	return false;
}

/* A packet socket's frame may reach the guard's place; a socket's is not to get that far. */
static void judge(const struct place *p, struct row *r, enum column c, struct counts seen)
{
	bool frame = kind_at(r->kind)->family == AF_PACKET;
	struct cell *cell = &r->cells[c];

	if (c == COLUMN_CONTROL || !frame || !p->ways[r->way].before_guard) {
		cell->seen = seen.end > seen.beyond ? seen.end : seen.beyond;
	} else {
		cell->seen = seen.beyond;
		cell->tried &= bridge_is_seen(p);
	}
	/* fragments and segments: of so many packets something was seen */
	if (kind_at(r->kind)->inexact && cell->seen > cell->sent)
		cell->seen = cell->sent;
}

static int run_way(struct trial *t, unsigned int way, enum column c, int cgroup_fd,
		   struct error *err)
{
	struct place *p = &t->place;
	struct way *w = &p->ways[way];
	struct sending plan = { .cgroup_fd = cgroup_fd,
				.netns_fd = p->netns_fd,
				.kinds = kinds_of(way),
				.count = PACKETS,
				.interval_ms = INTERVAL_MS,
				.max_seconds = SEND_MS / 1000 };
	_cleanup_(sender_free) struct sender s = { .child = CHILD_NONE };
	struct counts before[TRIAL_ROWS];
	int r;

	for (size_t i = 0; i < t->n_rows; i++)
		before[i] = count(p, &t->rows[i]);
	r = sender_start(&s, &plan, &w->targets, err);
	r = r ? r : sender_wait(&s, SEND_MS, err);
	r = r ? r : place_settle(p, w, err);
	if (r)
		return r;
	for (size_t i = 0; i < t->n_rows; i++) {
		struct row *row = &t->rows[i];
		const struct tally *tally = &s.tally[row->kind];
		struct counts now = count(p, row);

		if (row->way != way)
			continue;
		skip_reason(kind_at(row->kind), tally, row->skipped, sizeof(row->skipped));
		row->cells[c] = (struct cell) { .tried = tally->attempted && w->fenced,
						.sent = tally->attempted };
		judge(p, row, c,
		      (struct counts) { now.end - before[i].end, now.beyond - before[i].beyond });
	}
	return 0;
}

static uint64_t asked(const struct trial *t)
{
	uint64_t set = 0, n = 0;

	kinds_parse("dns4", &set, NULL);
	for (unsigned int i = 0; kind_at(i); i++)
		n += set & 1ULL << i ? t->place.tunnel.seen[i].frames : 0;
	return n;
}

int trial_run(struct trial *t, enum column c, int cgroup_fd, struct error *err)
{
	uint64_t before = asked(t);
	int r = 0;

	for (unsigned int way = 0; !r && way < t->place.n_ways; way++)
		if (t->place.ways[way].capture.fd >= 0)
			r = run_way(t, way, c, cgroup_fd, err);
	if (c == COLUMN_UP)
		t->asked = asked(t) - before;
	return r;
}

/* ---- what it proves ---- */

enum how trial_how(const struct trial *t, const struct row *r)
{
	const struct cell *control = &r->cells[COLUMN_CONTROL];

	if (control->tried && control->seen)
		return HOW_IN_PLACE;
	/* on the decoy nothing stands in for it: no guard is there to drop the control's */
	return r->way && t->place.ways[r->way].fenced && !*r->skipped ? HOW_STAND_IN : HOW_UNPROVEN;
}

struct sum trial_sum(const struct trial *t)
{
	struct sum sum = { 0 };

	for (size_t i = 0; i < t->n_rows; i++) {
		const struct row *row = &t->rows[i];
		bool in_place = trial_how(t, row) == HOW_IN_PLACE, any = false;

		for (enum column c = COLUMN_UP; c < COLUMNS; c++) {
			const struct cell *cell = &row->cells[c];

			sum.leaked += cell->seen;
			if (!in_place || !cell->tried)
				continue;
			sum.sent += cell->sent;
			any = true;
		}
		sum.rows += any;
		sum.gate |= any && kind_at(row->kind)->family != AF_PACKET;
	}
	return sum;
}

bool trial_names_lost(const struct trial *t)
{
	for (size_t i = 0; i < t->n_rows; i++)
		if (kind_at(t->rows[i].kind)->port && t->rows[i].cells[COLUMN_UP].tried)
			return !t->asked;
	return false;
}
