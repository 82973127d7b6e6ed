/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an engine answers. libcurl is played: the first line of the input has words (systemd,
 * podman: the engine; events, info: what is read beside the list), then come its answers, one for
 * each request, with a line "---" between them. One that begins with "!STATUS " has that status.
 */
#include "engine/docker_record.c"

#include "engine/docker.c"
#include "item.h"

static char *answers; /* what is left; NULL: nothing, so 404 */
static curl_write_callback write_to;
static void *write_arg;
static long status;

static char *next_answer(void)
{
	char *this = answers, *end = this ? strstr(this, "\n---\n") : NULL;

	answers = end ? end + 5 : NULL;
	if (end)
		*end = '\0';
	return this;
}

static CURL *play_init(void)
{
	return malloc(1);
}

static void play_cleanup(CURL *c)
{
	free(c);
}

static CURLcode play_setopt(CURL *c, CURLoption option, ...)
{
	va_list ap;

	va_start(ap, option);
	if (option == CURLOPT_WRITEFUNCTION)
		write_to = va_arg(ap, curl_write_callback);
	else if (option == CURLOPT_WRITEDATA)
		write_arg = va_arg(ap, void *);
	va_end(ap);
	return CURLE_OK;
}

static CURLcode play_perform(CURL *c)
{
	char *text = next_answer();
	size_t n;

	status = text ? 200 : 404;
	if (text && *text == '!')
		status = strtol(text + 1, &text, 10);
	n = text ? strlen(text) : 0;
	return n && write_to(text, 1, n, write_arg) != n ? CURLE_WRITE_ERROR : CURLE_OK;
}

static CURLcode play_getinfo(CURL *c, CURLINFO info, ...)
{
	va_list ap;

	va_start(ap, info);
	if (info == CURLINFO_RESPONSE_CODE)
		*va_arg(ap, long *) = status;
	va_end(ap);
	return CURLE_OK;
}

static const char *play_strerror(CURLcode code)
{
	return "played";
}

static void check(void *owner, const struct engine_event *e)
{
	MUST(e->kind >= ENGINE_UP && e->kind <= ENGINE_DONE);
	MUST_END(e->id);
	MUST_END(e->error);
	MUST(!*e->id || docker_is_id(e->id));
	if (e->kind == ENGINE_ITEM || (e->kind == ENGINE_UNKNOWN && *e->id))
		check_item(&e->item);
	MUST(e->kind != ENGINE_UNKNOWN || !*e->id || *e->item.unusable);
}

static void read_events(struct docker *d)
{
	struct error err = { 0 };
	char *text = next_answer();

	d->line = malloc(LINE_MAX_);
	if (!d->line)
		abort();
	for (size_t left = text ? strlen(text) : 0, n; left; left -= n, text += n) {
		n = left < 7 ? left : 7;
		MUST(add_to_stream(text, 1, n, d) == n);
	}
	MUST(d->n_dirty <= DIRTY);
	for (size_t i = 0; i < d->n_dirty; i++)
		inspect_container(d, d->dirty[i], NULL, false, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char at_work[ENGINE_HEX_LEN];
	static const struct docker_care care = { .at_work = at_work };
	char *text = text_of_input(data, size), *end = strchr(text, '\n');
	struct error err = { 0 };
	struct docker *d;

	d = docker_open("unix:///played", &care, check, NULL);
	if (!d)
		abort();
	if (libcurl_load(CURL_GLOBAL_NOTHING, &err)) /* or it would be later, over these */
		abort();
	libcurl.easy_init = play_init;
	libcurl.easy_cleanup = play_cleanup;
	libcurl.easy_setopt = play_setopt;
	libcurl.easy_perform = play_perform;
	libcurl.easy_getinfo = play_getinfo;
	libcurl.easy_strerror = play_strerror;
	d->socket = "/played";
	answers = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	d->info.systemd_driver = strstr(text, "systemd");
	d->info.podman = strstr(text, "podman");
	if (strstr(text, "info"))
		read_info(d, &err);
	if (strstr(text, "events"))
		read_events(d);
	list_containers(d, &err);
	check_error(&err);
	MUST(!*at_work);
	free(d->line);
	free(d);
	free(text);
	return 0;
}
