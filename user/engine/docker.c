/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See docker.h. The event stream is opened first; then all containers are listed and inspected, so
 * that nothing is missed in between. An event only says which container to inspect again: what it
 * is now, its record says.
 */
#include "engine/docker.h"

#include "base/libcurl.h"
#include "engine/docker_remake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST	     "/containers/json?all=1"
#define EVENTS	     "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D"
#define REFUSES_POST "docker-socket-proxy: POST=1"
#define LINE_MAX_    (1024 * 1024)
#define BODY_MAX     (8 * 1024 * 1024)
#define LIST_MAX     (64 * 1024 * 1024) /* the list of all containers, with their labels */
#define CONTAINERS   4096
#define DIRTY	     256     /* containers to inspect; if there are more, all are listed again */
#define JOBS	     64	     /* stops and starts at once */
#define GET_MS	     15000L  /* a slow Podman takes 7 s to describe itself */
#define STOP_MS	     150000L /* it waits for the container's own stop timeout */
#define STREAM_MS    2000    /* until the stream has begun */
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 2000
#define AGAIN_MIN_MS 1000 /* until a container that was not described is asked for again */
#define AGAIN_MAX_MS 30000
#define NAME_CHARS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
/* What making a container anew takes, in one sentence for whoever has to let it through. */
#define CHANGES                                                    \
	"POST /containers/create, POST /containers/ID/rename and " \
	"DELETE /containers/ID: let them through (docker-socket-proxy: POST=1)"

struct body {
	size_t n, room, max;
	char *text;
};

static size_t add_to_body(char *data, size_t size, size_t n, void *arg)
{
	struct body *b = arg;
	char *more;

	if (b->n + n > b->max)
		return 0;
	if (b->n + n + 1 > b->room) {
		b->room = 2 * (b->n + n + 1);
		more = realloc(b->text, b->room);
		if (!more)
			return 0;
		b->text = more;
	}
	memcpy(b->text + b->n, data, n);
	b->n += n;
	b->text[b->n] = '\0';
	return n;
}

static CURL *new_request(const char *socket, const char *path, curl_write_callback write, void *to)
{
	bool tcp = !strncmp(socket, "tcp://", 6);
	char url[PATH_MAX];
	CURL *c;

	if (snprintf(url, sizeof(url), "http://%s%s", tcp ? socket + 6 : "localhost", path) >=
		    (int)sizeof(url) ||
	    !(c = libcurl.easy_init()))
		return NULL;
	if (!tcp)
		libcurl.easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket);
	libcurl.easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L); /* nothing may happen for hours */
	libcurl.easy_setopt(c, CURLOPT_URL, url);
	libcurl.easy_setopt(c, CURLOPT_PROXY, "");
	libcurl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	libcurl.easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, GET_MS);
	libcurl.easy_setopt(c, CURLOPT_WRITEFUNCTION, write);
	libcurl.easy_setopt(c, CURLOPT_WRITEDATA, to);
	return c;
}

/* Of an answer that is an error: the engine's own sentence. */
static void message_of(const struct body *b, char *ret, size_t size)
{
	json_t *j = b->text ? docker_parse(b->text, b->n) : NULL;
	const char *s = json_string_value(json_object_get(j, "message"));

	snprintf(ret, size, "%s", s ? s : "");
	json_decref(j);
}

static int result_of(long code)
{
	return code / 100 == 2 || code == 304 ? 0
	       : code == 404		      ? -ENOENT
	       : code == 403 || code == 405   ? -EACCES
					      : -EREMOTEIO;
}

/* What a proxy before the engine is to let through, in docker-socket-proxy's words. */
static const char *switch_of(const char *path)
{
	static const char *const of[][2] = { { "/containers", "CONTAINERS" },
					     { "/events", "EVENTS" },
					     { "/images", "IMAGES" },
					     { "/info", "INFO" },
					     { "/version", "VERSION" } };

	for (size_t i = 0; i < ARRAY_SIZE(of); i++)
		if (!strncmp(path, of[i][0], strlen(of[i][0])))
			return of[i][1];
	return "";
}

static int fail_refused(const char *path, struct error *err)
{
	char remedy[100];

	snprintf(remedy, sizeof(remedy), "docker-socket-proxy: %s=1", switch_of(path));
	fail(err, ERROR_OTHER, 0, remedy, "it refuses GET %.*s", (int)strcspn(path, "?"), path);
	return -EACCES;
}

