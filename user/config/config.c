/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See config.h. Our own reader of `key = value`: measured, inih keeps inline comments in values,
 * joins indented lines to the key before, cuts at 200 bytes and knows no line numbers.
 */
#include "config/config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"

#define LEASE_DEFAULT_NS      (3 * NS_PER_SEC)
#define PATIENCE_DEFAULT_NS   (3 * NS_PER_SEC)
#define STOP_AFTER_DEFAULT_NS (30 * NS_PER_SEC)
#define FILE_MAX	      (256 * 1024)

enum section { SECTION_NONE, SECTION_DAEMON, SECTION_TUNNEL, SECTION_WORKLOAD };
static const char *const section_names[] = { "", "daemon", "tunnel", "workload" };

/* Where a key's value goes; all three point into one struct config. */
struct place {
	struct config *config;
	struct tunnel_config *tunnel;
	struct workload_config *workload;
};

/* ------ keys ------ */

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

/* A container as engines name them, or a unit with its suffix. */
static int check_named(enum place_kind kind, const char *name, struct error *err)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	if (kind == PLACE_CONTAINER && (!n || n > 255 || strspn(name, plain) != n || *name == '.'))
		return fail(err, EXIT_USAGE, 0, "container:NAME, as the engine lists it",
			    "not the name of a container");
	if (kind == PLACE_UNIT && (!n || n > 255 || strchr(name, '/') || !strchr(name, '.')))
		return fail(err, EXIT_USAGE, 0, "unit:NAME.service", "not the name of a unit");
	return 0;
}

static int set_cgroup(struct place *p, const char *value, struct error *err)
{
	const char *name;
	enum place_kind kind = place_kind(value, &name);

	if (strlen(value) >= PATH_MAX)
		return fail(err, EXIT_USAGE, 0, "/PATH below the cgroup v2 root", "too long");
	if (kind == PLACE_SLICE) { /* the root is looked for later: here only the name counts */
		static const struct cgroup_root any = { .fd = -1, .path = "" };
		char path[PATH_MAX];

		snprintf(p->workload->cgroup, PATH_MAX, "%s", value);
		p->workload->is_slice = true;
		return slice_to_path(&any, name, path, err);
	}
	if (kind == PLACE_CONTAINER || kind == PLACE_UNIT) {
		snprintf(p->workload->cgroup, PATH_MAX, "%s", value);
		return check_named(kind, name, err);
	}
	if (*value != '/')
		return fail(err, EXIT_USAGE, 0, "/PATH below the cgroup v2 root", "not a path");
	for (const char *up = strstr(value, "/.."); up; up = strstr(up + 1, "/.."))
		if (up[3] == '/' || !up[3])
			return fail(err, EXIT_USAGE, 0, "write the path without '..'",
				    "not the path of a cgroup");
	snprintf(p->workload->cgroup, PATH_MAX, "%s", value);
	return 0;
}

static int set_tunnel(struct place *p, const char *value, struct error *err)
{
	if (strlen(value) >= CONFIG_NAME_LEN)
		return fail(err, EXIT_USAGE, 0, "the name of a [tunnel NAME] section", "too long");
	snprintf(p->workload->tunnel_name, CONFIG_NAME_LEN, "%s", value);
	return 0;
}

static int set_interface(struct place *p, const char *value, struct error *err)
{
	/* what dev_valid_name() of the kernel refuses can never be there */
	if (!*value || strlen(value) >= IFNAMSIZ || strpbrk(value, "/: \t\n\v\f\r") ||
	    !strcmp(value, ".") || !strcmp(value, ".."))
		return fail(err, EXIT_USAGE, 0, "1 to 15 characters, no '/', no ':' and no space",
			    "not an interface name");
	snprintf(p->tunnel->interface, IFNAMSIZ, "%s", value);
	return 0;
}

static int set_netns(struct place *p, const char *value, struct error *err)
{
	const char *name;
	enum place_kind kind = place_kind(value, &name);

	if (kind == PLACE_SLICE ||
	    (kind == PLACE_PATH && (*value != '/' || strlen(value) >= PATH_MAX)))
		return fail(err, EXIT_USAGE, 0,
			    "host, container:NAME, unit:NAME, /run/netns/NAME or /proc/PID/ns/net",
			    "not a network namespace");
	snprintf(p->tunnel->netns, PATH_MAX, "%s", value);
	return check_named(kind, name, err);
}

static int set_probe(struct place *p, const char *value, struct error *err)
{
	if (!strcmp(value, "none")) {
		p->tunnel->probe = PROBE_NONE;
		return 0;
	}
	if (strncmp(value, "icmp:", 5) ||
	    inet_pton(AF_INET, value + 5, &p->tunnel->probe_address) != 1)
		return fail(err, EXIT_USAGE, 0, "icmp:IP with an IPv4 address, or none",
			    "not a probe");
	p->tunnel->probe = PROBE_ICMP;
	return 0;
}

