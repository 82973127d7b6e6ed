/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command line and files → one validated struct: every key, right and wrong, and garbage. */
#include "config/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS	 (2 * CONFIG_WORKLOADS + 8)
#define FIXTURES "tests/unit/fixtures/"
#define GOOD	 "--cgroup", "/a", "--interface", "wg0", "--probe", "none"

static struct config config;
static bool owned; /* config is to be freed */
static struct error err;

static void prepare(void)
{
	if (owned)
		config_free(&config);
	owned = false;
	err = (struct error) { 0 };
	memset(&config, 0x5a, sizeof(config));
}

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
	assert_int_equal(err.exit_code, EXIT_USAGE);
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
	assert_int_equal(config.tunnels[0].patience_ns, 3 * NS_PER_SEC);
	assert_string_equal(config.tunnels[0].netns, "host");
	assert_string_equal(config.tunnels[0].interface, "wg0");
	assert_string_equal(config.tunnels[0].route, "");
	assert_int_equal(config.tunnels[0].probe, PROBE_NONE);
	assert_int_equal(config.workloads[0].on_failure, ON_FAILURE_FREEZE);
	assert_int_equal(config.n_workloads, 1);
	assert_string_equal(config.workloads[0].cgroup, "/a");
}

static void every_key_is_taken(void **state)
{
	char address[INET_ADDRSTRLEN];

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
	assert_int_equal(config.tunnels[0].probe, PROBE_ICMP);
	assert_string_equal(
		inet_ntop(AF_INET, &config.tunnels[0].probe_address, address, sizeof(address)),
		"10.0.0.1");
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
		{ "probe", "tcp:1.1.1.1:80", "icmp:IP" },
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
		{ "cgroup", "", "/PATH" },
		{ "cgroup", "a", "/PATH" },
		{ "cgroup", "container:", "container:NAME" },
		{ "cgroup", "container:a b", "container:NAME" },
		{ "cgroup", "container:../a", "container:NAME" },
		{ "cgroup", "unit:a", "unit:NAME.service" },
		{ "cgroup", "unit:a/b.service", "unit:NAME.service" },
		{ "stop-after", "soon", "like 3s" },
		{ "hook", "x", "full path" },
		{ "hook-inside", "bin/x", "full path" },
		{ "stop-after", "-1", "like 3s" },
		{ "engine", "docker", "unix:///PATH" },
		{ "engine", "tcp://127.0.0.1", "unix:///PATH" },
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
	static const char *const patiences[] = { "1", "1000ms", "60s", "1min", "60000ms" };

	for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
		assert_int_equal(RUN(GOOD, "--lease", leases[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(patiences); i++)
		assert_int_equal(RUN(GOOD, "--patience", patiences[i]), 0);
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
	assert_refused(RUN(GOOD, "--probe", "none"), "--probe", "twice");
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

static void help_names_every_key(void **state)
{
	static const char *const keys[] = { "cgroup",	 "interface",  "netns",	    "probe",
					    "route",	 "on-failure", "lease",	    "patience",
					    "guard",	 "endpoint",   "bootstrap", "process",
					    "allow",	 "ipv6",       "enforce",   "engine",
					    "stop-after" };
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
		assert_in_range(config.tunnels[0].patience_ns, NS_PER_SEC, 60 * NS_PER_SEC);
		assert_true(strlen(config.tunnels[0].interface) < IFNAMSIZ);
	}
	assert_true(accepted > 100);
}

/* ------ the text of files ------ */

/* In an allocation of its own, so that the sanitizer sees a byte too far. */
static int read_text(const char *text)
{
	char *copy = strdup(text);
	int r;

	prepare();
	assert_int_equal(config_init(&config, &err), 0);
	r = config_parse_text(&config, "a.conf", copy, &err);
	if (!r)
		r = config_finish(&config, "a.conf", &err);
	owned = !r;
	if (r)
		config_free(&config);
	free(copy);
	return r;
}

static void assert_wrong(const char *text, unsigned int line, const char *says)
{
	char begin[32];
	int r = read_text(text);

	if (!r)
		fail_msg("accepted: %s", text);
	assert_int_equal(r, -EINVAL);
	assert_int_equal(err.exit_code, EXIT_USAGE);
	snprintf(begin, sizeof(begin), "a.conf:%u: ", line);
	if (strncmp(err.text, begin, strlen(begin)) || !strstr(err.text, says))
		fail_msg("'%s…%s' expected in: %s", begin, says, err.text);
	assert_null(strpbrk(err.text, "\n\r\033"));
}

static void assert_reads(const char *text)
{
	if (read_text(text))
		fail_msg("%s\nof:\n%s", err.text, text);
}

#define TUNNEL	 "[tunnel t]\ninterface=wg0\nprobe=none\n" /* lines 1 to 3 */
#define WORKLOAD "[workload w]\ncgroup=/a\ntunnel=t\n"	   /* three more */
#define BOTH	 TUNNEL WORKLOAD

static void load(const char *path)
{
	_cleanup_free char *text = calloc(1, 65536);
	_cleanup_file FILE *f = fopen(path, "re");

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	assert_true(fread(text, 1, 65535, f) > 0);
	prepare();
	assert_int_equal(config_init(&config, &err), 0);
	if (config_parse_text(&config, path, text, &err) || config_finish(&config, path, &err))
		config_free(&config);
	else
		owned = true;
}

static void the_design_sample_is_not_built_yet(void **state)
{
	load(FIXTURES "design-sample.conf");
	assert_false(owned);
	assert_string_equal(err.text, FIXTURES "design-sample.conf:5: 'identity' is not built yet "
					       "(take the line out)");
	assert_int_equal(err.exit_code, EXIT_USAGE);
}

static void every_built_key_in_a_file(void **state)
{
	const struct tunnel_config *t;
	const struct workload_config *w;
	char address[INET_ADDRSTRLEN];

	load(FIXTURES "built.conf");
	if (!owned)
		fail_msg("%s", err.text);
	t = config.tunnels;
	w = config.workloads;
	assert_int_equal(config.lease_ns, 1500 * NS_PER_MSEC);
	assert_int_equal(config.n_tunnels, 2);
	assert_string_equal(t[0].name, "warp");
	assert_string_equal(t[0].interface, "CloudflareWARP");
	assert_string_equal(t[0].netns, "/run/netns/vpn");
	assert_int_equal(t[0].probe, PROBE_ICMP);
	assert_string_equal(inet_ntop(AF_INET, &t[0].probe_address, address, sizeof(address)),
			    "10.0.0.1");
	assert_string_equal(t[0].route, "2001:db8::1");
	assert_int_equal(t[0].patience_ns, 10 * NS_PER_SEC);
	assert_string_equal(t[1].name, "wg");
	assert_string_equal(t[1].interface, "wg0");
	assert_string_equal(t[1].netns, "host");
	assert_int_equal(t[1].probe, PROBE_NONE);
	assert_string_equal(t[1].route, "");
	assert_int_equal(t[1].patience_ns, 3 * NS_PER_SEC);
	assert_int_equal(config.n_workloads, 2);
	assert_string_equal(w[0].name, "qbittorrent");
	assert_string_equal(w[0].cgroup, "/torrent/qb;1#2");
	assert_string_equal(w[0].tunnel_name, "warp");
	assert_int_equal(w[0].tunnel, 0);
	assert_int_equal(w[0].on_failure, ON_FAILURE_BLOCK);
	assert_string_equal(w[1].name, "irc");
	assert_string_equal(w[1].cgroup, "/sys/fs/cgroup/irc");
	assert_int_equal(w[1].tunnel, 1);
	assert_int_equal(w[1].on_failure, ON_FAILURE_FREEZE);
}

/* `make install`'s: as it stands, and with all that it shows taken in. */
static void the_example_parses(void **state)
{
	char text[4096], *in, *out;
	size_t n;
	FILE *f = fopen("dist/vpnleash.conf", "re");

	load("dist/vpnleash.conf");
	if (!owned)
		fail_msg("%s", err.text);
	assert_string_equal(config.tunnels[0].interface, "CloudflareWARP");
	assert_string_equal(config.workloads[0].name, "qbittorrent");
	assert_int_equal(config.lease_ns, 3 * NS_PER_SEC);
	assert_int_equal(config.tunnels[0].patience_ns, 3 * NS_PER_SEC);

	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	for (in = out = text; *in;
	     in++) /* "#key" at a line's start is an example, "# …" is prose */
		if (*in != '#' || (in > text && in[-1] != '\n') || strchr(" \n", in[1]))
			*out++ = *in;
	*out = '\0';
	assert_reads(text);
	assert_string_equal(config.tunnels[0].netns, "/run/netns/vpn");
}

static void comments(void **state)
{
	assert_reads("# a\n; b\n \t# c\n\t; d\n#\n;\n" BOTH "#[tunnel\n# x = y");
	assert_reads("[tunnel t]\t; a\ninterface=wg0 #b\nprobe=none\t;c # d\n" WORKLOAD);
	assert_string_equal(config.tunnels[0].interface, "wg0");
	/* inside a value, without white space before it */
	assert_reads("[tunnel t]\ninterface=a#b;c\nprobe=none\n[workload w]\ncgroup=/x#;y z #n\n"
		     "tunnel=t#\n[tunnel t#]\ninterface=#;\nprobe = none # x");
	assert_string_equal(config.tunnels[0].interface, "a#b;c");
	assert_string_equal(config.tunnels[1].interface, "#;"); /* stands at no white space */
	assert_string_equal(config.workloads[0].cgroup, "/x#;y z");
	assert_int_equal(config.workloads[0].tunnel, 1);
	/* a comment where a value should be leaves none */
	assert_wrong("[tunnel t]\ninterface = # wg0\n", 2, "not an interface name");
	assert_wrong("[tunnel t]\ninterface = ;wg0\n", 2, "not an interface name");
	assert_wrong("[tunnel # t]\n", 1, "not a section");
	assert_wrong(BOTH "lease # = 3s\n", 7, "neither a key nor a section");
}

static void one_line_is_one_line(void **state)
{
	assert_wrong("[tunnel t]\ninterface = wg0\n  probe\n", 3, "neither a key nor a section");
	/* the backslash is a part of the value */
	assert_reads("[tunnel t]\ninterface = wg0\\\nprobe = none\n" WORKLOAD);
	assert_string_equal(config.tunnels[0].interface, "wg0\\");
	/* indented keys are keys */
	assert_reads("  [tunnel t]\n\t interface = wg0\n   probe=none\n" WORKLOAD);
	assert_wrong("[tunnel t]\ninterface = wg0\n  interface = wg1\n", 3, "twice");
}

static void line_ends(void **state)
{
	assert_reads("[tunnel t]\r\ninterface=wg0\r\nprobe=none\r\n\r\n[workload w]\r\ncgroup=/a "
		     "# c\r\ntunnel=t\r\n");
	assert_string_equal(config.tunnels[0].interface, "wg0");
	assert_string_equal(config.workloads[0].cgroup, "/a");
	assert_reads(TUNNEL "[workload w]\ntunnel=t\ncgroup=/a"); /* no last newline */
	assert_string_equal(config.workloads[0].cgroup, "/a");
	assert_reads("\n\n \n" BOTH "\n\n");
	/* a carriage return elsewhere is no line end */
	assert_wrong("[tunnel t]\rinterface=wg0\rprobe=none\r", 1, "not a section");
	assert_wrong("[tunnel t]\ninterface=wg0\rprobe=none\n", 2, "not an interface name");
	assert_wrong("\xef\xbb\xbf[tunnel t]\n", 1, "neither a key nor a section"); /* a BOM */
}

static void sections(void **state)
{
	assert_reads("[daemon]\n" BOTH);
	assert_reads(
		"[tunnel  t ]\ninterface=wg0\nprobe=none\n[workload\tw]\ntunnel = t\ncgroup=/a");
	assert_reads("[tunnel my vpn]\ninterface=wg0\nprobe=none\n[workload a b]\n"
		     "tunnel = my vpn\ncgroup=/a");
	assert_string_equal(config.workloads[0].name, "a b");
	assert_reads(WORKLOAD TUNNEL); /* in any order */
	assert_wrong("[tunnel]\n", 1, "wrong name");
	assert_wrong("[tunnel ]\n", 1, "wrong name");
	assert_wrong("[workload \t]\n", 1, "wrong name");
	assert_wrong("[daemon x]\n", 1, "wrong name");
	assert_wrong("[]\n", 1, "unknown section ''");
	assert_wrong("[ tunnel t]\n", 1, "unknown section ''");
	assert_wrong("[Tunnel t]\n", 1, "unknown section 'Tunnel'");
	assert_wrong("[tunnels t]\n", 1, "unknown section 'tunnels'");
	assert_wrong("\n[\033[2Jx]\n", 2, "unknown section '\\x1b[2Jx'");
	assert_wrong("[tunnel t\n", 1, "not a section");
	assert_wrong("[tunnel t] x\n", 1, "not a section");
	assert_wrong("[tunnel t]]\n", 1, "not a section");
	assert_wrong("[\n", 1, "not a section");
	assert_wrong("tunnel t]\n", 1, "neither");
	assert_wrong("[tunnel 4567890123456789012345678901234567890123456789012345678901234567]\n",
		     1, "wrong name");
	assert_reads("[tunnel 456789012345678901234567890123456789012345678901234567890123456]\n"
		     "interface=wg0\nprobe=none\n[workload w]\ncgroup=/a\ntunnel="
		     "456789012345678901234567890123456789012345678901234567890123456\n");
}

static void duplicates(void **state)
{
	assert_wrong(BOTH "[tunnel t]\n", 7, "[tunnel t] is given twice");
	assert_wrong(BOTH "[workload w]\n", 7, "[workload w] is given twice");
	assert_wrong("[daemon]\n[daemon]\n", 2, "[daemon] is given twice");
	assert_wrong("[daemon]\nlease=3s\nlease=3s\n", 3, "'lease' is given twice");
	assert_wrong("[tunnel t]\nprobe=none\nprobe=none\n", 3, "'probe' is given twice");
	assert_wrong(WORKLOAD "tunnel = t\n", 4, "'tunnel' is given twice");
	assert_reads("[tunnel x]\ninterface=wg0\nprobe=none\n[workload x]\ntunnel=x\ncgroup=/x\n");
	/* the same thing under two names */
	assert_wrong(BOTH "[workload v]\ncgroup=/a\ntunnel=t\n", 7,
		     "[workload v] is the cgroup of [workload w]");
	assert_wrong(BOTH "[tunnel u]\nprobe=icmp:1.1.1.1\ninterface=wg0\n", 7,
		     "[tunnel u] is the interface of [tunnel t]");
	assert_reads(BOTH "[tunnel u]\nprobe=none\ninterface=wg0\nnetns=/run/netns/u\n");
}

static void keys_that_do_not_belong(void **state)
{
	assert_wrong("interface = wg0\n", 1, "'interface' stands in no section");
	assert_wrong("# a\n\nx=1\n", 3, "stands in no section");
	assert_wrong(BOTH "interface = wg0\n", 7,
		     "unknown key 'interface' in [workload] (it belongs");
	assert_wrong("[tunnel t]\ncgroup = /a\n", 2,
		     "unknown key 'cgroup' in [tunnel] (it belongs");
	assert_wrong("[tunnel t]\ntunnel = t\n", 2, "it belongs in another section");
	assert_wrong("[tunnel t]\nlease = 3s\n", 2, "it belongs in another section");
	assert_wrong("[daemon]\npatience = 3s\n", 2, "it belongs in another section");
	assert_wrong("[tunnel t]\nenforce = audit\n", 2, "it belongs in another section");
	assert_wrong("[tunnel t]\nInterface = wg0\n", 2,
		     "unknown key 'Interface' in [tunnel] (see");
	assert_wrong("[tunnel t]\ninterfaces = wg0\n", 2, "unknown key 'interfaces'");
	assert_wrong("[tunnel t]\ninterfac = wg0\n", 2, "unknown key 'interfac'");
	assert_wrong("[tunnel t]\n = wg0\n", 2, "unknown key ''");
	assert_wrong("[tunnel t]\n\033[2J = 1\n", 2, "unknown key '\\x1b[2J'");
	assert_wrong("[tunnel t]\ninterface wg0\n", 2, "neither a key nor a section");
	assert_wrong("[tunnel t]\ninterface: wg0\n", 2, "neither a key nor a section");
}

static void wrong_values_in_a_file(void **state)
{
	assert_wrong("[daemon]\nlease = 3 s\n", 2, "lease = 3 s: not a time");
	assert_wrong("[daemon]\nlease = 3sec\n", 2, "not a time");
	assert_wrong("[daemon]\nlease = 1h\n", 2, "not a time");
	assert_wrong("[daemon]\nlease =\n", 2, "not a time");
	assert_wrong("[daemon]\nlease = 5s\n", 2, "1s to 4s");
	assert_wrong("[daemon]\nlease = 999ms\n", 2, "1s to 4s");
	assert_wrong("[tunnel t]\n\npatience = 61s\n", 3, "1s to 60s");
	assert_wrong("[tunnel t]\npatience = -3s\n", 2, "not a time");
	assert_wrong("[tunnel t]\npatience = 3s 4s\n", 2, "not a time");
	assert_wrong("[tunnel t]\nprobe = icmp:example.org\n", 2, "not a probe");
	assert_wrong("[tunnel t]\nroute = 1.1.1.1/32\n", 2, "not an address");
	assert_wrong("[tunnel t]\ninterface = a/b\n", 2, "not an interface name");
	assert_wrong("[tunnel t]\ninterface = \"wg0\" wg1\n", 2, "not an interface name");
	assert_wrong("[tunnel t]\nnetns = vpn\n", 2, "not a network namespace");
	assert_wrong("[tunnel t]\nguard = yes\n", 2, "on or off");
	assert_wrong("[tunnel t]\nallow = tcp/80\nallow = tcp/80\n", 3, "given twice");
	assert_wrong(TUNNEL "[workload v]\ncgroup=/b\ntunnel=t\n[workload w]\ncgroup=/a\n"
			    "tunnel=t\nenforce=audit\n",
		     7, "differ in 'enforce'");
	assert_wrong("[tunnel t]\ninterface=w\nguard=off\nallow=tcp/80\n" WORKLOAD, 5,
		     "'allow' needs the guard");
	assert_wrong("[tunnel t]\ninterface=w\nendpoint=10.0.0.1:9/udp\n[workload w]\n"
		     "cgroup=/a\ntunnel=t\nallow=tcp/80 from 10.0.0.0/24\n",
		     4, "lets an endpoint");
	assert_wrong("[workload w]\ncgroup = a\n", 2, "not a path");
	assert_wrong("[workload w]\ncgroup = /a/../../b\n", 2, "without '..'");
	assert_wrong("[workload w]\non-failure = stop\n", 2, "freeze or block");
	assert_wrong("[workload w]\ncgroup = \033]0;x\a\n", 2, "cgroup = \\x1b]0");
}

static void references_and_what_is_missing(void **state)
{
	assert_wrong(TUNNEL "\n[workload w]\ncgroup=/a\ntunnel=u\n#\n", 7,
		     "[workload w]: there is no [tunnel u]");
	assert_wrong(TUNNEL "[workload w]\ncgroup=/a\ntunnel=T\n", 6, "there is no [tunnel T]");
	assert_wrong(TUNNEL "[workload w]\ncgroup=/a\ntunnel=\n", 4, "has no 'tunnel'");
	assert_wrong("\n" TUNNEL "[workload w]\ncgroup=/a\n#\n", 5, "[workload w] has no 'tunnel'");
	assert_wrong(TUNNEL "[workload w]\ntunnel=t\n", 4, "[workload w] has no 'cgroup'");
	assert_wrong("[tunnel t]\nprobe=none\n" WORKLOAD, 1, "[tunnel t] has no 'interface'");
	assert_wrong(BOTH "[tunnel \033u]\n", 7, "[tunnel \\x1bu] has no 'interface'");
	assert_wrong(BOTH "[workload \033u]\n", 7, "[workload \\x1bu] has no 'cgroup'");
	assert_wrong(TUNNEL "[workload w]\ncgroup=/a\ntunnel=\033\n", 6, "no [tunnel \\x1b]");
	for (const char *const *text =
		     (const char *const[]) { "", "\n", "# x\n", "[daemon]\nengine=none\n" TUNNEL,
					     NULL };
	     *text; text++) {
		assert_int_equal(read_text(*text), -EINVAL);
		assert_string_equal(err.text, "a.conf: no workload (add [tunnel NAME] and "
					      "[workload NAME])");
	}
	/* containers may come with labels */
	assert_int_equal(read_text(TUNNEL), 0);
	assert_int_equal(read_text("[daemon]\n"), 0);
}

static void keys_not_built_yet(void **state)
{
	static const char *const unbuilt[][2] = {
		{ "tunnel t", "identity" },
	};
	char text[128], says[64];

	for (size_t i = 0; i < ARRAY_SIZE(unbuilt); i++) {
		snprintf(text, sizeof(text), "[%s]\n\n%s = x\n", unbuilt[i][0], unbuilt[i][1]);
		snprintf(says, sizeof(says), "'%s' is not built yet", unbuilt[i][1]);
		assert_wrong(text, 3, says); /* whoever builds it takes it out here */
	}
}

static bool is(const struct prefix *p, const char *text)
{
	char address[INET6_ADDRSTRLEN], shown[64];
	bool v4 = !memcmp(p->address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);

	inet_ntop(v4 ? AF_INET : AF_INET6, p->address + (v4 ? 12 : 0), address, sizeof(address));
	snprintf(shown, sizeof(shown), "%s/%u", address, p->length - (v4 ? 96u : 0u));
	return !strcmp(shown, text);
}

static void the_guards_values(void **state)
{
	const struct tunnel_config *t;
	const struct allow_rules *a;

	assert_reads("[tunnel t]\ninterface=wg0\nprocess = warp-svc\nendpoint = auto\n"
		     "endpoint = 192.0.2.1:51820/udp\nendpoint = 192.0.2.0/24:443/tcp\n"
		     "endpoint = [2001:db8::/32]:500/udp\nendpoint = [2001:db8::1]:500/udp\n"
		     "bootstrap = 192.0.2.9, 198.51.100.0/24,2001:db8::9\nallow = tcp/9090\n"
		     "[workload w]\ncgroup=/a\ntunnel=t\nipv6 = tunnel\nenforce = audit\n"
		     "allow = tcp/8080\nallow = udp/99 from 10.1.0.0/16, 10.2.0.0/16 host\n");
	t = &config.tunnels[0];
	assert_int_equal(t->probe, PROBE_ICMP); /* without being told */
	assert_string_equal(t->route, "1.1.1.1");
	assert_false(t->guard_off);
	assert_string_equal(t->process, "warp-svc");
	assert_int_equal(t->endpoints.n, 4);
	assert_true(is(&t->endpoints.rule[0].to, "192.0.2.1/32"));
	assert_int_equal(t->endpoints.rule[0].port, 51820);
	assert_int_equal(t->endpoints.rule[0].protocol, IPPROTO_UDP);
	assert_true(is(&t->endpoints.rule[1].to, "192.0.2.0/24"));
	assert_int_equal(t->endpoints.rule[1].protocol, IPPROTO_TCP);
	assert_true(is(&t->endpoints.rule[2].to, "2001:db8::/32"));
	assert_true(is(&t->endpoints.rule[3].to, "2001:db8::1/128"));
	assert_int_equal(t->bootstrap.n, 3);
	assert_true(is(&t->bootstrap.host[2], "2001:db8::9/128"));
	assert_int_equal(t->allow.n, 1);
	assert_true(config.workloads[0].ipv6 && config.workloads[0].audit);
	a = &config.workloads[0].allow;
	assert_int_equal(a->n, 2);
	assert_true(a->rule[0].by_default && a->rule[0].from_host);
	assert_int_equal(a->rule[0].n_from, 4);
	assert_true(is(&a->rule[0].from[1], "172.16.0.0/12"));
	assert_true(!a->rule[1].by_default && a->rule[1].from_host);
	assert_int_equal(a->rule[1].n_from, 2);
	assert_int_equal(a->rule[1].protocol, IPPROTO_UDP);

	assert_reads("[tunnel t]\ninterface=wg0\nendpoint = preset:cloudflare-warp\n"
		     "bootstrap = preset:cloudflare-warp\nguard = off\n" WORKLOAD);
	assert_true(config.tunnels[0].endpoints.n > 10 && config.tunnels[0].bootstrap.n >= 4);
	assert_true(config.tunnels[0].guard_off);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_AUTO);
	assert_reads("[tunnel t]\ninterface=wg0\ndns = 10.64.0.1\n" WORKLOAD);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_SERVERS);
	assert_int_equal(config.tunnels[0].dns.server[0], htonl(0x0a400001));
	assert_int_equal(config.tunnels[0].dns.server[1], htonl(0x0a400001));
	assert_string_equal(config.tunnels[0].route, "10.64.0.1"); /* the probe's, the resolver's */
	assert_reads("[tunnel t]\ninterface=wg0\ndns = none\n" WORKLOAD);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_NONE);
}

