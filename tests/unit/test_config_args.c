/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line → one validated struct: every key, right and wrong, and garbage. */
#include "test_config.h"

#include <arpa/inet.h>

#include "paths.h"

#define ARGS (2 * CONFIG_WORKLOADS + 8)
#define GOOD "--cgroup", "/a", "--interface", "wg0", "--probe", "none"

/* Each argument in an allocation of its own, so that the sanitizer sees a byte too far. */
static int parse(bool need_tunnel, const char *const *args, size_t n)
{
	char *argv[ARGS + 2] = { strdup("run") };
	int r;

	for (size_t i = 0; i < n; i++)
		argv[i + 1] = strdup(args[i]);
	prepare();
	r = config_parse_args((int)n + 1, argv, need_tunnel, &config, &err);
	owned = !r;
	for (size_t i = 0; i <= n; i++)
		free(argv[i]);
	return r;
}

#define RUN(...)                                           \
	parse(true, (const char *const[]) { __VA_ARGS__ }, \
	      sizeof((const char *const[]) { __VA_ARGS__ }) / sizeof(char *))
#define LOCK(...)                                           \
	parse(false, (const char *const[]) { __VA_ARGS__ }, \
	      sizeof((const char *const[]) { __VA_ARGS__ }) / sizeof(char *))

/* Refused as a usage error that names both, and the result untouched. */
static void assert_refused(int r, const char *key, const char *remedy)
{
	const unsigned char *untouched = (const unsigned char *)&config;

	assert_int_equal(r, -EINVAL);
	assert_int_equal(err.kind, ERROR_INPUT);
	if (!strstr(err.text, key) || !strstr(err.text, remedy))
		fail_msg("'%s' and '%s' expected in: %s", key, remedy, err.text);
	for (size_t i = 0; i < sizeof(config); i++)
		if (untouched[i] != 0x5a)
			fail_msg("byte %zu was written", i);
}

static void defaults(void **state)
{
	assert_int_equal(RUN(GOOD), 0);
	assert_int_equal(config.lease_ns, 3 * NS_PER_SEC);
	assert_int_equal(config.tunnels[0].patience_ns, 0);
	assert_string_equal(config.tunnels[0].netns, "host");
	assert_string_equal(config.tunnels[0].interface, "wg0");
	assert_string_equal(config.tunnels[0].route, "");
	assert_int_equal(config.tunnels[0].probes.n, 0);
	assert_int_equal(config.workloads[0].on_failure, ON_FAILURE_FREEZE);
	assert_int_equal(config.n_workloads, 1);
	assert_string_equal(config.workloads[0].cgroup, "/a");
}

static void every_key_is_taken(void **state)
{
	char text[PROBE_TEXT];

	assert_int_equal(RUN("--cgroup", "/a", "--interface", "CloudflareWARP1", "--netns",
			     "/run/netns/vpn", "--probe", "icmp:10.0.0.1", "--route", "2001:db8::1",
			     "--on-failure", "block", "--lease", "1500ms", "--patience", "60",
			     "--guard", "off", "--cgroup", "/sys/fs/cgroup/b c"),
			 0);
	assert_int_equal(config.n_workloads, 2);
	assert_int_equal(config.n_tunnels, 1);
	assert_int_equal(config.workloads[1].on_failure, ON_FAILURE_BLOCK);
	assert_string_equal(config.workloads[1].cgroup, "/sys/fs/cgroup/b c");
	assert_string_equal(config.tunnels[0].interface, "CloudflareWARP1");
	assert_string_equal(config.tunnels[0].netns, "/run/netns/vpn");
	assert_int_equal(config.tunnels[0].probes.n, 1);
	assert_string_equal(probe_text(&config.tunnels[0].probes.rule[0], text), "icmp:10.0.0.1");
	assert_string_equal(config.tunnels[0].route, "2001:db8::1");
	assert_int_equal(config.workloads[0].on_failure, ON_FAILURE_BLOCK);
	assert_int_equal(config.lease_ns, 1500 * NS_PER_MSEC);
	assert_int_equal(config.tunnels[0].patience_ns, 60 * NS_PER_SEC);
}

static void the_route_is_the_probes_unless_given(void **state)
{
	assert_int_equal(RUN("--cgroup", "/a", "--interface", "w", "--probe", "icmp:10.0.0.1"), 0);
	assert_string_equal(config.tunnels[0].route, "10.0.0.1");
	assert_int_equal(RUN("--cgroup", "/a", "--interface", "w", "--route", "none", "--probe",
			     "icmp:10.0.0.1"),
			 0);
	assert_string_equal(config.tunnels[0].route, "");
	assert_int_equal(RUN(GOOD, "--route", "1.1.1.1"), 0);
	assert_string_equal(config.tunnels[0].route, "1.1.1.1");
}