/* post: an empty POST. */
static int get_body(const char *socket, const char *path, bool post, struct body *ret,
		    struct error *err)
{
	char message[200];
	CURLcode code;
	long status = 0;
	CURL *c = new_request(socket, path, add_to_body, ret);
	int r;

	if (!c)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "ask the engine");
	if (post)
		libcurl.easy_setopt(c, CURLOPT_POSTFIELDS, "");
	libcurl.easy_setopt(c, CURLOPT_TIMEOUT_MS, GET_MS);
	code = libcurl.easy_perform(c);
	libcurl.easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	libcurl.easy_cleanup(c);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return fail(err, ERROR_OTHER, -ETIMEDOUT, NULL, "the engine's answer to %s", path);
	if (code == CURLE_WRITE_ERROR) {
		fail(err, ERROR_OTHER, 0, NULL, "the answer to %s is more than is read", path);
		return -EREMOTEIO;
	}
	if (code != CURLE_OK)
		return fail(err, ERROR_OTHER, -EIO, NULL, "ask the engine at %s: %s", socket,
			    libcurl.easy_strerror(code));
	r = result_of(status);
	if (r == -EACCES)
		return fail_refused(path, err);
	if (r) {
		message_of(ret, message, sizeof(message));
		fail(err, ERROR_OTHER, 0, NULL, "the engine says %ld to %s: %s", status, path,
		     message);
	}
	return r;
}

int docker_get(const char *socket, const char *path, json_t **ret, struct error *err)
{
	struct body body = { .max = strncmp(path, LIST, strlen(LIST)) ? BODY_MAX : LIST_MAX };
	int r = libcurl_load(CURL_GLOBAL_NOTHING, err);

	*ret = NULL;
	r = r ? r : get_body(socket, path, false, &body, err);
	if (!r)
		*ret = docker_parse(body.text, body.n);
	free(body.text);
	if (!r && !*ret)
		return fail(err, ERROR_OTHER, -EBADMSG, NULL, "the engine's answer to %s", path);
	return r;
}

/* Is it refused? Of what there is not, so that nothing comes of it. */
static bool is_refused(const char *socket, const char *path, bool post)
{
	struct body body = { .max = BODY_MAX };
	int r = get_body(socket, path, post, &body, NULL);

	free(body.text);
	return r == -EACCES;
}

void docker_refusals(const char *socket, char *ret, size_t size)
{
#define NOBODY "0000000000000000000000000000000000000000000000000000000000000000"
	bool stop = is_refused(socket, "/containers/" NOBODY "/stop", true) ||
		    is_refused(socket, "/containers/" NOBODY "/start", true);
	bool image = is_refused(socket, "/images/sha256:" NOBODY "/json", false);

	snprintf(
		ret, size, "%s%s%s",
		stop ? "it refuses to stop and start containers: they are frozen only (" REFUSES_POST
		       ")"
		     : "",
		stop && image ? "; " : "",
		image ? "it does not show images: labels can not be told from theirs, and "
			"containers with labels stay locked (docker-socket-proxy: IMAGES=1)"
		      : "");
}

size_t docker_split(const char *engines, char ret[ENGINES][ENGINE_WHERE_LEN])
{
	size_t n = 0, length;

	if (!strcmp(engines, "none"))
		return 0;
	if (!strcmp(engines, "auto"))
		engines = "docker podman";
	for (; n < ENGINES && *(engines += strspn(engines, " ")); engines += length) {
		length = strcspn(engines, " ");
		snprintf(ret[n++], ENGINE_WHERE_LEN, "%.*s", (int)length, engines);
	}
	return n;
}

const char *docker_socket(const char *where)
{
	static const char *const docker[] = { "/run/docker.sock", "/var/run/docker.sock" };
	static const char podman[] = "/run/podman/podman.sock";
	struct stat of_docker, of_podman;

	if (!strncmp(where, "tcp://", 6))
		return where;
	if (!strncmp(where, "unix://", 7))
		return access(where + 7, F_OK) ? NULL : where + 7;
	for (size_t i = 0; i < ARRAY_SIZE(docker); i++) {
		if (stat(docker[i], &of_docker))
			continue;
		if (!strcmp(where, "docker"))
			return docker[i];
		/* the package podman-docker: a link */
		if (!stat(podman, &of_podman) && of_podman.st_dev == of_docker.st_dev &&
		    of_podman.st_ino == of_docker.st_ino)
			return NULL;
	}
	return !strcmp(where, "podman") && !access(podman, F_OK) ? podman : NULL;
}

