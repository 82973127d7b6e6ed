/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What doctor finds in containers. fixtures/inspect.json was recorded from Docker 26.1.5 (the keys
 * that are looked at): one container of each kind of trouble, one without any, and one that is none
 * of our business.
 */
#include "cmd/doctor.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define INSPECT "tests/unit/fixtures/inspect.json"
#define BY_HOST                             \
	"nameserver 127.0.0.11\n"           \
	"options ndots:0\n\n"               \
	"# ExtServers: [host(127.0.0.1)]\n" \
	"# Overrides: []\n"

static char told[16384];

static void collect(void *owner, int result, const struct error *line)
{
	size_t n = strlen(told);

	assert_true(result < 0);
	snprintf(told + n, sizeof(told) - n, "%s\n", line->text);
}

static json_t *recorded(void)
{
	json_t *all = json_load_file(INSPECT, 0, NULL);

	assert_true(json_is_array(all));
	return all;
}

static json_t *named(json_t *all, const char *name)
{
	json_t *c = (json_t *)doctor_find(all, name);

	assert_non_null(c);
	return c;
}

/* Looks, and throws `all` away. */
static size_t look(json_t *all, const struct config *file)
{
	size_t n;

	told[0] = '\0';
	n = doctor_containers(
		&(struct doctor) { .containers = all, .file = file, .tell = collect });
	json_decref(all);
	return n;
}

/* How many findings there are of that container. */
static size_t findings_of(const char *name)
{
	char begin[64];
	size_t n = 0;

	snprintf(begin, sizeof(begin), "container '%s' ", name);
	for (const char *s = told; (s = strstr(s, begin)); s++)
		n++;
	return n;
}

static void expect(const char *name, const char *what)
{
	char begin[64];
	size_t length;

	length = (size_t)snprintf(begin, sizeof(begin), "container '%s' ", name);
	for (const char *s = told; (s = strstr(s, begin)); s += length) {
		const char *end = strchr(s, '\n'), *found = strstr(s, what);

		if (found && found < end)
			return;
	}
	fail_msg("nothing of '%s' with '%s' in:\n%s", name, what, told);
}

static void each_kind_of_trouble(void **state)
{
	assert_int_equal(look(recorded(), NULL), 7);
	expect("bad", "is privileged");
	expect("bad", "(remove pid: host)");
	expect("bad", "'/run/docker.sock' of the host: the engine");
	expect("bad", "'/run/systemd/resolve' of the host: systemd-resolved");
	expect("bad", "'/run/nscd' of the host: nscd");
	assert_int_equal(findings_of("bad"), 5);
	expect("raw", "CAP_NET_RAW, which is given by default");
	assert_int_equal(findings_of("raw"), 1);
	expect("wide", "CAP_NET_ADMIN CAP_SYS_ADMIN");
	expect("wide", "'/run' of the host");
	assert_int_equal(findings_of("wide"), 2);
	expect("onhost", "network_mode: service:VPN");
	assert_int_equal(findings_of("onhost"), 1);
	expect("own", "network of its own");
	assert_int_equal(findings_of("own"), 1);
	expect("wrong", "stays locked");
	expect("wrong", "interfac");
	assert_int_equal(findings_of("wrong"), 1);
	/* tcp/8080 is allowed by `bad` */
	expect("vpn", "publishes udp/6881");
	assert_int_equal(findings_of("vpn"), 1);
	assert_int_equal(findings_of("good"), 0);
	assert_int_equal(findings_of("neighbour"), 0);
	assert_int_equal(findings_of("foreign"), 0);
}

static void remove_container(json_t *all, const char *name)
{
	size_t i;
	json_t *c;

	json_array_foreach(all, i, c) {
		if (c == named(all, name)) {
			json_array_remove(all, i);
			return;
		}
	}
}

/* Without a label anywhere nothing is our business. */
static void nobody_is_leashed(void **state)
{
	json_t *all = recorded(), *c;
	size_t i;

	json_array_foreach(all, i, c) {
		json_object_clear(json_object_get(json_object_get(c, "Config"), "Labels"));
	}
	assert_int_equal(look(all, NULL), 0);
	assert_string_equal(told, "");
}

