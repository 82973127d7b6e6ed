/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line → one validated struct: every key, right and wrong, and garbage. */
#include "core/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARGS 160
#define GOOD "--cgroup", "/a", "--interface", "wg0", "--probe", "none"

static struct config config; /* 260 kB: not for the stack */
static struct error err;

/* Each argument in an allocation of its own, so that the sanitizer sees a byte too far. */
static int parse(bool need_tunnel, const char *const *args, size_t n)
{
	char *argv[ARGS + 2] = { strdup("run") };
	int r;

	for (size_t i = 0; i < n; i++)
		argv[i + 1] = strdup(args[i]);
	err = (struct error){ 0 };
	memset(&config, 0x5a, sizeof(config));
	r = config_parse_args((int)n + 1, argv, need_tunnel, &config, &err);
	for (size_t i = 0; i <= n; i++)
		free(argv[i]);
	return r;
}

#define RUN(...)                                                                                   \
	parse(true, (const char *const[]){ __VA_ARGS__ },                                          \
	      sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))
#define LOCK(...)                                                                                  \
	parse(false, (const char *const[]){ __VA_ARGS__ },                                         \
	      sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

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
	(void)state;
	assert_int_equal(RUN(GOOD), 0);
	assert_int_equal(config.lease_ns, 3 * NS_PER_SEC);
	assert_int_equal(config.tunnel.patience_ns, 3 * NS_PER_SEC);
	assert_string_equal(config.tunnel.netns, "host");
	assert_string_equal(config.tunnel.interface, "wg0");
	assert_string_equal(config.tunnel.route, "");
	assert_int_equal(config.tunnel.probe, PROBE_NONE);
	assert_int_equal(config.on_failure, ON_FAILURE_FREEZE);
	assert_int_equal(config.n_workloads, 1);
	assert_string_equal(config.workloads[0].cgroup, "/a");
}

static void every_key_is_taken(void **state)
{
	char address[INET_ADDRSTRLEN];

	(void)state;
	assert_int_equal(RUN("--cgroup", "/a", "--interface", "CloudflareWARP1", "--netns",
			     "/run/netns/vpn", "--probe", "icmp:10.0.0.1", "--route", "2001:db8::1",
			     "--on-failure", "block", "--lease", "1500ms", "--patience", "60",
			     "--guard", "off", "--cgroup", "/sys/fs/cgroup/b c"), 0);
	assert_int_equal(config.n_workloads, 2);
	assert_string_equal(config.workloads[1].cgroup, "/sys/fs/cgroup/b c");
	assert_string_equal(config.tunnel.interface, "CloudflareWARP1");
	assert_string_equal(config.tunnel.netns, "/run/netns/vpn");
	assert_int_equal(config.tunnel.probe, PROBE_ICMP);
	assert_string_equal(inet_ntop(AF_INET, &config.tunnel.probe_address, address,
				      sizeof(address)), "10.0.0.1");
	assert_string_equal(config.tunnel.route, "2001:db8::1");
	assert_int_equal(config.on_failure, ON_FAILURE_BLOCK);
	assert_int_equal(config.lease_ns, 1500 * NS_PER_MSEC);
	assert_int_equal(config.tunnel.patience_ns, 60 * NS_PER_SEC);
}

static void the_route_is_the_probes_unless_given(void **state)
{
	(void)state;
	assert_int_equal(RUN("--cgroup", "/a", "--interface", "w", "--probe", "icmp:10.0.0.1"), 0);
	assert_string_equal(config.tunnel.route, "10.0.0.1");
	assert_int_equal(RUN("--cgroup", "/a", "--interface", "w", "--route", "none", "--probe",
			     "icmp:10.0.0.1"), 0);
	assert_string_equal(config.tunnel.route, "");
	assert_int_equal(RUN(GOOD, "--route", "1.1.1.1"), 0);
	assert_string_equal(config.tunnel.route, "1.1.1.1");
}

