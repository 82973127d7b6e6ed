/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Labels of a container → its tunnel and workload. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paths.h"

/* Each as "KEY=VALUE"; what it says, NULL: it is good. */
static void labels(void **state)
{
	static const struct {
		const char *label, *says;
	} cases[] = {
		{ "dns=9.9.9.9", NULL },
		{ "allow=tcp/8080; tcp/8081 ", NULL },
		{ "bootstrap=192.0.2.1", NULL },
		{ "endpoint=process", NULL },
		{ "endpoint=process;192.0.2.1:9/udp", "process goes with no address" },
		{ "bootstrap=", "vpnleash.bootstrap = : " },
		{ "bootstrap= ; ", "vpnleash.bootstrap = : " },
		{ "reach=tcp/10.0.0.1:80; udp/10.0.0.0/24:514 ", NULL },
		{ "reach=tcp/10.0.0.1:80;tcp/1.1.1.1:80", "vpnleash.reach = tcp/1.1.1.1:80: " },
		{ "reach=", "vpnleash.reach = : " },
		{ "allow=", "vpnleash.allow = : " },
		{ "health=ignore", NULL },
		{ "health=never", "vpnleash.health = never: neither (obey or ignore)" },
		{ "ipv6=", "vpnleash.ipv6 = : " },
		{ "enforce=", "vpnleash.enforce = : " },
		{ "stop-after=", "vpnleash.stop-after = : " },
		{ "rejoin=recreate", NULL },
		{ "rejoin=", "vpnleash.rejoin = : " },
		{ "dns=1.1.1.1;9.9.9.9", "takes one value" },
		{ "tunnel=other", "names a tunnel" },
		{ "hook=a-hook.2", NULL },
		{ "hook=/bin/sh", "the name of a program in " HOOKS_DIR },
		{ "hook=../../../bin/sh", "not a hook" },
		{ "hook-inside=.", "not a hook" },
		{ "hook-inside=..", "not a hook" },
		{ "hook-inside=.hidden", "not a hook" },
		{ "hook-inside=a b", "not a hook" },
		{ "hook-inside=", "not a hook" },
		{ "netns=host", "unknown label 'vpnleash.netns'; there are tunnel, " },
		{ "stop-afer=3s", "stop-after, " },
		{ "lease=3s", ", ipv6, enforce, hook, hook-inside (" },
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
		if (!strcmp(key, "hook"))
			assert_string_equal(c.workloads[0].hook, HOOKS_DIR "/a-hook.2");
		config_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
