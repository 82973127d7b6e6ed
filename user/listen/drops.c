/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listen/drops.h"

#include <string.h>

#include "report/report.h"

static const char *const meanings[VPNLEASH_REASON_MAX] = {
#define X(number, NAME, name, sentence) [number] = sentence,
	VPNLEASH_REASONS(X)
#undef X
};

static uint32_t reason_number(const char *name)
{
	for (uint32_t r = 1; r < VPNLEASH_REASON_MAX; r++)
		if (!strcmp(report_reason(r), name))
			return r;
	return 0;
}

/* One that was not there before has counted from 0; one that counts less was made anew. */
static void add(struct drops *d, const char *key, const json_t *dropped, json_t *now)
{
	json_t *before = json_object_get(d->before, key), *n;
	const char *name;

	json_object_set(now, key, (json_t *)dropped);
	if (!d->before)
		return;
	json_object_foreach((json_t *)dropped, name, n) {
		json_int_t was = json_integer_value(json_object_get(before, name));
		json_int_t is = json_integer_value(n);

		d->counts[d->step % DROPS_STEPS][reason_number(name)] +=
			(uint64_t)(is >= was ? is - was : is);
	}
}

void drops_add(struct drops *d, const json_t *report, uint64_t now_ns)
{
	uint64_t step = now_ns / DROPS_STEP_NS;
	json_t *now = json_object(), *j;
	char key[1024];
	size_t i;

	for (uint64_t n = 0; n < DROPS_STEPS && d->step + n < step; n++)
		memset(d->counts[(step - n) % DROPS_STEPS], 0, sizeof(d->counts[0]));
	d->step = step;
	json_array_foreach(json_object_get(report, "workloads"), i, j) {
		snprintf(key, sizeof(key), "cgroup %lld",
			 json_integer_value(json_object_get(j, "cgroup_id")));
		add(d, key, json_object_get(j, "dropped"), now);
	}
	json_array_foreach(json_object_get(report, "tunnels"), i, j) {
		snprintf(key, sizeof(key), "tunnel %s",
			 json_string_value(json_object_get(j, "name")));
		add(d, key, json_object_get(json_object_get(j, "guard"), "dropped"), now);
	}
	json_decref(d->before);
	d->before = now;
}

json_t *drops_json(const struct drops *d)
{
	json_t *reasons = json_object();

	for (uint32_t r = 1; r < VPNLEASH_REASON_MAX; r++) {
		json_t *list = json_array();
		uint64_t sum = 0;

		for (uint64_t n = 1; n <= DROPS_STEPS; n++) {
			uint64_t count = d->counts[(d->step + n) % DROPS_STEPS][r];

			json_array_append_new(list, json_integer((json_int_t)count));
			sum += count;
		}
		if (sum)
			json_object_set_new(
				reasons, report_reason(r),
				json_pack("{s:O,s:s}", "counts", list, "means", meanings[r]));
		json_decref(list);
	}
	return json_pack("{s:i,s:o}", "step_ms", (int)(DROPS_STEP_NS / NS_PER_MSEC), "reasons",
			 reasons);
}

void drops_free(struct drops *d)
{
	json_decref(d->before);
	d->before = NULL;
}
