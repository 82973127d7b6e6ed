/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "listen/http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/privilege.h"

#define CONNECTIONS 2000
#define BACKLOG	    4096
#define REQUEST_MAX 8192		/* bytes of memory for a connection: its request's head */
#define WHOLE_NS    (5 * NS_PER_SEC)	/* from connect to the end of the answer */
#define CROWDED_NS  (200 * NS_PER_MSEC) /* the same where there is no place for another */
#define LOOK_MS	    100			/* how often that is looked at */
#define CONTENT_RULES                                               \
	"default-src 'none'; script-src 'self'; style-src 'self'; " \
	"connect-src 'self'; img-src data:; base-uri 'none'; "      \
	"form-action 'none'; frame-ancestors 'none'; "              \
	"require-trusted-types-for 'script'"

/* ------ libmicrohttpd ------ */

#define MHD_FUNCTIONS(X)                   \
	X(MHD_start_daemon)                \
	X(MHD_run)                         \
	X(MHD_get_daemon_info)             \
	X(MHD_get_timeout)                 \
	X(MHD_get_connection_info)         \
	X(MHD_lookup_connection_value)     \
	X(MHD_create_response_from_buffer) \
	X(MHD_add_response_header)         \
	X(MHD_queue_response)              \
	X(MHD_destroy_response)

static struct {
#define X(f) __typeof__(&f) f;
	MHD_FUNCTIONS(X)
#undef X
} lib;

static int load_library(struct error *err)
{
	void *so = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);

	if (!so)
		return fail(err, ERROR_OTHER, 0, "install libmicrohttpd12",
			    "load libmicrohttpd: %s", dlerror());
#define X(f)                                                                                 \
	lib.f = (__typeof__(&f))dlsym(so, #f);                                               \
	if (!lib.f)                                                                          \
		return fail(err, ERROR_OTHER, 0, "install libmicrohttpd12, 0.9.75 or newer", \
			    "libmicrohttpd lacks " #f);
	MHD_FUNCTIONS(X)
#undef X
	return 0;
}

/* ------ answers ------ */

struct answer {
	unsigned int status;
	struct MHD_Response *response;
};

struct connection {
	int fd;
	uint64_t since_ns;
	struct connection *next;
};

struct http {
	const struct http_config *config;
	char own[INET6_ADDRSTRLEN]; /* the address that is listened on, as a host's name */
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock;		     /* of the next two */
	struct answer answers[HTTP_PAGES_N]; /* response NULL: none yet */
	uint64_t asked_ns;
	struct connection *connections;
	size_t n_connections;
	uint64_t looked_ns; /* at how long they take */
};

static const struct {
	const char *path, *type;
} pages[HTTP_PAGES_N] = {
#define X(NAME, path, type) { path, type },
	HTTP_PAGES(X)
#undef X
};

/* keep: MHD_RESPMEM_PERSISTENT or _MUST_FREE. */
static struct MHD_Response *new_response(char *text, const char *type,
					 enum MHD_ResponseMemoryMode keep)
{
	static const char *const headers[][2] = {
		{ "Content-Security-Policy", CONTENT_RULES },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Referrer-Policy", "no-referrer" },
		{ "Cross-Origin-Resource-Policy", "same-origin" },
		{ "Cache-Control", "no-store" },
		{ "Connection", "close" }, /* so that no client can keep its place */
	};
	struct MHD_Response *r = lib.MHD_create_response_from_buffer(strlen(text), text, keep);

	for (size_t i = 0; r && i < ARRAY_SIZE(headers); i++)
		lib.MHD_add_response_header(r, headers[i][0], headers[i][1]);
	if (r)
		lib.MHD_add_response_header(r, "Content-Type", type);
	return r;
}

void http_publish(struct http *h, enum http_page page, unsigned int status, char *text)
{
	struct MHD_Response *r, *before;

	r = text ? new_response(text, pages[page].type, MHD_RESPMEM_MUST_FREE) : NULL;
	if (!r)
		return;
	pthread_mutex_lock(&h->lock);
	before = h->answers[page].response;
	h->answers[page] = (struct answer) { status, r };
	pthread_mutex_unlock(&h->lock);
	if (before) /* it lives until the last client has it */
		lib.MHD_destroy_response(before);
}

uint64_t http_asked_ns(struct http *h)
{
	return __atomic_load_n(&h->asked_ns, __ATOMIC_RELAXED);
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned int status, const char *why)
{
	struct MHD_Response *r =
		new_response((char *)why, "text/plain; charset=utf-8", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	if (r && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		lib.MHD_add_response_header(r, "Allow", "GET");
	result = r ? lib.MHD_queue_response(c, status, r) : MHD_NO;
	if (r)
		lib.MHD_destroy_response(r);
	return result;
}

/* ------ whom it is meant for ------ */

/* "NAME", "NAME:PORT", "[IPv6]:PORT": the name is ours. A browser sends the name that it was given,
 * and a page of somebody else's can give it one that leads here, but not one of these. */
static bool is_ours(const struct http *h, const char *host)
{
	size_t n = host ? strcspn(host, *host == '[' ? "]" : ":") : 0;
	const char *rest = n ? host + n : "";

	if (n && *host == '[') {
		host++;
		n--;
		if (*rest != ']')
			return false;
		rest++;
	}
	if (!n || (*rest && (*rest != ':' || strspn(rest + 1, "0123456789") != strlen(rest + 1))))
		return false;
	for (size_t i = 0; i < h->config->n_hosts + 4; i++) {
		const char *const own[] = { "localhost", "127.0.0.1", "::1", h->own };
		const char *name = i < 4 ? own[i] : h->config->hosts[i - 4];

		if (strlen(name) == n && !strncasecmp(name, host, n))
			return true;
	}
	return false;
}

static bool wants_openmetrics(struct MHD_Connection *c)
{
	const char *accept =
		lib.MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);

	return accept && strstr(accept, "application/openmetrics-text");
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	struct http *h = arg;
	enum http_page page = 0;
	enum MHD_Result r;

	if (!is_ours(h, lib.MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)))
		return refuse(c, MHD_HTTP_MISDIRECTED_REQUEST,
			      "vpnleash: this host is called otherwise (--host NAME)\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET))
		return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "vpnleash: GET alone\n");
	while (page < HTTP_PAGES_N && strcmp(url, pages[page].path))
		page++;
	if (page == HTTP_PAGES_N)
		return refuse(c, MHD_HTTP_NOT_FOUND, "vpnleash: no such page\n");
	if (page == HTTP_METRICS && wants_openmetrics(c))
		page = HTTP_OPENMETRICS;
	__atomic_store_n(&h->asked_ns, now_boot_ns(), __ATOMIC_RELAXED);
	pthread_mutex_lock(&h->lock);
	r = h->answers[page].response
		    ? lib.MHD_queue_response(c, h->answers[page].status, h->answers[page].response)
		    : refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE,
			     "vpnleash: the daemon has not answered yet\n");
	pthread_mutex_unlock(&h->lock);
	return r;
}

