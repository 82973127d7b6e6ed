/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's child: what it tells of, and that it goes on whatever the engine does. */
#include "test_engine.h"

static void a_container_is_told(void **state)
{
	const struct played p = { .answers = usual };
	const struct engine_item *i = &event.item;

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_string_equal(i->id, ID_A);
	assert_string_equal(i->name, "a");
	assert_false(i->running);
	assert_int_equal(i->exit_code, 3);
	assert_string_equal(i->network_mode, "container:" ID_B);
	assert_string_equal(i->cgroup, "/t/" ID_A);
	assert_string_equal(i->compose_service, "qb");
	assert_string_equal(i->compose_dir, "/srv/a b");
	assert_string_equal(i->compose_files, "/srv/a b/c.yml,/srv/l.yml");
	assert_int_equal(i->n_labels, 3);
	for (size_t k = 0; k < i->n_labels; k++) {
		const struct engine_label *l = &i->labels[k];

		assert_int_equal(l->from_image, !strcmp(l->key, "dns"));
		assert_int_equal(l->too_long, !strcmp(l->key, "allow"));
	}
	assert_false(i->image_unknown);
	expect(ENGINE_LISTED);
	stop();
}

static void an_image_that_is_not_shown(void **state)
{
	static const struct answer refused[] = { INFO,
						 { "/containers/json?all=1",
						   "[{\"Id\":\"" ID_A "\"}]", 200 },
						 { "/containers/" ID_A "/json", inspect_a, 200 },
						 { "/images/sha256:1/json", "", 403 },
						 { NULL, NULL, 0 } };
	const struct played p = { .answers = refused };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_true(event.item.image_unknown);
	assert_int_equal(event.item.n_labels, 3);
	expect(ENGINE_LISTED);
	stop();
}

