/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child that asks one page once, and ends with what it found. Its sockets are opened in the
 * tunnel's netns and bound to the tunnel's index while it is root; then it gives up every right,
 * and every system call but those that libcurl makes on sockets that are there. The socket is bound
 * for life: to bind it anew takes CAP_NET_RAW. A name's address is asked for by a socket that is
 * bound likewise.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/libcurl.h"
#include "base/nl.h"
#include "base/privilege.h"
#include "identity_calls.h"
#include "prober/check.h"
#include "prober/wire.h"

#define ANSWER_MAX 65536 /* of the page, and of its headers */
#define MEMORY_MAX (64UL << 20)
#define DNS_TRIES  3
#define DNS_MS	   1000

/* What is open beside the standard descriptors, in this order: the lowest free number is the next.
 */
enum { FD_LINKS = 3, FD_DNS, FD_WAY, FD_PAGE };

static unsigned int tunnel_index;

/*
 * While the kernel still has something to send for a socket, it does so by whatever device has that
 * index: the child ends, and its connection with it, as soon as the tunnel is another one.
 */
static void on_link(int signal)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} m;
	int kept = errno;
	ssize_t n;

	/* the kernel's or a stranger's: all that one can do by it is to end this */
	while ((n = recv(FD_LINKS, &m, sizeof(m), MSG_DONTWAIT)) >= 0)
		if (n == sizeof(m) &&
		    (m.head.nlmsg_type == RTM_DELLINK ||
		     (m.head.nlmsg_type == RTM_NEWLINK && !(m.link.ifi_flags & IFF_UP))) &&
		    m.link.ifi_index == (int)tunnel_index)
			_exit(IDENTITY_LINK);
	if (errno != EAGAIN) /* something was lost */
		_exit(IDENTITY_LINK);
	errno = kept;
}

/* Before the first socket is bound, so that nothing is missed. */
static int watch_links(const struct check *c)
{
	const struct sigaction action = { .sa_handler = on_link, .sa_flags = SA_RESTART };
	int fd = nl_open(-1, NETLINK_ROUTE), group = RTNLGRP_LINK;
	char name[IFNAMSIZ];

	tunnel_index = c->ifindex;
	if (fd != FD_LINKS || sigaction(SIGIO, &action, NULL) < 0 ||
	    fcntl(FD_LINKS, F_SETOWN, getpid()) < 0 ||
	    fcntl(FD_LINKS, F_SETFL, O_ASYNC | O_NONBLOCK) < 0 ||
	    setsockopt(FD_LINKS, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return IDENTITY_UNABLE;
	return if_indextoname(c->ifindex, name) && !strcmp(name, c->interface) ? 0 : IDENTITY_LINK;
}

static int open_at(int at, int type, unsigned int bound)
{
	int fd = socket(AF_INET, type, 0);

	if (bound && setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &bound, sizeof(bound)) < 0)
		return -1;
	return fd == at ? 0 : -1;
}

static int open_sockets(const struct check *c)
{
	struct linger at_once = { .l_onoff =
					  1 }; /* nothing of it is left to be sent when it ends */
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(53),
				  .sin_addr = c->resolver };
	int r = watch_links(c);

	if (r)
		return r;
	if (open_at(FD_DNS, SOCK_DGRAM, c->ifindex) < 0 || open_at(FD_WAY, SOCK_DGRAM, 0) < 0 ||
	    open_at(FD_PAGE, SOCK_STREAM, c->ifindex) < 0 ||
	    setsockopt(FD_PAGE, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0)
		return IDENTITY_UNABLE;
	/* no address to send from, or no route */
	return connect(FD_DNS, (struct sockaddr *)&to, sizeof(to)) < 0 ? IDENTITY_UNREACHED : 0;
}

/*
 * To an answer that comes when its socket is closed the kernel answers by the routes. Do they lead
 * by the tunnel as well? Then who is bound to it and who is not have one address to send from.
 */
static bool leads(struct in_addr to)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = to };
	struct sockaddr_in bound = { 0 }, free = { 0 };
	const struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t bound_size = sizeof(bound), free_size = sizeof(free);

	/* who was connected before keeps that address to send from */
	return connect(FD_WAY, &none, sizeof(none)) == 0 &&
	       connect(FD_WAY, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	       getsockname(FD_WAY, (struct sockaddr *)&free, &free_size) == 0 &&
	       getsockname(FD_DNS, (struct sockaddr *)&bound, &bound_size) == 0 &&
	       free.sin_addr.s_addr == bound.sin_addr.s_addr;
}

static int limit_all(void)
{
	static const struct {
		__rlimit_resource_t which;
		rlim_t max;
	} limits[] = { { RLIMIT_DATA, MEMORY_MAX },
		       { RLIMIT_CPU, CHECK_IDENTITY_NS / NS_PER_SEC },
		       { RLIMIT_FSIZE, 0 },
		       { RLIMIT_CORE, 0 },
		       { RLIMIT_NOFILE, 64 } };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (setrlimit(limits[i].which, &(struct rlimit) { limits[i].max, limits[i].max }) <
		    0)
			return -errno;
	return 0;
}

/* ------ the name ------ */

