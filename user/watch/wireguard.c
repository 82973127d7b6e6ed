/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/wireguard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/nl.h"

static void add_endpoint(struct wireguard *w, int family, const void *address, uint16_t port)
{
	struct vpn_endpoint *e;

	if (w->n == WIREGUARD_PEERS || !port)
		return;
	e = &w->endpoints[w->n++];
	*e = (struct vpn_endpoint) { .protocol = IPPROTO_UDP, .port = port };
	map_address(e->address, family, address);
}

/* ------ the kernel's ------ */

static void genl_begin(struct nl_question *ret, uint16_t family, uint16_t flags, uint8_t command,
		       uint8_t version)
{
	struct genlmsghdr *g = nl_begin(ret, family, flags, sizeof(*g));

	g->cmd = command;
	g->version = version;
}

static int on_family(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr;

	if (!nl_has(nlh, sizeof(struct genlmsghdr)))
		return MNL_CB_ERROR;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
		    !mnl_attr_validate(attr, MNL_TYPE_U16))
			*(uint16_t *)arg = mnl_attr_get_u16(attr);
	}
	return MNL_CB_OK;
}

static void add_handshake(struct wireguard *w, const struct nlattr *attr)
{
	struct {
		int64_t s, ns;
	} t;
	int64_t at;

	if (mnl_attr_get_payload_len(attr) != sizeof(t))
		return;
	memcpy(&t, mnl_attr_get_payload(attr), sizeof(t));
	if (t.s < 0 || t.s > INT64_MAX / (int64_t)NS_PER_SEC - 1 || t.ns < 0 ||
	    t.ns >= (int64_t)NS_PER_SEC)
		return;
	at = t.s * (int64_t)NS_PER_SEC + t.ns;
	if (at > w->handshake_ns)
		w->handshake_ns = at;
}

static void read_peer(const struct nlattr *peer, struct wireguard *w)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, peer) {
		const struct sockaddr *a = mnl_attr_get_payload(attr);
		size_t size = mnl_attr_get_payload_len(attr);

		if (mnl_attr_get_type(attr) == WGPEER_A_LAST_HANDSHAKE_TIME)
			add_handshake(w, attr);
		if (mnl_attr_get_type(attr) != WGPEER_A_ENDPOINT)
			continue;
		if (size == sizeof(struct sockaddr_in) && a->sa_family == AF_INET)
			add_endpoint(w, AF_INET, &((const struct sockaddr_in *)a)->sin_addr,
				     ntohs(((const struct sockaddr_in *)a)->sin_port));
		if (size == sizeof(struct sockaddr_in6) && a->sa_family == AF_INET6)
			add_endpoint(w, AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr,
				     ntohs(((const struct sockaddr_in6 *)a)->sin6_port));
	}
}

void wireguard_told(const struct nlmsghdr *nlh, struct wireguard *w)
{
	const struct nlattr *attr, *peer;

	if (!nl_has(nlh, sizeof(struct genlmsghdr)))
		return;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == WGDEVICE_A_LISTEN_PORT &&
		    !mnl_attr_validate(attr, MNL_TYPE_U16))
			w->listen_port = mnl_attr_get_u16(attr);
		if (mnl_attr_get_type(attr) == WGDEVICE_A_PEERS)
			mnl_attr_for_each_nested(peer, attr)
				read_peer(peer, w);
	}
}

static int on_device(const struct nlmsghdr *nlh, void *arg)
{
	wireguard_told(nlh, arg);
	return MNL_CB_OK;
}

/* Each asked by a family of its own name. AmneziaWG's has WireGuard's commands and attributes, and
 * more of them behind these. */
bool wireguard_is_kernel(const char *kind)
{
	return !strcmp(kind, WG_GENL_NAME) || !strcmp(kind, "amneziawg");
}

int wireguard_kernel(int genl_fd, const char *kind, uint32_t ifindex, struct wireguard *ret)
{
	struct nl_question q;
	struct wireguard w = { 0 };
	uint16_t family = 0;
	int r;

	if (!wireguard_is_kernel(kind))
		return -ENODEV;
	genl_begin(&q, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, 1);
	mnl_attr_put_strz(&q.head, CTRL_ATTR_FAMILY_NAME, kind);
	r = nl_ask(genl_fd, &q.head, on_family, &family);
	if (r || !family)
		return -ENODEV;
	genl_begin(&q, family, NLM_F_DUMP, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
	mnl_attr_put_u32(&q.head, WGDEVICE_A_IFINDEX, ifindex);
	r = nl_ask(genl_fd, &q.head, on_device, &w);
	if (r)
		return r == -EOPNOTSUPP ? -ENODEV : r;
	*ret = w;
	return 0;
}

/* ------ a process's ------ */

static int read_endpoint(const char *value, struct wireguard *w)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(value, ':');
	struct in6_addr address;
	unsigned long port;
	char *end;
	size_t n;

	if (!colon)
		return -EBADMSG;
	port = strtoul(colon + 1, &end, 10);
	n = (size_t)(colon - value);
	if (*end || end == colon + 1 || !port || port > 65535 || n >= sizeof(host))
		return -EBADMSG;
	memcpy(host, value, n);
	host[n] = '\0';
	if (*host == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &address) != 1)
			return -EBADMSG;
		add_endpoint(w, AF_INET6, &address, (uint16_t)port);
		return 0;
	}
	if (inet_pton(AF_INET, host, &address) != 1)
		return -EBADMSG;
	add_endpoint(w, AF_INET, &address, (uint16_t)port);
	return 0;
}

int wireguard_parse(char *text, struct wireguard *ret)
{
	struct wireguard w = { 0 };
	bool ended = false;
	char *save, *line;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "listen_port=", 12)) {
			unsigned long port = strtoul(line + 12, NULL, 10);

			if (port > 65535)
				return -EBADMSG;
			w.listen_port = (uint16_t)port;
		} else if (!strncmp(line, "endpoint=", 9)) {
			if (read_endpoint(line + 9, &w))
				return -EBADMSG;
		} else if (!strncmp(line, "errno=", 6)) {
			if (strcmp(line + 6, "0"))
				return -EBADMSG;
			ended = true;
		}
	}
	if (!ended)
		return -EBADMSG;
	*ret = w;
	return 0;
}