/* ------ the state ------ */

struct job {
	CURL *curl; /* NULL: free */
	uint32_t request;
	struct body body;
	const char *what; /* as it says of a proxy that does not let it through */
};

struct docker {
	const char *where;
	const struct docker_care *care;
	engine_tell tell;
	void *owner;
	const char *socket; /* a path, or tcp://ADDRESS:PORT */
	CURLM *multi;
	CURL *stream; /* NULL: not connected */
	bool told_down, had_socket;
	char why[ENGINE_ERROR_LEN]; /* that was told */
	bool late;		    /* the last GET was not answered in time */
	bool silent;		    /* nor what it is: not asked again until it has listed */
	uint64_t retry_ns;
	unsigned int retry_ms;
	struct docker_info info;
	char refusals[ENGINE_ERROR_LEN]; /* see docker_refusals() */

	size_t n_line; /* of the stream, up to its next newline */
	char *line;
	bool lost; /* an event could not be read: list all again */
	size_t n_dirty;
	char dirty[DIRTY][ENGINE_HEX_LEN];
	/* containers that the engine did not describe. They are asked for again one at a time, the
	 * first next, as each may hold up everything else for GET_MS */
	size_t n_unknown;
	char unknown[CONTAINERS][ENGINE_HEX_LEN];
	uint64_t again_ns;
	unsigned int again_ms;
	struct job jobs[JOBS];
};

struct engine_event *engine_event(enum engine_event_kind kind, enum engine_kind of)
{
	static struct engine_event e;

	memset(&e, 0, sizeof(e));
	e.kind = kind;
	e.of = of;
	return &e;
}

void engine_tell_done(engine_tell tell, void *owner, enum engine_kind of, uint32_t request,
		      int result, const char *error)
{
	struct engine_event *e = engine_event(ENGINE_DONE, of);

	e->request = request;
	e->result = result;
	snprintf(e->error, sizeof(e->error), "%.255s", error);
	tell(owner, e);
}

static void tell_of(struct docker *d, enum engine_event_kind kind, const char *id, int signal)
{
	struct engine_event *e = engine_event(kind, ENGINE_CONTAINER);

	e->signal = signal;
	memcpy(e->id, id, ENGINE_HEX_LEN);
	d->tell(d->owner, e);
}

static void tell_done(struct docker *d, uint32_t request, int result, const char *error)
{
	engine_tell_done(d->tell, d->owner, ENGINE_CONTAINER, request, result, error);
}

static void end_job(struct docker *d, struct job *j)
{
	libcurl.multi_remove_handle(d->multi, j->curl);
	libcurl.easy_cleanup(j->curl);
	free(j->body.text);
	*j = (struct job) { 0 };
}

static unsigned int doubled(unsigned int ms, unsigned int least, unsigned int most)
{
	return !ms ? least : ms * 2 > most ? most : ms * 2;
}

static void docker_go_down(struct docker *d, const char *why)
{
	struct engine_event *e;

	if (d->stream) {
		libcurl.multi_remove_handle(d->multi, d->stream);
		libcurl.easy_cleanup(d->stream);
		d->stream = NULL;
	}
	for (size_t i = 0; i < JOBS; i++)
		if (d->jobs[i].curl) {
			uint32_t request = d->jobs[i].request;

			end_job(d, &d->jobs[i]);
			tell_done(d, request, -ENOTCONN, "the connection to the engine is lost");
		}
	d->n_line = d->n_dirty = d->n_unknown = 0; /* all are listed again */
	d->lost = false;
	d->retry_ms = doubled(d->retry_ms, RETRY_MIN_MS, RETRY_MAX_MS);
	d->retry_ns = now_boot_ns() + d->retry_ms * NS_PER_MSEC;
	if (d->told_down && !strncmp(d->why, why, sizeof(d->why) - 1))
		return;
	d->told_down = true;
	snprintf(d->why, sizeof(d->why), "%s", why);
	e = engine_event(ENGINE_DOWN, ENGINE_CONTAINER);
	snprintf(e->error, sizeof(e->error), "%s", why);
	d->tell(d->owner, e);
}

struct docker *docker_open(const char *where, const struct docker_care *care, engine_tell tell,
			   void *owner)
{
	struct docker *d = calloc(1, sizeof(*d));

	if (d)
		*d = (struct docker) { .where = where, .care = care, .tell = tell, .owner = owner };
	return d;
}