static int read_address(const uint8_t *question, size_t n, struct in_addr *ret)
{
	uint64_t end_ns = now_boot_ns() + DNS_MS * NS_PER_MSEC, now;
	struct pollfd p = { .fd = FD_DNS, .events = POLLIN };
	uint8_t answer[1500];

	while ((now = now_boot_ns()) < end_ns) {
		ssize_t got = poll(&p, 1, (int)((end_ns - now) / NS_PER_MSEC) + 1) > 0
				      ? recv(FD_DNS, answer, sizeof(answer), MSG_DONTWAIT)
				      : -1;

		if (got >= 0 && wire_answer_parse(answer, (size_t)got, question, n) >= 0)
			return wire_answer_address(answer, (size_t)got, n, ret) ? IDENTITY_NO_NAME
										: 0;
	}
	return -EAGAIN;
}

static int find_address(const struct check *c, struct in_addr *ret)
{
	uint8_t question[WIRE_QUESTION_SIZE];
	int r = -EAGAIN;

	if (inet_pton(AF_INET, c->host, ret) == 1)
		return 0;
	for (int i = 0; r == -EAGAIN && i < DNS_TRIES; i++) {
		struct wire_echo random;
		size_t n;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return IDENTITY_UNABLE;
		n = wire_question(c->host, &random, question);
		if (!n)
			return IDENTITY_NO_NAME;
		send(FD_DNS, question, n, MSG_NOSIGNAL);
		r = read_address(question, n, ret);
	}
	return r == -EAGAIN ? IDENTITY_NO_NAME : r;
}

/* ------ the page ------ */

static struct {
	char text[ANSWER_MAX];
	size_t n, headers;
	bool begun; /* the one connection */
} answer;

static size_t take_text(char *data, size_t size, size_t count, void *nothing)
{
	size_t n = size * count;

	if (n > sizeof(answer.text) - answer.n)
		return 0;
	memcpy(answer.text + answer.n, data, n);
	answer.n += n;
	return n;
}

static size_t take_header(char *data, size_t size, size_t count, void *nothing)
{
	size_t n = size * count;

	if (n > ANSWER_MAX - answer.headers)
		return 0;
	answer.headers += n;
	return n;
}

static curl_socket_t give_socket(void *nothing, curlsocktype of, struct curl_sockaddr *to)
{
	if (answer.begun || to->family != AF_INET)
		return CURL_SOCKET_BAD;
	answer.begun = true;
	return FD_PAGE;
}

static int result_of(CURLcode code, long status)
{
	switch (code) {
	case CURLE_OK:
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		return IDENTITY_UNREACHED;
	case CURLE_WRITE_ERROR:
		return IDENTITY_TOO_MUCH;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
		return IDENTITY_UNENCRYPTED;
	case CURLE_OUT_OF_MEMORY:
	case CURLE_FAILED_INIT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return IDENTITY_UNABLE;
	default:
		return IDENTITY_GARBAGE;
	}
	return status == 200 ? 0 : status / 100 == 3 ? IDENTITY_ELSEWHERE : IDENTITY_REFUSED;
}

static int ask_page(const struct check *c, struct in_addr address)
{
	char host[sizeof(c->host) + 32], text[INET_ADDRSTRLEN];
	struct curl_slist *hosts;
	CURL *h = libcurl.easy_init();
	CURLcode code;
	long status = 0;
	int r;

	inet_ntop(AF_INET, &address, text, sizeof(text));
	snprintf(host, sizeof(host), "%s:%u:%s", c->host, c->port, text);
	hosts = libcurl.slist_append(NULL, host);
	if (!h || !hosts)
		return IDENTITY_UNABLE;
	libcurl.easy_setopt(h, CURLOPT_URL, c->text);
	libcurl.easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	libcurl.easy_setopt(h, CURLOPT_RESOLVE, hosts);
	libcurl.easy_setopt(h, CURLOPT_IPRESOLVE, CURL_IPRESOLVE_V4);
	libcurl.easy_setopt(h, CURLOPT_PROXY, "");
	libcurl.easy_setopt(h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	libcurl.easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	libcurl.easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, give_socket);
	libcurl.easy_setopt(h, CURLOPT_WRITEFUNCTION, take_text);
	libcurl.easy_setopt(h, CURLOPT_HEADERFUNCTION, take_header);
	libcurl.easy_setopt(h, CURLOPT_USERAGENT, "vpnleash");
	code = libcurl.easy_perform(h);
	libcurl.easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	r = result_of(code, status);
	if (r)
		return r;
	if (!answer.n)
		return IDENTITY_NOTHING;
	return memmem(answer.text, answer.n, c->expect, strlen(c->expect)) ? IDENTITY_RIGHT
									   : IDENTITY_WRONG;
}

int identity_ask(const struct check *c, int netns_fd, pid_t parent)
{
	struct in_addr address;
	struct error err;
	int r;

	alarm(CHECK_IDENTITY_NS / NS_PER_SEC + 1); /* should nobody else end it */
	if (setns(netns_fd, CLONE_NEWNET) < 0 || close_range(0, ~0U, 0) < 0 ||
	    open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2)
		return IDENTITY_UNABLE;
	r = open_sockets(c);
	if (r)
		return r;
	if (clearenv() || limit_all() || privilege_give_up(parent) ||
	    libcurl_load(CURL_GLOBAL_SSL, &err) || PRIVILEGE_FILTER(identity_filter))
		return IDENTITY_UNABLE;
	if (!c->guarded && !leads(c->resolver))
		return IDENTITY_BESIDE;
	r = find_address(c, &address);
	if (!r && !c->guarded && !leads(address))
		r = IDENTITY_BESIDE;
	close(FD_WAY);
	return r ? r : ask_page(c, address);
}