static void prefixes_contain(void **state)
{
	struct allow_rules a = { 0 };
	uint8_t address[16] = { [10] = 0xff, 0xff, 10, 1, 127, 255 };

	assert_int_equal(allow_add(&a, "tcp/80 from 10.1.0.0/17", &err), 0);
	assert_true(prefix_contains(&a.rule[0].from[0], address));
	address[14] = 128;
	assert_false(prefix_contains(&a.rule[0].from[0], address));
}

static void very_long_lines(void **state)
{
	enum { LONG = 200000 };
	_cleanup_free char *text = malloc(LONG + 256), *run = malloc(LONG + 1);
	static const char *const frames[] = {
		"%s",
		"[%s]",
		"[tunnel %s]",
		"[tunnel t]\n%s = 1",
		"[tunnel t]\ninterface = %s",
		"[tunnel t]\nnetns = /%s",
		"[tunnel t]\nprobe = icmp:%s",
		"[tunnel t]\npatience = %s",
		"[workload w]\ncgroup = /%s",
		"[workload w]\ntunnel = %s",
		"[tunnel t]\nguard=%s",
	};

	for (const char *c = "a1= \t[]\x80"; *c; c++) {
		memset(run, *c, LONG);
		run[LONG] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
			snprintf(text, LONG + 256, frames[i], run);
			assert_int_equal(read_text(text), -EINVAL);
			assert_true(*err.text && !strpbrk(err.text, "\n\r\033"));
		}
	}
	memset(run, ' ', LONG);
	snprintf(text, LONG + 256, "[tunnel t]\ninterface = wg0%s # %s\nprobe=none\n" WORKLOAD,
		 run + LONG / 2, run + LONG / 2);
	assert_reads(text);
	assert_string_equal(config.tunnels[0].interface, "wg0");
}