/* ------ what a container is ------ */

/* *ret NULL: the engine does not show the image, or a proxy before it refuses to ask. An error: the
 * connection is useless. */
static int find_image(const struct docker *d, const json_t *inspect, json_t **ret,
		      struct error *err)
{
	const char *image = docker_text(inspect, "Image");
	char path[ENGINE_NAME_LEN + 20];
	int r;

	*ret = NULL;
	if (!*image || strlen(image) >= ENGINE_NAME_LEN ||
	    strspn(image, "0123456789abcdefghijklmnopqrstuvwxyz:") != strlen(image))
		return 0;
	snprintf(path, sizeof(path), "/images/%s/json", image);
	r = docker_get(d->socket, path, ret, err);
	return r == -ENOENT || r == -EACCES || r == -EREMOTEIO || r == -EBADMSG ? 0 : r;
}

/* The container's entry in the engine's list, a part of *ret_all, which the caller frees. -ENOENT:
 * it has none. */
static int find_listed(struct docker *d, const char *id, json_t **ret_all, const json_t **ret)
{
	static const char filter[] = LIST "&filters=%7B%22id%22%3A%5B%22", end[] = "%22%5D%7D";
	char path[sizeof(filter) + sizeof(end) + ENGINE_HEX_LEN];
	json_t *one;
	size_t i;
	int r;

	snprintf(path, sizeof(path), "%s%s%s", filter, id, end);
	r = docker_get(d->socket, path, ret_all, NULL);
	if (r || !json_is_array(*ret_all))
		return -EREMOTEIO; /* also for 404: that is about the list itself */
	json_array_foreach(*ret_all, i, one) {
		if (strcmp(docker_text(one, "Id"), id))
			continue;
		*ret = one;
		return 0;
	}
	return -ENOENT;
}

/* listed: its entry in the engine's list; NULL: it is asked for. */
static void tell_unusable(struct docker *d, enum engine_event_kind kind, const char *id,
			  const json_t *listed, const char *why)
{
	struct engine_event *e;
	json_t *found = NULL;

	if (!docker_is_id(id))
		return;
	if (!listed)
		find_listed(d, id, &found, &listed);
	e = engine_event(kind, ENGINE_CONTAINER);
	memcpy(e->id, id, ENGINE_HEX_LEN);
	docker_read_listed(&e->item, id, listed, why);
	d->tell(d->owner, e);
	json_decref(found);
}

static int tell_container(struct docker *d, const char *id, const json_t *inspect,
			  const json_t *listed, struct error *err)
{
	struct engine_event *e = engine_event(ENGINE_ITEM, ENGINE_CONTAINER);
	struct engine_item *i = &e->item;
	char wrong[ENGINE_ERROR_LEN];

	docker_read_record(i, &d->info, id, inspect);
	if (!*i->unusable && docker_has_labels(inspect)) {
		json_t *image;
		int r = find_image(d, inspect, &image, err);

		if (r)
			return r;
		docker_read_labels(i, inspect, image);
		json_decref(image);
	}
	if (!*i->unusable) {
		d->tell(d->owner, e);
		return 0;
	}
	memcpy(wrong, i->unusable, sizeof(wrong)); /* the next event overwrites it */
	tell_unusable(d, ENGINE_ITEM, id, listed, wrong);
	return 0;
}

/* Was it one of them? */
static bool forget_unknown(struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->n_unknown; i++)
		if (!strcmp(d->unknown[i], id)) {
			memmove(d->unknown[i], d->unknown[i + 1],
				(--d->n_unknown - i) * sizeof(d->unknown[0]));
			return true;
		}
	return false;
}

/* soon: it was not one of them before. */
static void ask_later(struct docker *d, const char *id, bool soon)
{
	if (d->n_unknown < CONTAINERS)
		memcpy(d->unknown[d->n_unknown++], id, ENGINE_HEX_LEN);
	if (!soon)
		return;
	d->again_ms = AGAIN_MIN_MS;
	d->again_ns = now_boot_ns() + d->again_ms * NS_PER_MSEC;
}

/* Is it only this container that the engine does not describe in time, as while it starts? An
 * engine that answers nothing in time is taken for gone. */
