/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * WireGuard asked where its peers are: the kernel's at once, a process beside the loop; what it
 * said last holds meanwhile. It is believed if it is the VPN: see vpn.h. See edge.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "base/netns.h"
#include "edge/edge_internal.h"
#include "watch/process.h"

#define SEARCH_NS (NS_PER_SEC / 10) /* at most, for who holds the other end */
#define AGAIN_NS  NS_PER_SEC	    /* not sooner, if it was in vain */
#define NEWS_NS	  (NS_PER_SEC / 10) /* news more often than this wait for the next look */

/* Where the socket may be: of a container, in its file system; in an image in which /var/run is no
 * link to /run; in the host's. */
static const struct {
	bool of_vpn;
	const char *dir;
} places[] = {
	{ true, "run/wireguard" },     { true, "var/run/wireguard" }, { true, "run/amneziawg" },
	{ true, "var/run/amneziawg" }, { false, "run/wireguard" },    { false, "run/amneziawg" },
};

static void ask_next(struct edge *e);

/* ------ who answers ------ */

struct holder {
	struct edge *edge;
	uint64_t inode, until_ns;
	pid_t pid; /* 0: not found */
	char cgroup[PATH_MAX];
};

/* Does it hold that very socket, is it the VPN, and still the process that was looked at? */
static bool is_holder(struct holder *h, pid_t pid)
{
	const struct edge *e = h->edge;
	_cleanup_fd int pidfd = pidfd_open(pid, 0);

	if (pidfd < 0 || !process_lives_in(pid, e->place->netns_ino) ||
	    !edge_holds(pid, h->inode) || process_cgroup_held(pid, pidfd, h->cgroup) ||
	    !vpn_may_be(e->vpn, h->cgroup))
		return false;
	h->pid = pid;
	return true;
}

static int note_holder(const struct netns_process *p, void *arg)
{
	struct holder *h = arg;

	if (!vpn_may_be(h->edge->vpn, p->cgroup))
		return 0;
	return is_holder(h, p->pid) || now_boot_ns() > h->until_ns;
}

/* Who listened is known by its number alone, which may be another's by now, and ends where a daemon
 * forks. Whoever holds the other end is who answers. */
static bool is_believed(void *owner, pid_t listener, uint64_t inode)
{
	struct edge *e = owner;
	uint64_t now = now_boot_ns();
	struct holder h = { .edge = e, .inode = inode, .until_ns = now + SEARCH_NS };

	if (!(e->answers && is_holder(&h, e->answers)) && !(listener && is_holder(&h, listener)) &&
	    now - e->searched_ns >= AGAIN_NS) {
		netns_processes(e->place->netns_ino, note_holder, &h);
		e->searched_ns = h.pid ? 0 : now;
	}
	if (!h.pid)
		return false;
	e->answers = h.pid;
	vpn_answered(e->vpn, h.cgroup);
	return true;
}

/* ------ the conversation ------ */

static bool is_same(const struct wireguard *a, const struct wireguard *b)
{
	if (a->listen_port != b->listen_port || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->endpoints[i].port != b->endpoints[i].port ||
		    memcmp(a->endpoints[i].address, b->endpoints[i].address, 16))
			return false;
	return true;
}

/* true: it is told that there is news */
static bool believe(struct edge *e, const struct wireguard *w)
{
	uint64_t now = now_boot_ns();
	bool news = !e->is_wireguard || !is_same(w, &e->wireguard);

	e->wireguard_why[0] = '\0';
	e->wireguard = *w;
	e->is_wireguard = true;
	news &= now - e->news_ns >= NEWS_NS;
	if (news) {
		e->news_ns = now;
		e->place->calls->look_now(e->place->owner);
	}
	return news;
}

static void disbelieve(struct edge *e)
{
	const char *cgroup = vpn_cgroup(e->vpn);
	char why[sizeof(e->wireguard_why)], called[CALLED_LEN];

	snprintf(why, sizeof(why),
		 "who answers for WireGuard at %s.sock is not the VPN%s%s (set endpoint = "
		 "IP:PORT/udp, or netns = container:NAME or unit:NAME of the VPN)",
		 quote(e->asked_for), *cgroup ? ", which is " : "",
		 *cgroup ? place_called(e->place, cgroup, called) : "");
	make_harmless(why);
	if (strcmp(why, e->wireguard_why) && may_log(e->place->log))
		log_line(LOG_LEVEL_WARNING, "tunnel '%s': %s", e->place->config->interface, why);
	memcpy(e->wireguard_why, why, sizeof(why));
}

