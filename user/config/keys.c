/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/keys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/cgroup.h"
#include "paths.h"

/* The root is looked for later: here only the name of a slice counts. */
static const struct cgroup_root any_root = { .fd = -1, .path = "" };

/* No path, and nothing that is hidden or leads upwards. */
static bool is_plain_name(const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	return n && n <= 255 && strspn(name, plain) == n && *name != '.';
}

/* A container as engines name them, or a unit with its suffix. */
static int check_named(enum place_kind kind, const char *name, struct error *err)
{
	size_t n = strlen(name);

	if (kind == PLACE_CONTAINER && !is_plain_name(name))
		return wrong(err, "container:NAME, as the engine lists it",
			     "not the name of a container");
	if (kind == PLACE_UNIT && (!n || n > 255 || strchr(name, '/') || !strchr(name, '.')))
		return wrong(err, "unit:NAME.service", "not the name of a unit");
	return 0;
}

static int set_cgroup(struct place *p, const char *value, struct error *err)
{
	const char *name;
	enum place_kind kind = place_kind(value, &name);
	char path[PATH_MAX];

	if (strlen(value) >= PATH_MAX)
		return wrong(err, "/PATH below the cgroup v2 root", "too long");
	snprintf(p->workload->cgroup, PATH_MAX, "%s", value);
	if (kind == PLACE_SLICE) {
		p->workload->is_slice = true;
		return slice_to_path(&any_root, name, path, err);
	}
	if (kind == PLACE_CONTAINER || kind == PLACE_UNIT)
		return check_named(kind, name, err);
	if (*value != '/')
		return wrong(err, "/PATH below the cgroup v2 root", "not a path");
	for (const char *up = strstr(value, "/.."); up; up = strstr(up + 1, "/.."))
		if (up[3] == '/' || !up[3])
			return wrong(err, "write the path without '..'",
				     "not the path of a cgroup");
	return 0;
}

static int set_tunnel(struct place *p, const char *value, struct error *err)
{
	if (strlen(value) >= CONFIG_NAME_LEN)
		return wrong(err, "the name of a [tunnel NAME] section", "too long");
	snprintf(p->workload->tunnel_name, CONFIG_NAME_LEN, "%s", value);
	return 0;
}

static int set_interface(struct place *p, const char *value, struct error *err)
{
	/* what dev_valid_name() of the kernel refuses can never be there */
	if (!*value || strlen(value) >= IFNAMSIZ || strpbrk(value, "/: \t\n\v\f\r") ||
	    !strcmp(value, ".") || !strcmp(value, ".."))
		return wrong(err, "1 to 15 characters, no '/', no ':' and no space",
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
		return wrong(err,
			     "host, container:NAME, unit:NAME, /run/netns/NAME or /proc/PID/ns/net",
			     "not a network namespace");
	snprintf(p->tunnel->netns, PATH_MAX, "%s", value);
	return check_named(kind, name, err);
}

static int set_route(struct place *p, const char *value, struct error *err)
{
	struct in6_addr any;

	if (!strcmp(value, "none"))
		value = "";
	else if (inet_pton(AF_INET, value, &any) != 1 && inet_pton(AF_INET6, value, &any) != 1)
		return wrong(err, "an IP address, or none", "not an address");
	snprintf(p->tunnel->route, sizeof(p->tunnel->route), "%s", value);
	p->tunnel->route_given = true;
	return 0;
}

static int set_duration(uint64_t *ret_ns, const char *value, unsigned int min_s, unsigned int max_s,
			struct error *err)
{
	uint64_t ns;

	if (parse_duration(value, &ns))
		return wrong(err, "like 3s or 1500ms", "not a time");
	if (ns < min_s * NS_PER_SEC || ns > max_s * NS_PER_SEC)
		return fail(err, ERROR_INPUT, -ERANGE, NULL, "must be %us to %us", min_s, max_s);
	*ret_ns = ns;
	return 0;
}

static int set_lease(struct place *p, const char *value, struct error *err)
{
	return set_duration(&p->config->lease_ns, value, 1, 4, err);
}

static int set_patience(struct place *p, const char *value, struct error *err)
{
	p->tunnel->patience_ns = 0;
	return strcmp(value, "auto") ? set_duration(&p->tunnel->patience_ns, value, 1, 60, err) : 0;
}

static int set_on_failure(struct place *p, const char *value, struct error *err)
{
	if (strcmp(value, "freeze") && strcmp(value, "block"))
		return wrong(err, "freeze or block", "not a way to fail");
	p->workload->on_failure = *value == 'b' ? ON_FAILURE_BLOCK : ON_FAILURE_FREEZE;
	return 0;
}

static int set_stop_after(struct place *p, const char *value, struct error *err)
{
	if (!strcmp(value, "never")) {
		p->workload->stop_after_ns = STOP_NEVER;
		return 0;
	}
	return set_duration(&p->workload->stop_after_ns, value, 0, 24 * 3600, err);
}

/* tcp://ADDRESS:PORT, of this machine or a private network: whoever is on that way knows every
 * container, and may say which are to be leashed. NULL, or what to say instead. */
static const char *check_tcp(const char *where)
{
	static const char *const networks[] = { "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12",
						"192.168.0.0/16" };
	uint8_t mapped[16] = { [10] = 0xff, 0xff };
	char address[INET_ADDRSTRLEN], end;
	unsigned int port;

	if (sscanf(where, "tcp://%15[0-9.]:%5u%c", address, &port, &end) != 2 || !port ||
	    port > UINT16_MAX || inet_pton(AF_INET, address, mapped + 12) != 1)
		return "an IPv4 address and a port, as tcp://127.0.0.1:2375";
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++)
		if (is_in_network(mapped, networks[i]))
			return NULL;
	return "nothing encrypts that way: use 127.0.0.1, or an address of 10.0.0.0/8, "
	       "172.16.0.0/12 or 192.168.0.0/16";
}

