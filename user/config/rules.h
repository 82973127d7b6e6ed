/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of the guard's keys: where the VPN may go, who may come in. Text → struct. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/* The error of what somebody wrote. */
#define wrong(err, remedy, ...) fail(err, ERROR_INPUT, 0, remedy, __VA_ARGS__)

#define RULES_ENDPOINTS 64
#define RULES_HOSTS	32
#define RULES_ALLOW	16
#define RULES_FROM	8

/* IPv4 as ::ffff:a.b.c.d/96+n */
struct prefix {
	uint8_t address[16];
	uint8_t length;
};

struct endpoint_rule {
	struct prefix to;
	uint8_t protocol; /* IPPROTO_* */
	uint16_t port;
};

struct allow_rule {
	uint8_t protocol;
	uint16_t port;	 /* of the program inside */
	bool from_host;	 /* the underlay's gateway, as which the host and docker-proxy come in */
	bool by_default; /* `from` was not given */
	size_t n_from;
	struct prefix from[RULES_FROM];
};

struct endpoint_rules {
	size_t n;
	struct endpoint_rule rule[RULES_ENDPOINTS];
};
struct host_rules {
	size_t n;
	struct prefix host[RULES_HOSTS];
};
struct allow_rules {
	size_t n;
	struct allow_rule rule[RULES_ALLOW];
};

/* Where names are asked: `dns`. */
enum dns_mode { DNS_AUTO, DNS_SERVERS, DNS_NONE };
struct dns_rule {
	enum dns_mode mode;
	uint32_t server[2]; /* IPv4, network order; one given: twice */
};
/* "auto", "none", "IP[,IP]" */
int dns_set(struct dns_rule *r, const char *text, struct error *err);

bool prefix_contains(const struct prefix *p, const uint8_t address[16]);

/* Each adds what the text says. Errors say what is wrong and what to write; no file, no line. */
/* "IP[/len]:port/proto", "[IP6[/len]]:port/proto", "preset:cloudflare-warp" */
int endpoint_add(struct endpoint_rules *r, const char *text, struct error *err);
/* "IP[/len],…", "preset:cloudflare-warp" */
int hosts_add(struct host_rules *r, const char *text, struct error *err);
/* "tcp/PORT [from CIDR,…|host]" */
int allow_add(struct allow_rules *r, const char *text, struct error *err);