static void the_equals_form(void **state)
{
	(void)state;
	assert_int_equal(RUN("--cgroup=/a=b", "--interface=wg0", "--probe=none", "--lease=4s"), 0);
	assert_string_equal(config.workloads[0].cgroup, "/a=b");
	assert_string_equal(config.tunnel.interface, "wg0");
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
		{ "netns", "vpn", "/run/netns/NAME" },
		{ "netns", "container:vpn", "/run/netns/NAME" },
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
		{ "guard", "on", "off" },
		{ "guard", "", "off" },
		{ "cgroup", "", "/PATH" },
	};
	char named[64];

	(void)state;
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

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
		assert_int_equal(RUN(GOOD, "--lease", leases[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(patiences); i++)
		assert_int_equal(RUN(GOOD, "--patience", patiences[i]), 0);
}

static void too_long_is_refused(void **state)
{
	char *path = malloc(PATH_MAX + 1);

	(void)state;
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
	assert_string_equal(config.tunnel.netns, path);
	free(path);
}

static void twice_is_refused(void **state)
{
	(void)state;
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

	(void)state;
	for (size_t i = 0; i <= CONFIG_WORKLOADS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
		args[n++] = "--cgroup";
		args[n++] = paths[i];
	}
	assert_int_equal(parse(false, args, n - 2), 0);
	assert_int_equal(config.n_workloads, CONFIG_WORKLOADS);
	assert_refused(parse(false, args, n), "--cgroup '/64'", "64");
}

static void missing_and_unknown_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse(true, NULL, 0), -EINVAL);
	assert_refused(parse(true, NULL, 0), "--cgroup", "--help");
	assert_refused(RUN("--interface", "w", "--probe", "none"), "--cgroup", "--help");
	assert_refused(RUN("--cgroup", "/a", "--probe", "none"), "--interface", "--help");
	assert_refused(RUN("--cgroup", "/a", "--interface", "w"), "--probe", "icmp:IP");
	assert_refused(RUN(GOOD, "--lease"), "--lease needs a value", "--help");
	assert_refused(RUN(GOOD, "--unknown", "1"), "'--unknown'", "--help");
	assert_refused(RUN(GOOD, "--leases", "3s"), "'--leases'", "--help");
	assert_refused(RUN(GOOD, "--leas", "3s"), "'--leas'", "--help");
	assert_refused(RUN(GOOD, "-lease", "3s"), "'-lease'", "--help");
	assert_refused(RUN(GOOD, "lease=3s"), "'lease=3s'", "--help");
	assert_refused(RUN(GOOD, "--"), "'--'", "--help");
	assert_refused(RUN(GOOD, "--=3s"), "'--=3s'", "--help");
	assert_refused(RUN(GOOD, ""), "''", "--help");
	assert_refused(RUN(GOOD, "-"), "'-'", "--help");
	assert_refused(RUN(GOOD, "\033[2J"), "'\\x1b[2J'", "--help"); /* harmless on a terminal */
	assert_refused(RUN(GOOD, "--netns", "a\nb"), "'a\\x0ab'", "/run/netns/NAME");
}

static void lock_takes_cgroups_alone(void **state)
{
	(void)state;
	assert_int_equal(LOCK("--cgroup", "/a", "--cgroup=/b"), 0);
	assert_int_equal(config.n_workloads, 2);
	assert_refused(LOCK("--cgroup", "/a", "--interface", "wg0"), "interface", "--help");
	assert_refused(LOCK("--cgroup", "/a", "--lease", "3s"), "lease", "--help");
	assert_refused(parse(false, NULL, 0), "--cgroup", "--help");
}

static void help_names_every_key(void **state)
{
	static const char *const keys[] = { "cgroup", "interface", "netns", "probe", "route",
					    "on-failure", "lease", "patience", "guard" };
	_cleanup_free char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	config_print_keys(f);
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char option[32];

		snprintf(option, sizeof(option), "  --%s ", keys[i]);
		assert_non_null(strstr(text, option));
	}
}

static const char *random_argument(char *buf, size_t size)
{
	static const char *const words[] = {
		"--cgroup", "--interface", "--netns", "--probe", "--route", "--on-failure",
		"--lease", "--patience", "--guard", "--cgroup=/x", "--lease=", "--", "/a", "/b",
		"wg0", "none", "icmp:1.1.1.1", "3s", "off", "block", "host", "",
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

	(void)state;
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
		assert_in_range(config.tunnel.patience_ns, NS_PER_SEC, 60 * NS_PER_SEC);
		assert_true(strlen(config.tunnel.interface) < IFNAMSIZ);
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
		cmocka_unit_test(too_long_is_refused),
		cmocka_unit_test(twice_is_refused),
		cmocka_unit_test(many_cgroups),
		cmocka_unit_test(missing_and_unknown_are_refused),
		cmocka_unit_test(lock_takes_cgroups_alone),
		cmocka_unit_test(help_names_every_key),
		cmocka_unit_test(garbage_is_refused_in_one_line),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