static int set_route(struct place *p, const char *value, struct error *err)
{
	struct in6_addr any;

	if (!strcmp(value, "none"))
		value = "";
	else if (inet_pton(AF_INET, value, &any) != 1 && inet_pton(AF_INET6, value, &any) != 1)
		return fail(err, EXIT_USAGE, 0, "an IP address, or none", "not an address");
	snprintf(p->tunnel->route, sizeof(p->tunnel->route), "%s", value);
	p->tunnel->route_given = true;
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

static int set_lease(struct place *p, const char *value, struct error *err)
{
	return set_duration(&p->config->lease_ns, value, 1, 4, err);
}

static int set_patience(struct place *p, const char *value, struct error *err)
{
	return set_duration(&p->tunnel->patience_ns, value, 1, 60, err);
}

static int set_on_failure(struct place *p, const char *value, struct error *err)
{
	if (strcmp(value, "freeze") && strcmp(value, "block"))
		return fail(err, EXIT_USAGE, 0, "freeze or block", "not a way to fail");
	p->workload->on_failure = *value == 'b' ? ON_FAILURE_BLOCK : ON_FAILURE_FREEZE;
	return 0;
}

static int set_stop_after(struct place *p, const char *value, struct error *err)
{
	if (!strcmp(value, "never")) {
		p->workload->stop_after_ns = STOP_NEVER;
		return 0;
	}
	if (!strcmp(value, "0")) {
		p->workload->stop_after_ns = 0;
		return 0;
	}
	return set_duration(&p->workload->stop_after_ns, value, 0, 24 * 3600, err);
}

static int set_engine(struct place *p, const char *value, struct error *err)
{
	if ((strcmp(value, "auto") && strcmp(value, "none") && strncmp(value, "unix:///", 8)) ||
	    strlen(value) >= sizeof(p->config->engine))
		return fail(err, EXIT_USAGE, 0, "auto, none, or unix:///PATH", "not an engine");
	snprintf(p->config->engine, sizeof(p->config->engine), "%s", value);
	return 0;
}

static int set_slice(struct place *p, const char *value, struct error *err)
{
	static const struct cgroup_root any = { .fd = -1, .path = "" };
	struct config *c = p->config;
	char path[PATH_MAX];

	if (c->n_slices == CONFIG_SLICES || strlen(value) >= sizeof(c->slices[0]))
		return fail(err, EXIT_USAGE, 0, NULL, "too long, or more than %d", CONFIG_SLICES);
	snprintf(c->slices[c->n_slices++], sizeof(c->slices[0]), "%s", value);
	return slice_to_path(&any, value, path, err);
}

static int take_hook(char ret[256], const char *value, struct error *err)
{
	if (*value != '/' || strlen(value) >= 256)
		return fail(err, EXIT_USAGE, 0, "the full path of a program, without arguments",
			    "not a program");
	snprintf(ret, 256, "%s", value);
	return 0;
}

static int set_hook(struct place *p, const char *value, struct error *err)
{
	return take_hook(p->workload->hook, value, err);
}

static int set_hook_inside(struct place *p, const char *value, struct error *err)
{
	return take_hook(p->workload->hook_inside, value, err);
}

static int set_guard(struct place *p, const char *value, struct error *err)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return fail(err, EXIT_USAGE, 0, "on or off", "neither");
	p->tunnel->guard_off = !strcmp(value, "off");
	return 0;
}

static int set_process(struct place *p, const char *value, struct error *err)
{
	if (!*value || strlen(value) >= sizeof(p->tunnel->process) || strchr(value, '/'))
		return fail(err, EXIT_USAGE, 0, "as in /proc/PID/comm: 1 to 15 bytes, no path",
			    "not a process name");
	snprintf(p->tunnel->process, sizeof(p->tunnel->process), "%s", value);
	return 0;
}

static int set_endpoint(struct place *p, const char *value, struct error *err)
{
	return endpoint_add(&p->tunnel->endpoints, value, err);
}

static int set_bootstrap(struct place *p, const char *value, struct error *err)
{
	if (!strcmp(value, "any"))
		return fail(err, EXIT_USAGE, 0,
			    "leave it out: what the VPN sends may pass, whoever "
			    "else is awake",
			    "'any' opened the underlay for everybody, and is gone");
	return strcmp(value, "vpn") ? hosts_add(&p->tunnel->bootstrap, value, err) : 0;
}

static int set_allow(struct place *p, const char *value, struct error *err)
{
	return allow_add(p->workload ? &p->workload->allow : &p->tunnel->allow, value, err);
}

static int set_dns(struct place *p, const char *value, struct error *err)
{
	return dns_set(&p->tunnel->dns, value, err);
}

static int set_ipv6(struct place *p, const char *value, struct error *err)
{
	if (strcmp(value, "deny") && strcmp(value, "tunnel"))
		return fail(err, EXIT_USAGE, 0, "deny or tunnel", "neither");
	p->workload->ipv6 = *value == 't';
	return 0;
}

static int set_enforce(struct place *p, const char *value, struct error *err)
{
	if (strcmp(value, "yes") && strcmp(value, "audit"))
		return fail(err, EXIT_USAGE, 0, "yes or audit", "neither");
	p->workload->audit = *value == 'a';
	return 0;
}

