/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random walks of the composed machine: a tunnel, its workloads, the VPN's bootstrap, an operator,
 * and a daemon that dies between any two steps and comes back. What decides are the real tables;
 * what carries it out is a model of act/ and core/leash.c in the order in which they write. After
 * each write the promises must hold of what the kernel has. STEPS=N (1000000), SEED=N: the same
 * again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/policy.h"

#define WORKLOADS 3
#define LEASE_MS  3000

struct workload {
	/* the kernel's and the disk's: these outlive the daemon */
	bool cgroup, admitted, flagged, frozen, held, held_on_disk;
	bool by_operator; /* frozen */
	/* the daemon's */
	enum workload_state state;
	bool asked_held; /* answered: from then on nothing passes */
};

static struct {
	unsigned int seed;
	unsigned long long now, expires, proven, bootstrap_until;
	bool alive; /* the daemon */
	bool link;
	bool failed; /* hard evidence was acted on, and nothing has proven the tunnel since */
	enum tunnel_state tunnel;
	struct workload w[WORKLOADS];
	unsigned long long crashes, granted, admitted, thawed, frozen;
} m;

static unsigned int dice(unsigned int sides)
{
	return (unsigned int)rand_r(&m.seed) % sides;
}

static bool lease_lives(void)
{
	return m.now < m.expires;
}

static bool passes(const struct workload *w)
{
	return w->cgroup && w->admitted && !w->held && lease_lives();
}

