/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The web server of `vpnleash listen`: answers that are ready, for GET alone, by libmicrohttpd,
 * which is loaded here and nowhere else. Nothing that a client does reaches the daemon: who asks
 * gets what was published last. Clients are bounded in number, in what they send, and in the time
 * they take.
 */
#pragma once

#include <netinet/in.h>

#include "base/util.h"

/* X(NAME, path, media type). */
/* clang-format off */
#define HTTP_PAGES(X)                                                                              \
	X(HTML, "/", "text/html; charset=utf-8")                                                   \
	X(CSS, "/page.css", "text/css; charset=utf-8")                                             \
	X(JS, "/page.js", "text/javascript; charset=utf-8")                                        \
	X(LIVE, "/api/page", "application/json")                                                   \
	X(STATUS, "/api/status", "application/json")                                               \
	X(HEALTH, "/healthz", "text/plain; charset=utf-8")                                         \
	X(METRICS, "/metrics", "text/plain; version=0.0.4; charset=utf-8")                         \
	X(OPENMETRICS, "/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8")
/* clang-format on */

enum http_page {
#define X(NAME, path, type) HTTP_##NAME,
	HTTP_PAGES(X)
#undef X
		HTTP_PAGES_N
};

struct http;

#define HTTP_HOSTS 16
struct http_config {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address; /* to listen on */
	/* What this host may be called beside that address and localhost. Where another site's name
	 * leads here (DNS rebinding), its pages are answered nothing. */
	const char *hosts[HTTP_HOSTS];
	size_t n_hosts;
};

int http_open(struct http **ret, const struct http_config *config, struct error *err);
/* From now on this is the answer, with that status (200). text: of malloc(), taken over; NULL: no
 * memory, the answer before it stays. From any thread. */
void http_publish(struct http *h, enum http_page page, unsigned int status, char *text);
/* When somebody asked last, 0: never. From any thread. */
uint64_t http_asked_ns(struct http *h);
/* Serves, and returns only if that is not possible any more. */
int http_serve(struct http *h, struct error *err);
