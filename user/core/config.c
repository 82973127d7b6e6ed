/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See config.h. One table of keys makes parsing, defaults' documentation and --help. */
#include "core/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_DEFAULT_NS    (3 * NS_PER_SEC)
#define PATIENCE_DEFAULT_NS (3 * NS_PER_SEC)

static int set_cgroup(struct config *c, const char *value, struct error *err)
{
	if (c->n_workloads == CONFIG_WORKLOADS)
		return fail(err, EXIT_USAGE, 0, NULL, "more than %d cgroups", CONFIG_WORKLOADS);
	for (size_t i = 0; i < c->n_workloads; i++)
		if (!strcmp(c->workloads[i].cgroup, value))
			return fail(err, EXIT_USAGE, 0, NULL, "given twice");
	if (strlen(value) >= PATH_MAX || !*value)
		return fail(err, EXIT_USAGE, 0, "/PATH below the cgroup v2 root", "not a path");
	snprintf(c->workloads[c->n_workloads++].cgroup, PATH_MAX, "%s", value);
	return 0;
}

static int set_interface(struct config *c, const char *value, struct error *err)
{
	if (!*value || strlen(value) >= IFNAMSIZ || strpbrk(value, "/ \t\n"))
		return fail(err, EXIT_USAGE, 0, "1 to 15 characters, no '/' and no space",
			    "not an interface name");
	snprintf(c->tunnel.interface, sizeof(c->tunnel.interface), "%s", value);
	return 0;
}

static int set_netns(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "host") && (*value != '/' || strlen(value) >= PATH_MAX))
		return fail(err, EXIT_USAGE, 0, "host, /run/netns/NAME or /proc/PID/ns/net",
			    "not a network namespace");
	snprintf(c->tunnel.netns, sizeof(c->tunnel.netns), "%s", value);
	return 0;
}

static int set_probe(struct config *c, const char *value, struct error *err)
{
	if (!strcmp(value, "none")) {
		c->tunnel.probe = PROBE_NONE;
		return 0;
	}
	if (strncmp(value, "icmp:", 5) ||
	    inet_pton(AF_INET, value + 5, &c->tunnel.probe_address) != 1)
		return fail(err, EXIT_USAGE, 0, "icmp:IP with an IPv4 address, or none",
			    "not a probe");
	c->tunnel.probe = PROBE_ICMP;
	return 0;
}

static int set_route(struct config *c, const char *value, struct error *err)
{
	struct in6_addr any;

	if (!strcmp(value, "none"))
		value = "";
	else if (inet_pton(AF_INET, value, &any) != 1 && inet_pton(AF_INET6, value, &any) != 1)
		return fail(err, EXIT_USAGE, 0, "an IP address, or none", "not an address");
	snprintf(c->tunnel.route, sizeof(c->tunnel.route), "%s", value);
	return 0;
}

static int set_duration(uint64_t *ret_ns, const char *value, unsigned int min_s, unsigned int max_s,
			struct error *err)
{
	uint64_t ns;

	if (parse_duration(value, &ns))
		return fail(err, EXIT_USAGE, 0, "like 3s or 1500ms", "not a time");
	if (ns < min_s * NS_PER_SEC || ns > max_s * NS_PER_SEC)
		return fail(err, EXIT_USAGE, -ERANGE, NULL, "must be %us to %us", min_s, max_s);
	*ret_ns = ns;
	return 0;
}

static int set_lease(struct config *c, const char *value, struct error *err)
{
	return set_duration(&c->lease_ns, value, 1, 4, err);
}

static int set_patience(struct config *c, const char *value, struct error *err)
{
	return set_duration(&c->tunnel.patience_ns, value, 1, 60, err);
}

static int set_on_failure(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "freeze") && strcmp(value, "block"))
		return fail(err, EXIT_USAGE, 0, "freeze or block", "not a way to fail");
	c->on_failure = *value == 'b' ? ON_FAILURE_BLOCK : ON_FAILURE_FREEZE;
	return 0;
}

static int set_guard(struct config *c, const char *value, struct error *err)
{
	(void)c;
	return strcmp(value, "off") ?
	       fail(err, EXIT_USAGE, 0, "only: off", "the guard is not built yet") : 0;
}