static void at_most_so_many(void **state)
{
	_cleanup_free char *text = malloc(65536);
	size_t n;

	n = (size_t)sprintf(text, "%s", BOTH);
	for (int i = 1; i < CONFIG_TUNNELS; i++)
		n += (size_t)sprintf(text + n, "[tunnel %d]\ninterface=wg%d\nprobe=none\n", i, i);
	assert_reads(text);
	assert_int_equal(config.n_tunnels, CONFIG_TUNNELS);
	sprintf(text + n, "[tunnel x]\n");
	assert_wrong(text, 6 + 3 * (CONFIG_TUNNELS - 1) + 1, "more than 32 tunnels");

	n = (size_t)sprintf(text, "%s", BOTH);
	for (int i = 1; i < CONFIG_WORKLOADS; i++)
		n += (size_t)sprintf(text + n, "[workload %d]\ncgroup=/%d\ntunnel=t\n", i, i);
	assert_reads(text);
	assert_int_equal(config.n_workloads, CONFIG_WORKLOADS);
	sprintf(text + n, "[workload x]\n");
	assert_wrong(text, 6 + 3 * (CONFIG_WORKLOADS - 1) + 1, "more than 256 workloads");
}

/* ------ garbage ------ */

static void assert_sound(void)
{
	assert_in_range(config.lease_ns, NS_PER_SEC, 4 * NS_PER_SEC);
	assert_in_range(config.n_tunnels, 0, CONFIG_TUNNELS);
	assert_in_range(config.n_workloads, 0, CONFIG_WORKLOADS);
	for (size_t i = 0; i < config.n_tunnels; i++) {
		const struct tunnel_config *t = &config.tunnels[i];

		assert_true(*t->name && *t->interface && !strpbrk(t->interface, "/: \t\r\v\f"));
		assert_true(*t->netns == '/' || !strcmp(t->netns, "host") ||
			    !strncmp(t->netns, "container:", 10) || !strncmp(t->netns, "unit:", 5));
		assert_true(t->probe == PROBE_NONE || t->probe == PROBE_ICMP);
		assert_in_range(t->patience_ns, NS_PER_SEC, 60 * NS_PER_SEC);
	}
	for (size_t i = 0; i < config.n_workloads; i++) {
		const struct workload_config *w = &config.workloads[i];

		assert_true(*w->name &&
			    (*w->cgroup == '/' || !strncmp(w->cgroup, "container:", 10) ||
			     !strncmp(w->cgroup, "unit:", 5)));
		assert_true(w->tunnel < config.n_tunnels);
		assert_string_equal(w->tunnel_name, config.tunnels[w->tunnel].name);
	}
}

