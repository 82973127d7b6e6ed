/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One workload by the labels of its container. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

/* The values of one label, with `;` between them. A label without one has one empty value. Cuts
 * `values` up. */
static int take_values(struct place *place, const struct key *key, char *values, struct error *err)
{
	char *save, *value = strtok_r(values, ";", &save);
	struct error why = { 0 };

	for (value = value ? value : values; value; value = strtok_r(NULL, ";", &save)) {
		value += strspn(value, " ");
		for (char *end = value + strlen(value); end > value && end[-1] == ' ';)
			*--end = '\0';
		if (key->set(place, value, &why))
			return wrong(err, NULL, "label vpnleash.%s = %s: %s", key->name,
				     quote(value), why.text);
		if (!key->repeatable && strtok_r(NULL, "", &save))
			return wrong(err, "keep one", "label vpnleash.%s takes one value",
				     key->name);
	}
	return 0;
}

static int take_label(struct config *c, const struct config_label *label, bool *ret_tunnel_keys,
		      struct error *err)
{
	struct place of_tunnel = { .of_label = true, .config = c, .tunnel = &c->tunnels[0] };
	struct place of_workload = { .of_label = true, .config = c, .workload = &c->workloads[0] };
	size_t length = strlen(label->key);
	const struct key *key = key_find(SECTION_WORKLOAD, label->key, length);
	_cleanup_free char *values = strdup(label->value);

	if (!key)
		key = key_find(SECTION_TUNNEL, label->key, length);
	/* where it lives is the engine's to say, or one label could speak for others */
	if (!key || key->no_label) {
		char known[320];

		key_list_labels(known, sizeof(known));
		return wrong(err, "see vpnleash.conf(5)",
			     "unknown label 'vpnleash.%.40s'; there are %s", quote(label->key),
			     known);
	}
	if (!values)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read the labels");
	if (key->section == SECTION_WORKLOAD)
		return take_values(&of_workload, key, values, err);
	*ret_tunnel_keys |= key->kind != KEY_INTERFACE;
	return take_values(&of_tunnel, key, values, err);
}

static int finish_labels(struct config *c, bool tunnel_keys, struct error *err)
{
	struct tunnel_config *t = &c->tunnels[0];
	struct workload_config *w = &c->workloads[0];
	const char *remedy = NULL, *wrong;

	if (*w->tunnel_name && (*t->interface || tunnel_keys))
		return wrong(err, "keep vpnleash.tunnel, or the keys of a tunnel",
			     "vpnleash.tunnel names a tunnel of the file");
	if (*w->tunnel_name) {
		c->n_tunnels = 0;
		return 0;
	}
	if (config_complete_tunnel(t, &remedy))
		return wrong(err, remedy, "label vpnleash.interface is missing");
	wrong = config_clash(t, w, &remedy);
	if (wrong)
		return wrong(err, remedy, "labels: %s", wrong);
	snprintf(t->name, sizeof(t->name), "%s", t->interface);
	return 0;
}

int config_from_labels(const char *name, const char *cgroup, const char *netns,
		       const struct config_label *labels, size_t n, struct config *ret,
		       bool *ret_tunnel_keys, struct error *err)
{
	_cleanup_(config_free) struct config c = { 0 };
	int r = config_init(&c, err);

	if (r)
		return r;
	config_add_tunnel(&c, "");
	config_add_workload(&c, name);
	snprintf(c.tunnels[0].netns, PATH_MAX, "%s", netns);
	snprintf(c.workloads[0].cgroup, PATH_MAX, "%s", cgroup);
	*ret_tunnel_keys = false;
	for (size_t i = 0; !r && i < n; i++)
		r = take_label(&c, &labels[i], ret_tunnel_keys, err);
	if (!r)
		r = finish_labels(&c, *ret_tunnel_keys, err);
	if (r)
		return r;
	*ret = c;
	c = (struct config) { 0 };
	return 0;
}
