/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See wireguard.h. */
#include "watch/wireguard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <linux/wireguard.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/nl.h"

#define DEADLINE_NS 50000000ULL
#define ANSWER_MAX  65536

static void add_endpoint(struct wireguard *w, int family, const void *address, uint16_t port)
{
	struct vpn_endpoint *e;

	if (w->n == WIREGUARD_PEERS || !port)
		return;
	e = &w->endpoints[w->n++];
	*e = (struct vpn_endpoint) { .protocol = IPPROTO_UDP, .port = port };
	if (family == AF_INET6) {
		memcpy(e->address, address, 16);
	} else {
		e->address[10] = e->address[11] = 0xff;
		memcpy(e->address + 12, address, 4);
	}
}

/* ------ the kernel's ------ */

static struct nlmsghdr *genl(char *buf, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	g->cmd = command;
	g->version = version;
	return nlh;
}

static int on_family(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
		    !mnl_attr_validate(attr, MNL_TYPE_U16))
			*(uint16_t *)arg = mnl_attr_get_u16(attr);
	}
	return MNL_CB_OK;
}

static void read_peer(const struct nlattr *peer, struct wireguard *w)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, peer)
	{
		const struct sockaddr *a = mnl_attr_get_payload(attr);
		size_t size = mnl_attr_get_payload_len(attr);

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

static int on_device(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr, *peer;
	struct wireguard *w = arg;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) == WGDEVICE_A_LISTEN_PORT &&
		    !mnl_attr_validate(attr, MNL_TYPE_U16))
			w->listen_port = mnl_attr_get_u16(attr);
		if (mnl_attr_get_type(attr) == WGDEVICE_A_PEERS)
			mnl_attr_for_each_nested(peer, attr) read_peer(peer, w);
	}
	return MNL_CB_OK;
}

int wireguard_kernel(int genl_fd, uint32_t ifindex, struct wireguard *ret)
{
	_Alignas(struct nlmsghdr) char buf[256] = { 0 };
	struct wireguard w = { 0 };
	struct nlmsghdr *nlh;
	uint16_t family = 0;
	int r;

	nlh = genl(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	r = nl_ask(genl_fd, nlh, on_family, &family);
	if (r || !family)
		return -ENODEV;
	memset(buf, 0, sizeof(buf));
	nlh = genl(buf, family, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
	mnl_attr_put_u32(nlh, WGDEVICE_A_IFINDEX, ifindex);
	nlh->nlmsg_flags |= NLM_F_DUMP;
	r = nl_ask(genl_fd, nlh, on_device, &w);
	if (r == -EOPNOTSUPP)
		r = -ENODEV;
	if (!r)
		*ret = w;
	return r;
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

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = now_boot_ns();

	if (now >= deadline_ns || poll(&p, 1, (int)((deadline_ns - now) / 1000000) + 1) <= 0)
		return -ETIMEDOUT;
	return 0;
}

static bool peer_is_of_netns(int fd, uint64_t netns_ino, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	char path[64];
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", peer.pid);
	*ret_pid = peer.pid;
	return !stat(path, &st) && st.st_ino == netns_ino;
}

struct listener {
	const char *name; /* the end of its path */
	uint32_t ino;	  /* 0: any */
	bool found;
};

static int compare_listener(const struct nlmsghdr *nlh, void *arg)
{
	struct listener *l = arg;
	const struct nlattr *attr;
	const struct unix_diag_vfs *vfs = NULL;
	const char *name = NULL;
	size_t n = 0, want = strlen(l->name);

	mnl_attr_for_each(attr, nlh, sizeof(struct unix_diag_msg))
	{
		if (mnl_attr_get_type(attr) == UNIX_DIAG_NAME) {
			name = mnl_attr_get_payload(attr);
			n = mnl_attr_get_payload_len(attr);
		} else if (mnl_attr_get_type(attr) == UNIX_DIAG_VFS &&
			   mnl_attr_get_payload_len(attr) >= sizeof(*vfs)) {
			vfs = mnl_attr_get_payload(attr);
		}
	}
	while (n && !name[n - 1]) /* some count the NUL in, some do not */
		n--;
	l->found |= name && n > want && *name && !memcmp(name + n - want, l->name, want) && vfs &&
		    (!l->ino || vfs->udiag_vfs_ino == l->ino);
	return MNL_CB_OK;
}

/* Of a daemon that forked the peer is known by a process that has ended; its socket, as every one,
 * is of a netns for good. diag_fd asks there. */
static bool listens_in_netns(int diag_fd, const char *name, uint32_t ino)
{
	struct listener l = { .name = name, .ino = ino };
	char buf[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct unix_diag_req *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	q->sdiag_family = AF_UNIX;
	q->udiag_states = 1 << 10; /* TCP_LISTEN of net/tcp_states.h */
	q->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS;
	return diag_fd >= 0 && !nl_ask(diag_fd, nlh, compare_listener, &l) && l.found;
}

/* The whole answer: it ends with an empty line. */
static int converse(int fd, char *buf, uint64_t deadline_ns)
{
	static const char question[] = "get=1\n\n";
	size_t at = 0;

	if (send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) != sizeof(question) - 1)
		return -errno;
	while (at < ANSWER_MAX - 1) {
		ssize_t n = recv(fd, buf + at, ANSWER_MAX - 1 - at, 0);

		if (n > 0) {
			at += (size_t)n;
			buf[at] = '\0';
			if (at >= 2 && !strcmp(buf + at - 2, "\n\n"))
				return 0;
		} else if (!n) {
			return -EBADMSG;
		} else if (errno != EAGAIN) {
			return -errno;
		} else if (wait_for(fd, POLLIN, deadline_ns)) {
			return -ETIMEDOUT;
		}
	}
	return -EBADMSG;
}

int wireguard_userspace(const char *dir, const char *ifname, uint64_t netns_ino, int diag_fd,
			struct wireguard *ret)
{
	uint64_t deadline_ns = now_boot_ns() + DEADLINE_NS;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char name[IFNAMSIZ + 8];
	_cleanup_fd int fd = -1;
	_cleanup_free char *buf = NULL;
	struct stat st;
	pid_t pid;
	int r;

	if ((size_t)snprintf(to.sun_path, sizeof(to.sun_path), "%s/%s.sock", dir, ifname) >=
	    sizeof(to.sun_path))
		return -ENAMETOOLONG;
	if (lstat(to.sun_path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* EAGAIN: its queue is full, as of a process that is stopped */
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : errno == ECONNREFUSED ? -ENOENT : -errno;
	snprintf(name, sizeof(name), "/%s.sock", ifname);
	if (!peer_is_of_netns(fd, netns_ino, &pid)) {
		/* an overlay file system has numbers of its own; but the directory is the
		 * container's */
		if (!listens_in_netns(diag_fd, name,
				      strncmp(dir, "/proc/", 6) ? (uint32_t)st.st_ino : 0))
			return -EXDEV;
		pid = 0;
	}
	buf = malloc(ANSWER_MAX);
	if (!buf)
		return -ENOMEM;
	r = converse(fd, buf, deadline_ns);
	if (!r)
		r = wireguard_parse(buf, ret);
	if (!r)
		ret->pid = pid;
	explicit_bzero(buf, ANSWER_MAX); /* the private key is in there */
	return r;
}
