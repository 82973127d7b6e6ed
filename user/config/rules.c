/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of the guard's keys: where the VPN may go, who may come in, who may be reached. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

#define PRESET_WARP "preset:cloudflare-warp"

/*
 * Cloudflare WARP. As published in
 * https://developers.cloudflare.com/cloudflare-one/connections/connect-devices/warp/deployment/firewall/:
 * ingress (WireGuard, MASQUE with its fallbacks) and, for `bootstrap`, the client's API and DNS
 * over HTTPS. The consumer client's own ranges, marked below, are not on that page: its ingress
 * name engage.cloudflareclient.com lies in the first.
 */
static const char *const warp_endpoints[] = {
	"162.159.193.0/24:2408/udp",
	"162.159.193.0/24:500/udp",
	"162.159.193.0/24:1701/udp",
	"162.159.193.0/24:4500/udp",
	"162.159.197.0/24:443/udp",
	"162.159.197.0/24:500/udp",
	"162.159.197.0/24:1701/udp",
	"162.159.197.0/24:4500/udp",
	"162.159.197.0/24:4443/udp",
	"162.159.197.0/24:8443/udp",
	"162.159.197.0/24:8095/udp",
	"162.159.197.0/24:443/tcp",
	/* the consumer client's */
	"162.159.192.0/24:2408/udp",
	"162.159.192.0/24:500/udp",
	"162.159.192.0/24:1701/udp",
	"162.159.192.0/24:4500/udp",
	"162.159.198.0/24:443/udp",
	"162.159.198.0/24:443/tcp",
	"[2606:4700:100::/48]:2408/udp",
	"[2606:4700:102::/48]:443/udp",
	"[2606:4700:102::/48]:443/tcp",
	"[2606:4700:103::/48]:443/udp", /* the consumer client's */
	"[2606:4700:103::/48]:443/tcp",
};
static const char *const warp_hosts[] = { "162.159.137.105", "162.159.138.105", "162.159.36.1",
					  "162.159.46.1" };

bool prefix_contains(const struct prefix *p, const uint8_t address[16])
{
	unsigned int bytes = p->length / 8, bits = p->length % 8;

	return !memcmp(p->address, address, bytes) &&
	       (!bits || !((p->address[bytes] ^ address[bytes]) >> (8 - bits)));
}

bool prefixes_overlap(const struct prefix *a, const struct prefix *b)
{
	return a->length <= b->length ? prefix_contains(a, b->address)
				      : prefix_contains(b, a->address);
}

/* A decimal number and nothing else. */
static bool read_number(const char *s, unsigned int min, unsigned int max, unsigned int *ret)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || n < min || n > max)
		return false;
	*ret = (unsigned int)n;
	return true;
}

static int read_prefix(const char *text, struct prefix *ret, struct error *err)
{
	char host[INET6_ADDRSTRLEN], shown[128];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	struct prefix p = { 0 };
	unsigned int length, most;

	escape(shown, sizeof(shown), text);
	if (n >= sizeof(host))
		return wrong(err, "an IP address or IP/LENGTH", "'%s' is not one", shown);
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, p.address + 12) == 1) {
		p.address[10] = p.address[11] = 0xff;
		most = 32;
	} else if (inet_pton(AF_INET6, host, p.address) == 1) {
		most = 128;
	} else {
		return wrong(err,
			     "an IP address or IP/LENGTH; names are not looked up: vpnleash asks "
			     "no resolver",
			     "'%s' is not an address", shown);
	}
	length = most;
	if (slash && !read_number(slash + 1, 0, most, &length))
		return wrong(err, "IP/LENGTH", "'%s': the length is 0 to %u", shown, most);
	p.length = (uint8_t)(128 - most + length);
	for (unsigned int bit = p.length; bit < 128; bit++)
		if (p.address[bit / 8] & (0x80 >> bit % 8))
			return wrong(err, "clear the bits behind the length",
				     "'%s' is an address inside its network", shown);
	*ret = p;
	return 0;
}

/* Can it be a host elsewhere? Not everything, loopback or multicast. */
static bool is_host(const struct prefix *p)
{
	const uint8_t *a = p->address;

	if (is_mapped(a))
		return p->length >= 96 + 8 && a[12] && a[12] != 127 && a[12] < 224;
	return p->length >= 16 && a[0] != 0xff && (a[0] || a[1]);
}

static int read_protocol(const char *s, uint8_t *ret)
{
	*ret = !strcmp(s, "udp") ? IPPROTO_UDP : !strcmp(s, "tcp") ? IPPROTO_TCP : 0;
	return *ret ? 0 : -EINVAL;
}