static void on_answer(void *owner, int r, const struct wireguard *w)
{
	struct edge *e = owner;
	bool told = false;

	if (r)
		e->uapi = NULL;
	if (r == -EXDEV)
		disbelieve(e);
	if (!r)
		told = believe(e, w);
	else if (r != -ETIMEDOUT)
		ask_next(e);
	e->was_asked |= !edge_asks(e);
	if (!told && !edge_asks(e))
		e->place->calls->asked(e->place->owner);
}

static int find_socket(const struct edge *e, size_t place)
{
	pid_t pid = e->vpn_cgroup.level ? vpn_pid(e->vpn) : 0;
	char path[64];
	_cleanup_fd int root = -1;

	if (places[place].of_vpn && !pid)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	root = open(places[place].of_vpn ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s/%.15s.sock", places[place].dir, e->asked_for);
	return uapi_find(root, path);
}

static int ask_at(struct edge *e, size_t place)
{
	struct uapi_question q = { .loop = e->place->loop,
				   .priority = PRIORITY_TIMERS,
				   .diag_fd = e->diag,
				   .owner = e,
				   .is_believed = is_believed,
				   .done = on_answer };
	_cleanup_fd int fd = find_socket(e, place);

	if (fd < 0)
		return fd;
	q.fd = netns_socket(e->place->netns_fd, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	return q.fd < 0 ? q.fd : uapi_ask(&e->uapi, fd, &q);
}

static void ask_next(struct edge *e)
{
	int r = -ENOENT;

	while (r && r != -ETIMEDOUT && e->socket_place < ARRAY_SIZE(places))
		r = ask_at(e, e->socket_place++);
}

/* ------ one beside the tunnel ------ */

struct transport {
	const struct edge *edge;
	uint16_t port;
	struct open_socket found; /* cookie 0: none */
};

static void note_transport(const struct open_socket *s, void *arg)
{
	struct transport *t = arg;

	if (s->protocol == IPPROTO_UDP && s->local_port == t->port && !s->remote_port)
		t->found = *s;
}

static int note_held(const struct netns_process *p, void *arg)
{
	const struct transport *t = arg;

	return edge_holds(p->pid, t->found.inode);
}

/* Its port is bound here: so is its transport, as the kernel binds it where the device was made.
 * Bound by the kernel, that is, and not for another such device. */
bool edge_leaves_here(struct edge *e, const struct links *l, const struct link *link)
{
	struct transport t = { .edge = e };
	struct wireguard w;

	if (wireguard_kernel(e->genl, link->kind, link->ifindex, &w) || !w.listen_port)
		return false;
	t.port = w.listen_port;
	for (size_t i = 0; i < l->n; i++)
		if (l->links[i].ifindex != link->ifindex &&
		    !wireguard_kernel(e->genl, l->links[i].kind, l->links[i].ifindex, &w) &&
		    w.listen_port == t.port)
			return false;
	if (sockets_each(e->diag, note_transport, &t) || !t.found.cookie)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(e->transports); i++)
		if (e->transports[i] == t.found.cookie)
			return true;
	if (netns_processes(e->place->netns_ino, note_held, &t))
		return false;
	e->transports[e->n_transports++ % ARRAY_SIZE(e->transports)] = t.found.cookie;
	return true;
}

bool edge_asks(const struct edge *e)
{
	return uapi_asks(e->uapi);
}

void edge_ask_wireguard(struct edge *e)
{
	struct link_identity link;
	struct wireguard w;

	if (edge_asks(e) || watch_netlink_identity(e->place->link, &link))
		return; /* no tunnel: a new one will find its server where the old one was */
	if (!wireguard_kernel(e->genl, link.kind, link.ifindex, &w)) {
		e->wireguard = w;
		e->is_wireguard = true;
		return;
	}
	e->socket_place = 0;
	snprintf(e->asked_for, sizeof(e->asked_for), "%s", link.name);
	ask_next(e);
}