static bool is_late_alone(struct docker *d)
{
	json_t *version = NULL;
	bool alone = !d->late || !docker_get(d->socket, "/version", &version, NULL);

	json_decref(version);
	d->late = true;
	return alone;
}

/* 0, also if the container is gone, or can not be shown; an error: the connection is useless.
 * again: ENGINE_UNKNOWN was told before. */
static int ask_and_tell(struct docker *d, const char *id, const json_t *listed, bool again,
			struct error *err)
{
	bool was_unknown = forget_unknown(d, id) || again;
	char path[128];
	json_t *j;
	int r;

	snprintf(path, sizeof(path), "/containers/%s/json", id);
	r = docker_get(d->socket, path, &j, err);
	if (!r) {
		d->late = false;
		r = tell_container(d, id, j, listed, err);
		json_decref(j);
		return r;
	}
	if (r == -ENOENT) {
		tell_of(d, ENGINE_GONE, id, 0);
		return 0;
	}
	if (r == -EBADMSG) {
		tell_unusable(d, ENGINE_ITEM, id, listed, "what the engine says of it is not JSON");
		return 0;
	}
	if (r != -EACCES && r != -EREMOTEIO && (r != -ETIMEDOUT || !is_late_alone(d)))
		return r;
	if (!again)
		tell_unusable(d, ENGINE_UNKNOWN, id, listed, err->text);
	ask_later(d, id, !was_unknown);
	return 0;
}

static bool is_aside(const struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->care->n_aside; i++)
		if (!strcmp(d->care->aside[i], id))
			return true;
	return false;
}

/* Its record is not read any more. It is told when it is listed; after that only its end is news,
 * and the list says that. */
static void look_at_aside(struct docker *d, const char *id, const json_t *listed)
{
	json_t *all = NULL;

	if (listed)
		tell_unusable(d, ENGINE_ITEM, id, listed,
			      "the process that reads it has ended by it, twice");
	else if (find_listed(d, id, &all, &listed) == -ENOENT)
		tell_of(d, ENGINE_GONE, id, 0);
	json_decref(all);
}

static int inspect_container(struct docker *d, const char *id, const json_t *listed, bool again,
			     struct error *err)
{
	int r;

	if (is_aside(d, id)) {
		look_at_aside(d, id, listed);
		return 0;
	}
	memcpy(d->care->at_work, id, ENGINE_HEX_LEN);
	r = ask_and_tell(d, id, listed, again, err);
	d->care->at_work[0] = '\0';
	return r;
}

/* A proxy that refuses these, or an engine that is slow, costs foresight: where a cgroup will be is
 * guessed until it runs. Whom we no longer wait for still works at his answer, for half a minute if
 * it is Podman on a slow machine: asked again at each try he would never get to the list. */
static int read_info(struct docker *d, struct error *err)
{
	json_t *info = NULL;
	int r = d->silent ? -ETIMEDOUT : docker_get(d->socket, "/info", &info, err);

	if (r && r != -EACCES && r != -ETIMEDOUT)
		return r;
	d->info.systemd_driver = r ? !access("/run/systemd/system", F_OK)
				   : !strcmp(docker_text(info, "CgroupDriver"), "systemd");
	json_decref(info);
	d->silent = r == -ETIMEDOUT;
	if (d->silent) {
		d->info.podman |= !strcmp(d->where, "podman");
		return 0;
	}
	r = docker_get(d->socket, "/version", &info, err);
	if (!r)
		d->info.podman = docker_is_podman(info);
	json_decref(info);
	return r == -EACCES || r == -ETIMEDOUT ? 0 : r;
}

static int list_containers(struct docker *d, struct error *err)
{
	bool nameless = false;
	json_t *all, *one;
	size_t i;
	int r = docker_get(d->socket, LIST, &all, err);

	if (r)
		return r;
	json_array_foreach(all, i, one) {
		const char *id = docker_text(one, "Id");

		if (r || i > CONTAINERS)
			break;
		if (i == CONTAINERS)
			tell_unusable(d, ENGINE_UNKNOWN, id, one,
				      "those beyond 4096 containers are not looked at");
		else if (docker_is_id(id))
			r = inspect_container(d, id, one, false, err);
		else
			nameless = true;
	}
	if (!r && nameless)
		d->tell(d->owner, engine_event(ENGINE_UNKNOWN, ENGINE_CONTAINER));
	json_decref(all);
	return r;
}

/* ------ the stream ------ */

