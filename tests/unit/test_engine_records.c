/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Docker says of one container → what is believed of it, and where its cgroup will be. */
#include "test_engine.h"

/* Of each only itself is lost, and it is said which and why. B is listed first, A after it. */
static void expect_unusable(const char *list_b, const char *b, int status, const char *why,
			    bool labelled)
{
	char list[2048];
	struct answer answers[] = { INFO,
				    { "/containers/json?all=1", list, 200 },
				    { "/containers/" ID_A "/json", inspect_a, 200 },
				    { "/images/sha256:1/json", "{}", 200 },
				    { "/containers/" ID_B "/json", b, status },
				    { NULL, NULL, 0 } };
	const struct played p = { .answers = answers };

	snprintf(list, sizeof(list), "[{\"Id\":\"" ID_B "\"%s},{\"Id\":\"" ID_A "\"}]", list_b);
	start(&p);
	expect(ENGINE_UP);
	expect(status == 200 ? ENGINE_ITEM : ENGINE_UNKNOWN);
	assert_string_equal(event.item.id, ID_B);
	if (!strstr(event.item.unusable, why))
		print_error("'%s', expected '%s' of %.200s\n", event.item.unusable, why, b);
	assert_non_null(strstr(event.item.unusable, why));
	assert_int_equal(event.item.labelled, labelled);
	assert_string_equal(event.item.cgroup, "");
	assert_int_equal(event.item.pid, 0);
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	assert_string_equal(event.item.unusable, "");
	assert_int_equal(event.item.n_labels, 3);
	expect(ENGINE_LISTED);
	stop();
}

static const char *as(char c, size_t n)
{
	static char text[8192];

	memset(text, c, n);
	text[n] = '\0';
	return text;
}

static void records_that_can_not_be_used(void **state)
{
#define B "{\"Id\":\"" ID_B "\","
	static const struct {
		const char *body, *why;
	} cases[] = {
		{ "{\"Id\":\"../../../" ID_B "\"}", "Id is too long" },
		{ "{\"Id\":\"" ID_A "\"}", "Id is that of another container" },
		{ "{}", "Id is that of another container" },
		{ "[]", "Id is that of another container" },
		{ "{", "not JSON" },
		{ "", "not JSON" },
		{ B "\"Name\":7}", "Name is not text" },
		{ B "\"Name\":\"/a\\u0000b\"}", "Name is too long, or not text" },
		{ B "\"Name\":\"/a\\ud800b\\n\"}", "Name is too long, or not text" },
		{ B "\"State\":[]}", "State is not an object" },
		{ B "\"State\":{\"Running\":1}}", "Running is neither" },
		{ B "\"State\":{\"Running\":true,\"Pid\":\"1\"}}", "Pid is not a valid number" },
		{ B "\"State\":{\"Running\":true,\"Pid\":-1}}", "Pid is not a valid number" },
		{ B "\"State\":{\"Pid\":4294967297}}", "Pid is not a valid number" },
		{ B "\"State\":{\"Pid\":1.5}}", "Pid is not a valid number" },
		{ B "\"State\":{\"Pid\":99999999999999999999}}", "not JSON" },
		{ B "\"State\":{\"Health\":\"x\"}}", "Health is not an object" },
		{ B "\"HostConfig\":7}", "HostConfig is not an object" },
		{ B "\"HostConfig\":{\"NetworkMode\":{}}}", "NetworkMode is not text" },
		{ B "\"HostConfig\":{\"CgroupParent\":1}}", "CgroupParent is not text" },
		{ B "\"HostConfig\":{\"CgroupParent\":\"/a/../b\"}}",
		  "CgroupParent leads out of the cgroup tree" },
		{ B "\"Config\":[]}", "Config is not an object" },
		{ B "\"Config\":{\"Labels\":[\"vpnleash.interface\"]}}",
		  "Labels is not an object" },
		{ B "\"Config\":{\"Labels\":{\"vpnleash.interface\":5}}}", "Labels hold one" },
	};
	char body[9000];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_unusable(",\"Labels\":{\"vpnleash.interface\":\"wg0\"}", cases[i].body, 200,
				cases[i].why, true);
	snprintf(body, sizeof(body), B "\"Name\":\"%s\"}", as('n', ENGINE_NAME_LEN));
	expect_unusable(",\"Labels\":{}", body, 200, "Name is too long", false);
	snprintf(body, sizeof(body), B "\"HostConfig\":{\"NetworkMode\":\"container:%s\"}}",
		 as('n', ENGINE_NAME_LEN));
	expect_unusable(",\"Labels\":null", body, 200, "NetworkMode is too long", false);
	snprintf(body, sizeof(body), B "\"HostConfig\":{\"CgroupParent\":\"/%s\"}}", as('c', 256));
	expect_unusable("", body, 200, "CgroupParent is too long for a cgroup", true);
	snprintf(body, sizeof(body), B "\"HostConfig\":{\"CgroupParent\":\"%s\"}}", as('/', 5000));
	expect_unusable(",\"Labels\":[]", body, 200, "CgroupParent is too long, or", true);
	snprintf(body, sizeof(body), "%s", as('[', 8000));
	expect_unusable(",\"Labels\":{\"a\":\"b\"}", body, 200, "not JSON", false);
	expect_unusable("", "{\"message\":\"x\"}", 500, "the engine says 500", true);
#undef B
}