/* Refused in one line that begins with file and line, or sound. */
static bool read_hostile(const char *text)
{
	unsigned int line;
	int at = 0;

	if (!read_text(text)) {
		assert_sound();
		return true;
	}
	assert_int_equal(err.exit_code, EXIT_USAGE);
	if (!strpbrk(err.text, "\n\r\033") &&
	    (!strncmp(err.text, "a.conf: no workload", 19) ||
	     (sscanf(err.text, "a.conf:%u: %n", &line, &at) == 1 && at && err.text[at])))
		return false;
	fail_msg("'%s' of:\n%s", err.text, text);
	return false;
}

static void random_texts(void **state)
{
	static const char *const pieces[] = {
		"[tunnel t]\n",
		"[workload w]\n",
		"[daemon]\n",
		"interface",
		"=",
		" = ",
		"wg0",
		"\n",
		"\r\n",
		"netns",
		"host",
		"probe",
		"none",
		"icmp:1.1.1.1",
		"lease",
		"3s",
		"cgroup",
		"/a",
		"tunnel",
		"t",
		"#",
		" ;",
		"[",
		"]",
		"guard=off\n",
		"patience=9s\n",
		"allow",
	};
	static char text[4096];

	srandom(2);
	for (int round = 0; round < 10000; round++) {
		size_t n = 0, length = (size_t)random() % 400;

		while (n < length) {
			if (random() % 4)
				n += (size_t)sprintf(text + n, "%s",
						     pieces[(size_t)random() % ARRAY_SIZE(pieces)]);
			else
				text[n++] = (char)(1 + random() % 255);
		}
		text[n] = '\0';
		read_hostile(text);
	}
}