/* Cut "ADDRESS:PORT/PROTOCOL", or "[ADDRESS]:PORT/PROTOCOL", into its parts. */
static int cut_endpoint(char *text, char **ret_address, char **ret_port, char **ret_protocol)
{
	char *protocol = strrchr(text, '/'), *port;

	if (!protocol)
		return -EINVAL;
	*protocol++ = '\0';
	port = strrchr(text, ':');
	if (!port)
		return -EINVAL;
	*port++ = '\0';
	if (*text == '[' && port > text + 2 && port[-2] == ']') {
		port[-2] = '\0';
		text++;
	} else if (strchr(text, ':')) {
		return -EINVAL;
	}
	*ret_address = text;
	*ret_port = port;
	*ret_protocol = protocol;
	return 0;
}

static int add_endpoint(struct endpoint_rules *r, const char *text, struct error *err)
{
	char buf[128], *address, *port, *protocol;
	struct endpoint_rule *e = &r->rule[r->n];
	unsigned int number;
	int q;

	if (r->n == RULES_ENDPOINTS)
		return wrong(err, "give networks", "more than %d endpoints", RULES_ENDPOINTS);
	if ((size_t)snprintf(buf, sizeof(buf), "%s", text) >= sizeof(buf))
		return wrong(err, "IP:PORT/udp", "not an endpoint");
	if (cut_endpoint(buf, &address, &port, &protocol) || read_protocol(protocol, &e->protocol))
		return wrong(err,
			     "IP[/len]:PORT/udp or /tcp, [IPv6]:PORT/udp, preset:cloudflare-warp, "
			     "process, auto",
			     "'%s' is not an endpoint", quote(text));
	if (!read_number(port, 1, 65535, &number))
		return wrong(err, "1 to 65535", "'%s': the port is wrong", quote(text));
	if (number == 53 || number == 853)
		return wrong(err, "bootstrap = IP lets the VPN ask one while it starts",
			     "'%s': a resolver is no endpoint", quote(text));
	e->port = (uint16_t)number;
	q = read_prefix(address, &e->to, err);
	if (q)
		return q;
	if (!is_host(&e->to))
		return wrong(err, "the VPN server's address, or a network of at most /8",
			     "'%s' is no endpoint", quote(text));
	r->n++;
	return 0;
}

int endpoint_add(struct endpoint_rules *r, const char *text, struct error *err)
{
	int q = 0;

	if (!strcmp(text, "auto"))
		return 0;
	if (strncmp(text, "preset:", 7))
		return add_endpoint(r, text, err);
	if (strcmp(text, PRESET_WARP))
		return wrong(err, "there is: " PRESET_WARP, "an unknown preset");
	for (size_t i = 0; !q && i < ARRAY_SIZE(warp_endpoints); i++)
		q = add_endpoint(r, warp_endpoints[i], err);
	return q;
}

static int add_host(struct host_rules *r, const char *text, struct error *err)
{
	int q;

	if (r->n == RULES_HOSTS)
		return wrong(err, "give networks", "more than %d hosts", RULES_HOSTS);
	q = read_prefix(text, &r->host[r->n], err);
	if (q)
		return q;
	if (!is_host(&r->host[r->n]))
		return wrong(err, "an address, or a network of at most /8", "too much, or no host");
	r->n++;
	return 0;
}

int hosts_add(struct host_rules *r, const char *text, struct error *err)
{
	_cleanup_free char *list = strdup(text);
	char *save, *host;

	if (!list)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read the hosts");
	for (host = strtok_r(list, ", ", &save); host; host = strtok_r(NULL, ", ", &save)) {
		bool preset = !strcmp(host, PRESET_WARP);
		size_t n = preset ? ARRAY_SIZE(warp_hosts) : 1;
		int q = 0;

		for (size_t i = 0; !q && i < n; i++)
			q = add_host(r, preset ? warp_hosts[i] : host, err);
		if (q)
			return q;
	}
	return r->n ? 0 : wrong(err, "any, or IP,…", "no host");
}

