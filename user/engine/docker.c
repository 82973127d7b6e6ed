/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See docker.h. The event stream is opened first and read beside everything else; then all is
 * listed and inspected, so that nothing is missed in between. An event only says which container
 * to inspect anew: what it is now is always the engine's own record.
 */
#include "engine/docker.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "watch/process.h"

#define HOST	     "http://localhost" /* of the URL; the way is the socket's */
#define EVENTS	     HOST "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D"
#define LINE_MAX_    (1024 * 1024)
#define BODY_MAX     (8 * 1024 * 1024)
#define CONTAINERS   4096
#define DIRTY	     256     /* containers to be inspected at once; more: list anew */
#define JOBS	     64	     /* stops and starts at once */
#define GET_MS	     15000L  /* a slow Podman takes 7 s to describe itself */
#define STOP_MS	     150000L /* it waits for the container's own stop timeout */
#define STREAM_MS    2000    /* for the stream's head */
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 2000

/* ------ libcurl ------ */

#define CURL_FUNCTIONS(X)        \
	X(curl_global_init)      \
	X(curl_easy_init)        \
	X(curl_easy_setopt)      \
	X(curl_easy_perform)     \
	X(curl_easy_getinfo)     \
	X(curl_easy_cleanup)     \
	X(curl_easy_strerror)    \
	X(curl_multi_init)       \
	X(curl_multi_add_handle) \
	X(curl_multi_remove_handle) X(curl_multi_perform) X(curl_multi_poll) X(curl_multi_info_read)

static struct {
	bool loaded;
#define X(f) __typeof__(&f) f;
	CURL_FUNCTIONS(X)
#undef X
} lib;

static int load_curl(struct error *err)
{
	static const char *const names[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };
	void *so = NULL;

	if (lib.loaded)
		return 0;
	for (size_t i = 0; !so && i < ARRAY_SIZE(names); i++)
		so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return fail(err, EXIT_FAILURE_, 0, "install libcurl4", "load libcurl: %s",
			    dlerror());
#define X(f)                                                                          \
	lib.f = (__typeof__(&f))dlsym(so, #f);                                        \
	if (!lib.f)                                                                   \
		return fail(err, EXIT_FAILURE_, 0, "install libcurl4, 7.66 or newer", \
			    "libcurl lacks " #f);
	CURL_FUNCTIONS(X)
#undef X
	lib.curl_global_init(CURL_GLOBAL_NOTHING);
	lib.loaded = true;
	return 0;
}

struct body {
	size_t n, max;
	char *text;
};

static size_t add_to_body(char *data, size_t size, size_t n, void *arg)
{
	struct body *b = arg;
	char *more;

	(void)size; /* 1 */
	if (b->n + n > BODY_MAX)
		return 0;
	if (b->n + n + 1 > b->max) {
		b->max = 2 * (b->n + n + 1);
		more = realloc(b->text, b->max);
		if (!more)
			return 0;
		b->text = more;
	}
	memcpy(b->text + b->n, data, n);
	b->n += n;
	b->text[b->n] = '\0';
	return n;
}

static CURL *new_request(const char *socket_path, const char *url, curl_write_callback write,
			 void *to)
{
	CURL *c = lib.curl_easy_init();

	if (!c)
		return NULL;
	lib.curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	lib.curl_easy_setopt(c, CURLOPT_URL, url);
	lib.curl_easy_setopt(c, CURLOPT_PROXY, "");
	lib.curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	lib.curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, GET_MS);
	lib.curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write);
	lib.curl_easy_setopt(c, CURLOPT_WRITEDATA, to);
	return c;
}