static void mark_dirty(struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->n_dirty; i++)
		if (!strcmp(d->dirty[i], id))
			return;
	if (d->n_dirty == DIRTY)
		d->lost = true;
	else
		memcpy(d->dirty[d->n_dirty++], id, ENGINE_HEX_LEN);
}

/* `j`: an event, NULL if it could not be parsed. */
static void take_event(struct docker *d, const json_t *j)
{
	const json_t *actor = json_object_get(j, "Actor");
	const char *id = docker_text(actor, "ID"), *action = docker_text(j, "Action"), *signal;

	if (!*action)
		action = docker_text(j, "status");
	if (!j || (*id && !docker_is_id(id))) {
		d->lost = true;
		return;
	}
	if (!*id || !strncmp(action, "exec_", 5) || !strcmp(action, "top"))
		return;
	if (!strcmp(action, "kill")) { /* its consequence is another event */
		signal = docker_text(json_object_get(actor, "Attributes"), "signal");
		tell_of(d, ENGINE_KILL, id, (int)strtol(signal, NULL, 10));
		return;
	}
	if (!strcmp(action, "die") || !strcmp(action, "died"))
		tell_of(d, ENGINE_DIED, id, 0);
	mark_dirty(d, id);
}

static void take_line(struct docker *d)
{
	json_t *j = docker_parse(d->line, d->n_line);

	take_event(d, j);
	json_decref(j);
	d->n_line = 0;
}

static size_t add_to_stream(char *data, size_t size, size_t n, void *arg)
{
	struct docker *d = arg;

	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' && d->n_line)
			take_line(d);
		else if (data[i] == '\n')
			continue;
		else if (d->n_line < LINE_MAX_)
			d->line[d->n_line++] = data[i];
		else
			d->lost = true; /* the rest of the line is skipped, and does not parse */
	}
	return n;
}

static int start_stream(struct docker *d, struct error *err)
{
	uint64_t end = now_boot_ns() + STREAM_MS * NS_PER_MSEC;
	long status = 0;
	int running = 1;

	if (!d->line)
		d->line = malloc(LINE_MAX_);
	if (!d->multi)
		d->multi = libcurl.multi_init();
	d->stream = d->line && d->multi ? new_request(d->socket, EVENTS, add_to_stream, d) : NULL;
	if (!d->stream)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "listen to the engine");
	libcurl.multi_add_handle(d->multi, d->stream);
	/* the head of its answer says that from now on nothing is missed; some send it only with
	 * the first event */
	while (!status && running && now_boot_ns() < end) {
		libcurl.multi_perform(d->multi, &running);
		libcurl.easy_getinfo(d->stream, CURLINFO_RESPONSE_CODE, &status);
		if (!status && running)
			libcurl.multi_poll(d->multi, NULL, 0, 50, NULL);
	}
	if (running && (!status || status == 200))
		return 0;
	if (result_of(status) == -EACCES)
		return fail_refused(EVENTS, err);
	return fail(err, ERROR_OTHER, -EIO, NULL, "listen to the engine's events (%ld)", status);
}

static int list_all(struct docker *d, struct error *err)
{
	struct engine_event *e;
	int r;

	d->tell(d->owner, engine_event(ENGINE_UP, ENGINE_CONTAINER));
	r = list_containers(d, err);
	if (r)
		return r;
	e = engine_event(ENGINE_LISTED, ENGINE_CONTAINER);
	memcpy(e->error, d->refusals, sizeof(e->error));
	d->tell(d->owner, e);
	return 0;
}

static int connect_to(struct docker *d, struct error *err)
{
	int r = libcurl_load(CURL_GLOBAL_NOTHING, err);

	r = r ? r : start_stream(d, err);
	r = r ? r : read_info(d, err);
	if (r)
		return r;
	if (strchr(d->where, ':')) /* not where an engine itself listens: it may be a proxy */
		docker_refusals(d->socket, d->refusals, sizeof(d->refusals));
	return list_all(d, err);
}

static void connect_anew(struct docker *d)
{
	struct error err;

	d->socket = docker_socket(d->where);
	if (!d->socket) {
		docker_go_down(d, d->had_socket ? "its socket is gone" : "");
		return;
	}
	d->had_socket = true;
	if (connect_to(d, &err)) {
		docker_go_down(d, err.text);
		return;
	}
	d->retry_ms = 0;
	d->told_down = d->silent = false;
}