static const struct key {
	const char *name, *value, *help;
	enum section section;
	int (*set)(struct place *p, const char *value, struct error *err);
	bool repeatable;
} keys[] = {
	{ "cgroup", "PLACE",
	  "the workload: /PATH, container:NAME, unit:NAME, or all in slice:NAME; repeatable",
	  SECTION_WORKLOAD, set_cgroup, false },
	{ "tunnel", "NAME", "the section of its tunnel", SECTION_WORKLOAD, set_tunnel, false },
	{ "on-failure", "freeze|block", "after barring: freeze the cgroup (default) or leave it",
	  SECTION_WORKLOAD, set_on_failure, false },
	{ "stop-after", "TIME|never", "then a container or unit is stopped cleanly; default 30s",
	  SECTION_WORKLOAD, set_stop_after, false },
	{ "interface", "NAME", "the tunnel, e.g. CloudflareWARP", SECTION_TUNNEL, set_interface,
	  false },
	{ "netns", "NETNS",
	  "where it is: host (default), container:NAME, unit:NAME, /run/netns/NAME", SECTION_TUNNEL,
	  set_netns, false },
	{ "probe", "icmp:IP|none",
	  "pinged when idle; default 1.1.1.1, or the first of dns; none: link, route",
	  SECTION_TUNNEL, set_probe, false },
	{ "route", "IP|none", "must resolve through the interface; default: the probe's IP",
	  SECTION_TUNNEL, set_route, false },
	{ "patience", "TIME", "silence tolerated: 1s to 60s, default 3s", SECTION_TUNNEL,
	  set_patience, false },
	{ "guard", "on|off", "nothing beside the gate, at the edge of the netns; default on",
	  SECTION_TUNNEL, set_guard, false },
	{ "endpoint", "IP:PORT/PROTO", "the VPN's server, or preset:cloudflare-warp; default: auto",
	  SECTION_TUNNEL, set_endpoint, true },
	{ "bootstrap", "vpn|IP,...",
	  "before the tunnel is up: what the VPN sends, or to these hosts", SECTION_TUNNEL,
	  set_bootstrap, false },
	{ "dns", "auto|none|IP[,IP]", "resolver in the tunnel; default 1.1.1.1 and 9.9.9.9",
	  SECTION_TUNNEL, set_dns, false },
	{ "process", "NAME", "the VPN's process: when the last of that name ends, shut at once",
	  SECTION_TUNNEL, set_process, false },
	{ "allow", "tcp/PORT", "a port that LAN clients may talk to; repeatable", SECTION_WORKLOAD,
	  set_allow, true },
	{ "ipv6", "deny|tunnel", "default deny; tunnel: the tunnel carries IPv6 as well",
	  SECTION_WORKLOAD, set_ipv6, false },
	{ "enforce", "yes|audit", "audit: count and show, drop nothing", SECTION_WORKLOAD,
	  set_enforce, false },
	{ "lease", "TIME", "how long a dead daemon's grant lasts: 1s to 4s, default 3s",
	  SECTION_DAEMON, set_lease, false },
	{ "slice", "NAME", "lock this slice (a-b.slice, or /PATH); repeatable", SECTION_DAEMON,
	  set_slice, true },
	{ "engine", "auto|none|unix:///PATH", "the socket of Docker or Podman; default auto",
	  SECTION_DAEMON, set_engine, false },
	{ "allow", "tcp/PORT [from CIDR,…]", NULL, SECTION_TUNNEL, set_allow, true },
	{ "hook", "PROGRAM", "run on each change of state, as user vpnleash", SECTION_WORKLOAD,
	  set_hook, false },
	{ "hook-inside", "PROGRAM", "the same, in the network of the workload", SECTION_WORKLOAD,
	  set_hook_inside, false },
};

/* section SECTION_NONE: whichever has it. */
static const struct key *find_key(enum section section, const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if ((section == SECTION_NONE || keys[i].section == section) &&
		    strlen(keys[i].name) == length && !strncmp(keys[i].name, name, length))
			return &keys[i];
	return NULL;
}

void config_print_keys(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char option[64];

		if (!keys[i].help || keys[i].set == set_tunnel)
			continue;
		snprintf(option, sizeof(option), "--%s %s", keys[i].name, keys[i].value);
		fprintf(out, "  %-24s %s\n", option, keys[i].help);
	}
}

/* ------ the struct ------ */

int config_init(struct config *c, struct error *err)
{
	*c = (struct config) { .lease_ns = LEASE_DEFAULT_NS, .engine = "auto" };
	c->tunnels = calloc(CONFIG_TUNNELS, sizeof(*c->tunnels));
	c->workloads = calloc(CONFIG_WORKLOADS, sizeof(*c->workloads));
	c->origins = calloc(CONFIG_TUNNELS + CONFIG_WORKLOADS, sizeof(*c->origins));
	if (c->tunnels && c->workloads && c->origins)
		return 0;
	config_free(c);
	return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "read the configuration");
}

