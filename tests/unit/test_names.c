/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What somebody types → the workload that he means, or nobody. */
#include "cmd/names.h" /* before cmocka, which has a fail() too */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const char several[] =
	"{'workloads':["
	"{'name':'torrents','place':'container:qbittorrent','container_id':'" ID_A "'},"
	"{'name':'sonarr','place':'container:sonarr','container_id':'" ID_B "'},"
	"{'name':'/a/torrent','place':'/a/torrent'},"
	"{'name':'seed','place':'unit:seed.service'},"
	"{'name':'twin','place':'container:double'},{'name':'other','place':'/double'},"
	"{'name':'it\\\\x27s','place':'/it\\\\x27s'},"
	"{'name':'left','place':null},"
	"{'name':'slice:a-b.slice'}],"
	"'removed':[{'name':'gone'}],'removed_cgroups':1}";

static json_t *parse(const char *text)
{
	_cleanup_free char *copy = strdup(text);
	json_t *j;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	j = json_loads(copy, 0, NULL);
	assert_non_null(j);
	return j;
}

static void who_is_meant(void **state)
{
	static const struct {
		const char *typed, *means; /* NULL: nobody */
	} cases[] = {
		{ "torrents", "torrents" },
		{ "container:qbittorrent", "torrents" },
		{ "container:" ID_A, "torrents" },
		{ "qbittorrent", "torrents" },
		{ ID_B, "sonarr" },
		{ "sonarr", "sonarr" },
		{ "/a/torrent", "/a/torrent" },
		{ "/a//torrent/", "/a/torrent" },
		{ "a/torrent", "/a/torrent" },
		{ "unit:seed.service", "seed" },
		{ "seed.service", "seed" },
		{ "it's", "it\\x27s" },
		{ "it\\x27s", "it\\x27s" },
		{ "/it's", "it\\x27s" },
		{ "container:left", "left" },
		{ "slice:a-b.slice", "slice:a-b.slice" },
		{ "slice:/a.slice/a-b.slice", "slice:a-b.slice" },
		{ "gone", "gone" },
		{ "container:double", "twin" },
		{ "/double", "other" },
		{ "double", NULL }, /* which of the two? */
		{ "container:torrents", NULL },
		{ "torrent", NULL },
		{ "container:", NULL },
		{ "/", NULL },
		{ "", NULL },
		{ "host", NULL },
		{ "a-b.slice", NULL },
	};
	json_auto_t *report = parse(several);
	char name[NAME_LEN];
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = names_find(report, cases[i].typed, name, &err);

		if (!r != !!cases[i].means || (!r && strcmp(name, cases[i].means)))
			fail_msg("'%s' is '%s'", cases[i].typed, r ? err.text : name);
	}
	assert_int_equal(names_find(report, "x", name, &err), -2 /* -ENOENT */);
	assert_non_null(
		strstr(err.text, "there is no workload 'x' (there are: torrents, sonarr, "));
	assert_int_equal(err.kind, ERROR_INPUT);
	assert_int_not_equal(names_find(report, NULL, name, &err), 0);
	assert_non_null(strstr(err.text, "which workload? (there are: torrents"));
}

static void left_out(void **state)
{
	json_auto_t *one = parse("{'workloads':[{'name':'slice:a.slice'},{'name':'w'}]}");
	json_auto_t *none = parse("{'workloads':[],'removed':[]}");
	json_auto_t *more = parse("{'workloads':[],'removed':[],'removed_cgroups':300}");
	char name[NAME_LEN];
	struct error err;

	assert_int_equal(names_find(one, NULL, name, &err), 0);
	assert_string_equal(name, "w");
	assert_int_not_equal(names_find(none, NULL, name, &err), 0);
	assert_non_null(strstr(err.text, "nothing is leashed"));
	/* not all that was removed is listed: the daemon says whether it is one of those */
	assert_int_equal(names_find(more, "old", name, &err), 0);
	assert_string_equal(name, "old");
}

static void a_list_has_a_bound(void **state)
{
	json_auto_t *report = json_pack("{s:[]}", "workloads");
	char name[NAME_LEN];
	struct error err;

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "workload-number-%d", i);
		json_array_append_new(json_object_get(report, "workloads"),
				      json_pack("{s:s}", "name", name));
	}
	assert_int_not_equal(names_find(report, "x", name, &err), 0);
	assert_non_null(strstr(err.text, "workload-number-0, workload-number-1"));
	assert_non_null(strstr(err.text, " more)"));
}

static void plain_and_to_be(void **state)
{
	char name[NAME_LEN] = "a\\x27\\x5cx41\\xffb", path[200] = "/";

	assert_string_equal(names_plain(name), "a'\\x41\xff"
					       "b");
	names_to_be("container:qbittorrent", name);
	assert_string_equal(name, "qbittorrent");
	names_to_be("unit:a.service", name);
	assert_string_equal(name, "a.service");
	names_to_be("section", name);
	assert_string_equal(name, "section");
	memset(path + 1, 'x', 150);
	names_to_be(path, name);
	assert_int_equal(strlen(name), 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_meant),
		cmocka_unit_test(left_out),
		cmocka_unit_test(a_list_has_a_bound),
		cmocka_unit_test(plain_and_to_be),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