static void the_equals_form(void **state)
{
	assert_int_equal(RUN("--cgroup=/a=b", "--interface=wg0", "--probe=none", "--lease=4s"), 0);
	assert_string_equal(config.workloads[0].cgroup, "/a=b");
	assert_string_equal(config.tunnels[0].interface, "wg0");
	assert_int_equal(config.lease_ns, 4 * NS_PER_SEC);
	assert_refused(RUN(GOOD, "--netns="), "--netns ''", "/run/netns/NAME");
	assert_refused(RUN("--interface=", "--cgroup=/a"), "--interface ''", "1 to 15");
	assert_refused(RUN("--cgroup="), "--cgroup ''", "/PATH");
}

static void wrong_values_are_refused(void **state)
{
	static const struct {
		const char *key, *value, *remedy;
	} wrong[] = {
		{ "interface", "", "1 to 15" },
		{ "interface", "sixteen-letters!", "1 to 15" },
		{ "interface", "a/b", "no '/'" },
		{ "interface", "a b", "no space" },
		{ "interface", "a\nb", "no space" },
		{ "interface", "a\rb", "no space" },
		{ "interface", "a\vb", "no space" },
		{ "interface", "eth0:1", "no ':'" },
		{ "interface", ".", "1 to 15" },
		{ "interface", "..", "1 to 15" },
		{ "netns", "vpn", "/run/netns/NAME" },
		{ "netns", "container:", "container:NAME" },
		{ "netns", "container:../vpn", "container:NAME" },
		{ "netns", "unit:vpn", "unit:NAME.service" },
		{ "netns", "slice:vpn", "/run/netns/NAME" },
		{ "netns", "hosts", "host" },
		{ "probe", "", "icmp:IP" },
		{ "probe", "icmp", "icmp:IP" },
		{ "probe", "icmp:", "icmp:IP" },
		{ "probe", "icmp:1.1.1", "icmp:IP" },
		{ "probe", "icmp:1.1.1.1 ", "icmp:IP" },
		{ "probe", "icmp:::1", "IPv4" },
		{ "probe", "exec:bin/true", "without arguments" },
		{ "identity", "", "expect TEXT" },
		{ "identity", "http://1.1.1.1/", "expect TEXT" },
		{ "identity", "http://1.1.1.1/ expect ", "empty" },
		{ "identity", "ftp://1.1.1.1/ expect x", "http://HOST" },
		{ "identity", "http:///x expect x", "http://HOST" },
		{ "identity", "http://a@1.1.1.1/ expect x", "http://HOST" },
		{ "identity", "http://[::1]/ expect x", "http://HOST" },
		{ "identity", "http://1.1/ expect x", "http://HOST" },
		{ "identity", "http://0x7f.1/ expect x", "http://HOST" },
		{ "identity", "http://127.0.0.1/ expect x", "http://HOST" },
		{ "identity", "http://a..b/ expect x", "http://HOST" },
		{ "identity", "http://a.b:0/ expect x", "http://HOST" },
		{ "identity", "http://a.b:65536/ expect x", "http://HOST" },
		{ "identity", "http://a.b:80x/ expect x", "http://HOST" },
		{ "identity", "http://a.b/\xc3\xbc expect x", "http://HOST" },
		{ "identity", "http://a.b/ x expect x", "http://HOST" },
		{ "probe", "None", "none" },
		{ "route", "", "IP address" },
		{ "route", "example.org", "IP address" },
		{ "route", "1.1.1.1/32", "IP address" },
		{ "on-failure", "", "freeze or block" },
		{ "on-failure", "stop", "freeze or block" },
		{ "on-failure", "b", "freeze or block" },
		{ "lease", "", "3s" },
		{ "lease", "abc", "3s" },
		{ "lease", "-1s", "3s" },
		{ "lease", "1h", "3s" },
		{ "lease", "0", "1s to 4s" },
		{ "lease", "999ms", "1s to 4s" },
		{ "lease", "4001ms", "1s to 4s" },
		{ "lease", "18446744073709551617", "3s" },
		{ "patience", "999ms", "1s to 60s" },
		{ "patience", "60001ms", "1s to 60s" },
		{ "patience", "2min", "1s to 60s" },
		{ "guard", "maybe", "on or off" },
		{ "guard", "", "on or off" },
		{ "health", "", "obey or ignore" },
		{ "process", "", "1 to 15 bytes" },
		{ "process", "/usr/bin/warp-svc", "no path" },
		{ "process", "sixteen-letters-", "1 to 15 bytes" },
		{ "ipv6", "yes", "deny or tunnel" },
		{ "enforce", "no", "yes or audit" },
		{ "endpoint", "1.2.3.4", "IP[/len]:PORT/udp" },
		{ "endpoint", "1.2.3.4:51820", "IP[/len]:PORT/udp" },
		{ "endpoint", "1.2.3.4:0/udp", "the port is wrong" },
		{ "endpoint", "1.2.3.4:65536/udp", "the port is wrong" },
		{ "endpoint", "1.2.3.4:53/udp", "a resolver is no endpoint" },
		{ "endpoint", "1.2.3.4:853/tcp", "a resolver is no endpoint" },
		{ "endpoint", "1.2.3.4:1/icmp", "is not an endpoint" },
		{ "endpoint", "2001:db8::1:51820/udp", "is not an endpoint" },
		{ "endpoint", "[2001:db8::1/64]:51820/udp", "clear the bits" },
		{ "endpoint", "0.0.0.0/0:51820/udp", "is no endpoint" },
		{ "endpoint", "127.0.0.1:51820/udp", "is no endpoint" },
		{ "endpoint", "239.1.1.1:51820/udp", "is no endpoint" },
		{ "endpoint", "1.2.3.4/33:51820/udp", "0 to 32" },
		{ "endpoint", "vpn.example.org:51820/udp", "names are not looked up" },
		{ "endpoint", "preset:nobody", "preset:cloudflare-warp" },
		{ "dns", "", "no host" },
		{ "dns", "1.1.1.1,9.9.9.9,8.8.8.8", "more than two" },
		{ "dns", "2606:4700::1111", "not a resolver" },
		{ "dns", "1.1.1.0/24", "not a resolver" },
		{ "dns", "dns.example.org", "names are not looked up" },
		{ "bootstrap", "none", "names are not looked up" },
		{ "bootstrap", "1.2.3.4,0.0.0.0/0", "no host" },
		{ "bootstrap", ",", "no host" },
		{ "allow", "8080", "tcp/PORT" },
		{ "allow", "tcp/", "tcp/PORT" },
		{ "allow", "tcp/0", "tcp/PORT" },
		{ "allow", "sctp/80", "tcp/PORT" },
		{ "allow", "tcp/80 to 10.0.0.0/8", "tcp/PORT" },
		{ "allow", "tcp/80 from", "nobody" },
		{ "allow", "tcp/80 from 0.0.0.0/0", "not a LAN" },
		{ "allow", "tcp/80 from ::/0", "not a LAN" },
		{ "allow", "tcp/80 from 10.0.0.1/8", "clear the bits" },
		{ "allow", "udp/80", "needs 'from'" },
		{ "allow", "udp/5353 from 10.0.0.0/8", "never answered" },
		{ "reach", "192.168.1.10:8989", "not a host and a port" },
		{ "reach", "tcp/192.168.1.10", "not a host and a port" },
		{ "reach", "sctp/192.168.1.10:80", "not a host and a port" },
		{ "reach", "tcp/192.168.1.10:", "the port is wrong" },
		{ "reach", "tcp/192.168.1.10:0", "the port is wrong" },
		{ "reach", "tcp/192.168.1.10:80-90", "the port is wrong" },
		{ "reach", "udp/192.168.1.10:53", "never reached" },
		{ "reach", "tcp/192.168.1.10:853", "never reached" },
		{ "reach", "udp/192.168.1.10:5353", "never reached" },
		{ "reach", "udp/192.168.1.10:1900", "never reached" },
		{ "reach", "udp/192.168.1.10:5351", "never reached" },
		{ "reach", "tcp/nas.lan:80", "names are not looked up" },
		{ "reach", "tcp/8.8.8.8:80", "no private address" },
		{ "reach", "tcp/172.32.0.0/24:80", "no private address" },
		{ "reach", "tcp/127.0.0.1:80", "no private address" },
		{ "reach", "tcp/239.1.1.1:80", "no private address" },
		{ "reach", "tcp/192.168.0.0/23:80", "too wide" },
		{ "reach", "tcp/0.0.0.0/0:80", "too wide" },
		{ "reach", "tcp/192.168.1.1/24:80", "clear the bits" },
		{ "reach", "tcp/[fd00::1]:80", "IPv6 is not let out" },
		{ "reach", "tcp/::ffff:10.0.0.1:80", "IPv6 is not let out" },
		{ "cgroup", "", "/PATH" },
		{ "cgroup", "a", "/PATH" },
		{ "cgroup", "container:", "container:NAME" },
		{ "cgroup", "container:a b", "container:NAME" },
		{ "cgroup", "container:../a", "container:NAME" },
		{ "cgroup", "unit:a", "unit:NAME.service" },
		{ "cgroup", "unit:a/b.service", "unit:NAME.service" },
		{ "stop-after", "soon", "like 3s" },
		{ "rejoin", "always", "restart or recreate" },
		{ "hook", ".x", "full path" },
		{ "hook", "..", "name of one in " HOOKS_DIR },
		{ "hook-inside", "bin/x", "full path" },
		{ "hook-inside", "", "full path" },
		{ "stop-after", "-1", "like 3s" },
		{ "engine", "docker", "unix:///PATH" },
		{ "engine", "tcp://127.0.0.1", "an IPv4 address and a port" },
		{ "engine", "tcp://127.0.0.1:0", "an IPv4 address and a port" },
		{ "engine", "tcp://127.0.0.1:65536", "an IPv4 address and a port" },
		{ "engine", "tcp://127.0.0.1:2375/x", "an IPv4 address and a port" },
		{ "engine", "tcp://10.0.0.1@192.0.2.1:1", "an IPv4 address and a port" },
		{ "engine", "tcp://proxy:2375", "an IPv4 address and a port" },
		{ "engine", "tcp://0.0.0.0:2375", "nothing encrypts that way" },
		{ "engine", "tcp://192.0.2.1:2375", "nothing encrypts that way" },
		{ "engine", "tcp://172.32.0.1:2375", "nothing encrypts that way" },
		{ "engine", "unix:///a tcp://8.8.8.8:1", "nothing encrypts that way" },
		{ "engine", "unix:///a none", "up to four" },
		{ "engine", "unix:///1 unix:///2 unix:///3 unix:///4 unix:///5", "up to four" },
		{ "cgroup", "slice:a", "not the name of a slice" },
		{ "cgroup", "slice:", "not the name of a slice" },
		{ "cgroup", "slice:-.slice", "root of all slices" },
		{ "cgroup", "slice:/a/../b", "without '..'" },
		{ "cgroup", "/..", "without '..'" },
		{ "cgroup", "/a/../b", "without '..'" },
		{ "cgroup", "/a/..", "without '..'" },
	};
	char named[64];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char option[32];

		snprintf(option, sizeof(option), "--%s", wrong[i].key);
		snprintf(named, sizeof(named), "--%s '", wrong[i].key);
		assert_refused(RUN(option, wrong[i].value), named, wrong[i].remedy);
	}
}