static const char *check_sockets(const char *value)
{
	const char *remedy = "auto, none, or unix:///PATH and tcp://ADDRESS:PORT, up to "
			     "four with spaces between them";
	char one[CONFIG_SOCKET_LEN];
	size_t n = 0, length, length_of_all = strlen(value);

	for (; *value; value += length + strspn(value + length, " "), n++) {
		length = strcspn(value, " ");
		if (length >= sizeof(one) || n == CONFIG_SOCKETS)
			return remedy;
		snprintf(one, sizeof(one), "%.*s", (int)length, value);
		if (!strncmp(one, "tcp://", 6) && check_tcp(one))
			return check_tcp(one);
		if (strncmp(one, "tcp://", 6) && strncmp(one, "unix:///", 8))
			return remedy;
	}
	return n && length_of_all < sizeof(((struct config *)0)->engine) ? NULL : remedy;
}

/* One of two words. *ret: it is the second. */
static int set_either(bool *ret, const char *value, const char *first, const char *second,
		      const char *remedy, struct error *err)
{
	*ret = !strcmp(value, second);
	return *ret || !strcmp(value, first) ? 0 : wrong(err, remedy, "neither");
}

static int set_rejoin(struct place *p, const char *value, struct error *err)
{
	return set_either(&p->workload->recreate, value, "restart", "recreate",
			  "restart or recreate", err);
}

static int set_engine(struct place *p, const char *value, struct error *err)
{
	const char *remedy = NULL;

	if (strcmp(value, "auto") && strcmp(value, "none"))
		remedy = check_sockets(value);
	if (remedy)
		return wrong(err, remedy, "not an engine");
	snprintf(p->config->engine, sizeof(p->config->engine), "%s", value);
	return 0;
}

static int set_slice(struct place *p, const char *value, struct error *err)
{
	struct config *c = p->config;
	char path[PATH_MAX];

	if (c->n_slices == CONFIG_SLICES || strlen(value) >= sizeof(c->slices[0]))
		return wrong(err, NULL, "too long, or more than %d", CONFIG_SLICES);
	snprintf(c->slices[c->n_slices++], sizeof(c->slices[0]), "%s", value);
	return slice_to_path(&any_root, value, path, err);
}

/* A label chooses among what root has put into HOOKS_DIR; a path is the operator's to give. */
static int take_hook(const struct place *p, char ret[256], const char *value, struct error *err)
{
	bool named = is_plain_name(value);

	if (p->of_label && !named)
		return wrong(err, "the name of a program in " HOOKS_DIR, "not a hook");
	if ((!named && *value != '/') ||
	    snprintf(ret, 256, "%s%s", named ? HOOKS_DIR "/" : "", value) >= 256)
		return wrong(err,
			     "the full path of a program, or the name of one in " HOOKS_DIR
			     ", without arguments",
			     "not a program");
	return 0;
}

static int set_hook(struct place *p, const char *value, struct error *err)
{
	return take_hook(p, p->workload->hook, value, err);
}

static int set_hook_inside(struct place *p, const char *value, struct error *err)
{
	return take_hook(p, p->workload->hook_inside, value, err);
}

static int set_probe(struct place *p, const char *value, struct error *err)
{
	char program[256], exec[sizeof(program) + 5];
	int r;

	if (strncmp(value, "exec:", 5))
		return probe_add(&p->tunnel->probes, value, err);
	r = take_hook(p, program, value + 5, err);
	snprintf(exec, sizeof(exec), "exec:%s", r ? "" : program);
	return r ? r : probe_add(&p->tunnel->probes, exec, err);
}

