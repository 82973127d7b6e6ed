/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The values of the guard's keys: endpoints, hosts for the bootstrap, LAN exceptions, resolvers. */
#include "test_config.h"

#include <arpa/inet.h>

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
	const struct reach_rules *r;

	assert_reads("[tunnel t]\ninterface=wg0\nprocess = warp-svc\nendpoint = auto\n"
		     "endpoint = 192.0.2.1:51820/udp\nendpoint = 192.0.2.0/24:443/tcp\n"
		     "endpoint = [2001:db8::/32]:500/udp\nendpoint = [2001:db8::1]:500/udp\n"
		     "bootstrap = 192.0.2.9, 198.51.100.0/24,2001:db8::9\nallow = tcp/9090\n"
		     "reach = tcp/100.64.0.7:22\n"
		     "[workload w]\ncgroup=/a\ntunnel=t\nipv6 = tunnel\nenforce = audit\n"
		     "allow = tcp/8080\nallow = udp/99 from 10.1.0.0/16, 10.2.0.0/16 host\n"
		     "reach = tcp/192.168.1.10:8989\nreach = udp/172.31.255.0/24:514\n"
		     "reach = tcp/169.254.3.4/32:65535\n");
	t = &config.tunnels[0];
	assert_int_equal(t->probes.n, 3); /* without being told */
	assert_true(t->probes.by_default);
	assert_int_equal(t->probes.rule[0].kind, PROBE_DNS);
	assert_int_equal(t->probes.rule[1].kind, PROBE_ICMP);
	assert_int_equal(t->probes.rule[2].kind, PROBE_TCP);
	assert_int_equal(t->patience_ns, 0);
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
	assert_int_equal(t->reach.n, 1);
	assert_true(is(&t->reach.rule[0].to, "100.64.0.7/32"));
	r = &config.workloads[0].reach;
	assert_int_equal(r->n, 3);
	assert_true(is(&r->rule[0].to, "192.168.1.10/32"));
	assert_int_equal(r->rule[0].port, 8989);
	assert_int_equal(r->rule[0].protocol, IPPROTO_TCP);
	assert_true(is(&r->rule[1].to, "172.31.255.0/24"));
	assert_int_equal(r->rule[1].protocol, IPPROTO_UDP);
	assert_int_equal(r->rule[2].port, 65535);

	assert_reads("[tunnel t]\ninterface=wg0\nendpoint = preset:cloudflare-warp\n"
		     "bootstrap = preset:cloudflare-warp\nguard = off\n" WORKLOAD);
	assert_true(config.tunnels[0].endpoints.n > 10 && config.tunnels[0].bootstrap.n >= 4);
	assert_true(config.tunnels[0].guard_off);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_AUTO);
	assert_false(config.tunnels[0].endpoint_process);
	assert_reads("[tunnel t]\ninterface=wg0\nendpoint = process\nbootstrap = vpn\n" WORKLOAD);
	assert_true(config.tunnels[0].endpoint_process && !config.tunnels[0].endpoints.n);
	assert_reads("[tunnel t]\ninterface=wg0\ndns = 10.64.0.1\n" WORKLOAD);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_SERVERS);
	assert_int_equal(config.tunnels[0].dns.server[0], htonl(0x0a400001));
	assert_int_equal(config.tunnels[0].dns.server[1], htonl(0x0a400001));
	assert_string_equal(config.tunnels[0].route, "10.64.0.1"); /* the probe's, the resolver's */
	assert_reads("[tunnel t]\ninterface=wg0\ndns = none\n" WORKLOAD);
	assert_int_equal(config.tunnels[0].dns.mode, DNS_NONE);
}

/* Several lines for one port add up, and are written again as one label has them. */
static void allows_add_up(void **state)
{
	static const char *const lines[] = { "tcp/80 from 100.64.0.0/10", "tcp/80",
					     "tcp/81 from host", "tcp/80 from 10.1.0.0/16",
					     "tcp/81 from 10.1.2.3" };
	struct allow_rules a = { 0 };
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_int_equal(allow_add(&a, lines[i], &err), 0);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.rule[0].n_from, 6);
	assert_int_equal(a.rule[0].by_default, 0x1e);
	assert_true(a.rule[0].from_host);
	assert_string_equal(allow_text(&a, text, sizeof(text)),
			    "tcp/80;tcp/80 from 100.64.0.0/10,10.1.0.0/16;"
			    "tcp/81 from 10.1.2.3/32,host");
	assert_string_equal(allow_text(&a, text, 7), "tcp/80");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_not_equal(allow_add(&a, lines[i], &err), 0);
		assert_non_null(strstr(err.text, "given twice"));
	}
	assert_int_equal(allow_add(&a, "tcp/80 from 10.2.0.0/16,10.3.0.0/16", &err), 0);
	assert_int_not_equal(allow_add(&a, "tcp/80 from 10.4.0.0/16", &err), 0);
	assert_non_null(strstr(err.text, "more than 8"));
}

static void probes_are_read(void **state)
{
	static const char *const right[] = {
		"dns:.@9.9.9.9",  "dns:Example.org.@10.64.0.1", "dns:_a-b.example@1.2.3.4",
		"icmp:10.0.0.1",  "tcp:192.0.2.1:65535",	"handshake:180s",
		"exec:/bin/true",
	};
	static const char *const wrong[] = {
		"",
		"dns",
		"dns:",
		"dns:@1.1.1.1",
		"dns:a",
		"dns:a@",
		"dns:a@::1",
		"dns:a@127.0.0.53", /* answers with a dead tunnel, too */
		"dns:a..b@1.1.1.1",
		"dns:.a@1.1.1.1",
		"dns:a b@1.1.1.1",
		"dns:a@b@1.1.1.1",
		"dns:1234567890123456789012345678901234567890123456789012345678901234@1.1.1.1",
		"icmp:1.1.1.1:5",
		"icmp:0.0.0.0",
		"icmp:224.0.0.1",
		"tcp:1.1.1.1",
		"tcp:1.1.1.1:",
		"tcp:1.1.1.1:0",
		"tcp:1.1.1.1:65536",
		"tcp:1.1.1.1:-1",
		"tcp:1.1.1.1:80x",
		"handshake:",
		"handshake:9s",
		"handshake:2h",
		"exec:true",
		"exec:",
		"none:",
	};
	struct probe_rules r;
	char text[PROBE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
		memset(&r, 0, sizeof(r));
		assert_int_equal(probe_add(&r, right[i], &err), 0);
		assert_string_equal(probe_text(&r.rule[0], text), right[i]);
		probe_defaults(&r, 1);
		assert_int_equal(r.n, 1);
		assert_int_not_equal(probe_add(&r, "none", &err), 0);
	}
	memset(&r, 0, sizeof(r));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_not_equal(probe_add(&r, wrong[i], &err), 0);
		assert_int_equal(r.n, 0);
	}
	for (int i = 0; i < RULES_PROBES; i++)
		assert_int_equal(probe_add(&r, "icmp:1.1.1.1", &err), 0);
	assert_int_not_equal(probe_add(&r, "icmp:1.1.1.1", &err), 0);
	memset(&r, 0, sizeof(r));
	assert_int_equal(probe_add(&r, "none", &err), 0);
	probe_defaults(&r, 1);
	assert_int_equal(r.n, 0);
	assert_int_not_equal(probe_add(&r, "icmp:1.1.1.1", &err), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guards_values),
		cmocka_unit_test(allows_add_up),
		cmocka_unit_test(probes_are_read),
		cmocka_unit_test(prefixes_contain),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