static void ranges_include_their_ends(void **state)
{
	static const char *const leases[] = { "1", "1s", "1000ms", "4s", "4000ms" };
	static const char *const patiences[] = { "1", "1000ms", "60s", "1min", "60000ms", "auto" };

	for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
		assert_int_equal(RUN(GOOD, "--lease", leases[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(patiences); i++)
		assert_int_equal(RUN(GOOD, "--patience", patiences[i]), 0);
}

static void engines(void **state)
{
	static const char *const good[] = {
		"auto",
		"none",
		"unix:///a",
		"tcp://127.0.0.1:1",
		"tcp://172.31.255.254:65535",
		"tcp://192.168.1.2:2375 unix:///run/podman/podman.sock",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(RUN(GOOD, "--engine", good[i]), 0);
		assert_string_equal(config.engine, good[i]);
	}
}

static void too_long_is_refused(void **state)
{
	char *path = malloc(PATH_MAX + 1);

	assert_non_null(path);
	memset(path, 'a', PATH_MAX);
	path[0] = '/';
	path[PATH_MAX] = '\0';
	assert_refused(RUN("--cgroup", path), "--cgroup", "/PATH");
	assert_refused(RUN("--netns", path), "--netns", "/run/netns/NAME");
	path[PATH_MAX - 1] = '\0';
	assert_int_equal(RUN("--interface=w", "--probe=none", "--cgroup", path, "--netns", path),
			 0);
	assert_string_equal(config.workloads[0].cgroup, path);
	assert_string_equal(config.tunnels[0].netns, path);
	free(path);
}

static void twice_is_refused(void **state)
{
	assert_refused(RUN(GOOD, "--interface", "wg1"), "--interface", "twice");
	assert_refused(RUN(GOOD, "--lease", "3s", "--lease=3s"), "--lease", "twice");
	assert_refused(RUN(GOOD, "--probe", "none"), "--probe", "alone");
	assert_refused(RUN(GOOD, "--cgroup", "/a"), "--cgroup '/a'", "twice");
}

static void many_cgroups(void **state)
{
	const char *args[ARGS];
	char paths[CONFIG_WORKLOADS + 1][16];
	size_t n = 0;

	for (size_t i = 0; i <= CONFIG_WORKLOADS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
		args[n++] = "--cgroup";
		args[n++] = paths[i];
	}
	assert_int_equal(parse(false, args, n - 2), 0);
	assert_int_equal(config.n_workloads, CONFIG_WORKLOADS);
	assert_refused(parse(false, args, n), "more than", "256 cgroups");
}

static void missing_and_unknown_are_refused(void **state)
{
	assert_int_equal(parse(true, NULL, 0), -EINVAL);
	assert_refused(parse(true, NULL, 0), "--cgroup", "--help");
	assert_refused(RUN("--interface", "w", "--probe", "none"), "--cgroup", "--help");
	assert_refused(RUN("--cgroup", "/a", "--probe", "none"), "--interface",
		       "tunnel's interface");
	assert_refused(RUN(GOOD, "--lease"), "--lease needs a value", "--help");
	assert_refused(RUN(GOOD, "--unknown", "1"), "'--unknown'", "--help");
	assert_refused(RUN(GOOD, "--leases", "3s"), "'--leases'", "--help");
	assert_refused(RUN(GOOD, "--leas", "3s"), "'--leas'", "--help");
	assert_refused(RUN(GOOD, "-lease", "3s"), "'-lease'", "--help");
	assert_refused(RUN(GOOD, "lease=3s"), "'lease=3s'", "--help");
	assert_refused(RUN(GOOD, "--tunnel", "wg0"), "'--tunnel'", "--help"); /* files only */
	assert_refused(RUN(GOOD, "--"), "'--'", "--help");
	assert_refused(RUN(GOOD, "--=3s"), "'--=3s'", "--help");
	assert_refused(RUN(GOOD, ""), "''", "--help");
	assert_refused(RUN(GOOD, "-"), "'-'", "--help");
	assert_refused(RUN(GOOD, "\033[2J"), "'\\x1b[2J'", "--help"); /* harmless on a terminal */
	assert_refused(RUN(GOOD, "--netns", "a\nb"), "'a\\x0ab'", "/run/netns/NAME");
}

static void lock_takes_cgroups_alone(void **state)
{
	assert_int_equal(LOCK("--cgroup", "/a", "--cgroup=/b"), 0);
	assert_int_equal(config.n_workloads, 2);
	assert_int_equal(config.n_tunnels, 0);
	assert_refused(LOCK("--cgroup", "/a", "--interface", "wg0"), "interface", "--help");
	assert_refused(LOCK("--cgroup", "/a", "--lease", "3s"), "lease", "--help");
	assert_refused(parse(false, NULL, 0), "--cgroup", "--help");

	assert_int_equal(LOCK("--slice", "a-b.slice", "--slice=/c", "--cgroup", "/d"), 0);
	assert_int_equal(config.n_workloads, 3);
	assert_string_equal(config.workloads[0].cgroup, "slice:a-b.slice");
	assert_string_equal(config.workloads[1].cgroup, "slice:/c");
	assert_true(config.workloads[0].is_slice && config.workloads[1].is_slice);
	assert_false(config.workloads[2].is_slice);
	assert_refused(LOCK("--slice", "a"), "'a'", "not the name of a slice");
	assert_refused(LOCK("--slice", "a.slice", "--slice", "a.slice"), "given twice", "a.slice");
	assert_refused(LOCK("--slice"), "--slice", "needs a value");
	assert_refused(LOCK("--slices", "a.slice"), "--slices", "--help");
	assert_refused(RUN("--slice", "a.slice", "--interface", "wg0"), "--cgroup", "--help");
	assert_int_equal(RUN("--slice", "a.slice", "--slice=/b"), 0); /* by labels alone */
	assert_int_equal(config.n_slices, 2);
	assert_int_equal(config.n_tunnels + config.n_workloads, 0);
	assert_refused(RUN("--slice", "a"), "'a'", "not the name of a slice");
}

static void only_containers_are_made_anew(void **state)
{
	assert_int_equal(RUN("--cgroup=container:a", "--interface=w", "--rejoin=recreate"), 0);
	assert_true(config.workloads[0].recreate);
	assert_refused(
		RUN("--cgroup=container:a", "--cgroup=/a", "--interface=w", "--rejoin=recreate"),
		"'rejoin = recreate'", "is for a container");
}

static void a_program_needs_the_guard(void **state)
{
	assert_refused(RUN("--cgroup=/a", "--interface=w", "--probe=exec:/bin/true"),
		       "'probe = exec:'", "a network namespace of its own");
	assert_refused(RUN("--cgroup=/a", "--interface=w", "--probe=exec:/bin/true",
			   "--netns=/run/netns/x", "--guard=off"),
		       "'probe = exec:'", "keep the guard");
	assert_int_equal(RUN("--cgroup=/a", "--interface=w", "--probe=exec:/bin/true",
			     "--netns=/run/netns/x"),
			 0);
	assert_string_equal(config.tunnels[0].route, "");
}

static void help_names_every_key(void **state)
{
	static const char *const keys[] = { "cgroup",	  "interface",	"netns",     "probe",
					    "route",	  "on-failure", "lease",     "patience",
					    "guard",	  "endpoint",	"bootstrap", "process",
					    "allow",	  "ipv6",	"enforce",   "engine",
					    "stop-after", "health",	"reach",     "rejoin",
					    "identity" };
	_cleanup_free char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	config_print_keys(f);
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char option[32];

		snprintf(option, sizeof(option), "  --%s ", keys[i]);
		assert_non_null(strstr(text, option));
	}
	assert_null(strstr(text, "--tunnel"));
}

static const char *random_argument(char *buf, size_t size)
{
	static const char *const words[] = {
		"--cgroup",	"--interface",
		"--netns",	"--probe",
		"--route",	"--on-failure",
		"--lease",	"--patience",
		"--guard",	"--cgroup=/x",
		"--lease=",	"--",
		"/a",		"/b",
		"wg0",		"none",
		"icmp:1.1.1.1", "3s",
		"off",		"block",
		"host",		"",
	};
	size_t n = (size_t)random() % (size - 1);

	if (random() % 8)
		return words[(size_t)random() % ARRAY_SIZE(words)];
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(1 + random() % 255);
	buf[n] = '\0';
	if (n > 8 && random() & 1)
		memcpy(buf, "--lease=", 8);
	return buf;
}

static void garbage_is_refused_in_one_line(void **state)
{
	size_t accepted = 0;

	srandom(1);
	for (int round = 0; round < 10000; round++) {
		static char bufs[12][300];
		const char *args[12 + 6] = { GOOD };
		/* half of them begin well, so that the others are reached as well */
		size_t begin = random() & 1 ? 6 : 0, n = begin + (size_t)random() % 12;
		int r;

		for (size_t i = begin; i < n; i++)
			args[i] = random_argument(bufs[i - begin], sizeof(bufs[0]));
		r = parse(random() & 1, args, n);
		if (r) {
			assert_refused(r, "", "");
			assert_true(*err.text && !strpbrk(err.text, "\n\r\033"));
			continue;
		}
		accepted++;
		assert_in_range(config.n_workloads, 1, CONFIG_WORKLOADS);
		assert_in_range(config.lease_ns, NS_PER_SEC, 4 * NS_PER_SEC);
		if (config.tunnels[0].patience_ns)
			assert_in_range(config.tunnels[0].patience_ns, NS_PER_SEC, 60 * NS_PER_SEC);
		assert_true(strlen(config.tunnels[0].interface) < IFNAMSIZ);
	}
	assert_true(accepted > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(the_route_is_the_probes_unless_given),
		cmocka_unit_test(the_equals_form),
		cmocka_unit_test(wrong_values_are_refused),
		cmocka_unit_test(ranges_include_their_ends),
		cmocka_unit_test(engines),
		cmocka_unit_test(too_long_is_refused),
		cmocka_unit_test(twice_is_refused),
		cmocka_unit_test(many_cgroups),
		cmocka_unit_test(missing_and_unknown_are_refused),
		cmocka_unit_test(lock_takes_cgroups_alone),
		cmocka_unit_test(only_containers_are_made_anew),
		cmocka_unit_test(a_program_needs_the_guard),
		cmocka_unit_test(help_names_every_key),
		cmocka_unit_test(garbage_is_refused_in_one_line),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