#define MUST(what)                                                        \
	do {                                                              \
		if (!(what))                                              \
			fail_msg("at %llu ms: not so: %s", m.now, #what); \
	} while (0)

static void promises(void)
{
	MUST(!lease_lives() || m.now < m.proven + LEASE_MS);
	MUST(!(m.alive && m.failed && lease_lives()));
	MUST(!lease_lives() || m.now >= m.bootstrap_until);
	for (const struct workload *w = m.w; w < m.w + WORKLOADS; w++) {
		MUST(!(w->asked_held && passes(w)));
		MUST(!w->frozen || w->flagged || w->by_operator); /* or nobody would thaw it */
	}
}

/* A write: false, it did not come to it, as the daemon has died. */
#define WRITE(...)                           \
	do {                                 \
		if (m.alive && !dice(500)) { \
			m.alive = false;     \
			m.crashes++;         \
		}                            \
		if (!m.alive)                \
			return;              \
		__VA_ARGS__;                 \
		promises();                  \
	} while (0)

static void carry_out_tunnel(enum action a)
{
	if (a == DO_GRANT) {
		WRITE(m.bootstrap_until = 0);
		WRITE(m.expires = m.now + LEASE_MS; m.proven = m.now; m.failed = false;
		      m.granted++);
	} else if (a == DO_RENEW) {
		MUST(lease_lives());
		WRITE(m.proven = m.now; m.expires = m.now + LEASE_MS);
	} else if (a == DO_REVOKE) {
		WRITE(m.expires = 0);
	}
}

static void freeze(struct workload *w)
{
	if (w->frozen && !w->flagged)
		return;
	WRITE(w->flagged = true);
	MUST(!w->admitted); /* or what the frozen retransmit would leave */
	WRITE(w->frozen = true; m.frozen++);
}

static void thaw(struct workload *w, bool shut)
{
	MUST(shut ? !w->admitted : w->admitted);
	if (!w->flagged || (!shut && !lease_lives()))
		return;
	WRITE(w->frozen = w->by_operator = false; m.thawed++);
	WRITE(w->flagged = false);
}

static void carry_out_workload(struct workload *w, enum action a)
{
	if (a == DO_START)
		MUST(m.tunnel == TUNNEL_UP);
	if (!w->cgroup)
		return;
	if (a == DO_ADMIT)
		WRITE(w->admitted = true; m.admitted++);
	else if (a == DO_BAR)
		WRITE(w->admitted = false);
	else if (a == DO_FREEZE)
		freeze(w);
	else if (a == DO_THAW || a == DO_THAW_SHUT)
		thaw(w, a == DO_THAW_SHUT);
	else if (a == DO_STOP)
		MUST(!w->admitted && (!w->frozen || !w->flagged)); /* the frozen do not hear it */
}

static void workload_in(struct workload *w, enum input in)
{
	const struct step *s = policy_workload(w->state, in);

	MUST(s->to != WORKLOAD_INVALID);
	for (int i = 0; i < STEP_ACTIONS && m.alive; i++)
		carry_out_workload(w, s->actions[i]);
	if (!m.alive)
		return;
	w->state = s->to;
	if (in != IN_CGROUP_BORN && w->cgroup)
		MUST(w->admitted == (w->state == WORKLOAD_OPEN));
}

/* As workload_tunnel_changed(): what stands in its way, some of it by chance. */
static void look_at(struct workload *w)
{
	struct workload_facts f = { .tunnel_up = m.tunnel == TUNNEL_UP,
				    .held = w->held_on_disk,
				    .unreadable = !dice(50),
				    .may_leave = !dice(50),
				    .orphaned = !dice(50),
				    .may_move = dice(2),
				    .block = !dice(8) };

	f.may_freeze = !f.tunnel_up && !f.block && dice(8);
	workload_in(w, policy_workload_facts(&f));
}

static void tunnel_in(enum input in)
{
	const struct step *s;

	if (m.tunnel == TUNNEL_UP && !lease_lives() && in != IN_LEASE_EXPIRED)
		tunnel_in(IN_LEASE_EXPIRED); /* tunnel_seen(): renewing it would hide a gap */
	s = policy_tunnel(m.tunnel, in);
	MUST(s->to != TUNNEL_INVALID);
	for (int i = 0; i < STEP_ACTIONS && m.alive; i++)
		carry_out_tunnel(s->actions[i]);
	if (!m.alive)
		return;
	if (m.tunnel == TUNNEL_UP && s->to != TUNNEL_UP)
		m.failed = true;
	if ((m.tunnel == TUNNEL_UP) != (s->to == TUNNEL_UP)) {
		m.tunnel = s->to;
		for (struct workload *w = m.w; w < m.w + WORKLOADS && m.alive; w++)
			look_at(w);
	}
	m.tunnel = s->to;
	MUST(!m.alive || lease_lives() == (m.tunnel == TUNNEL_UP));
}

static void tick(void)
{
	if (m.tunnel == TUNNEL_UP && !lease_lives())
		tunnel_in(IN_LEASE_EXPIRED);
	if (m.tunnel != TUNNEL_UP)
		WRITE(m.bootstrap_until = m.now + LEASE_MS);
}

/* join_workload(): go on from what its record says, or bar it. */
static void join(struct workload *w)
{
	WRITE(w->held = w->held_on_disk; w->admitted &= !w->held);
	if (w->admitted && !w->flagged && m.tunnel == TUNNEL_UP)
		w->state = WORKLOAD_OPEN;
	else
		workload_in(w, IN_CGROUP_BORN);
	if (m.alive)
		look_at(w);
}

static void start_daemon(void)
{
	m.alive = true;
	m.tunnel = m.link && lease_lives() ? TUNNEL_UP : m.link ? TUNNEL_DOWN : TUNNEL_ABSENT;
	m.failed = false; /* of the last daemon, which acted on it, or its lease has ended */
	if (!m.link && lease_lives())
		carry_out_tunnel(DO_REVOKE);
	for (struct workload *w = m.w; w < m.w + WORKLOADS && m.alive; w++) {
		w->state = WORKLOAD_WAITING;
		if (w->cgroup)
			join(w);
	}
}

static void hold(struct workload *w, bool held)
{
	if (held) {
		WRITE(w->held_on_disk = true);
		if (w->cgroup)
			WRITE(w->held = true);
		w->asked_held = true;
		workload_in(w, IN_HELD);
	} else {
		w->asked_held = false;
		WRITE(w->held = false);
		WRITE(w->held_on_disk = false);
		look_at(w);
	}
}

static void born_or_gone(struct workload *w)
{
	const struct workload none = { .state = w->state,
				       .held_on_disk = w->held_on_disk,
				       .asked_held = w->asked_held };

	if (w->cgroup) {
		*w = none; /* another cgroup would have another record */
		if (m.alive)
			workload_in(w, IN_CGROUP_GONE);
		return;
	}
	w->cgroup = true;
	if (m.alive)
		join(w);
}

/* What the kernel says of the freezer, when it says it. */
static void frozen_or_not(struct workload *w)
{
	if (!dice(10) && (!w->frozen || w->by_operator)) {
		w->frozen = w->by_operator = !w->frozen;
		if (!w->frozen)
			w->flagged = false;
	}
	if (m.alive)
		workload_in(w, w->frozen ? IN_FREEZE_DONE : dice(2) ? IN_THAWED : IN_FREEZE_FAILED);
}

static void move(void)
{
	static const enum input running[] = { IN_STOP_DUE, IN_STOP_FAILED, IN_ENDING },
				ended[] = { IN_TAKEN_DOWN, IN_GIVEN_UP };
	struct workload *w = &m.w[dice(WORKLOADS)];
	unsigned int what = dice(16);

	if (what == 0)
		m.now += dice(1500);
	else if (what == 1)
		born_or_gone(w);
	else if (what == 2 && w->cgroup)
		frozen_or_not(w);
	else if (!m.alive && !dice(4))
		start_daemon();
	else if (!m.alive)
		m.now += dice(200);
	else if (what == 3)
		hold(w, dice(4) == 0);
	else if (what == 4)
		workload_in(w, w->cgroup ? running[dice(3)] : ended[dice(2)]);
	else if (what == 5)
		look_at(w);
	else if (what < 8)
		tick();
	else if (what < 12)
		tunnel_in(dice(2) ? IN_SEEN : IN_PATIENT);
	else if (what < 15)
		tunnel_in(m.link ? IN_PROVEN : IN_LINK_READY);
	else
		tunnel_in(IN_TUNNEL_FIRST + dice(IN_TUNNEL_LAST - IN_TUNNEL_FIRST + 1));
	m.link = m.alive ? m.tunnel != TUNNEL_ABSENT : m.link && dice(50);
	promises();
}

/* Whatever it was: with a daemon, a tunnel that is proven and nobody against it all are open. */
static void recovers(void)
{
	for (int tries = 0; tries < 100; tries++) {
		if (!m.alive) {
			start_daemon();
			continue;
		}
		tunnel_in(IN_LINK_READY);
		tunnel_in(IN_PROVEN);
		for (struct workload *w = m.w; w < m.w + WORKLOADS && m.alive; w++) {
			if (!w->cgroup)
				born_or_gone(w);
			if (w->held_on_disk && m.alive)
				hold(w, false);
			for (int i = 0; i < 20 && m.alive && w->state != WORKLOAD_OPEN; i++) {
				if (w->state == WORKLOAD_STOPPED)
					workload_in(w, IN_CGROUP_BORN); /* the engine started it */
				look_at(w);
			}
			if (!m.alive || w->state != WORKLOAD_OPEN)
				goto again;
			MUST(passes(w) && (!w->frozen || w->by_operator));
		}
		return;
	again:;
	}
	fail_msg("it does not recover");
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void no_walk_breaks_a_promise(void **state)
{
	unsigned long steps = number("STEPS", 1000000),
		      seed = number("SEED", (unsigned long)time(NULL));

	print_message("# SEED=%lu STEPS=%lu\n", seed, steps);
	m.seed = (unsigned int)seed;
	for (unsigned long i = 0; i < steps; i++) {
		if (i % 500 == 499)
			recovers();
		move();
	}
	print_message("# %llu deaths, %llu leases, %llu admissions, %llu freezes, %llu thaws\n",
		      m.crashes, m.granted, m.admitted, m.frozen, m.thawed);
	assert_true(m.crashes && m.granted && m.admitted && m.frozen && m.thawed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_walk_breaks_a_promise) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
