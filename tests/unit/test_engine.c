/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's child against an engine that is played: what a real one never says on demand, such
 * as half lines, garbage, refusals, a socket that goes and comes back. A real Docker is in
 * tests/e2e/case_containers_*.
 */
#include "engine/docker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ------ an engine ------ */

struct answer {
	const char *path, *body;
	int status;
};

struct played {
	const struct answer *answers; /* up to path NULL; else 404 */
	const char *const *stream;    /* pieces of the event stream, up to NULL; "" is a pause */
	bool end;		      /* and then it ends */
};

static char dir[64], path[108], url[128];
static pid_t engine_pid;

static void say(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t w = send(fd, text, n, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		text += w;
		n -= (size_t)w;
	}
}

static void say_chunk(int fd, const char *text)
{
	char head[32];

	say(fd, head, (size_t)sprintf(head, "%zx\r\n", strlen(text)));
	say(fd, text, strlen(text));
	say(fd, "\r\n", 2);
}

static void play_stream(int fd, const struct played *p)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

	say(fd, head, sizeof(head) - 1);
	for (size_t i = 0; p->stream && p->stream[i]; i++)
		if (*p->stream[i])
			say_chunk(fd, p->stream[i]);
		else
			usleep(200000);
	if (!p->end)
		pause();
}

static void answer(int fd, const struct played *p)
{
	char request[4096], head[128], wanted[1024];
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

	if (n <= 0 || sscanf(request, "%*s %1023s", wanted) != 1)
		return;
	if (!strncmp(wanted, "/events", 7)) {
		play_stream(fd, p);
		return;
	}
	for (size_t i = 0; p->answers[i].path; i++) {
		const struct answer *a = &p->answers[i];

		if (strcmp(a->path, wanted))
			continue;
		say(fd, head,
		    (size_t)sprintf(head,
				    "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
				    "Connection: close\r\n\r\n",
				    a->status, strlen(a->body)));
		say(fd, a->body, strlen(a->body));
		return;
	}
	say(fd, "HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 63);
}

static void play(const struct played *p)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, sizeof(path));
	unlink(path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 32), 0);
	engine_pid = fork();
	if (engine_pid == 0) {
		setpgid(0, 0); /* it is ended with those who answer for it */
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int fd = accept(listener, NULL, NULL);

			if (fork() == 0) {
				answer(fd, p);
				_exit(0);
			}
			close(fd);
		}
	}
	setpgid(engine_pid, engine_pid);
	close(listener);
}

static void stop_playing(void)
{
	kill(-engine_pid, SIGKILL);
	waitpid(engine_pid, NULL, 0);
	unlink(path);
}

/* ------ what comes of it ------ */

static struct engine *engine;
static struct engine_event event;

static void start(const struct played *p)
{
	struct error err;

	play(p);
	assert_int_equal(engine_start(&engine, url, &err), 0);
}

static void stop(void)
{
	engine_stop(engine);
	stop_playing();
}

static void next(void)
{
	struct pollfd p = { .fd = engine_fd(engine), .events = POLLIN };
	int r;

	do {
		r = engine_read(engine, &event);
	} while (r == -EAGAIN && poll(&p, 1, 10000) == 1);
	assert_int_equal(r, 0);
}

static void expect(enum engine_event_kind kind)
{
	next();
	if (event.kind != kind)
		print_error("event %d (%s)\n", event.kind, event.error);
	assert_int_equal(event.kind, kind);
}

static void until_listed(void)
{
	do
		next();
	while (event.kind != ENGINE_LISTED);
}

#define INFO                                                 \
	{ "/info", "{\"CgroupDriver\":\"cgroupfs\"}", 200 }, \
	{                                                    \
		"/version", "{}", 200                        \
	}

static const char inspect_a[] =
	"{\"Id\":\"" ID_A "\",\"Name\":\"/a\",\"Image\":\"sha256:1\",\"State\":{\"Running\":false,"
	"\"Pid\":0,\"ExitCode\":3},\"HostConfig\":{\"NetworkMode\":\"container:" ID_B "\","
	"\"CgroupParent\":\"/t\"},\"Config\":{\"Labels\":{\"vpnleash.interface\":\"wg0\","
	"\"vpnleash.dns\":\"none\",\"vpnleash.allow\":\"a\\nb\",\"other\":\"x\","
	"\"com.docker.compose.service\":\"qb\"}}}";