static const char good[] =
	"[daemon]\nlease = 1500ms\n\n"
	"[tunnel warp]\ninterface = CloudflareWARP # x\nnetns = /run/netns/vpn\n"
	"probe = icmp:10.0.0.1\nroute = 2001:db8::1\npatience = 10s\n"
	"[workload qb]\ncgroup = /torrent/qb ; y\ntunnel = warp\non-failure = block\n";

static void mutate(char *text, size_t size)
{
	size_t n = strlen(text), at = (size_t)random() % n, length = 1 + (size_t)random() % 12;

	length = length < n - at ? length : n - at;
	switch (random() % 5) {
	case 0: /* another byte */
		text[at] = (char)(1 + random() % 255);
		break;
	case 1: /* a bit */
		text[at] = (char)(text[at] ^ 1 << random() % 8);
		if (!text[at])
			text[at] = 'x';
		break;
	case 2: /* some missing */
		memmove(text + at, text + at + length, n - at - length + 1);
		break;
	case 3: /* some twice */
		if (n + length < size)
			memmove(text + at + length, text + at, n - at + 1);
		break;
	default: /* two change places */
		length = (size_t)random() % n;
		n = (size_t)(unsigned char)text[at];
		text[at] = text[length];
		text[length] = (char)n;
	}
}