void config_free(struct config *c)
{
	free(c->tunnels);
	free(c->workloads);
	free(c->origins);
	*c = (struct config) { 0 };
}

static struct tunnel_config *add_tunnel(struct config *c, const char *name)
{
	struct tunnel_config *t;

	if (c->n_tunnels == CONFIG_TUNNELS)
		return NULL;
	t = &c->tunnels[c->n_tunnels++];
	snprintf(t->name, sizeof(t->name), "%s", name);
	snprintf(t->netns, sizeof(t->netns), "host");
	t->patience_ns = PATIENCE_DEFAULT_NS;
	return t;
}

static struct workload_config *add_workload(struct config *c, const char *name)
{
	struct workload_config *w;

	if (c->n_workloads == CONFIG_WORKLOADS)
		return NULL;
	w = &c->workloads[c->n_workloads++];
	w->stop_after_ns = STOP_AFTER_DEFAULT_NS;
	snprintf(w->name, sizeof(w->name), "%s", name);
	return w;
}

static struct config_origin *origin_of_tunnel(struct config *c, size_t i)
{
	return &c->origins[i];
}

static struct config_origin *origin_of_workload(struct config *c, size_t i)
{
	return &c->origins[CONFIG_TUNNELS + i];
}

/* What one tunnel lacks: NULL, or the key, and in *ret_remedy what to write. */
static const char *missing_of_tunnel(struct tunnel_config *t, const char **ret_remedy)
{
	if (!*t->interface) {
		*ret_remedy = "the name of the tunnel's interface";
		return "interface";
	}
	if (t->probe == PROBE_UNSET) { /* what every VPN with a way to the internet reaches */
		inet_pton(AF_INET, "1.1.1.1", &t->probe_address);
		if (t->dns.mode == DNS_SERVERS) /* or what it must reach anyway */
			t->probe_address.s_addr = t->dns.server[0];
		t->probe = PROBE_ICMP;
	}
	if (t->probe == PROBE_ICMP && !t->route_given)
		inet_ntop(AF_INET, &t->probe_address, t->route, sizeof(t->route));
	return NULL;
}

/* A network that the operator wrote and that has the VPN's server in it would mix up the two. */
static bool lets_endpoint_in(const struct allow_rules *allow,
			     const struct endpoint_rules *endpoints)
{
	for (size_t i = 0; i < allow->n; i++)
		for (size_t j = 0; !allow->rule[i].by_default && j < allow->rule[i].n_from; j++)
			for (size_t k = 0; k < endpoints->n; k++)
				if (prefix_contains(&allow->rule[i].from[j],
						    endpoints->rule[k].to.address))
					return true;
	return false;
}

/* What the two say together. NULL, or what is wrong and in *ret_remedy what to do. */
static const char *clash(const struct tunnel_config *t, const struct workload_config *w,
			 const char **ret_remedy)
{
	if (t->guard_off && (w->allow.n || t->allow.n)) {
		*ret_remedy = "take one of the two out";
		return "'allow' needs the guard, and guard is off";
	}
	if (lets_endpoint_in(&w->allow, &t->endpoints)) {
		*ret_remedy = "leave the VPN's server out of 'from'";
		return "'allow' lets an endpoint of the tunnel in";
	}
	return NULL;
}

/* ------ labels ------ */

/* The values between `;` of one label; none is one that is empty. Cuts `values` up. */
static int take_label(struct place *place, const struct key *key, char *values, struct error *err)
{
	char *save, *value = strtok_r(values, ";", &save);
	struct error why = { 0 };

	for (value = value ? value : values; value; value = strtok_r(NULL, ";", &save)) {
		value += strspn(value, " ");
		for (char *end = value + strlen(value); end > value && end[-1] == ' ';)
			*--end = '\0';
		if (key->set(place, value, &why))
			return fail(err, EXIT_USAGE, 0, NULL, "label vpnleash.%s = %s: %s",
				    key->name, quote(value), why.text);
		if (!key->repeatable && strtok_r(NULL, "", &save))
			return fail(err, EXIT_USAGE, 0, "keep one",
				    "label vpnleash.%s takes one value", key->name);
	}
	return 0;
}

static int take_labels(struct config *c, const struct config_label *labels, size_t n,
		       bool *ret_tunnel_keys, struct error *err)
{
	struct place of_tunnel = { .config = c, .tunnel = &c->tunnels[0] };
	struct place of_workload = { .config = c, .workload = &c->workloads[0] };

	*ret_tunnel_keys = false;
	for (size_t i = 0; i < n; i++) {
		const char *name = labels[i].key;
		const struct key *key = find_key(SECTION_WORKLOAD, name, strlen(name));
		char *values;
		int r;

		if (!key)
			key = find_key(SECTION_TUNNEL, name, strlen(name));
		/* where it lives is the engine's to say, or one label could speak for others */
		if (!key || key->set == set_cgroup || key->set == set_netns ||
		    key->set == set_hook ||
		    key->set == set_hook_inside) /* a program of the host's is the operator's */
			return fail(err, EXIT_USAGE, 0, "see vpnleash.conf(5)",
				    "unknown label 'vpnleash.%s'", quote(name));
		*ret_tunnel_keys |= key->section == SECTION_TUNNEL && key->set != set_interface;
		values = strdup(labels[i].value);
		if (!values)
			return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "read the labels");
		r = take_label(key->section == SECTION_TUNNEL ? &of_tunnel : &of_workload, key,
			       values, err);
		free(values);
		if (r)
			return r;
	}
	return 0;
}