int dns_set(struct dns_rule *r, const char *text, struct error *err)
{
	struct host_rules hosts = { 0 };
	int q;

	memset(r, 0, sizeof(*r));
	r->mode = !strcmp(text, "none") ? DNS_NONE : !strcmp(text, "auto") ? DNS_AUTO : DNS_SERVERS;
	if (r->mode != DNS_SERVERS)
		return 0;
	q = hosts_add(&hosts, text, err);
	if (q)
		return q;
	for (size_t i = 0; i < hosts.n; i++)
		if (!is_mapped(hosts.host[i].address) || hosts.host[i].length != 128)
			return wrong(err, "auto, none, or one or two IPv4 addresses",
				     "not a resolver");
	if (hosts.n > 2)
		return wrong(err, "one or two", "more than two resolvers");
	memcpy(&r->server[0], hosts.host[0].address + 12, 4);
	memcpy(&r->server[1], hosts.host[hosts.n - 1].address + 12, 4);
	return 0;
}

static int add_from(struct allow_rule *a, const char *from, struct error *err)
{
	struct prefix *p = &a->from[a->n_from];
	int q;

	if (!strcmp(from, "host")) {
		a->from_host = true;
		return 0;
	}
	if (a->n_from == RULES_FROM)
		return wrong(err, "give networks", "more than %d networks", RULES_FROM);
	q = read_prefix(from, p, err);
	if (q)
		return q;
	if (!is_mapped(p->address) || !is_host(p))
		return wrong(err,
			     "IPv4 networks of at most /8; IPv6 clients arrive by docker-proxy, as "
			     "`host`",
			     "not a LAN");
	a->n_from++;
	return 0;
}

static const char *const private_networks[] = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
						"169.254.0.0/16" };

bool is_in_network(const uint8_t address[16], const char *network)
{
	struct prefix p;

	return !read_prefix(network, &p, NULL) && prefix_contains(&p, address);
}

bool is_private(const uint8_t address[16])
{
	for (size_t i = 0; i < ARRAY_SIZE(private_networks); i++)
		if (is_in_network(address, private_networks[i]))
			return true;
	return false;
}

bool is_shared(const uint8_t address[16])
{
	return is_in_network(address, SHARED_NETWORK);
}

/* Who may come in: the list behind 'from', or without one (NULL) the private networks. */
static int read_from(struct allow_rule *a, char *list, struct error *err)
{
	char *save;
	int q = 0;

	if (!list) {
		if (a->protocol == IPPROTO_UDP)
			return wrong(err, "udp/PORT from CIDR,…", "udp needs 'from'");
		a->from_host = true;
		for (size_t i = 0; i < ARRAY_SIZE(private_networks); i++)
			add_from(a, private_networks[i], err);
		a->by_default = (uint8_t)((1U << a->n_from) - 1);
		return 0;
	}
	for (char *from = strtok_r(list, ", \t", &save); !q && from;
	     from = strtok_r(NULL, ", \t", &save))
		q = add_from(a, from, err);
	if (!q && !a->n_from && !a->from_host)
		return wrong(err, "from CIDR,…", "nobody after 'from'");
	return q;
}

/* DNS, SSDP, NAT-PMP, mDNS: they are asked by anybody, and answer with what they know, or let
 * others in. */
static bool is_never(unsigned int port)
{
	static const unsigned int never[] = { 53, 853, 1900, 5350, 5351, 5353, 5355 };

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (port == never[i])
			return true;
	return false;
}

/* Another line for the same port. */
static int add_to_port(struct allow_rule *to, const struct allow_rule *a, struct error *err)
{
	bool more = a->from_host && !to->from_host;

	to->from_host |= a->from_host;
	for (size_t i = 0; i < a->n_from; i++) {
		size_t k = 0;

		while (k < to->n_from && memcmp(&to->from[k], &a->from[i], sizeof(a->from[i])))
			k++;
		if (k == RULES_FROM)
			return wrong(err, "give networks", "more than %d networks", RULES_FROM);
		if (k < to->n_from)
			continue;
		to->from[to->n_from++] = a->from[i];
		to->by_default |= (uint8_t)((a->by_default >> i & 1U) << k);
		more = true;
	}
	return more ? 0 : wrong(err, "keep one", "the port and its networks are given twice");
}