static int set_identity(struct place *p, const char *value, struct error *err)
{
	return identity_set(&p->tunnel->identity, value, err);
}

static int set_guard(struct place *p, const char *value, struct error *err)
{
	return set_either(&p->tunnel->guard_off, value, "on", "off", "on or off", err);
}

static int set_health(struct place *p, const char *value, struct error *err)
{
	return set_either(&p->tunnel->health_ignored, value, "obey", "ignore", "obey or ignore",
			  err);
}

static int set_process(struct place *p, const char *value, struct error *err)
{
	if (!*value || strlen(value) >= sizeof(p->tunnel->process) || strchr(value, '/'))
		return wrong(err, "as in /proc/PID/comm: 1 to 15 bytes, no path",
			     "not a process name");
	snprintf(p->tunnel->process, sizeof(p->tunnel->process), "%s", value);
	return 0;
}

/* Who may go anywhere needs no list. */
static int check_endpoint(const struct tunnel_config *t, struct error *err)
{
	return t->endpoint_process && (t->endpoints.n || t->bootstrap.n)
		       ? wrong(err, "take out all other values of 'endpoint', and 'bootstrap'",
			       "process goes with no address")
		       : 0;
}

static int set_endpoint(struct place *p, const char *value, struct error *err)
{
	bool process = !strcmp(value, "process");
	int r = process ? 0 : endpoint_add(&p->tunnel->endpoints, value, err);

	p->tunnel->endpoint_process |= process;
	return r ? r : check_endpoint(p->tunnel, err);
}

static int set_bootstrap(struct place *p, const char *value, struct error *err)
{
	int r;

	if (!strcmp(value, "any"))
		return wrong(err,
			     "leave it out: what the VPN sends may pass, whoever "
			     "else is awake",
			     "'any' opened the underlay for everybody, and is gone");
	r = strcmp(value, "vpn") ? hosts_add(&p->tunnel->bootstrap, value, err) : 0;
	return r ? r : check_endpoint(p->tunnel, err);
}

static int set_allow(struct place *p, const char *value, struct error *err)
{
	return allow_add(p->workload ? &p->workload->allow : &p->tunnel->allow, value, err);
}

static int set_reach(struct place *p, const char *value, struct error *err)
{
	return reach_add(p->workload ? &p->workload->reach : &p->tunnel->reach, value, err);
}

static int set_dns(struct place *p, const char *value, struct error *err)
{
	return dns_set(&p->tunnel->dns, value, err);
}

static int set_ipv6(struct place *p, const char *value, struct error *err)
{
	return set_either(&p->workload->ipv6, value, "deny", "tunnel", "deny or tunnel", err);
}