/* No line was passed over: each one that is taken out is missed, or gave the default. */
static void assert_each_line_counts(const char *text)
{
	struct config before = config;
	char *without = strdup(text);
	size_t lines = 0, which;
	char *begin = without, *end;
	bool same;

	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	which = lines ? (size_t)random() % lines : 0;
	while (which-- && (end = strchr(begin, '\n')))
		begin = end + 1;
	end = begin + strcspn(begin, "\n");
	begin += strspn(begin, " \t");
	if (begin >= end || strchr("#;\r", *begin)) { /* a comment */
		free(without);
		return;
	}
	memmove(begin, end, strlen(end) + 1);
	owned = false; /* `before` has it */
	if (!read_text(without)) {
		same = before.lease_ns == config.lease_ns &&
		       before.has_daemon == config.has_daemon &&
		       before.n_tunnels == config.n_tunnels &&
		       before.n_workloads == config.n_workloads &&
		       !memcmp(before.tunnels, config.tunnels,
			       sizeof(*config.tunnels) * config.n_tunnels) &&
		       !memcmp(before.workloads, config.workloads,
			       sizeof(*config.workloads) * config.n_workloads);
		if (same)
			fail_msg("a line counts for nothing:\n%s\n--- with it:\n%s", without, text);
	}
	config_free(&before);
	free(without);
}

static void mutations(void **state)
{
	size_t accepted = 0;

	assert_reads(good);
	srandom(3);
	for (int round = 0; round < 10000; round++) {
		char text[2 * sizeof(good)];

		memcpy(text, good, sizeof(good));
		for (long i = random() % 3; i >= 0; i--)
			mutate(text, sizeof(text));
		if (read_hostile(text)) {
			accepted++;
			assert_each_line_counts(text);
		}
	}
	assert_in_range(accepted, 500, 9000); /* in comments, names, numbers */
}

/* ------ files: who may have written them ------ */

static char dir[64], path[128];

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/vpnleash-test-config-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(name);
}

static int remove_dir(void **state)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Below dir; the result is valid until the next call. */
static const char *below(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(below(name), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, 0644);
}

static int read_files(const char *name)
{
	char *file = strdup(below(name));
	int r;

	prepare();
	r = config_read(file, &config, &err);
	owned = !r;
	free(file);
	return r;
}