int allow_add(struct allow_rules *r, const char *text, struct error *err)
{
	_cleanup_free char *copy = strdup(text);
	struct allow_rule a;
	char *port, *from;
	unsigned int number;
	int q;

	memset(&a, 0, sizeof(a));
	if (!copy)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read 'allow'");
	if (r->n == RULES_ALLOW)
		return wrong(err, NULL, "more than %d ports", RULES_ALLOW);
	from = copy + strcspn(copy, " \t");
	if (*from)
		*from++ = '\0';
	from += strspn(from, " \t");
	port = strchr(copy, '/');
	if (port)
		*port++ = '\0';
	if (!port || read_protocol(copy, &a.protocol) || !read_number(port, 1, 65535, &number) ||
	    (*from && (strncmp(from, "from", 4) || !strchr(" \t", from[4]))))
		return wrong(err, "tcp/PORT [from CIDR,…], e.g. tcp/8080", "not a port of the LAN");
	if (is_never(number))
		return wrong(err, NULL, "port %u is never answered beside the tunnel", number);
	a.port = (uint16_t)number;
	q = read_from(&a, *from ? from + 4 : NULL, err);
	if (q)
		return q;
	for (size_t i = 0; i < r->n; i++)
		if (r->rule[i].protocol == a.protocol && r->rule[i].port == a.port)
			return add_to_port(&r->rule[i], &a, err);
	memcpy(&r->rule[r->n++], &a, sizeof(a)); /* reload compares bytes, padding too */
	return 0;
}

/* What was written behind `from`. */
static void print_from(FILE *out, const struct allow_rule *a)
{
	const char *between = " from ";

	for (size_t i = 0; i < a->n_from; i++) {
		char address[INET_ADDRSTRLEN];

		if (a->by_default & 1U << i)
			continue;
		inet_ntop(AF_INET, a->from[i].address + 12, address, sizeof(address));
		fprintf(out, "%s%s/%d", between, address, a->from[i].length - 96);
		between = ",";
	}
	if (a->from_host && !a->by_default)
		fprintf(out, "%shost", between);
}

const char *allow_text(const struct allow_rules *r, char *buf, size_t size)
{
	FILE *out = fmemopen(buf, size, "w");
	const char *between = "";

	*buf = '\0';
	for (size_t i = 0; out && i < r->n; i++) {
		const struct allow_rule *a = &r->rule[i];
		const char *protocol = a->protocol == IPPROTO_TCP ? "tcp" : "udp";

		if (a->by_default)
			fprintf(out, "%s%s/%u", between, protocol, a->port);
		between = a->by_default ? ";" : between;
		if (!a->by_default || a->by_default != (1U << a->n_from) - 1) {
			fprintf(out, "%s%s/%u", between, protocol, a->port);
			print_from(out, a);
		}
		between = ";";
	}
	if (out)
		fclose(out);
	buf[size - 1] = '\0';
	return buf;
}

/* Cut "PROTOCOL/ADDRESS:PORT" into its parts. */
static int cut_reach(char *text, char **ret_address, char **ret_port, uint8_t *ret_protocol)
{
	char *address = strchr(text, '/'), *port = strrchr(text, ':');

	if (!address || !port || port < address)
		return -EINVAL;
	*address++ = *port++ = '\0';
	*ret_address = address;
	*ret_port = port;
	return read_protocol(text, ret_protocol);
}

int reach_add(struct reach_rules *r, const char *text, struct error *err)
{
	struct endpoint_rule *e = &r->rule[r->n];
	char buf[128], *address, *port;
	unsigned int number;
	int q;

	if (r->n == RULES_REACH)
		return wrong(err, "give networks", "more than %d hosts and ports", RULES_REACH);
	if ((size_t)snprintf(buf, sizeof(buf), "%s", text) >= sizeof(buf) ||
	    cut_reach(buf, &address, &port, &e->protocol))
		return wrong(err, "tcp/IP:PORT or udp/IP[/len]:PORT, e.g. tcp/192.168.1.10:8989",
			     "'%s' is not a host and a port", quote(text));
	if (!read_number(port, 1, 65535, &number))
		return wrong(err, "1 to 65535", "'%s': the port is wrong", quote(text));
	if (is_never(number))
		return wrong(err, NULL, "port %u is never reached beside the tunnel", number);
	if (strchr(address, ':'))
		return wrong(err, "the host's IPv4 address",
			     "'%s': IPv6 is not let out beside the tunnel", quote(text));
	q = read_prefix(address, &e->to, err);
	if (q)
		return q;
	if (e->to.length < 96 + 24)
		return wrong(err, "a host, or a network of at most /24", "'%s' is too wide",
			     quote(text));
	/* not wider than any of those */
	if (!is_private(e->to.address) && !is_shared(e->to.address))
		return wrong(
			err,
			"in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, " SHARED_NETWORK,
			"'%s' is no private address", quote(text));
	e->port = (uint16_t)number;
	for (size_t i = 0; i < r->n; i++)
		if (!memcmp(&r->rule[i], e, sizeof(*e)))
			return wrong(err, "keep one", "'%s' is given twice", quote(text));
	r->n++;
	return 0;
}
