/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/measure.h"

#include "base/util.h"

#define LATE_MIN_NS (NS_PER_SEC / 2)
#define LATE_MAX_NS (2 * NS_PER_SEC)
#define IDLE_NS	    (3 * NS_PER_SEC / 2) /* at most, from a sign of life to the first probe */
#define RUN	    8	 /* more than that are not lost one by one: they were an outage */
#define LOSS_MIN    0.02 /* what 64 probes can not tell from none */
#define WRONG	    1e-6 /* of all silences: in a day there are 40000 */
#define KNOWN_MIN   16	 /* the first few say little */
#define KNOWN_MAX   64

static uint64_t clamp(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

static uint64_t round_trip_ns(const struct measure *m)
{
	return m->rtt_ns + 4 * m->var_ns;
}

static double loss(const struct measure *m)
{
	return (double)__builtin_popcountll(m->lost) /
	       (m->known > KNOWN_MIN ? m->known : KNOWN_MIN);
}

uint32_t measure_ask(struct measure_asked *a, uint64_t now_ns)
{
	uint32_t number = a->next++;

	a->at_ns[number % MEASURE_ASKED] = now_ns;
	a->answered &= ~(1ULL << number % MEASURE_ASKED);
	if (a->next - a->judged > MEASURE_ASKED)
		a->judged = a->next - MEASURE_ASKED;
	return number;
}

/* What was asked long enough ago is answered by now, or lost. Told only when an answer has come:
 * while there is none nobody knows whether there is anybody. */
static void judge(struct measure *m, struct measure_asked *a, uint64_t t_ns)
{
	uint64_t late = 2 * measure_late_ns(m);

	for (; a->judged != a->next; a->judged++) {
		unsigned int at = a->judged % MEASURE_ASKED;
		bool answered = a->answered >> at & 1;

		if (!answered && t_ns < a->at_ns[at] + late)
			return;
		a->lost_in_a_row = answered ? 0 : a->lost_in_a_row + 1;
		if (a->lost_in_a_row > RUN)
			continue;
		m->lost = m->lost << 1 | !answered;
		m->known += m->known < KNOWN_MAX;
	}
}

uint64_t measure_answered(struct measure *m, struct measure_asked *a, uint32_t number,
			  uint64_t t_ns)
{
	unsigned int at = number % MEASURE_ASKED;
	uint64_t took, off;

	if (a->next - number - 1 >= MEASURE_ASKED || !a->at_ns[at] || a->answered >> at & 1 ||
	    t_ns < a->at_ns[at])
		return 0;
	a->answered |= 1ULL << at;
	took = t_ns - a->at_ns[at];
	off = took > m->rtt_ns ? took - m->rtt_ns : m->rtt_ns - took;
	if (!m->rtt_ns) {
		m->rtt_ns = took;
		m->var_ns = took / 2;
	} else {
		m->var_ns += off / 4 - m->var_ns / 4;
		m->rtt_ns += took / 8 - m->rtt_ns / 8;
	}
	judge(m, a, t_ns);
	return took ? took : 1;
}

uint64_t measure_late_ns(const struct measure *m)
{
	return clamp(round_trip_ns(m), LATE_MIN_NS, LATE_MAX_NS);
}

unsigned int measure_loss_percent(const struct measure *m)
{
	return (unsigned int)(100 * loss(m));
}

/*
 * A silence begins with a tunnel that is idle, then with a probe that is late; after that there are
 * so many more that all of them are lost once in 1/WRONG silences; and the last one's answer has
 * its way to go.
 */
uint64_t measure_patience_ns(const struct measure *m, uint64_t interval_ns)
{
	double lost = loss(m) > LOSS_MIN ? loss(m) : LOSS_MIN, all_lost = 1;
	uint64_t ns = IDLE_NS + measure_late_ns(m) + round_trip_ns(m);

	for (; all_lost > WRONG && ns < PATIENCE_MAX_NS; all_lost *= lost)
		ns += interval_ns;
	return clamp(ns, PATIENCE_MIN_NS, PATIENCE_MAX_NS);
}