static void assert_read_refused(const char *name, const char *says, const char *remedy)
{
	assert_true(read_files(name) < 0);
	assert_int_equal(err.exit_code, EXIT_USAGE);
	if (!strstr(err.text, says) || !strstr(err.text, remedy))
		fail_msg("'%s' and '%s' expected in: %s", says, remedy, err.text);
	assert_null(strpbrk(err.text, "\n\r\033"));
	for (size_t i = 0; i < sizeof(config); i++) /* written on success only */
		assert_int_equal(((const unsigned char *)&config)[i], 0x5a);
}

static void need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("# SKIP not root: files of other owners can not be made; runs as root\n");
	skip();
}

static void read_owners_and_modes(void **state)
{
	need_root();
	put("a.conf", BOTH);
	assert_int_equal(read_files("a.conf"), 0);
	chmod(path, 0400);
	assert_int_equal(read_files("a.conf"), 0);
	for (const mode_t *m = (const mode_t[]) { 0664, 0646, 0666, 04777, 0 }; *m; m++) {
		chmod(below("a.conf"), *m);
		assert_read_refused("a.conf", "trust", "chmod go-w");
	}
	chmod(below("a.conf"), 0644);
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_read_refused("a.conf", "uid 65534", "chown root");
	assert_int_equal(chown(path, 0, 65534), 0); /* a group that may only read */
	assert_int_equal(read_files("a.conf"), 0);
}

static void read_parents(void **state)
{
	need_root();
	assert_int_equal(mkdir(below("p"), 0755), 0);
	assert_int_equal(mkdir(below("p/q"), 0755), 0);
	put("p/q/a.conf", BOTH);
	assert_int_equal(read_files("p/q/a.conf"), 0);
	assert_int_equal(read_files("p//q/./../q/a.conf"), 0);
	for (const char *const *up = (const char *const[]) { "p/q", "p", NULL }; *up; up++) {
		chmod(below(*up), 0775);
		assert_read_refused("p/q/a.conf", *up, "chmod go-w");
		chmod(below(*up), 0757);
		assert_read_refused("p/q/a.conf", *up, "chmod go-w");
		chmod(below(*up), 0755);
		assert_int_equal(chown(path, 65534, 0), 0);
		assert_read_refused("p/q/a.conf", *up, "chown root");
		chmod(below(*up), 01755); /* sticky, but whose it is may replace all in it */
		assert_read_refused("p/q/a.conf", *up, "chown root");
		chmod(below(*up), 0755);
		assert_int_equal(chown(path, 0, 0), 0);
	}
	chmod(below("p"), 01777);
	assert_int_equal(read_files("p/q/a.conf"), 0);
	/* a link to a good directory, in somebody else's */
	chmod(below("p"), 0755);
	assert_int_equal(mkdir(below("other"), 0755), 0);
	assert_int_equal(symlink("../p/q", below("other/link")), 0);
	assert_int_equal(read_files("other/link/a.conf"), 0);
	assert_int_equal(chown(below("other"), 65534, 0), 0);
	assert_read_refused("other/link/a.conf", "other", "chown root");
}

static void read_what_is_no_file(void **state)
{
	_cleanup_free char *text = malloc(1 << 20);
	FILE *f;

	need_root();
	assert_read_refused("none.conf", "No such file", "give -c FILE");
	assert_read_refused("none/a.conf", "No such file", "give -c FILE");
	assert_int_equal(mkdir(below("dir.conf"), 0755), 0);
	assert_read_refused("dir.conf", "is not a file", "regular");
	assert_int_equal(mkfifo(below("fifo.conf"), 0644), 0);
	assert_read_refused("fifo.conf", "is not a file", "regular"); /* and does not wait */
	put("a.conf", BOTH);
	assert_int_equal(symlink("a.conf", below("link.conf")), 0);
	assert_read_refused("link.conf", "link.conf", "symbolic link");
	assert_int_equal(symlink("nowhere", below("dangling.conf")), 0);
	assert_read_refused("dangling.conf", "No such file", "-c FILE");
	put("empty.conf", "");
	assert_read_refused("empty.conf", "empty.conf: no workload", "[workload NAME]");

	memset(text, '#', 1 << 20);
	f = fopen(below("big.conf"), "we");
	fwrite(text, 1, 1 << 20, f);
	fclose(f);
	assert_read_refused("big.conf", "big.conf", "256 KiB");
	f = fopen(below("nul.conf"), "we");
	fputs(BOTH, f);
	fputc('\0', f);
	fputs("\n[workload v]\n", f);
	fclose(f);
	assert_read_refused("nul.conf", "NUL byte", "text file");
	put("a\n\033.conf", "x");
	assert_read_refused("a\n\033.conf", "a\\x0a\\x1b.conf:1: ", "[section]");
}

static void read_conf_d(void **state)
{
	need_root();
	put("a.conf", BOTH);
	assert_int_equal(mkdir(below("conf.d"), 0755), 0);
	put("conf.d/20-b.conf", "[workload b]\ncgroup=/b\ntunnel=u\n");
	put("conf.d/10-u.conf", "[tunnel u]\ninterface=wg1\nprobe=none\n");
	put("conf.d/9-c.conf", "[workload c]\ncgroup=/c\ntunnel=t"); /* "20" < "9", as ls has it */
	for (const char *const *other =
		     (const char *const[]) { ".hidden.conf", ".conf", "x.conf~", "x.conf.bak",
					     "x.CONF", "xconf", "README", NULL };
	     *other; other++) {
		char name[64];

		snprintf(name, sizeof(name), "conf.d/%s", *other);
		put(name, "nonsense");
	}
	if (read_files("a.conf"))
		fail_msg("%s", err.text);
	assert_int_equal(config.n_tunnels, 2);
	assert_int_equal(config.n_workloads, 3);
	assert_string_equal(config.workloads[0].name, "w");
	assert_string_equal(config.workloads[1].name, "b");
	assert_string_equal(config.workloads[2].name, "c");
	assert_int_equal(config.workloads[1].tunnel, 1);
	assert_int_equal(config.workloads[2].tunnel, 0);
}