static void a_file_names_them(void **state)
{
	char text[] = "[tunnel warp]\ninterface = CloudflareWARP\nnetns = container:vpn\n"
		      "allow = tcp/8080\n"
		      "[workload n]\ncgroup = container:neighbour\ntunnel = warp\n"
		      "allow = udp/6881 from 10.0.0.0/8\n";
	struct config file;
	struct error err;
	json_t *all = recorded(), *c;
	size_t i;

	json_array_foreach(all, i, c) {
		json_object_clear(json_object_get(json_object_get(c, "Config"), "Labels"));
	}
	assert_int_equal(config_init(&file, &err), 0);
	assert_int_equal(config_parse_text(&file, "f", text, &err), 0);
	assert_int_equal(config_finish(&file, "f", &err), 0);
	assert_int_equal(look(all, &file), 1);
	expect("neighbour", "CAP_NET_RAW");
	assert_int_equal(findings_of("neighbour"), 1);
	assert_int_equal(findings_of("vpn"), 0); /* both ports are allowed */
	assert_int_equal(findings_of("bad"), 0);
	config_free(&file);
}

static void the_vpn_in_the_same_container(void **state)
{
	char text[] = "[tunnel warp]\ninterface = CloudflareWARP\nnetns = container:own\n"
		      "[workload n]\ncgroup = container:own\ntunnel = warp\n";
	struct config file;
	struct error err;
	json_t *all = recorded();

	assert_int_equal(config_init(&file, &err), 0);
	assert_int_equal(config_parse_text(&file, "f", text, &err), 0);
	assert_int_equal(config_finish(&file, "f", &err), 0);
	look(all, &file);
	assert_int_equal(findings_of("own"), 0);
	config_free(&file);
}

static void in_a_slice(void **state)
{
	char text[] = "[tunnel warp]\ninterface = CloudflareWARP\nnetns = container:vpn\n"
		      "[workload n]\ncgroup = slice:vpnleash.slice\ntunnel = warp\n";
	struct config file;
	struct error err;
	json_t *all = recorded();

	assert_int_equal(config_init(&file, &err), 0);
	assert_int_equal(config_parse_text(&file, "f", text, &err), 0);
	assert_int_equal(config_finish(&file, "f", &err), 0);
	json_object_set_new(json_object_get(named(all, "neighbour"), "HostConfig"), "CgroupParent",
			    json_string("vpnleash.slice"));
	json_object_set_new(json_object_get(named(all, "foreign"), "HostConfig"), "CgroupParent",
			    json_string("/other"));
	assert_int_equal(look(all, &file), 8);
	expect("neighbour", "CAP_NET_RAW");
	assert_int_equal(findings_of("foreign"), 0);
	config_free(&file);
}

static void put_resolv_conf(json_t *all, const char *name, const char *text)
{
	json_object_set_new(named(all, name), RESOLV_CONF, json_string(text));
}

static void names_on_the_hosts_side(void **state)
{
	json_t *all = recorded();

	put_resolv_conf(all, "neighbour", BY_HOST);
	put_resolv_conf(all, "foreign", BY_HOST);
	put_resolv_conf(all, "vpn", BY_HOST);  /* must find its provider before it is one */
	put_resolv_conf(all, "good", BY_HOST); /* redirected */
	look(all, NULL);
	expect("neighbour", "asked by dockerd on the host's loopback");
	assert_int_equal(findings_of("neighbour"), 1);
	assert_int_equal(findings_of("foreign"), 0);
	assert_int_equal(findings_of("vpn"), 1);
	assert_int_equal(findings_of("good"), 0);

	all = recorded();
	put_resolv_conf(all, "neighbour",
			"nameserver 127.0.0.11\n# ExtServers: [1.1.1.1]\n"
			"# NDOTS: host(127.0.0.1)\n");
	look(all, NULL);
	assert_int_equal(findings_of("neighbour"), 0);
}