static int look_anew(struct docker *d, struct error *err)
{
	if (d->lost) {
		d->lost = false;
		d->n_dirty = 0;
		return list_all(d, err);
	}
	/* in order: a VPN's container is made before those that share its network */
	for (size_t i = 0; i < d->n_dirty; i++) {
		int r = inspect_container(d, d->dirty[i], NULL, false, err);

		if (r)
			return r;
	}
	d->n_dirty = 0;
	return 0;
}

static int until_again(const struct docker *d, int timeout_ms)
{
	uint64_t now = now_boot_ns();
	int left = !d->n_unknown || now >= d->again_ns
			   ? 0
			   : (int)((d->again_ns - now) / NS_PER_MSEC) + 1;

	return !d->n_unknown || (timeout_ms >= 0 && timeout_ms < left) ? timeout_ms : left;
}

/* After an answer the next is asked for at once; without one the wait doubles. */
static int ask_again(struct docker *d, struct error *err)
{
	char id[ENGINE_HEX_LEN];
	size_t n = d->n_unknown;
	int r;

	if (!n || now_boot_ns() < d->again_ns)
		return 0;
	memcpy(id, d->unknown[0], sizeof(id));
	r = inspect_container(d, id, NULL, true, err);
	if (r)
		return r;
	d->again_ms = d->n_unknown < n ? 0 : doubled(d->again_ms, AGAIN_MIN_MS, AGAIN_MAX_MS);
	d->again_ns = now_boot_ns() + d->again_ms * NS_PER_MSEC;
	return 0;
}

static void end_request(struct docker *d, CURL *curl, CURLcode code)
{
	long status = 0;
	char message[200];

	libcurl.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (curl == d->stream) {
		docker_go_down(d, code == CURLE_OK ? "it closed the connection"
						   : libcurl.easy_strerror(code));
		return;
	}
	for (size_t i = 0; i < JOBS; i++) {
		struct job *j = &d->jobs[i];
		uint32_t request = j->request;
		int r = code == CURLE_OK ? result_of(status) : -EIO;

		if (j->curl != curl)
			continue;
		if (code == CURLE_OK)
			message_of(&j->body, message, sizeof(message));
		else
			snprintf(message, sizeof(message), "%s", libcurl.easy_strerror(code));
		if (r == -EACCES && !*message)
			snprintf(message, sizeof(message), "its socket does not allow %s", j->what);
		end_job(d, j);
		tell_done(d, request, r, r ? message : "");
	}
}