/* The engine's own sentence, of an answer that is an error. */
static void message_of(const char *body, char *ret, size_t size)
{
	json_t *j = body ? json_loads(body, 0, NULL) : NULL;
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

int docker_get(const char *socket_path, const char *path, json_t **ret, struct error *err)
{
	char url[PATH_MAX], message[200];
	struct body body = { 0 };
	CURLcode code;
	long status = 0;
	CURL *c = NULL;
	int r = load_curl(err);

	if (r)
		return r;
	snprintf(url, sizeof(url), HOST "%s", path);
	c = new_request(socket_path, url, add_to_body, &body);
	if (!c)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "ask the engine");
	lib.curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, GET_MS);
	code = lib.curl_easy_perform(c);
	lib.curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	lib.curl_easy_cleanup(c);
	*ret = NULL;
	if (code == CURLE_OPERATION_TIMEDOUT) {
		r = fail(err, EXIT_FAILURE_, -ETIMEDOUT, NULL, "the engine's answer to %s", path);
	} else if (code == CURLE_WRITE_ERROR) {
		r = fail(err, EXIT_FAILURE_, -EREMOTEIO, NULL, "the engine's answer to %s", path);
	} else if (code != CURLE_OK) {
		r = fail(err, EXIT_FAILURE_, -EIO, NULL, "ask the engine at '%s': %s", socket_path,
			 lib.curl_easy_strerror(code));
	} else if ((r = result_of(status))) {
		message_of(body.text, message, sizeof(message));
		fail(err, EXIT_FAILURE_, 0, NULL, "the engine says %ld to %s: %s", status, path,
		     message);
	} else {
		*ret = json_loadb(body.text ? body.text : "", body.n, 0, NULL);
		if (!*ret)
			r = fail(err, EXIT_FAILURE_, -EIO, NULL, "the engine's answer to %s", path);
	}
	free(body.text);
	return r;
}

const char *docker_socket(const char *where)
{
	static const char *const usual[] = { "/run/docker.sock", "/var/run/docker.sock",
					     "/run/podman/podman.sock" };

	if (!strncmp(where, "unix://", 7))
		return access(where + 7, F_OK) ? NULL : where + 7;
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (!access(usual[i], F_OK))
			return usual[i];
	return NULL;
}

/* ------ the state ------ */

struct job {
	CURL *curl; /* NULL: free */
	uint32_t request;
	struct body body;
};

struct docker {
	const char *where;
	engine_tell tell;
	void *owner;
	const char *socket_path;
	CURLM *multi;
	CURL *stream; /* NULL: not connected */
	bool told_down, had_socket;
	bool late; /* the last GET was not answered in time */
	uint64_t retry_ns;
	unsigned int retry_ms;
	struct docker_info info;

	size_t n_line; /* of the stream, up to its next newline */
	char *line;
	bool lost; /* an event could not be read: list anew */
	size_t n_dirty;
	char dirty[DIRTY][65];
	struct job jobs[JOBS];
};

static struct engine_event *new_event(struct docker *d, enum engine_event_kind kind)
{
	static struct engine_event e; /* large, and told at once */

	(void)d;
	memset(&e, 0, sizeof(e));
	e.kind = kind;
	e.of = ENGINE_CONTAINER;
	return &e;
}

static void done(struct docker *d, uint32_t request, int result, const char *error)
{
	struct engine_event *e = new_event(d, ENGINE_DONE);

	e->request = request;
	e->result = result;
	snprintf(e->error, sizeof(e->error), "%s", error);
	d->tell(d->owner, e);
}

static void end_job(struct docker *d, struct job *j)
{
	lib.curl_multi_remove_handle(d->multi, j->curl);
	lib.curl_easy_cleanup(j->curl);
	free(j->body.text);
	*j = (struct job) { 0 };
}

static void go_down(struct docker *d, const char *why)
{
	struct engine_event *e;

	if (d->stream) {
		lib.curl_multi_remove_handle(d->multi, d->stream);
		lib.curl_easy_cleanup(d->stream);
		d->stream = NULL;
	}
	for (size_t i = 0; i < JOBS; i++)
		if (d->jobs[i].curl) {
			uint32_t request = d->jobs[i].request;

			end_job(d, &d->jobs[i]);
			done(d, request, -ENOTCONN, "the connection to the engine is lost");
		}
	d->n_line = d->n_dirty = 0;
	d->lost = false;
	d->retry_ms = !d->retry_ms		       ? RETRY_MIN_MS
		      : d->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS
						       : d->retry_ms * 2;
	d->retry_ns = now_boot_ns() + d->retry_ms * NS_PER_MSEC;
	if (d->told_down)
		return;
	d->told_down = true;
	e = new_event(d, ENGINE_DOWN);
	snprintf(e->error, sizeof(e->error), "%s", why);
	d->tell(d->owner, e);
}

