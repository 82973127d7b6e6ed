/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked for a sign of life: the key `probe`, and what is asked where it is not given; and
 * the key `identity`. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

#define FORMS                                                                                      \
	"dns:NAME@IP, icmp:IP or tcp:IP:PORT with an IPv4 address, handshake:180s, exec:PROGRAM, " \
	"or none"
#define PAGE	   "http://HOST/PATH expect TEXT, or https; HOST is a name or an IPv4 address"
#define AGE_MIN_NS (10 * NS_PER_SEC)
#define AGE_MAX_NS (3600 * NS_PER_SEC)

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	if (!strcmp(name, "."))
		return true;
	if (!n || n > 253 || *name == '.' || strstr(name, ".."))
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return false;
	for (n = 0; *name; name++) {
		n = *name == '.' ? 0 : n + 1;
		if (n > 63)
			return false;
	}
	return true;
}

/* A host elsewhere: what answers on loopback answers with a dead tunnel as well. */
static bool read_host(const char *text, struct in_addr *ret)
{
	uint32_t first;

	if (inet_pton(AF_INET, text, ret) != 1)
		return false;
	first = ntohl(ret->s_addr) >> 24;
	return first && first != 127 && first < 224;
}

static bool read_dns(char *text, struct probe_rule *ret)
{
	char *at = strchr(text, '@');

	if (!at)
		return false;
	*at = '\0';
	if (!is_name(text))
		return false;
	memcpy(ret->name, text, strlen(text) + 1); /* of 253 at most */
	return read_host(at + 1, &ret->to);
}

static bool read_tcp(char *text, struct probe_rule *ret)
{
	char *colon = strchr(text, ':'), *end;
	unsigned long port;

	if (!colon || !isdigit((unsigned char)colon[1]))
		return false;
	*colon = '\0';
	port = strtoul(colon + 1, &end, 10);
	ret->port = (uint32_t)port;
	return !*end && port && port <= 65535 && read_host(text, &ret->to);
}

static bool read_handshake(const char *text, struct probe_rule *ret)
{
	return !parse_duration(text, &ret->age_ns) && ret->age_ns >= AGE_MIN_NS &&
	       ret->age_ns <= AGE_MAX_NS;
}

static bool read_exec(const char *text, struct probe_rule *ret)
{
	return *text == '/' && strlen(text) < 256 && /* see struct check */
	       snprintf(ret->name, sizeof(ret->name), "%s", text) < (int)sizeof(ret->name);
}

int probe_add(struct probe_rules *r, const char *text, struct error *err)
{
	struct probe_rule *p = &r->rule[r->n];
	char buf[320], *value;
	bool right = false;

	if (r->none || (!strcmp(text, "none") && r->n))
		return wrong(err, "give none alone", "none of the others counts beside none");
	r->none = !strcmp(text, "none");
	if (r->none)
		return 0;
	if (r->n == RULES_PROBES)
		return wrong(err, "any one that answers counts", "more than %d probes",
			     RULES_PROBES);
	snprintf(buf, sizeof(buf), "%s", text);
	value = strchr(buf, ':');
	if (value)
		*value++ = '\0';
	memset(p, 0, sizeof(*p));
	p->kind = !strcmp(buf, "dns")	      ? PROBE_DNS
		  : !strcmp(buf, "icmp")      ? PROBE_ICMP
		  : !strcmp(buf, "tcp")	      ? PROBE_TCP
		  : !strcmp(buf, "handshake") ? PROBE_HANDSHAKE
		  : !strcmp(buf, "exec")      ? PROBE_EXEC
					      : 0;
	if (value && strlen(text) < sizeof(buf))
		right = p->kind == PROBE_DNS	     ? read_dns(value, p)
			: p->kind == PROBE_ICMP	     ? read_host(value, &p->to)
			: p->kind == PROBE_TCP	     ? read_tcp(value, p)
			: p->kind == PROBE_HANDSHAKE ? read_handshake(value, p)
			: p->kind == PROBE_EXEC	     ? read_exec(value, p)
						     : false;
	if (!right)
		return wrong(err, FORMS, "not a probe");
	r->n++;
	return 0;
}