static int finish_labels(struct config *c, bool tunnel_keys, struct error *err)
{
	struct tunnel_config *t = &c->tunnels[0];
	struct workload_config *w = &c->workloads[0];
	const char *remedy = NULL, *wrong;

	if (*w->tunnel_name && (*t->interface || tunnel_keys))
		return fail(err, EXIT_USAGE, 0, "keep vpnleash.tunnel, or the keys of a tunnel",
			    "vpnleash.tunnel names a tunnel of the file");
	if (*w->tunnel_name) {
		c->n_tunnels = 0;
		return 0;
	}
	if (missing_of_tunnel(t, &remedy))
		return fail(err, EXIT_USAGE, 0, remedy, "label vpnleash.interface is missing");
	wrong = clash(t, w, &remedy);
	return wrong ? fail(err, EXIT_USAGE, 0, remedy, "labels: %s", wrong) : 0;
}

int config_from_labels(const char *name, const char *cgroup, const char *netns,
		       const struct config_label *labels, size_t n, struct config *ret,
		       bool *ret_tunnel_keys, struct error *err)
{
	struct config c;
	int r = config_init(&c, err);

	if (r)
		return r;
	add_tunnel(&c, "");
	add_workload(&c, name);
	snprintf(c.tunnels[0].netns, PATH_MAX, "%s", netns);
	snprintf(c.workloads[0].cgroup, PATH_MAX, "%s", cgroup);
	r = take_labels(&c, labels, n, ret_tunnel_keys, err);
	if (!r)
		r = finish_labels(&c, *ret_tunnel_keys, err);
	if (r) {
		config_free(&c);
		return r;
	}
	snprintf(c.tunnels[0].name, sizeof(c.tunnels[0].name), "%s", c.tunnels[0].interface);
	*ret = c;
	return 0;
}

/* ------ the command line ------ */

static int take_option(struct config *c, struct workload_config *common, bool *given,
		       const struct key *key, const char *value, struct error *err)
{
	struct place place = { c, &c->tunnels[0], common };
	struct error why = { 0 };
	char shown[64];

	escape(shown, sizeof(shown), value);
	if (key->set == set_cgroup) { /* the one that is repeatable */
		for (size_t i = 0; i < c->n_workloads; i++)
			if (!strcmp(c->workloads[i].cgroup, value))
				return fail(err, EXIT_USAGE, 0, NULL, "--cgroup '%s': given twice",
					    shown);
		place.workload = add_workload(c, "");
		if (!place.workload)
			return fail(err, EXIT_USAGE, 0, NULL, "more than %d cgroups",
				    CONFIG_WORKLOADS);
	} else if (given[key - keys] && !key->repeatable) {
		return fail(err, EXIT_USAGE, 0, NULL, "--%s is given twice", key->name);
	}
	given[key - keys] = true;
	if (key->set(&place, value, &why))
		return fail(err, EXIT_USAGE, 0, NULL, "--%s '%s': %s", key->name, shown, why.text);
	return 0;
}