struct docker *docker_open(const char *where, engine_tell tell, void *owner)
{
	struct docker *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct docker) { .where = where, .tell = tell, .owner = owner };
	return d;
}

void docker_close(struct docker *d)
{
	if (!d)
		return;
	d->told_down = true;
	go_down(d, "");
	free(d->line);
	free(d);
}

/* ------ what a container is ------ */

/* "a-b.slice" lies in "a.slice". */
static size_t slice_path(char *ret, size_t size, const char *slice)
{
	size_t n = 0, stem = strlen(slice);

	if (stem > 6 && !strcmp(slice + stem - 6, ".slice"))
		stem -= 6;
	for (size_t i = 1; i <= stem; i++)
		if ((i == stem || slice[i] == '-') && n < size)
			n += (size_t)snprintf(ret + n, size - n, "/%.*s.slice", (int)i, slice);
	return n;
}

void docker_predict_cgroup(const struct docker_info *info, const char *parent, const char *id,
			   char ret[PATH_MAX])
{
	const char *prefix = info->podman ? "libpod" : "docker";
	size_t n;

	if (!*parent)
		parent = info->default_parent;
	if (!*parent)
		parent = info->systemd_driver ? info->podman ? "machine.slice" : "system.slice"
			 : info->podman	      ? "/libpod_parent"
					      : "/docker";
	if (strlen(parent) > PATH_MAX / 4 || strstr(parent, "..")) {
		ret[0] = '\0';
		return;
	}
	if (info->systemd_driver && *parent != '/')
		n = slice_path(ret, PATH_MAX, parent);
	else
		n = (size_t)snprintf(ret, PATH_MAX, "%s%s", *parent == '/' ? "" : "/", parent);
	while (n && n < PATH_MAX && ret[n - 1] == '/')
		ret[--n] = '\0';
	if (info->systemd_driver)
		snprintf(ret + n, PATH_MAX - n, "/%s-%s.scope", prefix, id);
	else
		snprintf(ret + n, PATH_MAX - n, info->podman ? "/libpod-%s" : "/%s", id);
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

/* The pid is the engine's; it is ours as well if its cgroup is called after the container. */
static void find_cgroup(struct docker *d, struct engine_item *i, const char *parent)
{
	char path[PATH_MAX], *at, *slash;

	docker_predict_cgroup(&d->info, parent, i->id, i->cgroup);
	if (!i->pid)
		return;
	if (process_cgroup(i->pid, path) || !(at = strstr(path, i->id))) {
		i->pid = 0;
		return;
	}
	slash = strchr(at, '/'); /* Podman's own level below it, or the container's */
	if (slash)
		*slash = '\0';
	snprintf(i->cgroup, sizeof(i->cgroup), "%s", path);
	if (*parent) /* else the engine's own default, which it tells nowhere */
		return;
	for (slash = at; slash > path && *slash != '/'; slash--)
		;
	*slash = '\0';
	snprintf(d->info.default_parent, sizeof(d->info.default_parent), "%s", path);
}

static bool is_id(const char *s)
{
	return *s && strspn(s, "0123456789abcdef") == strlen(s);
}

static bool fits(const char *s, size_t size)
{
	size_t n = strlen(s);

	for (const char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return false;
	return n < size;
}

/* The image of a container that has labels of ours. 0, also if the engine does not show it (NULL):
 * a proxy before the engine may not let it through. Else the connection is of no use. */
static int find_image(struct docker *d, const json_t *inspect, json_t **ret, struct error *err)
{
	char path[400];
	int r;

	*ret = NULL;
	if (!*text_of(inspect, "Image"))
		return 0;
	snprintf(path, sizeof(path), "/images/%.300s/json", text_of(inspect, "Image"));
	r = docker_get(d->socket_path, path, ret, err);
	return r == -ENOENT || r == -EACCES || r == -EREMOTEIO ? 0 : r;
}

static int take_labels(struct docker *d, struct engine_item *i, const json_t *inspect,
		       struct error *err)
{
	json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels");
	json_t *image = NULL, *of_image = NULL, *value;
	const char *key;
	bool asked = false;
	int r = 0;

	snprintf(i->compose_project, sizeof(i->compose_project), "%s",
		 text_of(labels, "com.docker.compose.project"));
	snprintf(i->compose_service, sizeof(i->compose_service), "%s",
		 text_of(labels, "com.docker.compose.service"));
	json_object_foreach(labels, key, value)
	{
		struct engine_label *l;
		const char *text = json_string_value(value), *same;

		if (strncmp(key, "vpnleash.", 9) || !text)
			continue;
		if (i->n_labels == ENGINE_LABELS) {
			i->labels_left_out++;
			continue;
		}
		if (!asked) {
			r = find_image(d, inspect, &image, err);
			if (r)
				break;
			i->image_unknown = !image;
			of_image = json_object_get(json_object_get(image, "Config"), "Labels");
			asked = true;
		}
		same = json_string_value(json_object_get(of_image, key));
		l = &i->labels[i->n_labels++];
		l->from_image = same && !strcmp(same, text);
		/* jansson refuses a NUL in a string */
		l->too_long = !fits(key + 9, sizeof(l->key)) || !fits(text, sizeof(l->value));
		snprintf(l->key, sizeof(l->key), "%s", key + 9);
		snprintf(l->value, sizeof(l->value), "%s", text);
	}
	json_decref(image);
	return r;
}

static int tell_container(struct docker *d, const json_t *inspect, struct error *err)
{
	const json_t *state = json_object_get(inspect, "State");
	const json_t *host = json_object_get(inspect, "HostConfig");
	const char *name = text_of(inspect, "Name"), *health;
	struct engine_event *e = new_event(d, ENGINE_ITEM);
	struct engine_item *i = &e->item;
	int r;

	i->kind = ENGINE_CONTAINER;
	snprintf(i->id, sizeof(i->id), "%s", text_of(inspect, "Id"));
	snprintf(i->name, sizeof(i->name), "%s", *name == '/' ? name + 1 : name);
	i->running = json_is_true(json_object_get(state, "Running")) ||
		     json_is_true(json_object_get(state, "Paused"));
	i->paused = json_is_true(json_object_get(state, "Paused"));
	i->pid = i->running ? (pid_t)json_integer_value(json_object_get(state, "Pid")) : 0;
	if (i->pid < 0)
		i->pid = 0;
	i->exit_code = (int)json_integer_value(json_object_get(state, "ExitCode"));
	health = text_of(json_object_get(state, "Health"), "Status");
	i->health = !strcmp(health, "starting")	   ? HEALTH_STARTING
		    : !strcmp(health, "healthy")   ? HEALTH_HEALTHY
		    : !strcmp(health, "unhealthy") ? HEALTH_UNHEALTHY
						   : HEALTH_NONE;
	snprintf(i->network_mode, sizeof(i->network_mode), "%s", text_of(host, "NetworkMode"));
	if (!is_id(i->id))
		return 0;
	find_cgroup(d, i, text_of(host, "CgroupParent"));
	r = take_labels(d, i, inspect, err);
	if (!r)
		d->tell(d->owner, e);
	return r;
}

/* 0, also if it is gone, or only this one can not be shown; else the connection is of no use. */
static int inspect(struct docker *d, const char *id, struct error *err)
{
	char path[128];
	json_t *j;
	int r;

	snprintf(path, sizeof(path), "/containers/%.64s/json", id);
	r = docker_get(d->socket_path, path, &j, err);
	if (!r) {
		d->late = false;
		r = tell_container(d, j, err);
	} else if (r == -ENOENT) {
		struct engine_event *e = new_event(d, ENGINE_GONE);

		snprintf(e->id, sizeof(e->id), "%s", id);
		d->tell(d->owner, e);
		r = 0;
	} else if (r == -EACCES || r == -EREMOTEIO || (r == -ETIMEDOUT && !d->late)) {
		struct engine_event *e = new_event(d, ENGINE_UNKNOWN);

		d->late = r == -ETIMEDOUT; /* one that is being started holds up itself alone */
		snprintf(e->id, sizeof(e->id), "%s", id);
		snprintf(e->error, sizeof(e->error), "%.255s", err->text);
		d->tell(d->owner, e);
		r = 0;
	}
	json_decref(j);
	return r;
}

static int read_info(struct docker *d, struct error *err)
{
	json_t *info;
	int r = docker_get(d->socket_path, "/info", &info, err);

	if (r)
		return r;
	d->info.systemd_driver = !strcmp(text_of(info, "CgroupDriver"), "systemd");
	json_decref(info);
	r = docker_get(d->socket_path, "/version", &info, err);
	if (!r) {
		json_t *parts = json_object_get(info, "Components");
		const json_t *part;
		size_t i;

		d->info.podman = false;
		json_array_foreach(parts, i, part) d->info.podman |=
			!strncmp(text_of(part, "Name"), "Podman", 6);
	}
	json_decref(info);
	return r;
}

static int list(struct docker *d, struct error *err)
{
	json_t *all, *one;
	size_t i;
	int r = docker_get(d->socket_path, "/containers/json?all=1", &all, err);

	if (r)
		return r;
	json_array_foreach(all, i, one)
	{
		const char *id = text_of(one, "Id");

		if (i < CONTAINERS && !r && is_id(id))
			r = inspect(d, id, err);
	}
	json_decref(all);
	return r;
}

/* ------ the stream ------ */

static void is_dirty(struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->n_dirty; i++)
		if (!strcmp(d->dirty[i], id))
			return;
	if (d->n_dirty == DIRTY)
		d->lost = true;
	else
		snprintf(d->dirty[d->n_dirty++], sizeof(d->dirty[0]), "%.64s", id);
}

static void take_line(struct docker *d)
{
	json_t *j = json_loadb(d->line, d->n_line, 0, NULL), *actor = json_object_get(j, "Actor");
	const char *id = text_of(actor, "ID"), *action = text_of(j, "Action");
	struct engine_event *e = NULL;

	if (!*action)
		action = text_of(j, "status");
	if (!j || (*id && !is_id(id)))
		d->lost = true;
	else if (*id && strncmp(action, "exec_", 5) && strcmp(action, "top")) {
		if (!strcmp(action, "kill")) {
			e = new_event(d, ENGINE_KILL);
			e->signal = atoi(text_of(json_object_get(actor, "Attributes"), "signal"));
		} else if (!strcmp(action, "die") || !strcmp(action, "died")) {
			e = new_event(d, ENGINE_DIED);
		}
		if (e) {
			snprintf(e->id, sizeof(e->id), "%.64s", id);
			d->tell(d->owner, e);
		}
		if (strcmp(action, "kill")) /* what comes of it is an event of its own */
			is_dirty(d, id);
	}
	json_decref(j);
	d->n_line = 0;
}

static size_t add_to_stream(char *data, size_t size, size_t n, void *arg)
{
	struct docker *d = arg;

	(void)size;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' && d->n_line)
			take_line(d);
		else if (data[i] == '\n')
			continue;
		else if (d->n_line < LINE_MAX_)
			d->line[d->n_line++] = data[i];
		else
			d->lost = true; /* its end does not parse, and is skipped */
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
		d->multi = lib.curl_multi_init();
	d->stream =
		d->line && d->multi ? new_request(d->socket_path, EVENTS, add_to_stream, d) : NULL;
	if (!d->stream)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "listen to the engine");
	lib.curl_multi_add_handle(d->multi, d->stream);
	/* the head of its answer says that from now on nothing is missed; some send it only with
	 * the first event */
	while (!status && running && now_boot_ns() < end) {
		lib.curl_multi_perform(d->multi, &running);
		lib.curl_easy_getinfo(d->stream, CURLINFO_RESPONSE_CODE, &status);
		if (!status && running)
			lib.curl_multi_poll(d->multi, NULL, 0, 50, NULL);
	}
	if (running && (!status || status == 200))
		return 0;
	return fail(err, EXIT_FAILURE_, -EIO, status == 403 ? "let GET /events through" : NULL,
		    "listen to the engine's events (%ld)", status);
}

