/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listen: metrics and the page, by HTTP. */
#include "listen/listen.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"

#define DEFAULT_ADDRESS "127.0.0.1:9469"

/* "127.0.0.1:9469", "[::1]:9469" */
static int parse_address(const char *text, struct http_config *ret, struct error *err)
{
	const char *colon = strrchr(text, ':');
	char ip[INET6_ADDRSTRLEN + 2], *end;
	size_t n = colon ? (size_t)(colon - text) : 0;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
	bool v6 = *text == '[';
	int r = 0;

	if (n > 2 && n < sizeof(ip) && port && port < 65536 && !*end && colon[1] != '+') {
		snprintf(ip, sizeof(ip), "%.*s", (int)(v6 ? n - 2 : n), v6 ? text + 1 : text);
		if (v6) {
			ret->address.v6.sin6_family = AF_INET6;
			ret->address.v6.sin6_port = htons((uint16_t)port);
			r = colon[-1] == ']' && inet_pton(AF_INET6, ip, &ret->address.v6.sin6_addr);
		} else {
			ret->address.v4.sin_family = AF_INET;
			ret->address.v4.sin_port = htons((uint16_t)port);
			r = inet_pton(AF_INET, ip, &ret->address.v4.sin_addr);
		}
	}
	return r == 1 ? 0
		      : fail(err, ERROR_INPUT, 0,
			     "IP:PORT, such as " DEFAULT_ADDRESS " or [::1]:9469", "--listen '%s'",
			     quote(text));
}

/* There is no password: who reaches it may read it. */
static bool is_loopback(const struct http_config *c)
{
	return c->address.any.sa_family == AF_INET6
		       ? IN6_IS_ADDR_LOOPBACK(&c->address.v6.sin6_addr)
		       : ntohl(c->address.v4.sin_addr.s_addr) >> 24 == 127;
}

int cmd_listen(int argc, char **argv, struct error *err)
{
	static struct http_config config; /* until the process ends */
	int r = parse_address(DEFAULT_ADDRESS, &config, err);

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash listen [--listen IP:PORT] [--host NAME]...\n\n"
		       "Serves what `status` says, by HTTP: / is a page for people, /metrics for Prometheus,\n"
		       "/api/status is JSON, /healthz is 200 if the daemon answers and gate and\n"
		       "guard are in place, else 503. Shows, and changes nothing; there is no password.\n\n"
		       "  --listen IP:PORT  where (" DEFAULT_ADDRESS ")\n"
		       "  --host NAME       what this host may be called beside localhost and IP\n\n"
		       "Run by root it becomes nobody in the group vpnleash.\n"
		       "Example: vpnleash listen, then http://" DEFAULT_ADDRESS
		       "/ in a browser.\n\n"
		       "Exit codes: 2 usage, 4 missing privilege, 5 other failure.\n");
		return EXIT_GOOD;
	}
	for (int i = 1; !r && i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--listen") && value)
			r = parse_address(argv[++i], &config, err);
		else if (!strcmp(argv[i], "--host") && value && config.n_hosts < HTTP_HOSTS)
			config.hosts[config.n_hosts++] = argv[++i];
		else
			r = fail(err, ERROR_INPUT, 0, "see --help", "unknown option '%s'%s",
				 quote(argv[i]), value ? "" : ", or its value is missing");
	}
	if (r)
		return r;
	if (!is_loopback(&config))
		log_line(LOG_LEVEL_WARNING,
			 "who reaches that address may read what is leashed: there is no password");
	return listen_run(&config, err);
}