/* Of entries without an id nothing can be known but that they are there. */
static void ids_that_are_none(void **state)
{
	static const struct answer hostile[] = {
		INFO,
		{ "/containers/json?all=1",
		  "[{\"Id\":7},{},{\"Id\":\"ab\"},{\"Id\":\"../" ID_B "\"},{\"Id\":\"" ID_A "\"}]",
		  200 },
		{ "/containers/" ID_A "/json", inspect_a, 200 },
		{ "/images/sha256:1/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = hostile };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	expect(ENGINE_UNKNOWN);
	assert_string_equal(event.id, "");
	expect(ENGINE_LISTED);
	stop();
}

/* A label of one, in the list and in its record, must not make all of it unreadable. */
static void texts_that_are_none(void **state)
{
	static const struct answer hostile[] = {
		INFO,
		{ "/containers/json?all=1",
		  "[{\"Id\":\"" ID_B "\",\"Labels\":{\"x\\u0000\":\"\\u0000\",\"y\":\"\\udc00\"}},"
		  "{\"Id\":\"" ID_A "\"}]",
		  200 },
		{ "/containers/" ID_A "/json", inspect_a, 200 },
		{ "/containers/" ID_B "/json",
		  "{\"Id\":\"" ID_B "\",\"Config\":{\"Labels\":{\"x\\u0000\":\"\\u0000\","
		  "\"vpnleash.dns\":\"a\\u0000b\",\"vpnleash.a\\ud83d\\ude00\":\"\\\\u0000\"}}}",
		  200 },
		{ "/images/sha256:1/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = hostile };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.unusable, "");
	assert_int_equal(event.item.n_labels, 2);
	for (size_t i = 0; i < 2; i++)
		if (!strcmp(event.item.labels[i].key, "dns"))
			assert_true(event.item.labels[i].too_long);
		else
			assert_string_equal(event.item.labels[i].value, "\\u0000");
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	expect(ENGINE_LISTED);
	stop();
}

static void an_image_that_is_a_path(void **state)
{
	static const struct answer hostile[] = {
		INFO,
		{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"}]", 200 },
		{ "/containers/" ID_A "/json",
		  "{\"Id\":\"" ID_A "\",\"Image\":\"sha256:1/../../x?\","
		  "\"Config\":{\"Labels\":{\"vpnleash.dns\":\"none\"}}}",
		  200 },
		{ "/images/sha256:1/../../x?/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = hostile };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_true(event.item.image_unknown);
	expect(ENGINE_LISTED);
	stop();
}

static void a_pid_is_believed_with_its_cgroup(void **state)
{
	static const struct answer elsewhere[] = {
		INFO,
		{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"}]", 200 },
		{ "/containers/" ID_A "/json",
		  "{\"Id\":\"" ID_A "\",\"Name\":\"/a\",\"State\":{\"Running\":true,\"Pid\":1}}",
		  200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = elsewhere };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_true(event.item.running);
	assert_int_equal(event.item.pid, 0); /* process 1 is not in a cgroup of that name */
	stop();
}

/* One line of it, cut; whatever it is, the record can be used. */
static void what_a_health_check_said(void **state)
{
	static const struct {
		const char *log, *said;
	} cases[] = {
		{ "[{\"ExitCode\":0,\"Output\":\"old\"},{\"ExitCode\":1,\"Output\":\" no\\n\\troute \\u0007\\n\"}]",
		  "exit 1: no route" },
		{ "[{\"ExitCode\":-1,\"Output\":\"\"}]", "exit -1" },
		{ "[{\"ExitCode\":\"x\",\"Output\":7}]", "exit 0" },
		{ "[]", "" },
		{ "7", "" },
		{ "null", "" },
	};
	struct docker_info info = { 0 };

	for (size_t i = 0; i <= ARRAY_SIZE(cases); i++) {
		_cleanup_free struct engine_item *item = calloc(1, sizeof(*item));
		char text[8192], endless[4096];
		bool last = i == ARRAY_SIZE(cases);
		json_t *j;

		assert_non_null(item);
		snprintf(endless, sizeof(endless), "[{\"Output\":\"%04000d\"}]", 0);
		snprintf(text, sizeof(text),
			 "{\"Id\":\"" ID_A "\",\"State\":{\"Health\":{\"Log\":%s}}}",
			 last ? endless : cases[i].log);
		j = json_loads(text, 0, NULL);
		assert_non_null(j);
		docker_read_record(item, &info, ID_A, j);
		assert_string_equal(item->unusable, "");
		if (last)
			assert_int_equal(strlen(item->health_said), sizeof(item->health_said) - 1);
		else
			assert_string_equal(item->health_said, cases[i].said);
		json_decref(j);
	}
}

/* Who ran `docker create`, or whose start failed, is not waited for by Compose. */
static void what_compose_has_left(void **state)
{
#define AFTER(what) ",\"Config\":{\"Labels\":{\"com.docker.compose.depends_on\":\"" what "\"}}}"
	static const struct {
		const char *record;
		bool left;
	} cases[] = {
		{ "\"created\"}" AFTER("vpn:service_healthy:false"), true },
		{ "\"created\"}" AFTER("vpn:service_started:true"), false },
		{ "\"created\"}" AFTER(""), false },
		{ "\"created\"}}", false },
		{ "\"created\",\"ExitCode\":127}" AFTER("vpn:service_healthy:false"), false },
		{ "\"exited\"}" AFTER("vpn:service_healthy:false"), false },
		{ "7}" AFTER("vpn:service_healthy:false"), false },
	};
	struct docker_info info = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct engine_item *item = calloc(1, sizeof(*item));
		char text[512];
		json_t *j;

		snprintf(text, sizeof(text), "{\"Id\":\"" ID_A "\",\"State\":{\"Status\":%s",
			 cases[i].record);
		j = json_loads(text, 0, NULL);
		assert_non_null(item);
		assert_non_null(j);
		docker_read_record(item, &info, ID_A, j);
		assert_string_equal(item->unusable, "");
		assert_int_equal(item->left, cases[i].left);
		json_decref(j);
		free(item);
	}
}

static void where_a_cgroup_will_be(void **state)
{
	static const struct {
		bool systemd, podman;
		const char *learned, *parent, *expected;
	} cases[] = {
		{ false, false, "", "", "/docker/ID" },
		{ false, false, "/vl", "", "/vl/ID" },
		{ false, false, "/vl", "/a/b/", "/a/b/ID" },
		{ false, false, "", "a", "/a/ID" },
		{ true, false, "", "", "/system.slice/docker-ID.scope" },
		{ true, false, "", "vpnleash.slice", "/vpnleash.slice/docker-ID.scope" },
		{ true, false, "", "a-b-c.slice",
		  "/a.slice/a-b.slice/a-b-c.slice/docker-ID.scope" },
		{ true, false, "/x.slice", "", "/x.slice/docker-ID.scope" },
		{ true, true, "", "", "/machine.slice/libpod-ID.scope" },
		{ false, true, "", "", "/libpod_parent/libpod-ID" },
		{ false, false, "", "/a/..b/c", "/a/..b/c/ID" },
	};
	static const char *const out[] = { "/../../x", "..", "/a/../b", "a/.." };
	struct docker_info info = { .systemd_driver = true };
	char got[PATH_MAX], parent[PATH_MAX + 100], id[ENGINE_HEX_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		info = (struct docker_info) { .systemd_driver = cases[i].systemd,
					      .podman = cases[i].podman };
		snprintf(info.default_parent, sizeof(info.default_parent), "%s", cases[i].learned);
		assert_int_equal(docker_predict_cgroup(&info, cases[i].parent, "ID", got), 0);
		assert_string_equal(got, cases[i].expected);
	}
	info = (struct docker_info) { 0 };
	snprintf(got, sizeof(got), "untouched");
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		assert_int_equal(docker_predict_cgroup(&info, out[i], "ID", got), -EINVAL);
	/* of each length: the whole of it, or nothing */
	snprintf(id, sizeof(id), "%s", ID_A);
	for (int systemd = 0; systemd < 2; systemd++)
		for (size_t n = 1; n < sizeof(parent); n++) {
			size_t length = 0;
			int r;

			for (size_t i = 0; i < n; i++)
				parent[i] = i % 200 ? 'a' : '/';
			parent[n] = '\0';
			info.systemd_driver = systemd;
			snprintf(got, sizeof(got), "untouched");
			r = docker_predict_cgroup(&info, parent, id, got);
			length = n - (parent[n - 1] == '/') + (systemd ? 14 : 1) + strlen(id);
			assert_int_equal(r, length < PATH_MAX ? 0 : -ENAMETOOLONG);
			assert_int_equal(strlen(got), r ? strlen("untouched") : length);
		}
	for (size_t n = 200; n < 1100; n++) {
		memset(parent, 'a', n);
		snprintf(parent + n, sizeof(parent) - n, "-b-c-d-e.slice");
		info.systemd_driver = true;
		assert_int_equal(docker_predict_cgroup(&info, parent, id, got),
				 n + 14 <= NAME_MAX ? 0 : -ENAMETOOLONG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_a_cgroup_will_be),
		cmocka_unit_test(what_a_health_check_said),
		cmocka_unit_test(what_compose_has_left),
		cmocka_unit_test(records_that_can_not_be_used),
		cmocka_unit_test(ids_that_are_none),
		cmocka_unit_test(texts_that_are_none),
		cmocka_unit_test(an_image_that_is_a_path),
		cmocka_unit_test(a_pid_is_believed_with_its_cgroup),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("engine", tests, make_dir, remove_dir);
}
