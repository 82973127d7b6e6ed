/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page answers, whoever it is: the first line is what is expected of it, the rest all that
 * comes by the connection, from a socket that is connected already; libcurl, as the child loads it,
 * takes it apart.
 */
#include "prober/identity.c"

#include "fuzz.h"

#define BYTES_MAX (4 * ANSWER_MAX) /* that the socket holds */

static CURL *handle;
static struct curl_slist *hosts;
static struct libcurl real;

/* The child ends and frees nothing; this is to go on. */
static CURL *noted_init(void)
{
	return handle = real.easy_init();
}

static struct curl_slist *noted_append(struct curl_slist *list, const char *text)
{
	return hosts = real.slist_append(list, text);
}

static int is_connected(void *nothing, curl_socket_t fd, curlsocktype of)
{
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static CURLcode connected_perform(CURL *h)
{
	real.easy_setopt(h, CURLOPT_SOCKOPTFUNCTION, is_connected);
	real.easy_setopt(h, CURLOPT_TIMEOUT_MS, 2000L);
	return real.easy_perform(h);
}

static void load(void)
{
	struct error err;

	MUST(!libcurl_load(CURL_GLOBAL_SSL, &err));
	real = libcurl;
	libcurl.easy_init = noted_init;
	libcurl.slist_append = noted_append;
	libcurl.easy_perform = connected_perform;
}

/* In one end, which is returned, all that is ever said, and no more to come; the other is where the
 * child has it. */
static int say(const char *said, size_t n)
{
	int pair[2], size = 4 * BYTES_MAX;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(!setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
	MUST(send(pair[0], said, n, MSG_DONTWAIT) == (ssize_t)n);
	shutdown(pair[0], SHUT_WR);
	if (pair[1] != FD_PAGE) {
		MUST(dup2(pair[1], FD_PAGE) == FD_PAGE);
		close(pair[1]);
	}
	return pair[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct check c = { .text = "http://page.example/who", .host = "page.example", .port = 80 };
	const uint8_t *end = memchr(data, '\n', size);
	size_t n = end ? (size_t)(end - data) : 0;
	int result, far;

	if (!real.easy_init)
		load();
	if (!n || n >= sizeof(c.expect) || memchr(data, 0, n) || size - n > BYTES_MAX)
		return 0;
	memcpy(c.expect, data, n);
	memset(&answer, 0, sizeof(answer));
	far = say((const char *)end + 1, size - n - 1);
	result = ask_page(&c, (struct in_addr) { .s_addr = htonl(0xc6336401) });
	MUST(result >= IDENTITY_RIGHT && result <= IDENTITY_UNABLE);
	MUST(answer.n <= sizeof(answer.text) && answer.headers <= ANSWER_MAX);
	if (result == IDENTITY_RIGHT) /* it is there; libcurl has undone chunks */
		MUST(memmem(answer.text, answer.n, c.expect, n));
	real.easy_cleanup(handle);
	free(hosts->data);
	free(hosts);
	close(far);
	return 0;
}
