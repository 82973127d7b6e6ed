/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

#define LEASE_DEFAULT_NS (3 * NS_PER_SEC)

enum place_kind place_kind(const char *text, const char **ret_name)
{
	static const struct {
		enum place_kind kind;
		const char *prefix;
	} kinds[] = { { PLACE_CONTAINER, "container:" },
		      { PLACE_UNIT, "unit:" },
		      { PLACE_SLICE, "slice:" } };

	*ret_name = text;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix))) {
			*ret_name = text + strlen(kinds[i].prefix);
			return kinds[i].kind;
		}
	return strcmp(text, "host") ? PLACE_PATH : PLACE_HOST;
}

int config_init(struct config *c, struct error *err)
{
	*c = (struct config) { .lease_ns = LEASE_DEFAULT_NS, .engine = "auto" };
	c->tunnels = calloc(CONFIG_TUNNELS, sizeof(*c->tunnels));
	c->workloads = calloc(CONFIG_WORKLOADS, sizeof(*c->workloads));
	c->tunnel_origins = calloc(CONFIG_TUNNELS, sizeof(*c->tunnel_origins));
	c->workload_origins = calloc(CONFIG_WORKLOADS, sizeof(*c->workload_origins));
	if (c->tunnels && c->workloads && c->tunnel_origins && c->workload_origins)
		return 0;
	config_free(c);
	return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read the configuration");
}

void config_free(struct config *c)
{
	free(c->tunnels);
	free(c->workloads);
	free(c->tunnel_origins);
	free(c->workload_origins);
	*c = (struct config) { 0 };
}

struct tunnel_config *config_add_tunnel(struct config *c, const char *name)
{
	struct tunnel_config *t;

	if (c->n_tunnels == CONFIG_TUNNELS)
		return NULL;
	t = &c->tunnels[c->n_tunnels++];
	snprintf(t->name, sizeof(t->name), "%s", name);
	snprintf(t->netns, sizeof(t->netns), "host");
	return t;
}

struct workload_config *config_add_workload(struct config *c, const char *name)
{
	struct workload_config *w;

	if (c->n_workloads == CONFIG_WORKLOADS)
		return NULL;
	w = &c->workloads[c->n_workloads++];
	w->stop_after_ns = CONFIG_STOP_AFTER_NS;
	snprintf(w->name, sizeof(w->name), "%s", name);
	return w;
}

const char *config_complete_tunnel(struct tunnel_config *t, const char **ret_remedy)
{
	if (!*t->interface) {
		*ret_remedy = "the name of the tunnel's interface";
		return "interface";
	}
	/* a resolver that it must reach anyway, or one that everybody reaches */
	t->identity.resolver.s_addr =
		t->dns.mode == DNS_SERVERS ? t->dns.server[0] : htonl(0x01010101);
	probe_defaults(&t->probes, t->identity.resolver.s_addr);
	for (size_t i = t->probes.n; i--;) {
		const struct probe_rule *p = &t->probes.rule[i];

		if (p->to.s_addr && !t->route_given)
			inet_ntop(AF_INET, &p->to, t->route, sizeof(t->route));
		if (p->kind == PROBE_DNS)
			t->identity.resolver = p->to;
	}
	return NULL;
}

/* A network that the operator wrote and that has the VPN's server in it would mix up the two. */
static bool lets_endpoint_in(const struct allow_rules *allow,
			     const struct endpoint_rules *endpoints)
{
	for (size_t i = 0; i < allow->n; i++)
		for (size_t j = 0; j < allow->rule[i].n_from; j++)
			for (size_t k = 0; k < endpoints->n; k++)
				if (!(allow->rule[i].by_default & 1U << j) &&
				    prefixes_overlap(&allow->rule[i].from[j],
						     &endpoints->rule[k].to))
					return true;
	return false;
}

static bool reaches_endpoint(const struct reach_rules *reach,
			     const struct endpoint_rules *endpoints)
{
	for (size_t i = 0; i < reach->n; i++)
		for (size_t k = 0; k < endpoints->n; k++)
			if (prefixes_overlap(&reach->rule[i].to, &endpoints->rule[k].to))
				return true;
	return false;
}

