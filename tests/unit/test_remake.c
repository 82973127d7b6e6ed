/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's record of a container → what another like it is made from. What a real Docker makes
 * of that is in tests/e2e/case_containers_rejoin. */
#include "engine/docker_remake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OLD_VPN "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NEW_VPN "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static json_t *body;

/* `record` and `wanted` with ' for ". Is `wanted` all that is at `key` of what is made? */
static void expect_made(const char *record, const char *key, const char *wanted)
{
	char text[2048], *rest = strcpy(text, record), *part, *as_is;
	json_t *inspect, *at, *want;

	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	inspect = json_loads(text, 0, NULL);
	assert_non_null(inspect);
	json_decref(body);
	body = docker_remake(inspect, "image:tag", NEW_VPN);
	json_decref(inspect);
	assert_non_null(body);
	at = body;
	rest = strcpy(text, key);
	while ((part = strsep(&rest, "/")))
		at = json_object_get(at, part);
	strcpy(text, wanted);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	want = *text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	as_is = at ? json_dumps(at, JSON_ENCODE_ANY) : NULL;
	if (!(want ? json_equal(at, want) : !at))
		fail_msg("%s: %s", key, as_is ? as_is : "nothing");
	free(as_is);
	json_decref(want);
}

static int forget(void **state)
{
	json_decref(body);
	body = NULL;
	return 0;
}

static void its_network(void **state)
{
	static const char record[] =
		"{'Id':'a','Config':{'Labels':{'x':'y','vpnleash.replaces':'before'}},'HostConfig':{"
		"'NetworkMode':'container:" OLD_VPN "','PidMode':'container:" OLD_VPN
		"','IpcMode':'container:other','VolumesFrom':['" OLD_VPN ":ro','" OLD_VPN
		"','other']}}";

	expect_made(record, "HostConfig/NetworkMode", "'container:" NEW_VPN "'");
	expect_made(record, "HostConfig/PidMode", "'container:" NEW_VPN "'");
	expect_made(record, "HostConfig/IpcMode", "'container:other'");
	expect_made(record, "HostConfig/VolumesFrom", "['" NEW_VPN ":ro','" NEW_VPN "','other']");
	expect_made(record, "Labels", "{'x':'y','vpnleash.replaces':'a'}");
	expect_made(record, "Image", "'image:tag'");
	expect_made("{'Id':'a','Config':{'Labels':null},'HostConfig':{'NetworkMode':'bridge'}}",
		    "HostConfig/NetworkMode", "'bridge'");
	expect_made("{'Id':'a','Config':{'Labels':null},'HostConfig':{}}", "Labels",
		    "{'vpnleash.replaces':'a'}");
}

/* What Docker shows of who shares a network, and refuses to be asked for. */
static void what_is_refused(void **state)
{
	static const char record[] =
		"{'Id':'a','Config':{'Hostname':'h','Domainname':'d','MacAddress':'m',"
		"'ExposedPorts':{'80/tcp':{}},'Env':['A=b'],'User':'u'},'HostConfig':{}}";

	expect_made(record, "Hostname", "");
	expect_made(record, "Domainname", "");
	expect_made(record, "MacAddress", "");
	expect_made(record, "ExposedPorts", "");
	expect_made(record, "Env", "['A=b']");
	expect_made(record, "User", "'u'");
}

static void its_entrypoint(void **state)
{
	expect_made("{'Config':{'Entrypoint':null},'HostConfig':{}}", "Entrypoint", "['']");
	expect_made("{'Config':{},'HostConfig':{}}", "Entrypoint", "['']");
	expect_made("{'Config':{'Entrypoint':[]},'HostConfig':{}}", "Entrypoint", "[]");
	expect_made("{'Config':{'Entrypoint':['a','b']},'HostConfig':{}}", "Entrypoint",
		    "['a','b']");
}

static void its_volumes(void **state)
{
	static const char mounts[] =
		"{'Config':{},'HostConfig':{'Binds':['named:/named/:z','/plain','/host:/bound'],"
		"'Mounts':[{'Type':'volume','Target':'/m'},{'Type':'volume','Source':'s','Target':'/s'}"
		"]},'Mounts':[{'Type':'volume','Name':'named','Destination':'/named','RW':true},"
		"{'Type':'bind','Source':'/host','Destination':'/bound','RW':true},"
		"{'Type':'volume','Name':'p','Destination':'/plain','RW':true},"
		"{'Type':'volume','Name':'r','Destination':'/read','RW':false},"
		"{'Type':'volume','Name':'m','Destination':'/m','RW':true},"
		"{'Type':'volume','Name':'s','Destination':'/s','RW':true}]}";

	expect_made(mounts, "HostConfig/Binds",
		    "['named:/named/:z','/host:/bound','p:/plain:nocopy','r:/read:ro,nocopy']");
	expect_made(mounts, "HostConfig/Mounts",
		    "[{'Type':'volume','Target':'/m','Source':'m'},"
		    "{'Type':'volume','Source':'s','Target':'/s'}]");
	expect_made(
		"{'Config':{},'HostConfig':{'Binds':null},'Mounts':[{'Type':'volume','Name':'a',"
		"'Destination':'/a','RW':true}]}",
		"HostConfig/Binds", "['a:/a:nocopy']");
}

static void what_is_no_record(void **state)
{
	static const char *const records[] = { "{}", "[]", "{\"Config\":{}}",
					       "{\"Config\":[],\"HostConfig\":{}}",
					       "{\"Config\":{},\"HostConfig\":1}" };

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		json_t *j = json_loads(records[i], 0, NULL);

		assert_null(docker_remake(j, "i", NEW_VPN));
		json_decref(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(its_network, forget),
		cmocka_unit_test_teardown(what_is_refused, forget),
		cmocka_unit_test_teardown(its_entrypoint, forget),
		cmocka_unit_test_teardown(its_volumes, forget),
		cmocka_unit_test(what_is_no_record),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