void probe_defaults(struct probe_rules *r, uint32_t resolver)
{
	const struct in_addr to = { resolver };

	if (r->n || r->none)
		return;
	r->by_default = true;
	r->n = 3;
	r->rule[0].kind = PROBE_DNS;
	strcpy(r->rule[0].name, ".");
	r->rule[1].kind = PROBE_ICMP;
	r->rule[2].kind = PROBE_TCP;
	r->rule[2].port = 443;
	for (size_t i = 0; i < r->n; i++)
		r->rule[i].to = to;
}

const char *probe_text(const struct probe_rule *p, char buf[PROBE_TEXT])
{
	char to[INET_ADDRSTRLEN] = "";

	inet_ntop(AF_INET, &p->to, to, sizeof(to));
	switch (p->kind) {
	case PROBE_DNS:
		snprintf(buf, PROBE_TEXT, "dns:%s@%s", p->name, to);
		break;
	case PROBE_ICMP:
		snprintf(buf, PROBE_TEXT, "icmp:%s", to);
		break;
	case PROBE_TCP:
		snprintf(buf, PROBE_TEXT, "tcp:%s:%u", to, p->port);
		break;
	case PROBE_HANDSHAKE:
		snprintf(buf, PROBE_TEXT, "handshake:%llus",
			 (unsigned long long)(p->age_ns / NS_PER_SEC));
		break;
	case PROBE_EXEC:
		snprintf(buf, PROBE_TEXT, "exec:%s", p->name);
		break;
	}
	return buf;
}

/* ------ identity ------ */

/* HOST[:PORT] of n bytes. */
static bool read_place(const char *text, size_t n, struct identity_rule *ret)
{
	const char *colon = memchr(text, ':', n);
	size_t length = colon ? (size_t)(colon - text) : n;
	unsigned long port = 0;
	struct in_addr to;
	char *end;

	if (!length || length >= sizeof(ret->host))
		return false;
	memcpy(ret->host, text, length);
	ret->host[length] = '\0';
	if (colon) {
		port = isdigit((unsigned char)colon[1]) ? strtoul(colon + 1, &end, 10) : 0;
		if (!port || port > 65535 || end != text + n)
			return false;
		ret->port = (uint32_t)port;
	}
	/* a host of numbers is an address, however libcurl may read it */
	if (isdigit((unsigned char)ret->host[length - 1]))
		return read_host(ret->host, &to);
	return is_name(ret->host) && ret->host[length - 1] != '.';
}

static bool read_url(const char *url, struct identity_rule *ret)
{
	bool plain = !strncmp(url, "http://", 7);
	const char *host = url + (plain ? 7 : 8);

	if (!plain && strncmp(url, "https://", 8))
		return false;
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"'\\<>{}^`|#", *c))
			return false;
	ret->port = plain ? 80 : 443;
	return read_place(host, strcspn(host, "/?"), ret);
}

int identity_set(struct identity_rule *r, const char *text, struct error *err)
{
	static const char between[] = " expect ";
	const char *expect = strstr(text, between);
	struct identity_rule new = { 0 };
	size_t n = expect ? (size_t)(expect - text) : 0;

	if (!n || n >= sizeof(new.url))
		return wrong(err, PAGE, "not an identity");
	expect += strlen(between);
	expect += strspn(expect, " ");
	if (!*expect || strlen(expect) >= sizeof(new.expect))
		return wrong(err, PAGE, "what is expected is empty, or longer than %zu bytes",
			     sizeof(new.expect) - 1);
	for (; n && text[n - 1] == ' '; n--)
		;
	memcpy(new.url, text, n);
	strcpy(new.expect, expect);
	if (!read_url(new.url, &new))
		return wrong(err, PAGE, "not the address of a page that can be asked");
	*r = new;
	return 0;
}