static int set_enforce(struct place *p, const char *value, struct error *err)
{
	return set_either(&p->workload->audit, value, "yes", "audit", "yes or audit", err);
}
/* In the order of --help. */
/* clang-format off */
static const struct key keys[] = {
	{ "cgroup", "PLACE", .section = SECTION_WORKLOAD, .set = set_cgroup, .kind = KEY_CGROUP,
	  .no_label = true,
	  .help =
	    "the workload: /PATH, container:NAME, unit:NAME, or all in slice:NAME; repeatable" },
	{ "tunnel", "NAME", .section = SECTION_WORKLOAD, .set = set_tunnel, .kind = KEY_TUNNEL,
	  .help = "the section of its tunnel" },
	{ "on-failure", "freeze|block", .section = SECTION_WORKLOAD, .set = set_on_failure,
	  .help = "after barring: freeze the cgroup (default) or leave it" },
	{ "stop-after", "TIME|never", .section = SECTION_WORKLOAD, .set = set_stop_after,
	  .help = "then a container or unit is stopped cleanly; default 30s" },
	{ "rejoin", "restart|recreate", .section = SECTION_WORKLOAD, .set = set_rejoin,
	  .help = "recreate: also made anew, when its VPN's container was" },
	{ "interface", "NAME", .section = SECTION_TUNNEL, .set = set_interface,
	  .kind = KEY_INTERFACE,
	  .help = "the tunnel, e.g. CloudflareWARP" },
	{ "netns", "NETNS", .section = SECTION_TUNNEL, .set = set_netns, .no_label = true,
	  .help = "where it is: host (default), container:NAME, unit:NAME, /run/netns/NAME" },
	{ "probe", "PROBE|none", .section = SECTION_TUNNEL, .set = set_probe, .repeatable = true,
	  .help = "dns:NAME@IP, icmp:IP, tcp:IP:PORT, handshake:TIME, exec:PROGRAM; default: "
		  "the first three" },
	{ "identity", "PAGE", .section = SECTION_TUNNEL, .set = set_identity,
	  .help = "'URL expect TEXT': says by which exit one leaves; no lease by another" },
	{ "route", "IP|none", .section = SECTION_TUNNEL, .set = set_route,
	  .help = "must resolve through the interface; default: the first probe's IP" },
	{ "patience", "auto|TIME", .section = SECTION_TUNNEL, .set = set_patience,
	  .help = "silence tolerated: 1s to 60s; default auto, 3 to 10 s" },
	{ "guard", "on|off", .section = SECTION_TUNNEL, .set = set_guard,
	  .help = "nothing beside the gate, at the edge of the netns; default on" },
	{ "endpoint", "IP:PORT/PROTO", .section = SECTION_TUNNEL, .set = set_endpoint,
	  .repeatable = true,
	  .help = "the VPN's server; preset:cloudflare-warp; process: wherever it goes; "
		  "default: auto" },
	{ "bootstrap", "vpn|IP,...", .section = SECTION_TUNNEL, .set = set_bootstrap,
	  .help = "before the tunnel is up: what the VPN sends, or all to these" },
	{ "dns", "auto|none|IP[,IP]", .section = SECTION_TUNNEL, .set = set_dns,
	  .help = "resolver in the tunnel; default 1.1.1.1 and 9.9.9.9" },
	{ "process", "NAME", .section = SECTION_TUNNEL, .set = set_process,
	  .help = "the VPN's process: when the last of that name ends, shut at once" },
	{ "health", "obey|ignore", .section = SECTION_TUNNEL, .set = set_health,
	  .help = "obey (default): no lease while the VPN's container is unhealthy" },
	{ "allow", "tcp/PORT", .section = SECTION_WORKLOAD, .set = set_allow, .repeatable = true,
	  .help = "a port that LAN clients may talk to; repeatable" },
	{ "reach", "tcp/IP:PORT", .section = SECTION_WORKLOAD, .set = set_reach,
	  .repeatable = true,
	  .help = "a private host that it may talk to beside the tunnel; repeatable" },
	{ "ipv6", "deny|tunnel", .section = SECTION_WORKLOAD, .set = set_ipv6,
	  .help = "default deny; tunnel: the tunnel carries IPv6 as well" },
	{ "enforce", "yes|audit", .section = SECTION_WORKLOAD, .set = set_enforce,
	  .help = "audit: count and show, drop nothing" },
	{ "lease", "TIME", .section = SECTION_DAEMON, .set = set_lease,
	  .help = "how long a dead daemon's grant lasts: 1s to 4s, default 3s" },
	{ "slice", "NAME", .section = SECTION_DAEMON, .set = set_slice, .repeatable = true,
	  .help = "lock this slice (a-b.slice, or /PATH); repeatable" },
	{ "engine", "auto|none|unix:///PATH|tcp://ADDRESS:PORT", .section = SECTION_DAEMON, .set = set_engine,
	  .help = "the socket of Docker, Podman, or a proxy; default auto: both" },
	{ "allow", .section = SECTION_TUNNEL, .set = set_allow, .repeatable = true },
	{ "reach", .section = SECTION_TUNNEL, .set = set_reach, .repeatable = true },
	{ "hook", "PROGRAM", .section = SECTION_WORKLOAD, .set = set_hook,
	  .help = "run on each change of state, as user vpnleash" },
	{ "hook-inside", "PROGRAM", .section = SECTION_WORKLOAD, .set = set_hook_inside,
	  .help = "the same, in the network of the workload" },
};
/* clang-format on */

const struct key *key_find(enum section section, const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if ((section == SECTION_NONE || keys[i].section == section) &&
		    strlen(keys[i].name) == length && !strncmp(keys[i].name, name, length))
			return &keys[i];
	return NULL;
}

uint64_t key_bit(const struct key *key)
{
	_Static_assert(ARRAY_SIZE(keys) <= 64, "a bit for each key");
	return 1ULL << (key - keys);
}

void key_list_labels(char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && n < size; i++)
		/* a key of two sections has its help once */
		if (keys[i].help && !keys[i].no_label && keys[i].section != SECTION_DAEMON)
			n += (size_t)snprintf(ret + n, size - n, "%s%s", n ? ", " : "",
					      keys[i].name);
}

void config_print_keys(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char option[64];

		if (!keys[i].help || keys[i].kind == KEY_TUNNEL)
			continue;
		snprintf(option, sizeof(option), "--%s %s", keys[i].name, keys[i].value);
		fprintf(out, "  %-24s %s\n", option, keys[i].help);
	}
}