static int parse_args(int argc, char **argv, bool need_tunnel, struct config *c, struct error *err)
{
	struct workload_config common = { .stop_after_ns = STOP_AFTER_DEFAULT_NS };
	bool given[ARRAY_SIZE(keys)] = { false };
	const char *missing, *remedy;

	for (int i = 1; i < argc; i++) {
		const char *option = argv[i], *value = strchr(option, '=');
		const struct key *key = NULL;
		bool slice = !need_tunnel && !strncmp(option, "--slice", 7) &&
			     (!option[7] || option[7] == '=');
		char place[PATH_MAX];
		int r;

		if (slice)
			key = find_key(SECTION_WORKLOAD, "cgroup", 6);
		else if (!strncmp(option, "--", 2))
			key = find_key(SECTION_NONE, option + 2, strcspn(option + 2, "="));
		if (!key || key->set == set_tunnel || (!need_tunnel && key->set != set_cgroup))
			return fail(err, EXIT_USAGE, 0, "see --help", "unknown option '%s'",
				    quote(option));
		value = value ? value + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (!value)
			return fail(err, EXIT_USAGE, 0, "see --help", "--%s needs a value",
				    slice ? "slice" : key->name);
		if (slice && strlen(value) >= sizeof(place) - sizeof("slice:"))
			return fail(err, EXIT_USAGE, 0, NULL, "--slice: too long");
		if (slice) {
			snprintf(place, sizeof(place), "slice:%s", value);
			value = place;
		}
		r = take_option(c, &common, given, key, value, err);
		if (r)
			return r;
	}
	/* `run --slice NAME`: whoever is leashed in it comes with labels */
	if (!c->n_workloads && need_tunnel && c->n_slices && !*c->tunnels[0].interface) {
		c->n_tunnels = 0;
		return 0;
	}
	if (!c->n_workloads)
		return fail(err, EXIT_USAGE, 0, "see --help", "--cgroup is missing");
	for (size_t i = 0; i < c->n_workloads; i++) {
		char cgroup[PATH_MAX];
		bool is_slice = c->workloads[i].is_slice;

		memcpy(cgroup, c->workloads[i].cgroup, sizeof(cgroup));
		c->workloads[i] = common; /* all have the same keys */
		memcpy(c->workloads[i].cgroup, cgroup, sizeof(cgroup));
		c->workloads[i].is_slice = is_slice;
	}
	missing = clash(&c->tunnels[0], &common, &remedy);
	if (missing)
		return fail(err, EXIT_USAGE, 0, remedy, "%s", missing);
	missing = need_tunnel ? missing_of_tunnel(&c->tunnels[0], &remedy) : NULL;
	if (missing)
		return fail(err, EXIT_USAGE, 0, remedy, "--%s is missing", missing);
	snprintf(c->tunnels[0].name, sizeof(c->tunnels[0].name), "%s", c->tunnels[0].interface);
	if (!need_tunnel)
		c->n_tunnels = 0;
	return 0;
}

int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err)
{
	struct config c;
	int r = config_init(&c, err);

	if (r)
		return r;
	add_tunnel(&c, "");
	r = parse_args(argc, argv, need_tunnel, &c, err);
	if (r)
		config_free(&c);
	else
		*ret = c;
	return r;
}

/* ------ files ------ */

struct reader {
	struct config *config;
	struct config_origin *origin; /* of the section */
	const char *file;
	unsigned int line;
	enum section section;
	char section_name[CONFIG_NAME_LEN];
	struct place place;
	bool given[ARRAY_SIZE(keys)]; /* in this section */
	struct error *err;
};

__attribute__((format(printf, 3, 4))) static int at(struct reader *r, const char *remedy,
						    const char *format, ...)
{
	char text[300], file[200];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return fail(r->err, EXIT_USAGE, 0, remedy, "%s:%u: %s", escape(file, sizeof(file), r->file),
		    r->line, text);
}