/* One that the engine can not show does not take the others along. */
static void one_of_them_is_broken(void **state)
{
	static const struct answer broken[] = {
		INFO,
		{ "/containers/json?all=1", "[{\"Id\":\"" ID_B "\"},{\"Id\":\"" ID_A "\"}]", 200 },
		{ "/containers/" ID_B "/json", "{\"message\":\"RWLayer is nil\"}", 500 },
		{ "/containers/" ID_A "/json", inspect_a, 200 },
		{ "/images/sha256:1/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = broken };

	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_UNKNOWN);
	assert_string_equal(event.id, ID_B);
	assert_non_null(strstr(event.item.unusable, "RWLayer is nil"));
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	expect(ENGINE_LISTED);
	stop();
}

/* A child of that process, but not the other. */
static pid_t child_of(pid_t parent, pid_t other)
{
	char name[64];
	pid_t pid = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/children", parent, parent);
	f = fopen(name, "r");
	assert_non_null(f);
	while (fscanf(f, "%d", &pid) == 1 && pid == other)
		;
	fclose(f);
	return pid;
}

static void the_worker_is_killed(void **state)
{
	const struct played p = { .answers = usual };

	start(&p);
	until_listed();
	assert_int_equal(kill(child_of(child_of(getpid(), engine_pid), 0), SIGKILL), 0);
	for (enum engine_kind of = ENGINE_CONTAINER; of <= ENGINE_UNIT; of++) {
		expect(ENGINE_DOWN);
		assert_int_equal(event.of, of);
		assert_int_equal(event.result, -EPIPE);
	}
	expect(ENGINE_UP); /* of another worker, by the same engine_start() */
	until_listed();
	stop();
}

static void stop_and_start_are_answered(void **state)
{
	const struct played p = { .answers = usual };

	start(&p);
	until_listed();
	assert_int_equal(engine_ask_item(engine, false, ENGINE_CONTAINER, ID_A, 7), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.request, 7);
	assert_int_equal(event.result, 0);
	assert_int_equal(engine_ask_item(engine, false, ENGINE_CONTAINER, ID_B, 8), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -EACCES);
	assert_string_equal(event.error, "not \033[31m you"); /* escaped where it leaves */
	assert_int_equal(engine_ask_item(engine, true, ENGINE_CONTAINER, ID_B, 9), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -EREMOTEIO);
	assert_string_equal(event.error, "no such network");
	assert_int_equal(engine_ask_item(engine, true, ENGINE_CONTAINER, ID_A, 10), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -ENOENT);
	stop();
}

/* In pieces that do not care where a line ends; garbage means that something was missed. */
static void the_stream_in_pieces(void **state)
{
	static const char *const stream[] = {
		"",
		"{\"Action\":\"kill\",\"Actor\":{\"ID\":\"" ID_A,
		"",
		"\",\"Attributes\":{\"signal\":\"15\"}}}\n{\"Action\":\"di",
		"",
		"e\",\"Actor\":{\"ID\":\"" ID_A "\"}}\n",
		"",
		"{\"Action\":\"exec_start: x\",\"Actor\":{\"ID\":\"" ID_A "\"}}\n",
		"",
		"garbage\n",
		"",
		"",
		"{\"Action\":\"destroy\",\"Actor\":{\"ID\":\"" ID_B "\"}}\n",
		NULL
	};
	const struct played p = { .answers = usual, .stream = stream };

	start(&p);
	until_listed();
	expect(ENGINE_KILL);
	assert_string_equal(event.id, ID_A);
	assert_int_equal(event.signal, 15);
	expect(ENGINE_DIED);
	expect(ENGINE_ITEM);
	expect(ENGINE_UP); /* all is listed anew */
	expect(ENGINE_ITEM);
	expect(ENGINE_LISTED);
	expect(ENGINE_GONE);
	assert_string_equal(event.id, ID_B);
	stop();
}

static void it_goes_and_comes_back(void **state)
{
	static const char *const none[] = { "", NULL };
	const struct played ends = { .answers = usual, .stream = none, .end = true };
	const struct played stays = { .answers = usual };

	start(&ends);
	do
		next();
	while (event.kind != ENGINE_DOWN);
	assert_true(*event.error);
	stop_playing();
	usleep(500000);
	play(&stays);
	do
		next(); /* it may have listed once more before */
	while (event.kind != ENGINE_UP);
	until_listed();
	stop();
}

static void no_socket_is_said_once(void **state)
{
	struct pollfd p;
	struct error err;

	unlink(path);
	assert_int_equal(engine_start(&engine, url, &err), 0);
	expect(ENGINE_DOWN);
	assert_int_equal(event.of, ENGINE_CONTAINER);
	p = (struct pollfd) { .fd = engine_fd(engine), .events = POLLIN };
	assert_int_equal(poll(&p, 1, 1500), 0);
	assert_int_equal(engine_ask_item(engine, false, ENGINE_CONTAINER, ID_A, 1), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -ENOTCONN);
	engine_stop(engine);
}

static void answers_that_are_none(void **state)
{
	static const struct answer broken[][6] = {
		{ { "/info", "{", 200 }, { NULL, NULL, 0 } },
		{ { "/info", "{}", 500 }, { NULL, NULL, 0 } },
		{ INFO,
		  { "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"}]", 403 },
		  { NULL, NULL, 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		const struct played p = { .answers = broken[i] };

		start(&p);
		do
			next();
		while (event.kind == ENGINE_UP);
		assert_int_equal(event.kind, ENGINE_DOWN);
		assert_true(*event.error);
		stop();
	}
}

static void expect_death(void)
{
	expect(ENGINE_UP);
	for (enum engine_kind of = ENGINE_CONTAINER; of <= ENGINE_UNIT; of++) {
		expect(ENGINE_DOWN);
		assert_int_equal(event.result, -EPIPE);
	}
}

/* What reads it dies of it. After the second time the others have their turn. */
static void a_record_that_kills(void **state)
{
	static const struct answer deadly[] = {
		INFO,
		{ "/containers/json?all=1",
		  "[{\"Id\":\"" ID_B
		  "\",\"Names\":[\"/deadly\"],\"Labels\":{\"vpnleash.a\":\"b\"}},"
		  "{\"Id\":\"" ID_A "\"}]",
		  200 },
		{ "/containers/" ID_A "/json", inspect_a, 200 },
		{ "/containers/" ID_B "/json", "", KILLS },
		{ "/images/sha256:1/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = deadly };

	start(&p);
	expect_death();
	expect_death();
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_B);
	assert_string_equal(event.item.name, "deadly");
	assert_true(event.item.labelled);
	assert_non_null(strstr(event.item.unusable, "has ended by it, twice"));
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	expect(ENGINE_LISTED);
	stop();
}

#define LISTED_B "/containers/json?all=1&filters=%7B%22id%22%3A%5B%22" ID_B "%22%5D%7D"

/* What was set aside is never inspected again; that it is gone the list says. */
static void one_set_aside_is_destroyed(void **state)
{
	static const char *const stream[] = {
		"", "", "", "{\"Action\":\"destroy\",\"Actor\":{\"ID\":\"" ID_B "\"}}\n", NULL
	};
	static const char deadly[] = "[{\"Id\":\"" ID_B "\",\"Labels\":{\"vpnleash.a\":\"b\"}}]";
	static const struct answer gone[] = { INFO,
					      { "/containers/json?all=1", deadly, 200 },
					      { "/containers/" ID_B "/json", "", KILLS },
					      { LISTED_B, "[]", 200 },
					      { NULL, NULL, 0 } };
	static const struct answer there[] = { INFO,
					       { "/containers/json?all=1", deadly, 200 },
					       { "/containers/" ID_B "/json", "", KILLS },
					       { LISTED_B, deadly, 200 },
					       { NULL, NULL, 0 } };
	static const struct answer refused[] = { INFO,
						 { "/containers/json?all=1", deadly, 200 },
						 { "/containers/" ID_B "/json", "", KILLS },
						 { NULL, NULL, 0 } };
	const struct answer *const all[] = { gone, there, refused };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct played p = { .answers = all[i], .stream = stream };
		struct pollfd fd;

		start(&p);
		expect_death();
		expect_death();
		until_listed();
		if (all[i] == gone) {
			expect(ENGINE_GONE);
			assert_string_equal(event.id, ID_B);
		} else { /* it is there, or nobody knows */
			fd = (struct pollfd) { .fd = engine_fd(engine), .events = POLLIN };
			assert_int_equal(poll(&fd, 1, 1500), 0);
		}
		stop();
	}
}

/* Told once that it is not known, and asked for again until it is. */
static void one_that_is_described_later(void **state)
{
	static const struct answer answers[] = {
		INFO,
		{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"},{\"Id\":\"" ID_B "\"}]", 200 },
		{ "/containers/" ID_A "/json", inspect_a, LATER },
		{ "/containers/" ID_B "/json", "", 500 },
		{ "/images/sha256:1/json", "{}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = answers };
	struct pollfd fd;

	*n_asked = 0;
	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_UNKNOWN);
	assert_string_equal(event.item.id, ID_A);
	expect(ENGINE_UNKNOWN);
	assert_string_equal(event.item.id, ID_B);
	expect(ENGINE_LISTED);
	expect(ENGINE_ITEM);
	assert_string_equal(event.item.id, ID_A);
	assert_string_equal(event.item.unusable, "");
	assert_int_equal(*n_asked, 3);
	fd = (struct pollfd) { .fd = engine_fd(engine), .events = POLLIN };
	assert_int_equal(poll(&fd, 1, 1500), 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_socket_is_said_once),
		cmocka_unit_test(a_container_is_told),
		cmocka_unit_test(an_image_that_is_not_shown),
		cmocka_unit_test(one_of_them_is_broken),
		cmocka_unit_test(the_worker_is_killed),
		cmocka_unit_test(stop_and_start_are_answered),
		cmocka_unit_test(the_stream_in_pieces),
		cmocka_unit_test(it_goes_and_comes_back),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(a_record_that_kills),
		cmocka_unit_test(one_set_aside_is_destroyed),
		cmocka_unit_test(one_that_is_described_later),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("engine", tests, make_dir, remove_dir);
}