static void read_conf_d_that_is_wrong(void **state)
{
	need_root();
	put("a.conf", BOTH "[daemon]\n");
	put("conf.d", ""); /* a file is not a directory without entries */
	assert_read_refused("a.conf", "conf.d", "a directory, or nothing");
	assert_int_equal(unlink(below("conf.d")), 0);
	assert_int_equal(mkdir(below("conf.d"), 0755), 0);
	assert_int_equal(read_files("a.conf"), 0);

	/* the error names its file and its line, also where all files are needed to see it */
	put("conf.d/x.conf", "\n[workload x]\ncgroup = /x\ntunnel = nowhere\n");
	assert_read_refused("a.conf", "conf.d/x.conf:4: [workload x]: there is no [tunnel nowhere]",
			    "add that section");
	put("conf.d/x.conf", "\n[workload x]\ncgroup = /x\n");
	assert_read_refused("a.conf", "conf.d/x.conf:2: [workload x] has no 'tunnel'", "");
	put("conf.d/x.conf", "#\n[workload w]\n");
	assert_read_refused("a.conf", "conf.d/x.conf:2: [workload w] is given twice", "");
	put("conf.d/x.conf", "[daemon]\nlease = 2s\n");
	assert_read_refused("a.conf", "conf.d/x.conf:1: [daemon] is given twice", "");
	put("conf.d/x.conf", "interface = wg0\n"); /* a section ends with its file */
	assert_read_refused("a.conf", "conf.d/x.conf:1: 'interface' stands in no section", "");
	put("conf.d/x.conf", "");
	assert_int_equal(read_files("a.conf"), 0);

	chmod(below("conf.d/x.conf"), 0664);
	assert_read_refused("a.conf", "conf.d/x.conf", "chmod go-w");
	chmod(below("conf.d/x.conf"), 0644);
	chmod(below("conf.d"), 0777);
	assert_read_refused("a.conf", "conf.d'", "chmod go-w");
	chmod(below("conf.d"), 0755);
	assert_int_equal(unlink(below("conf.d/x.conf")), 0);
	assert_int_equal(symlink("../a.conf", below("conf.d/x.conf")), 0);
	assert_read_refused("a.conf", "conf.d/x.conf", "symbolic link");
	assert_int_equal(unlink(below("conf.d/x.conf")), 0);
	assert_int_equal(mkdir(below("conf.d/x.conf"), 0755), 0);
	assert_read_refused("a.conf", "conf.d/x.conf", "regular");
}

/* Each as "KEY=VALUE"; what it says, NULL: it is good. */
static void labels(void **state)
{
	static const struct {
		const char *label, *says;
	} cases[] = {
		{ "dns=9.9.9.9", NULL },
		{ "allow=tcp/8080; tcp/8081 ", NULL },
		{ "bootstrap=192.0.2.1", NULL },
		{ "bootstrap=", "vpnleash.bootstrap = : " },
		{ "bootstrap= ; ", "vpnleash.bootstrap = : " },
		{ "allow=", "vpnleash.allow = : " },
		{ "ipv6=", "vpnleash.ipv6 = : " },
		{ "enforce=", "vpnleash.enforce = : " },
		{ "stop-after=", "vpnleash.stop-after = : " },
		{ "dns=1.1.1.1;9.9.9.9", "takes one value" },
		{ "tunnel=other", "names a tunnel" },
		{ "netns=host", "unknown label" },
		{ "=x", "unknown label 'vpnleash.'" },
	};
	struct error err;
	struct config c;
	bool keys;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *sign = strchr(cases[i].label, '=');
		char key[32];
		struct config_label l[] = { { "interface", "wg0" }, { key, sign + 1 } };

		snprintf(key, sizeof(key), "%.*s", (int)(sign - cases[i].label), cases[i].label);
		err.text[0] = '\0';
		if (config_from_labels("w", "container:x", "container:y", l, ARRAY_SIZE(l), &c,
				       &keys, &err)) {
			if (!cases[i].says || !strstr(err.text, cases[i].says))
				print_error("%s: %s\n", cases[i].label, err.text);
			assert_non_null(cases[i].says);
			assert_non_null(strstr(err.text, cases[i].says));
			continue;
		}
		if (cases[i].says)
			print_error("%s: taken\n", cases[i].label);
		assert_null(cases[i].says);
		assert_string_equal(c.tunnels[0].interface, "wg0");
		config_free(&c);
	}
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
		cmocka_unit_test(too_long_is_refused),
		cmocka_unit_test(twice_is_refused),
		cmocka_unit_test(many_cgroups),
		cmocka_unit_test(missing_and_unknown_are_refused),
		cmocka_unit_test(lock_takes_cgroups_alone),
		cmocka_unit_test(help_names_every_key),
		cmocka_unit_test(garbage_is_refused_in_one_line),
		cmocka_unit_test(the_design_sample_is_not_built_yet),
		cmocka_unit_test(every_built_key_in_a_file),
		cmocka_unit_test(the_example_parses),
		cmocka_unit_test(comments),
		cmocka_unit_test(one_line_is_one_line),
		cmocka_unit_test(line_ends),
		cmocka_unit_test(sections),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(keys_that_do_not_belong),
		cmocka_unit_test(wrong_values_in_a_file),
		cmocka_unit_test(references_and_what_is_missing),
		cmocka_unit_test(keys_not_built_yet),
		cmocka_unit_test(the_guards_values),
		cmocka_unit_test(prefixes_contain),
		cmocka_unit_test(very_long_lines),
		cmocka_unit_test(at_most_so_many),
		cmocka_unit_test(random_texts),
		cmocka_unit_test(mutations),
		cmocka_unit_test(labels),
		cmocka_unit_test_setup_teardown(read_owners_and_modes, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_parents, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_what_is_no_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_conf_d, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_conf_d_that_is_wrong, make_dir, remove_dir),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