/* Cut white space at both ends. */
static char *trim(char *s)
{
	s += strspn(s, " \t");
	for (size_t n = strlen(s); n && strchr(" \t\r", s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

/* Of a whole line: a comment is # or ; at its start or after white space. */
static char *strip_line(char *s)
{
	for (char *c = s; *c; c++)
		if ((*c == '#' || *c == ';') && (c == s || c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	return trim(s);
}

static int open_section(struct reader *r, char *s)
{
	char *end = strchr(s, ']'), *name = s + 1 + strcspn(s + 1, " \t]"), shown[128];
	enum section found = SECTION_NONE;

	if (!end || end[1])
		return at(r, "[tunnel NAME], [workload NAME] or [daemon]", "not a section");
	*end = '\0';
	if (*name)
		*name++ = '\0';
	name = trim(name);
	for (enum section i = SECTION_DAEMON; i <= SECTION_WORKLOAD; i++)
		if (!strcmp(s + 1, section_names[i]))
			found = i;
	if (!found)
		return at(r, "tunnel, workload or daemon", "unknown section '%s'",
			  escape(shown, sizeof(shown), s + 1));
	if ((found == SECTION_DAEMON) != !*name || strlen(name) >= CONFIG_NAME_LEN)
		return at(r, "[daemon], [tunnel NAME], [workload NAME]", "a wrong name for [%s]",
			  section_names[found]);
	r->section = found;
	snprintf(r->section_name, sizeof(r->section_name), "%s", name);
	memset(r->given, 0, sizeof(r->given));
	escape(shown, sizeof(shown), name);
	for (size_t i = 0; found == SECTION_TUNNEL && i < r->config->n_tunnels; i++)
		if (!strcmp(r->config->tunnels[i].name, name))
			return at(r, "give each one name", "[tunnel %s] is given twice", shown);
	for (size_t i = 0; found == SECTION_WORKLOAD && i < r->config->n_workloads; i++)
		if (!strcmp(r->config->workloads[i].name, name))
			return at(r, "give each one name", "[workload %s] is given twice", shown);
	if (found == SECTION_DAEMON && r->config->has_daemon)
		return at(r, "keep one of them", "[daemon] is given twice");
	r->config->has_daemon |= found == SECTION_DAEMON;
	r->place = (struct place) { .config = r->config };
	if (found == SECTION_TUNNEL && !(r->place.tunnel = add_tunnel(r->config, name)))
		return at(r, NULL, "more than %d tunnels", CONFIG_TUNNELS);
	if (found == SECTION_WORKLOAD && !(r->place.workload = add_workload(r->config, name)))
		return at(r, NULL, "more than %d workloads", CONFIG_WORKLOADS);
	r->origin = r->place.tunnel	? origin_of_tunnel(r->config, r->config->n_tunnels - 1)
		    : r->place.workload ? origin_of_workload(r->config, r->config->n_workloads - 1)
					: NULL;
	if (r->origin) {
		snprintf(r->origin->file, sizeof(r->origin->file), "%s", r->file);
		r->origin->line = r->line;
	}
	return 0;
}

static int take_key(struct reader *r, char *s)
{
	char *value = strchr(s, '='), shown[128];
	const struct key *key;
	struct error why = { 0 };

	if (!value)
		return at(r, "key = value, or [section]", "neither a key nor a section");
	*value++ = '\0';
	s = trim(s);
	value = trim(value);
	escape(shown, sizeof(shown), s);
	if (!r->section)
		return at(r, "begin with [tunnel NAME]", "'%s' stands in no section", shown);
	key = find_key(r->section, s, strlen(s));
	if (!key)
		return at(r,
			  find_key(SECTION_NONE, s, strlen(s)) ? "it belongs in another section"
							       : "see vpnleash.conf(5)",
			  "unknown key '%s' in [%s]", shown, section_names[r->section]);
	if (r->given[key - keys] && !key->repeatable)
		return at(r, "keep one of them", "'%s' is given twice", key->name);
	r->given[key - keys] = true;
	if (key->set == set_tunnel)
		r->origin->tunnel_line = r->line;
	if (key->set(&r->place, value, &why))
		return at(r, NULL, "%s = %s: %s", key->name, escape(shown, sizeof(shown), value),
			  why.text);
	return 0;
}

int config_parse_text(struct config *c, const char *name, char *text, struct error *err)
{
	struct reader r = { .config = c, .file = name, .err = err };
	char *next;

	for (char *line = text; line; line = next) {
		char *s;
		int e = 0;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r.line++;
		s = strip_line(line);
		if (*s == '[')
			e = open_section(&r, s);
		else if (*s)
			e = take_key(&r, s);
		if (e)
			return e;
	}
	return 0;
}

/* For at(): an error of the section at `origin`, or of its line `line`. */
static void go_to(struct reader *r, const struct config_origin *origin, unsigned int line)
{
	r->file = origin->file;
	r->line = line ? line : origin->line;
}

static int finish_tunnel(struct reader *r, size_t n)
{
	struct config *c = r->config;
	struct tunnel_config *t = &c->tunnels[n];
	const char *remedy, *missing = missing_of_tunnel(t, &remedy);
	char name[128], other[128];

	go_to(r, origin_of_tunnel(c, n), 0);
	escape(name, sizeof(name), t->name);
	if (missing)
		return at(r, remedy, "[tunnel %s] has no '%s'", name, missing);
	for (size_t i = 0; i < n; i++) /* two would renew one lease, each by its own evidence */
		if (!strcmp(c->tunnels[i].interface, t->interface) &&
		    !strcmp(c->tunnels[i].netns, t->netns))
			return at(r, "one section for each tunnel",
				  "[tunnel %s] is the interface of [tunnel %s]", name,
				  escape(other, sizeof(other), c->tunnels[i].name));
	return 0;
}

static int finish_workload(struct reader *r, size_t n)
{
	struct config *c = r->config;
	struct workload_config *w = &c->workloads[n];
	const char *missing = !*w->cgroup ? "cgroup" : !*w->tunnel_name ? "tunnel" : NULL, *remedy;
	struct config_origin *origin = origin_of_workload(c, n);
	char name[128], other[128];

	go_to(r, origin, 0);
	escape(name, sizeof(name), w->name);
	if (missing)
		return at(r, "see vpnleash.conf(5)", "[workload %s] has no '%s'", name, missing);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(c->workloads[i].cgroup, w->cgroup))
			return at(r, "give each once",
				  "[workload %s] is the cgroup of [workload %s]", name,
				  escape(other, sizeof(other), c->workloads[i].name));
	while (w->tunnel < c->n_tunnels && strcmp(c->tunnels[w->tunnel].name, w->tunnel_name))
		w->tunnel++;
	if (w->tunnel == c->n_tunnels) {
		go_to(r, origin, origin->tunnel_line);
		return at(r, "add that section, or correct the name",
			  "[workload %s]: there is no [tunnel %s]", name,
			  escape(other, sizeof(other), w->tunnel_name));
	}
	for (size_t i = 0; i < n; i++) /* the guard is one for both */
		if (c->workloads[i].tunnel == w->tunnel && c->workloads[i].audit != w->audit)
			return at(r, "give both the same",
				  "[workload %s] and [workload %s] share a tunnel and differ in "
				  "'enforce'",
				  escape(other, sizeof(other), c->workloads[i].name), name);
	missing = clash(&c->tunnels[w->tunnel], w, &remedy);
	if (missing)
		return at(r, remedy, "[workload %s] on [tunnel %s]: %s", name,
			  escape(other, sizeof(other), w->tunnel_name), missing);
	return 0;
}

int config_finish(struct config *c, const char *name, struct error *err)
{
	struct reader r = { .config = c, .err = err };
	char file[200];
	int e = 0;

	/* containers may come with labels, but a file that says nothing is a mistake */
	if (!c->n_workloads && (!strcmp(c->engine, "none") || (!c->n_tunnels && !c->has_daemon)))
		return fail(err, EXIT_USAGE, 0, "add [tunnel NAME] and [workload NAME]",
			    "%s: no workload", escape(file, sizeof(file), name));
	for (size_t i = 0; !e && i < c->n_tunnels; i++)
		e = finish_tunnel(&r, i);
	for (size_t i = 0; !e && i < c->n_workloads; i++)
		e = finish_workload(&r, i);
	return e;
}

/* Who may write the file, or a directory above it, may leash and unleash. */
static int check_owner(const char *path, const struct stat *st, struct error *err)
{
	if (st->st_uid == 0 && !(st->st_mode & 022))
		return 0;
	return fail(err, EXIT_USAGE, -EPERM, "chown root, chmod go-w",
		    "trust '%s' (uid %u, mode %o)", quote(path), st->st_uid, st->st_mode & 07777);
}

/* Every directory above. Writes into `path`. */
static int check_above(char *path, struct error *err)
{
	for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		const char *dir = slash == path ? "/" : path;
		struct stat st;
		int r;

		*slash = '\0';
		if (stat(dir, &st) < 0)
			return fail(err, EXIT_USAGE, -errno, NULL, "look at '%s'", quote(dir));
		/* a sticky directory such as /tmp lets nobody replace what is root's */
		r = st.st_mode & S_ISVTX && st.st_uid == 0 ? 0 : check_owner(dir, &st, err);
		if (r)
			return r;
	}
	return 0;
}

/* As it is written and as it resolves: who owns a link in the path chooses the file. */
static int check_parents(const char *path, struct error *err)
{
	char full[PATH_MAX], written[PATH_MAX];
	int r;

	if (!realpath(path, full))
		return fail(err, EXIT_USAGE, -errno, "write one, or give -c FILE", "open '%s'",
			    quote(path));
	snprintf(written, sizeof(written), "%s", path);
	r = check_above(written, err);
	return r ? r : check_above(full, err);
}

static int read_file(struct config *c, const char *name, struct error *err)
{
	_cleanup_fd int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free char *text = malloc(FILE_MAX + 1);
	char shown[300];
	struct stat st;
	ssize_t got = 1;
	size_t n = 0;
	int r;

	escape(shown, sizeof(shown), name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(err, EXIT_USAGE, -errno,
			    errno == ELOOP ? "it must not be a symbolic link"
					   : "write one, or give -c FILE",
			    "open '%s'", shown);
	if (!S_ISREG(st.st_mode))
		return fail(err, EXIT_USAGE, 0, "a regular file", "'%s' is not a file", shown);
	r = check_owner(name, &st, err);
	if (r)
		return r;
	if (!text)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "read '%s'", shown);
	while (n <= FILE_MAX && (got = read(fd, text + n, FILE_MAX + 1 - n)) > 0)
		n += (size_t)got;
	if (got < 0) /* half a configuration would leave the other half unleashed */
		return fail(err, EXIT_USAGE, -errno, NULL, "read '%s'", shown);
	if (n > FILE_MAX)
		return fail(err, EXIT_USAGE, -EFBIG, "at most 256 KiB", "read '%s'", shown);
	text[n] = '\0';
	if (strlen(text) != n)
		return fail(err, EXIT_USAGE, 0, "a text file", "'%s' has a NUL byte", shown);
	return config_parse_text(c, name, text, err);
}

static int ends_in_conf(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && !strcmp(dot, ".conf");
}

static int read_all(const char *file, struct config *c, struct error *err)
{
	const char *slash = strrchr(file, '/');
	struct dirent **entries = NULL;
	char dir[PATH_MAX + 8], name[PATH_MAX + 300];
	int n, r = check_parents(file, err);

	if (!r)
		r = read_file(c, file, err);
	if (r)
		return r;
	snprintf(dir, sizeof(dir), "%.*sconf.d", slash ? (int)(slash - file + 1) : 0, file);
	n = scandir(dir, &entries, ends_in_conf, alphasort);
	if (n < 0 && errno != ENOENT)
		return fail(err, EXIT_USAGE, -errno, "a directory, or nothing", "read '%s'",
			    quote(dir));
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, entries[i]->d_name);
		if (!r)
			r = check_parents(name, err);
		if (!r)
			r = read_file(c, name, err);
		free(entries[i]);
	}
	free(entries);
	return r ? r : config_finish(c, file, err);
}

int config_read(const char *file, struct config *ret, struct error *err)
{
	struct config c;
	int r = config_init(&c, err);

	if (r)
		return r;
	r = read_all(file, &c, err);
	if (r)
		config_free(&c);
	else
		*ret = c;
	return r;
}