/* ------ time ------ */

static void on_connection(void *arg, struct MHD_Connection *c, void **socket_state,
			  enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info =
		lib.MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *mine = *socket_state;
	struct http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		mine = info ? malloc(sizeof(*mine)) : NULL;
		if (!mine)
			return;
		*mine = (struct connection) { info->connect_fd, now_boot_ns(), h->connections };
		h->connections = *socket_state = mine;
		h->n_connections++;
	} else if (mine) { /* its descriptor is closed after this */
		struct connection **at = &h->connections;

		while (*at != mine)
			at = &(*at)->next;
		*at = mine->next;
		h->n_connections--;
		free(mine);
	}
}

/* libmicrohttpd's own time-out begins anew with each byte. */
static void end_slow_ones(struct http *h)
{
	uint64_t longest = h->n_connections < CONNECTIONS ? WHOLE_NS : CROWDED_NS;
	uint64_t now = now_boot_ns();

	if (now - h->looked_ns < LOOK_MS * NS_PER_MSEC)
		return;
	h->looked_ns = now;
	for (const struct connection *c = h->connections; c; c = c->next)
		if (now - c->since_ns > longest)
			shutdown(c->fd, SHUT_RDWR);
}

int http_serve(struct http *h, struct error *err)
{
	const union MHD_DaemonInfo *info =
		lib.MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd p = { .fd = info ? info->epoll_fd : -1, .events = POLLIN };

	while (p.fd >= 0) {
		MHD_UNSIGNED_LONG_LONG wait_ms;
		int timeout = -1;

		if (lib.MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES)
			timeout = wait_ms < LOOK_MS ? (int)wait_ms : LOOK_MS;
		else if (h->n_connections)
			timeout = LOOK_MS;
		if (poll(&p, 1, timeout) < 0 && errno != EINTR)
			break;
		if (lib.MHD_run(h->daemon) != MHD_YES)
			break;
		end_slow_ones(h);
	}
	return fail(err, ERROR_OTHER, -errno, NULL, "serve HTTP");
}

/* ------ start ------ */

static int open_socket(const struct http_config *config, const char *shown, struct error *err)
{
	const struct sockaddr *a = &config->address.any;
	bool v6 = a->sa_family == AF_INET6;
	_cleanup_fd int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, a, v6 ? sizeof(config->address.v6) : sizeof(config->address.v4)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return fail(err, ERROR_OTHER, -errno, "another one? else see --listen",
			    "listen on %s port %d", shown,
			    ntohs(v6 ? config->address.v6.sin6_port : config->address.v4.sin_port));
	return TAKE_FD(fd);
}

int http_open(struct http **ret, const struct http_config *config, struct error *err)
{
	struct http *h = calloc(1, sizeof(*h));
	const void *bytes = config->address.any.sa_family == AF_INET6
				    ? (const void *)&config->address.v6.sin6_addr
				    : &config->address.v4.sin_addr;
	int fd, r = h ? load_library(err) : fail(err, ERROR_OTHER, -ENOMEM, NULL, "listen");

	if (r)
		return r;
	*h = (struct http) { .config = config, .lock = PTHREAD_MUTEX_INITIALIZER };
	inet_ntop(config->address.any.sa_family, bytes, h->own, sizeof(h->own));
	privilege_files();
	fd = open_socket(config, h->own, err);
	if (fd < 0)
		return fd;
	h->daemon = lib.MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)(WHOLE_NS / NS_PER_SEC), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)REQUEST_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_END);
	if (!h->daemon)
		return fail(err, ERROR_OTHER, -EIO, NULL, "start libmicrohttpd");
	*ret = h;
	return 0;
}
