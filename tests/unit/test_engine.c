/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's child against an engine that is played: what a real one never says on demand, such
 * as half lines, garbage, refusals, a socket that goes and comes back. A real Docker is in
 * tests/e2e/case_containers_*.
 */
#include "engine/docker_record.h"

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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ------ an engine ------ */

struct answer {
	const char *path, *body;
	int status; /* KILLS: no answer; who asks is killed, as by a bug in reading it */
};
#define KILLS 0
#define LATER 1 /* twice 500, then 200 */

struct played {
	const struct answer *answers; /* up to path NULL; else 404 */
	const char *const *stream;    /* pieces of the event stream, up to NULL; "" is a pause */
	bool end;		      /* and then it ends */
};

static int *n_asked; /* for a LATER */
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
		int status = a->status;

		if (strcmp(a->path, wanted))
			continue;
		if (a->status == KILLS) {
			struct ucred peer;
			socklen_t size = sizeof(peer);

			getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
			kill(peer.pid, SIGKILL);
			return;
		}
		if (status == LATER)
			status = (*n_asked)++ < 2 ? 500 : 200;
		say(fd, head,
		    (size_t)sprintf(head,
				    "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
				    "Connection: close\r\n\r\n",
				    status, strlen(a->body)));
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
		{ B "\"HostConfig\":{\"CgroupParent\":\"/a/../b\"}}", "CgroupParent leads out of the cgroup tree" },
		{ B "\"Config\":[]}", "Config is not an object" },
		{ B "\"Config\":{\"Labels\":[\"vpnleash.interface\"]}}", "Labels is not an object" },
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

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/vpnleash-engine-XXXXXX");
	n_asked = mmap(NULL, sizeof(*n_asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (n_asked == MAP_FAILED || !mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(url, sizeof(url), "unix://%s", path);
	return 0;
}

static int remove_dir(void **state)
{
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
		cmocka_unit_test(records_that_can_not_be_used),
		cmocka_unit_test(ids_that_are_none),
		cmocka_unit_test(texts_that_are_none),
		cmocka_unit_test(an_image_that_is_a_path),
		cmocka_unit_test(a_record_that_kills),
		cmocka_unit_test(one_set_aside_is_destroyed),
		cmocka_unit_test(one_that_is_described_later),
		cmocka_unit_test(a_pid_is_believed_with_its_cgroup),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("engine", tests, make_dir, remove_dir);
}