static const struct answer usual[] = {
	INFO,
	{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"}]", 200 },
	{ "/containers/" ID_A "/json", inspect_a, 200 },
	{ "/images/sha256:1/json", "{\"Config\":{\"Labels\":{\"vpnleash.dns\":\"none\"}}}", 200 },
	{ "/containers/" ID_A "/stop", "", 204 },
	{ "/containers/" ID_B "/stop", "{\"message\":\"not \\u001b[31m you\"}", 403 },
	{ "/containers/" ID_B "/start", "{\"message\":\"no such network\"}", 500 },
	{ NULL, NULL, 0 }
};

static void a_container_is_told(void **state)
{
	const struct played p = { .answers = usual };
	const struct engine_item *i = &event.item;

	(void)state;
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

	(void)state;
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

	(void)state;
	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_UNKNOWN);
	assert_string_equal(event.id, ID_B);
	assert_non_null(strstr(event.error, "RWLayer is nil"));
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

	(void)state;
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

	(void)state;
	start(&p);
	until_listed();
	assert_int_equal(engine_stop_item(engine, ENGINE_CONTAINER, ID_A, 7), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.request, 7);
	assert_int_equal(event.result, 0);
	assert_int_equal(engine_stop_item(engine, ENGINE_CONTAINER, ID_B, 8), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -EACCES);
	assert_string_equal(event.error, "not \033[31m you"); /* escaped where it leaves */
	assert_int_equal(engine_start_item(engine, ENGINE_CONTAINER, ID_B, 9), 0);
	expect(ENGINE_DONE);
	assert_int_equal(event.result, -EREMOTEIO);
	assert_string_equal(event.error, "no such network");
	assert_int_equal(engine_start_item(engine, ENGINE_CONTAINER, ID_A, 10), 0);
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

	(void)state;
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

	(void)state;
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

	(void)state;
	unlink(path);
	assert_int_equal(engine_start(&engine, url, &err), 0);
	expect(ENGINE_DOWN);
	assert_int_equal(event.of, ENGINE_CONTAINER);
	p = (struct pollfd) { .fd = engine_fd(engine), .events = POLLIN };
	assert_int_equal(poll(&p, 1, 1500), 0);
	assert_int_equal(engine_stop_item(engine, ENGINE_CONTAINER, ID_A, 1), 0);
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

	(void)state;
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

static void ids_that_are_paths(void **state)
{
	static const struct answer hostile[] = {
		INFO,
		{ "/containers/json?all=1", "[{\"Id\":\"" ID_A "\"},{\"Id\":7},{}]", 200 },
		{ "/containers/" ID_A "/json",
		  "{\"Id\":\"../../../" ID_A "\",\"State\":{\"Running\":true,\"Pid\":1}}", 200 },
		{ NULL, NULL, 0 }
	};
	const struct played p = { .answers = hostile };

	(void)state;
	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_LISTED); /* and no item */
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

	(void)state;
	start(&p);
	expect(ENGINE_UP);
	expect(ENGINE_ITEM);
	assert_true(event.item.running);
	assert_int_equal(event.item.pid, 0); /* process 1 is not in a cgroup of that name */
	stop();
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
		{ false, false, "", "/../../x", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct docker_info info = { .systemd_driver = cases[i].systemd,
					    .podman = cases[i].podman };
		char got[PATH_MAX];

		snprintf(info.default_parent, sizeof(info.default_parent), "%s", cases[i].learned);
		docker_predict_cgroup(&info, cases[i].parent, "ID", got);
		assert_string_equal(got, cases[i].expected);
	}
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vpnleash-engine-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(url, sizeof(url), "unix://%s", path);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_a_cgroup_will_be),
		cmocka_unit_test(no_socket_is_said_once),
		cmocka_unit_test(a_container_is_told),
		cmocka_unit_test(an_image_that_is_not_shown),
		cmocka_unit_test(one_of_them_is_broken),
		cmocka_unit_test(the_worker_is_killed),
		cmocka_unit_test(stop_and_start_are_answered),
		cmocka_unit_test(the_stream_in_pieces),
		cmocka_unit_test(it_goes_and_comes_back),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(ids_that_are_paths),
		cmocka_unit_test(a_pid_is_believed_with_its_cgroup),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("engine", tests, make_dir, remove_dir);
}
