/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One tunnel and its workloads by the command line. */
#include <string.h>

#include "config/keys.h"

struct arguments {
	struct config *config;
	bool need_tunnel;
	struct workload_config common; /* what is said of all workloads */
	uint64_t given;		       /* bits of keys */
	struct error *err;
};

static int take_option(struct arguments *r, const struct key *key, const char *value)
{
	struct config *c = r->config;
	struct place place = { .config = c, .tunnel = &c->tunnels[0], .workload = &r->common };
	struct error why = { 0 };
	char shown[64]; /* leaves room for the reason */

	escape(shown, sizeof(shown), value);
	if (key->kind == KEY_CGROUP) {
		for (size_t i = 0; i < c->n_workloads; i++)
			if (!strcmp(c->workloads[i].cgroup, value))
				return wrong(r->err, NULL, "--cgroup '%s': given twice", shown);
		place.workload = config_add_workload(c, "");
		if (!place.workload)
			return wrong(r->err, NULL, "more than %d cgroups", CONFIG_WORKLOADS);
	} else if (r->given & key_bit(key) && !key->repeatable) {
		return wrong(r->err, NULL, "--%s is given twice", key->name);
	}
	r->given |= key_bit(key);
	if (key->set(&place, value, &why))
		return wrong(r->err, NULL, "--%s '%s': %s", key->name, shown, why.text);
	return 0;
}

/* `lock --slice NAME` is --cgroup slice:NAME. */
static int take_slice(struct arguments *r, const char *value)
{
	char place[PATH_MAX];

	if (strlen(value) >= sizeof(place) - sizeof("slice:"))
		return wrong(r->err, NULL, "--slice: too long");
	snprintf(place, sizeof(place), "slice:%s", value);
	return take_option(r, key_find(SECTION_WORKLOAD, "cgroup", 6), place);
}

/* The option, and the next argument if its value is not behind a '='. How many arguments that is,
 * or -Exxx. */
static int take_argument(struct arguments *r, const char *option, const char *next)
{
	size_t length = strcspn(option, "=");
	const char *value = option[length] ? option + length + 1 : next;
	bool is_slice = !r->need_tunnel && length == 7 && !strncmp(option, "--slice", 7);
	const struct key *key = NULL;
	int e;

	if (!strncmp(option, "--", 2) && !is_slice)
		key = key_find(SECTION_NONE, option + 2, length - 2);
	if (key && (key->kind == KEY_TUNNEL || (!r->need_tunnel && key->kind != KEY_CGROUP)))
		key = NULL;
	if (!key && !is_slice)
		return wrong(r->err, "see --help", "unknown option '%s'", quote(option));
	if (!value)
		return wrong(r->err, "see --help", "--%s needs a value",
			     is_slice ? "slice" : key->name);
	e = is_slice ? take_slice(r, value) : take_option(r, key, value);
	return e ? e : option[length] ? 1 : 2;
}

/* All workloads have the same keys, but for their cgroups. */
static void share_keys(struct arguments *r)
{
	struct config *c = r->config;

	for (size_t i = 0; i < c->n_workloads; i++) {
		struct workload_config w = r->common;

		memcpy(w.cgroup, c->workloads[i].cgroup, sizeof(w.cgroup));
		w.is_slice = c->workloads[i].is_slice;
		c->workloads[i] = w;
	}
}

static int finish_args(struct arguments *r)
{
	struct config *c = r->config;
	struct tunnel_config *t = &c->tunnels[0];
	const char *wrong, *remedy;

	/* `run --slice NAME`: whoever is leashed in it comes with labels */
	if (!c->n_workloads && r->need_tunnel && c->n_slices && !*t->interface) {
		c->n_tunnels = 0;
		return 0;
	}
	if (!c->n_workloads)
		return wrong(r->err, "see --help", "--cgroup is missing");
	share_keys(r);
	for (size_t i = 0; i < c->n_workloads; i++) {
		wrong = config_clash(t, &c->workloads[i], &remedy);
		if (wrong)
			return wrong(r->err, remedy, "%s", wrong);
	}
	if (!r->need_tunnel) {
		c->n_tunnels = 0;
		return 0;
	}
	wrong = config_complete_tunnel(t, &remedy);
	if (wrong)
		return wrong(r->err, remedy, "--%s is missing", wrong);
	snprintf(t->name, sizeof(t->name), "%s", t->interface);
	return 0;
}

int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err)
{
	_cleanup_(config_free) struct config c = { 0 };
	struct arguments arguments = { .config = &c,
				       .need_tunnel = need_tunnel,
				       .common.stop_after_ns = CONFIG_STOP_AFTER_NS,
				       .err = err };
	int r = config_init(&c, err);

	if (r)
		return r;
	config_add_tunnel(&c, "");
	for (int i = 1; i < argc; i += r) {
		r = take_argument(&arguments, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
		if (r < 0)
			return r;
	}
	r = finish_args(&arguments);
	if (r)
		return r;
	*ret = c;
	c = (struct config) { 0 };
	return 0;
}