const char *config_clash(const struct tunnel_config *t, const struct workload_config *w,
			 const char **ret_remedy)
{
	const char *name;

	if (t->guard_off && (w->allow.n || t->allow.n)) {
		*ret_remedy = "take one of the two out";
		return "'allow' needs the guard, and guard is off";
	}
	if (t->guard_off && (w->reach.n || t->reach.n)) {
		*ret_remedy = "take one of the two out";
		return "'reach' needs the guard, and guard is off";
	}
	for (size_t i = 0; i < t->probes.n; i++)
		if (t->probes.rule[i].kind == PROBE_EXEC &&
		    (t->guard_off || !strcmp(t->netns, "host"))) {
			*ret_remedy = "give the VPN a network namespace of its own, and keep the "
				      "guard; or use another probe";
			return "'probe = exec:' needs the guard, or it may answer for a dead "
			       "tunnel";
		}
	if (w->recreate && place_kind(w->cgroup, &name) != PLACE_CONTAINER) {
		*ret_remedy = "leave it out, or name the container";
		return "'rejoin = recreate' is for a container";
	}
	if (lets_endpoint_in(&w->allow, &t->endpoints) ||
	    lets_endpoint_in(&t->allow, &t->endpoints)) {
		*ret_remedy = "leave the VPN's server out of 'from'";
		return "'allow' lets an endpoint of the tunnel in";
	}
	if (reaches_endpoint(&w->reach, &t->endpoints) ||
	    reaches_endpoint(&t->reach, &t->endpoints)) {
		*ret_remedy = "leave the VPN's server out";
		return "'reach' names an endpoint of the tunnel";
	}
	return NULL;
}

/* ------ the whole ------ */

int config_fail_at(struct config_line at, struct error *err, const char *remedy, const char *format,
		   ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return wrong(err, remedy, "%s:%u: %s", quote(at.file), at.number, text);
}

static struct config_line line_of(const struct config_origin *origin)
{
	return (struct config_line) { origin->file, origin->line };
}

static int finish_tunnel(struct config *c, size_t n, struct error *err)
{
	struct tunnel_config *t = &c->tunnels[n];
	struct config_line at = line_of(&c->tunnel_origins[n]);
	const char *remedy, *missing = config_complete_tunnel(t, &remedy);

	if (missing)
		return config_fail_at(at, err, remedy, "[tunnel %s] has no '%s'", quote(t->name),
				      missing);
	for (size_t i = 0; i < n; i++) /* two would renew one lease, each by its own evidence */
		if (!strcmp(c->tunnels[i].interface, t->interface) &&
		    !strcmp(c->tunnels[i].netns, t->netns))
			return config_fail_at(at, err, "one section for each tunnel",
					      "[tunnel %s] is the interface of [tunnel %s]",
					      quote(t->name), quote(c->tunnels[i].name));
	return 0;
}

/* The index of the workload's tunnel, or the number of tunnels: there is none of that name. */
static size_t find_tunnel(const struct config *c, const struct workload_config *w)
{
	size_t i = 0;

	while (i < c->n_tunnels && strcmp(c->tunnels[i].name, w->tunnel_name))
		i++;
	return i;
}

static int finish_workload(struct config *c, size_t n, struct error *err)
{
	struct workload_config *w = &c->workloads[n];
	const char *missing = !*w->cgroup ? "cgroup" : !*w->tunnel_name ? "tunnel" : NULL;
	const struct config_origin *origin = &c->workload_origins[n];
	struct config_line at = line_of(origin);
	const char *remedy, *clash;

	if (missing)
		return config_fail_at(at, err, "see vpnleash.conf(5)", "[workload %s] has no '%s'",
				      quote(w->name), missing);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(c->workloads[i].cgroup, w->cgroup))
			return config_fail_at(at, err, "give each once",
					      "[workload %s] is the cgroup of [workload %s]",
					      quote(w->name), quote(c->workloads[i].name));
	w->tunnel = find_tunnel(c, w);
	if (w->tunnel == c->n_tunnels)
		return config_fail_at((struct config_line) { origin->file, origin->tunnel_line },
				      err, "add that section, or correct the name",
				      "[workload %s]: there is no [tunnel %s]", quote(w->name),
				      quote(w->tunnel_name));
	for (size_t i = 0; i < n; i++) /* the guard is one for both */
		if (c->workloads[i].tunnel == w->tunnel && c->workloads[i].audit != w->audit)
			return config_fail_at(at, err, "give both the same",
					      "[workload %s] and [workload %s] share a tunnel and "
					      "differ in 'enforce'",
					      quote(c->workloads[i].name), quote(w->name));
	clash = config_clash(&c->tunnels[w->tunnel], w, &remedy);
	if (clash)
		return config_fail_at(at, err, remedy, "[workload %s] on [tunnel %s]: %s",
				      quote(w->name), quote(w->tunnel_name), clash);
	return 0;
}

int config_finish(struct config *c, const char *name, struct error *err)
{
	int r = 0;

	/* containers may come with labels, but a file that says nothing is a mistake */
	if (!c->n_workloads && (!strcmp(c->engine, "none") || (!c->n_tunnels && !c->has_daemon)))
		return wrong(err, "add [tunnel NAME] and [workload NAME]", "%s: no workload",
			     quote(name));
	for (size_t i = 0; !r && i < c->n_tunnels; i++)
		r = finish_tunnel(c, i, err);
	for (size_t i = 0; !r && i < c->n_workloads; i++)
		r = finish_workload(c, i, err);
	return r;
}