static void ipv6_resolvers(void **state)
{
	json_t *all = recorded();

	put_resolv_conf(all, "good", "nameserver fd09::2\nnameserver 2001:db8::1");
	look(all, NULL);
	expect("good", "IPv6 resolvers only");
	all = recorded();
	put_resolv_conf(all, "good", "nameserver fd09::2\nnameserver 10.9.0.2\n");
	look(all, NULL);
	assert_int_equal(findings_of("good"), 0);
}

/* A mount in the words of the engine: which of them speak for the container. */
static bool speaks(const char *source)
{
	json_t *all = recorded();

	json_array_append_new(json_object_get(named(all, "good"), "Mounts"),
			      json_pack("{s:s,s:s}", "Type", "bind", "Source", source));
	look(all, NULL);
	return findings_of("good") != 0;
}

static void mounts(void **state)
{
	assert_true(speaks("/var/run/docker.sock"));
	assert_true(speaks("/var/run/"));
	assert_true(speaks("/"));
	assert_true(speaks("/run/podman/podman.sock"));
	assert_true(speaks("/run/user/1000/docker.sock"));
	assert_true(speaks("/run/user/1000/podman/podman.sock"));
	assert_true(speaks("/run/systemd/resolve/io.systemd.Resolve"));
	assert_true(speaks("/run/dbus/system_bus_socket"));
	assert_false(speaks("/run/systemd/resolve/resolv.conf"));
	assert_false(speaks("/run/systemd/resolve/stub-resolv.conf"));
	assert_false(speaks("/run/docker.sock.d"));
	assert_false(speaks("/running"));
	assert_false(speaks("/srv/downloads"));
	assert_false(speaks("/etc/localtime"));
}

static bool has_raw(const char *add, const char *drop, bool podman)
{
	json_t *all = recorded(), *host = json_object_get(named(all, "good"), "HostConfig");

	json_object_set_new(named(all, "good"), OF_PODMAN, json_boolean(podman));
	json_object_set_new(host, "CapAdd", json_loads(add, JSON_DECODE_ANY, NULL));
	json_object_set_new(host, "CapDrop", json_loads(drop, JSON_DECODE_ANY, NULL));
	told[0] = '\0';
	doctor_containers(&(struct doctor) { .containers = all, .tell = collect });
	json_decref(all);
	return strstr(told, "container 'good' has CAP_NET_RAW") != NULL;
}

static void capabilities(void **state)
{
	assert_true(has_raw("null", "null", false));
	assert_false(has_raw("null", "null", true));
	assert_true(has_raw("[\"CAP_NET_RAW\"]", "[\"ALL\"]", true));
	assert_true(has_raw("[\"net_raw\"]", "[\"all\"]", false));
	assert_false(has_raw("[\"CHOWN\"]", "[\"ALL\"]", false));
	assert_false(has_raw("null", "[\"NET_RAW\"]", false));
	assert_false(has_raw("[\"ALL\"]", "[\"CAP_NET_RAW\"]", false));
	assert_true(has_raw("[\"ALL\"]", "null", true));
}

/* What an engine should never say, and a name that somebody made to do harm. */
static void nonsense(void **state)
{
	json_t *all = recorded();

	json_array_append_new(all, json_null());
	json_array_append_new(all, json_pack("{s:i,s:s}", "Name", 7, "HostConfig", "no"));
	json_object_set_new(named(all, "raw"), "Mounts", json_string("no"));
	json_object_set_new(named(all, "raw"), "Name", json_string("/r\n\033[31maw"));
	look(all, NULL);
	expect("r\\x0a\\x1b[31maw", "CAP_NET_RAW");
	assert_null(strchr(told, '\033'));
	assert_int_equal(look(json_null(), NULL), 0);
	all = recorded();
	remove_container(all, "vpn"); /* whose network the others share */
	look(all, NULL);
	expect("bad", "is privileged");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_trouble),
		cmocka_unit_test(nobody_is_leashed),
		cmocka_unit_test(a_file_names_them),
		cmocka_unit_test(the_vpn_in_the_same_container),
		cmocka_unit_test(in_a_slice),
		cmocka_unit_test(names_on_the_hosts_side),
		cmocka_unit_test(ipv6_resolvers),
		cmocka_unit_test(mounts),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(nonsense),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