void docker_turn(struct docker *d, struct pollfd *extra, unsigned int n, int timeout_ms)
{
	struct curl_waitfd waits[8];
	uint64_t now = now_boot_ns();
	int running, left;
	struct error err;
	CURLMsg *msg;

	if (!d->stream && now >= d->retry_ns)
		connect_anew(d);
	if (!d->stream) {
		now = now_boot_ns();
		left = now >= d->retry_ns ? 0 : (int)((d->retry_ns - now) / NS_PER_MSEC) + 1;
		poll(extra, n, timeout_ms < 0 || timeout_ms > left ? left : timeout_ms);
		return;
	}
	for (unsigned int i = 0; i < n && i < ARRAY_SIZE(waits); i++)
		waits[i] = (struct curl_waitfd) { .fd = extra[i].fd, .events = CURL_WAIT_POLLIN };
	timeout_ms = until_again(d, timeout_ms);
	libcurl.multi_poll(d->multi, waits, n, timeout_ms < 0 ? 600000 : timeout_ms, NULL);
	poll(extra, n, 0);
	libcurl.multi_perform(d->multi, &running);
	while (d->stream && (msg = libcurl.multi_info_read(d->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			end_request(d, msg->easy_handle, msg->data.result);
	if (d->stream && (look_anew(d, &err) || ask_again(d, &err)))
		docker_go_down(d, err.text);
}

/* method NULL: POST, of `body` (JSON; NULL: nothing). what: outlives the request. */
static void start_job(struct docker *d, uint32_t request, const char *method, const char *path,
		      const char *body, const char *what)
{
	static struct curl_slist *json;
	struct job *j = NULL;

	for (size_t i = 0; i < JOBS && !j; i++)
		j = d->jobs[i].curl ? NULL : &d->jobs[i];
	if (!d->stream || !j) {
		tell_done(d, request, -ENOTCONN,
			  d->stream ? "too much is being asked" : "the engine does not answer");
		return;
	}
	*j = (struct job) { .request = request, .body.max = BODY_MAX, .what = what };
	j->curl = new_request(d->socket, path, add_to_body, &j->body);
	if (!json)
		json = libcurl.slist_append(NULL, "Content-Type: application/json");
	if (!j->curl || !json) {
		tell_done(d, request, -ENOMEM, "no memory");
		return;
	}
	libcurl.easy_setopt(j->curl, CURLOPT_POST, 1L);
	libcurl.easy_setopt(j->curl, CURLOPT_COPYPOSTFIELDS, body ? body : "");
	if (body)
		libcurl.easy_setopt(j->curl, CURLOPT_HTTPHEADER, json);
	if (method)
		libcurl.easy_setopt(j->curl, CURLOPT_CUSTOMREQUEST, method);
	libcurl.easy_setopt(j->curl, CURLOPT_TIMEOUT_MS, STOP_MS);
	libcurl.multi_add_handle(d->multi, j->curl);
}

void docker_ask(struct docker *d, bool start, const char *id, uint32_t request)
{
	char path[128];

	if (!docker_is_id(id)) {
		tell_done(d, request, -ENOENT, "");
		return;
	}
	snprintf(path, sizeof(path), "/containers/%s/%s", id, start ? "start" : "stop");
	start_job(d, request, NULL, path, NULL, "it (" REFUSES_POST ")");
}

/* ------ another in its place ------ */

/* The image by its name, as who updates images looks for it by that; by its id if the name has come
 * to mean another one, or nobody says. Returns buf. */
static const char *image_of(const struct docker *d, const json_t *inspect, char *buf, size_t size)
{
	const char *id = docker_text(inspect, "Image");
	const char *name = docker_text(json_object_get(inspect, "Config"), "Image");
	char path[ENGINE_NAME_LEN + 20];
	json_t *image = NULL;
	bool same;

	snprintf(path, sizeof(path), "/images/%s/json", name);
	same = strlen(name) < ENGINE_NAME_LEN && name[strspn(name, NAME_CHARS "/:@")] == '\0' &&
	       !docker_get(d->socket, path, &image, NULL) && !strcmp(docker_text(image, "Id"), id);
	json_decref(image);
	snprintf(buf, size, "%s", same ? name : id);
	return buf;
}

/* What is sent, to be freed; NULL: *err says why not. */
static char *remake_body(struct docker *d, const struct engine_change *c, struct error *err)
{
	char path[128], image[ENGINE_NAME_LEN], *text;
	json_t *inspect, *body;

	snprintf(path, sizeof(path), "/containers/%s/json", c->id);
	if (docker_get(d->socket, path, &inspect, err))
		return NULL;
	body = docker_remake(inspect, image_of(d, inspect, image, sizeof(image)), c->network);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	json_decref(inspect);
	if (!text)
		fail(err, ERROR_OTHER, 0, NULL, "what the engine says of it can not be used");
	return text;
}

static void remake(struct docker *d, const struct engine_change *c, uint32_t request)
{
	_cleanup_free char *body = NULL;
	char path[ENGINE_NAME_LEN + 64];
	struct error err;

	memcpy(d->care->at_work, c->id, ENGINE_HEX_LEN);
	body = remake_body(d, c, &err);
	d->care->at_work[0] = '\0';
	snprintf(path, sizeof(path), "/containers/create?name=%s", c->name);
	if (body)
		start_job(d, request, NULL, path, body, CHANGES);
	else
		tell_done(d, request, -EREMOTEIO, err.text);
}

void docker_change(struct docker *d, const struct engine_change *c, uint32_t request)
{
	char path[ENGINE_NAME_LEN + ENGINE_HEX_LEN + 64];

	if (!docker_is_id(c->id) || c->name[strspn(c->name, NAME_CHARS)]) {
		tell_done(d, request, -ENOENT, "it has no name that an engine would give");
	} else if (d->info.podman) {
		tell_done(d, request, -EREMOTEIO, "Podman is not asked to make containers anew");
	} else if (c->verb == ENGINE_REMAKE) {
		remake(d, c, request);
	} else if (c->verb == ENGINE_RENAME) {
		snprintf(path, sizeof(path), "/containers/%s/rename?name=%s", c->id, c->name);
		start_job(d, request, NULL, path, NULL, CHANGES);
	} else {
		snprintf(path, sizeof(path), "/containers/%s", c->id);
		start_job(d, request, "DELETE", path, NULL, CHANGES);
	}
}
