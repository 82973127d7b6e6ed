/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of files → one validated struct: sections, lines, keys, what they refer to. */
#include "test_config.h"

#include <arpa/inet.h>

#define FIXTURES "tests/unit/fixtures/"

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

static void the_sample_of_the_design(void **state)
{
	const struct identity_rule *identity;

	load(FIXTURES "design-sample.conf");
	if (!owned)
		fail_msg("%s", err.text);
	identity = &config.tunnels[0].identity;
	assert_string_equal(identity->url, "http://1.1.1.1/cdn-cgi/trace");
	assert_string_equal(identity->host, "1.1.1.1");
	assert_int_equal(identity->port, 80);
	assert_string_equal(identity->expect, "warp=on");
	assert_int_equal(identity->resolver.s_addr, htonl(0x01010101));
}

static void identity_by_name(void **state)
{
	const struct identity_rule *identity;

	assert_reads("[tunnel t]\ninterface=a\nprobe=dns:.@10.64.0.1\nprobe=dns:.@10.64.0.2\n"
		     "identity = https://am.i.example:8443?x  expect  You are: in # yes\n"
		     "[workload w]\ncgroup=/x\ntunnel=t\n");
	identity = &config.tunnels[0].identity;
	assert_string_equal(identity->host, "am.i.example");
	assert_int_equal(identity->port, 8443);
	assert_string_equal(identity->expect, "You are: in");
	assert_int_equal(identity->resolver.s_addr, htonl(0x0a400001)); /* the first probe's */
	assert_wrong(
		"[tunnel t]\ninterface=a\nidentity=http://a/ expect b\nidentity=http://a/ expect "
		"b\n",
		4, "identity");
}

static void every_built_key_in_a_file(void **state)
{
	const struct tunnel_config *t;
	const struct workload_config *w;
	char text[PROBE_TEXT];

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
	assert_int_equal(t[0].probes.n, 1);
	assert_string_equal(probe_text(&t[0].probes.rule[0], text), "icmp:10.0.0.1");
	assert_string_equal(t[0].route, "2001:db8::1");
	assert_int_equal(t[0].patience_ns, 10 * NS_PER_SEC);
	assert_string_equal(t[1].name, "wg");
	assert_string_equal(t[1].interface, "wg0");
	assert_string_equal(t[1].netns, "host");
	assert_int_equal(t[1].probes.n, 0);
	assert_string_equal(t[1].route, "");
	assert_int_equal(t[1].patience_ns, 0);
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
	assert_int_equal(config.tunnels[0].patience_ns, 0);

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
	assert_wrong("[tunnel t]\nprobe=none\nprobe=none\n", 3, "give none alone");
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
	assert_wrong("[tunnel t]\nhealth = no\n", 2, "obey or ignore");
	assert_wrong("[tunnel t]\nallow = tcp/80\nallow = tcp/80\n", 3, "given twice");
	assert_wrong(TUNNEL "[workload v]\ncgroup=/b\ntunnel=t\n[workload w]\ncgroup=/a\n"
			    "tunnel=t\nenforce=audit\n",
		     7, "differ in 'enforce'");
	assert_wrong("[tunnel t]\ninterface=w\nguard=off\nallow=tcp/80\n" WORKLOAD, 5,
		     "'allow' needs the guard");
	assert_wrong("[tunnel t]\ninterface=w\nendpoint=10.0.0.1:9/udp\n[workload w]\n"
		     "cgroup=/a\ntunnel=t\nallow=tcp/80 from 10.0.0.0/24\n",
		     4, "lets an endpoint");
	assert_wrong("[tunnel t]\ninterface=w\nendpoint=10.0.0.1:9/udp\n"
		     "allow=tcp/80 from 10.0.0.0/24\n[workload w]\ncgroup=/a\ntunnel=t\n",
		     5, "lets an endpoint");
	assert_reads("[tunnel t]\ninterface=w\nendpoint=10.0.0.1:9/udp\n[workload w]\n"
		     "cgroup=/a\ntunnel=t\nallow=tcp/80\nallow=tcp/80 from 100.64.0.0/10\n");
	assert_wrong("[tunnel t]\ninterface=w\nguard=off\nreach=tcp/10.0.0.1:80\n" WORKLOAD, 5,
		     "'reach' needs the guard");
	/* the network has the server in it, and the server's network the host */
	assert_wrong("[tunnel t]\ninterface=w\nendpoint=10.0.0.1:9/udp\n"
		     "reach=tcp/10.0.0.0/24:80\n" WORKLOAD,
		     5, "'reach' names an endpoint");
	assert_wrong("[tunnel t]\ninterface=w\nendpoint=10.0.0.0/16:9/udp\n[workload w]\n"
		     "cgroup=/a\ntunnel=t\nreach=tcp/10.0.7.1:80\n",
		     4, "'reach' names an endpoint");
	assert_wrong("[tunnel t]\nreach = tcp/10.0.0.1:80\nreach = tcp/10.0.0.1:80\n", 3,
		     "given twice");
	assert_wrong(TUNNEL "[workload w]\ncgroup=/a\ntunnel=t\nrejoin=recreate\n", 4,
		     "'rejoin = recreate' is for a container");
	assert_wrong("[tunnel t]\nendpoint=process\nendpoint=10.0.0.1:9/udp\n", 3,
		     "process goes with no address");
	assert_wrong("[tunnel t]\nbootstrap=10.0.0.1\nendpoint=process\n", 3,
		     "process goes with no address");
	assert_wrong("[tunnel t]\nendpoint=process\nbootstrap=10.0.0.1\n", 3,
		     "process goes with no address");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_of_the_design),
		cmocka_unit_test(identity_by_name),
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
		cmocka_unit_test(very_long_lines),
		cmocka_unit_test(at_most_so_many),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