static const struct key {
	const char *name, *value, *help;
	int (*set)(struct config *c, const char *value, struct error *err);
	bool repeatable, tunnel;
} keys[] = {
	{ "cgroup", "PATH", "the workload, below the cgroup v2 root; repeatable", set_cgroup, true,
	  false },
	{ "interface", "NAME", "the tunnel, e.g. CloudflareWARP", set_interface, false, true },
	{ "netns", "NETNS", "where it is: host (default), /run/netns/NAME, /proc/PID/ns/net",
	  set_netns, false, true },
	{ "probe", "icmp:IP|none", "sign of life when idle; none: link and route decide", set_probe,
	  false, true },
	{ "route", "IP|none", "must resolve through the interface; default: the probe's IP",
	  set_route, false, true },
	{ "on-failure", "freeze|block", "after barring: freeze the cgroup (default) or leave it",
	  set_on_failure, false, true },
	{ "lease", "TIME", "how long a dead daemon's grant lasts: 1s to 4s, default 3s", set_lease,
	  false, true },
	{ "patience", "TIME", "silence tolerated: 1s to 60s, default 3s", set_patience, false,
	  true },
	{ "guard", "off", "not built yet: off", set_guard, false, true },
};

void config_print_keys(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char option[64];

		snprintf(option, sizeof(option), "--%s %s", keys[i].name, keys[i].value);
		fprintf(out, "  %-24s %s\n", option, keys[i].help);
	}
}

static const struct key *find_key(const char *option, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == length && !strncmp(keys[i].name, option, length))
			return &keys[i];
	return NULL;
}

static int check(struct config *c, bool need_tunnel, const bool *given, struct error *err)
{
	if (!c->n_workloads)
		return fail(err, EXIT_USAGE, 0, "vpnleash run --help", "--cgroup is missing");
	if (!need_tunnel)
		return 0;
	if (!*c->tunnel.interface)
		return fail(err, EXIT_USAGE, 0, "vpnleash run --help", "--interface is missing");
	if (c->tunnel.probe == PROBE_UNSET)
		return fail(err, EXIT_USAGE, 0,
			    "--probe icmp:IP asks an address inside the tunnel, --probe none lets "
			    "link and route decide",
			    "--probe is missing");
	if (c->tunnel.probe == PROBE_ICMP && !given[find_key("route", 5) - keys])
		inet_ntop(AF_INET, &c->tunnel.probe_address, c->tunnel.route,
			  sizeof(c->tunnel.route));
	return 0;
}

int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err)
{
	_cleanup_free struct config *c = calloc(1, sizeof(*c));
	bool given[ARRAY_SIZE(keys)] = { false };
	int r;

	if (!c)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "read the command line");
	*c = (struct config){ .lease_ns = LEASE_DEFAULT_NS, .tunnel.netns = "host",
			      .tunnel.patience_ns = PATIENCE_DEFAULT_NS };
	for (int i = 1; i < argc; i++) {
		const char *option = argv[i], *value = strchr(option, '=');
		const struct key *key = NULL;
		struct error why = { 0 };
		char shown[64];

		if (!strncmp(option, "--", 2))
			key = find_key(option + 2, strcspn(option + 2, "="));
		if (!key || (!need_tunnel && key->tunnel))
			return fail(err, EXIT_USAGE, 0, "see --help", "unknown option '%s'",
				    escape(shown, sizeof(shown), option));
		value = value ? value + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (!value)
			return fail(err, EXIT_USAGE, 0, "see --help", "--%s needs a value",
				    key->name);
		if (given[key - keys] && !key->repeatable)
			return fail(err, EXIT_USAGE, 0, NULL, "--%s is given twice", key->name);
		given[key - keys] = true;
		r = key->set(c, value, &why);
		if (r)
			return fail(err, EXIT_USAGE, 0, NULL, "--%s '%s': %s", key->name,
				    escape(shown, sizeof(shown), value), why.text);
	}
	r = check(c, need_tunnel, given, err);
	if (!r)
		*ret = *c;
	return r;
}