static void connect_(struct docker *d)
{
	struct error err;
	int r;

	d->socket_path = docker_socket(d->where);
	if (!d->socket_path) {
		go_down(d, d->had_socket ? "its socket is gone" : "");
		return;
	}
	d->had_socket = true;
	r = load_curl(&err);
	if (!r)
		r = start_stream(d, &err);
	if (!r)
		r = read_info(d, &err);
	if (!r) {
		d->tell(d->owner, new_event(d, ENGINE_UP));
		r = list(d, &err);
	}
	if (r) {
		go_down(d, err.text);
		return;
	}
	d->retry_ms = 0;
	d->told_down = false;
	d->tell(d->owner, new_event(d, ENGINE_LISTED));
}

static void look_anew(struct docker *d)
{
	struct error err;
	int r = 0;

	if (d->lost) {
		d->lost = false;
		d->n_dirty = 0;
		d->tell(d->owner, new_event(d, ENGINE_UP));
		r = list(d, &err);
		if (!r)
			d->tell(d->owner, new_event(d, ENGINE_LISTED));
	}
	/* in order: a VPN's container is made before who shares it */
	for (size_t i = 0; !r && i < d->n_dirty; i++)
		r = inspect(d, d->dirty[i], &err);
	d->n_dirty = 0;
	if (r)
		go_down(d, err.text);
}

static void end_of(struct docker *d, CURL *curl, CURLcode code)
{
	long status = 0;
	char message[200];

	lib.curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (curl == d->stream) {
		go_down(d, code == CURLE_OK ? "it closed the connection"
					    : lib.curl_easy_strerror(code));
		return;
	}
	for (size_t i = 0; i < JOBS; i++) {
		struct job *j = &d->jobs[i];
		uint32_t request = j->request;
		int r = code == CURLE_OK ? result_of(status) : -EIO;

		if (j->curl != curl)
			continue;
		if (code == CURLE_OK)
			message_of(j->body.text, message, sizeof(message));
		else
			snprintf(message, sizeof(message), "%s", lib.curl_easy_strerror(code));
		if (r == -EACCES && !*message)
			snprintf(message, sizeof(message),
				 "the engine's socket does not allow it (%ld)", status);
		end_job(d, j);
		done(d, request, r, r ? message : "");
	}
}

void docker_turn(struct docker *d, struct pollfd *extra, unsigned int n, int timeout_ms)
{
	struct curl_waitfd waits[8];
	uint64_t now = now_boot_ns();
	int running, left;
	CURLMsg *msg;

	if (!d->stream && now >= d->retry_ns)
		connect_(d);
	if (!d->stream) {
		now = now_boot_ns();
		left = now >= d->retry_ns ? 0 : (int)((d->retry_ns - now) / NS_PER_MSEC) + 1;
		poll(extra, n, timeout_ms < 0 || timeout_ms > left ? left : timeout_ms);
		return;
	}
	for (unsigned int i = 0; i < n && i < ARRAY_SIZE(waits); i++)
		waits[i] = (struct curl_waitfd) { .fd = extra[i].fd, .events = CURL_WAIT_POLLIN };
	lib.curl_multi_poll(d->multi, waits, n, timeout_ms < 0 ? 600000 : timeout_ms, NULL);
	poll(extra, n, 0);
	lib.curl_multi_perform(d->multi, &running);
	while (d->stream && (msg = lib.curl_multi_info_read(d->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			end_of(d, msg->easy_handle, msg->data.result);
	if (d->stream)
		look_anew(d);
}

void docker_ask(struct docker *d, bool start, const char *id, uint32_t request)
{
	struct job *j = NULL;
	char url[400];

	for (size_t i = 0; i < JOBS && !j; i++)
		j = d->jobs[i].curl ? NULL : &d->jobs[i];
	if (!d->stream || !j) {
		done(d, request, -ENOTCONN,
		     d->stream ? "too much is being asked" : "the engine does not answer");
		return;
	}
	snprintf(url, sizeof(url), HOST "/containers/%.64s/%s", id, start ? "start" : "stop");
	*j = (struct job) { .request = request };
	j->curl = new_request(d->socket_path, url, add_to_body, &j->body);
	if (!j->curl) {
		done(d, request, -ENOMEM, "no memory");
		return;
	}
	lib.curl_easy_setopt(j->curl, CURLOPT_POST, 1L);
	lib.curl_easy_setopt(j->curl, CURLOPT_POSTFIELDS, "");
	lib.curl_easy_setopt(j->curl, CURLOPT_TIMEOUT_MS, STOP_MS);
	lib.curl_multi_add_handle(d->multi, j->curl);
}
