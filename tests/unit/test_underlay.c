/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What leads out of a netns; WireGuard's own state; who lives in a netns. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* cmocka's; ours is in base/util.h */

#include "base/netns.h"
#include "watch/process.h"
#include "watch/uapi.h"
#include "watch/underlay.h"
#include "watch/wireguard.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>

static struct error err;

#define NOWHERE (-2) /* no IFLA_LINK_NETNSID; -1: one that says no id */

static enum link_place place(const char *kind, int32_t nsid, uint32_t flags)
{
	struct link l = {
		.elsewhere = nsid != NOWHERE, .peer_nsid = nsid, .flags = flags, .mode = UINT32_MAX
	};

	snprintf(l.kind, sizeof(l.kind), "%s", kind);
	return link_place(&l);
}

static enum link_place mode_place(const char *kind, int32_t nsid, uint32_t mode)
{
	struct link l = { .elsewhere = true, .peer_nsid = nsid, .flags = IFF_UP, .mode = mode };

	snprintf(l.kind, sizeof(l.kind), "%s", kind);
	return link_place(&l);
}

static void links_that_lead_out(void **state)
{
	assert_int_equal(place("", NOWHERE, IFF_LOOPBACK | IFF_UP), LINK_INSIDE);
	assert_int_equal(place("veth", 0, IFF_UP), LINK_GUARDABLE);
	assert_int_equal(place("veth", 3, 0), LINK_GUARDABLE);	       /* also while it is down */
	assert_int_equal(place("veth", NOWHERE, IFF_UP), LINK_INSIDE); /* both ends here */
	for (const char *const *kind =
		     (const char *const[]) { "tun", "bridge", "ipip", "sit", "gre", "vxlan",
					     "dummy", "macvlan", "ipvlan", "vlan", NULL };
	     *kind; kind++) {
		assert_int_equal(place(*kind, NOWHERE, IFF_UP), LINK_INSIDE);
		assert_int_equal(place(*kind, 0, IFF_UP), LINK_UNGUARDABLE); /* made elsewhere */
	}
	for (const char *const *kind =
		     (const char *const[]) { "macvtap", "ipvtap", "vlan", "tun", NULL };
	     *kind; kind++)
		assert_int_equal(mode_place(*kind, 0, MACVLAN_MODE_BRIDGE), LINK_UNGUARDABLE);
	assert_int_equal(mode_place("macvlan", 0, MACVLAN_MODE_BRIDGE), LINK_MACVLAN);
	assert_int_equal(mode_place("macvlan", 0, MACVLAN_MODE_PRIVATE), LINK_MACVLAN);
	assert_int_equal(mode_place("macvlan", 0, MACVLAN_MODE_VEPA), LINK_MACVLAN);
	assert_int_equal(mode_place("macvlan", 0, MACVLAN_MODE_PASSTHRU), LINK_UNGUARDABLE);
	assert_int_equal(mode_place("macvlan", 0, MACVLAN_MODE_SOURCE), LINK_UNGUARDABLE);
	assert_int_equal(mode_place("macvlan", -1, MACVLAN_MODE_BRIDGE), LINK_UNGUARDABLE);
	assert_int_equal(mode_place("ipvlan", 0, IPVLAN_MODE_L2), LINK_IPVLAN);
	assert_int_equal(mode_place("ipvlan", 0, IPVLAN_MODE_L3), LINK_UNGUARDABLE);
	assert_int_equal(mode_place("ipvlan", 0, IPVLAN_MODE_L3S), LINK_UNGUARDABLE);
	assert_int_equal(place("", NOWHERE, IFF_UP), LINK_UNGUARDABLE); /* hardware */
	assert_int_equal(place("veth", -1, IFF_UP),
			 LINK_UNGUARDABLE); /* elsewhere, who knows where */
	assert_int_equal(place("netkit", 0, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("wireguard", NOWHERE, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("a kind of 2031", NOWHERE, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("a kind of 2031", NOWHERE, 0),
			 LINK_INSIDE); /* down: sends nothing */
}

/* By name, where the module is not at hand: who is asked by netlink, whose data the kernel carries.
 * Beside the tunnel each leads out, until its port is found to be bound here. */
static void kinds_of_the_kernel(void **state)
{
	static const struct {
		const char *kind;
		bool wireguard, openvpn;
	} kinds[] = {
		{ "wireguard", true, false },	{ "amneziawg", true, false },
		{ "ovpn", false, true },	{ "ovpn-dco", false, true },
		{ "ovpn-dco-v2", false, true }, { "tun", false, false },
		{ "", false, false },
	};
	struct wireguard w;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		assert_int_equal(wireguard_is_kernel(kinds[i].kind), kinds[i].wireguard);
		assert_int_equal(openvpn_is_kernel(kinds[i].kind), kinds[i].openvpn);
		if (kinds[i].wireguard || kinds[i].openvpn)
			assert_int_equal(place(kinds[i].kind, NOWHERE, IFF_UP), LINK_UNGUARDABLE);
		if (!kinds[i].wireguard) /* nobody is asked, though there is no socket */
			assert_int_equal(wireguard_kernel(-1, kinds[i].kind, 1, &w), -ENODEV);
	}
}

/* In a child with a netns of its own: threads of cmocka stay where they are. */
static void in_new_netns(void (*f)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(77);
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

static void read_a_veth(void)
{
	int rtnl = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	struct links l;
	size_t found = 0;

	CHECK(!system(
		"ip link add v0 type veth peer name v1 && ip addr add 10.1.2.3/20 dev v0 && "
		"ip addr add fd00::7/64 dev v0 nodad && ip link set v0 up && ip link set v1 up && "
		"ip route add default via 10.1.0.9 dev v0"));
	CHECK(!links_read(rtnl, &l, &err));
	for (size_t i = 0; i < l.n; i++) {
		const struct link *v = &l.links[i];

		if (strcmp(v->name, "v0"))
			continue;
		found++;
		CHECK(!strcmp(v->kind, "veth") && !v->elsewhere && v->peer_ifindex);
		CHECK(link_place(v) == LINK_INSIDE);
		CHECK(v->n_addresses >= 2 && v->flags & IFF_UP);
		CHECK(!memcmp(v->addresses[0].address + 12, "\x0a\x01\x02\x03", 4));
		CHECK(v->addresses[0].prefix == 96 + 20 && v->addresses[1].prefix == 64);
		CHECK(default_gateway(rtnl, v->ifindex) == htonl(0x0a010009));
		CHECK(!default_gateway(rtnl, v->peer_ifindex));
	}
	CHECK(found == 1);
	links_free(&l);
}

static void links_are_read(void **state)
{
	in_new_netns(read_a_veth);
}

static int reads(const char *text, struct wireguard *w)
{
	char buf[1024];

	snprintf(buf, sizeof(buf), "%s", text);
	memset(w, 0xee, sizeof(*w));
	return wireguard_parse(buf, w);
}

static void what_wireguard_says(void **state)
{
	struct wireguard w;

	assert_int_equal(reads("private_key=00\nlisten_port=51820\npublic_key=11\n"
			       "endpoint=192.0.2.1:443\npublic_key=22\nendpoint=[2001:db8::1]:9\n"
			       "errno=0\n\n",
			       &w),
			 0);
	assert_int_equal(w.listen_port, 51820);
	assert_int_equal(w.n, 2);
	assert_memory_equal(w.endpoints[0].address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01",
			    16);
	assert_int_equal(w.endpoints[0].port, 443);
	assert_int_equal(w.endpoints[0].protocol, IPPROTO_UDP);
	assert_int_equal(w.endpoints[1].address[0], 0x20);
	assert_int_equal(w.endpoints[1].port, 9);
	assert_int_equal(reads("errno=0\n\n", &w), 0); /* no peer yet */
	assert_int_equal(w.n, 0);
	for (const char *const *bad =
		     (const char *const[]) {
			     "", "listen_port=1\n", "errno=1\n\n", "listen_port=65536\nerrno=0\n\n",
			     "endpoint=192.0.2.1\nerrno=0\n\n", "endpoint=192.0.2.1:0\nerrno=0\n\n",
			     "endpoint=192.0.2.1:65536\nerrno=0\n\n",
			     "endpoint=host:1\nerrno=0\n\n", "endpoint=[::1:1\nerrno=0\n\n",
			     "endpoint=:1\nerrno=0\n\n", NULL };
	     *bad; bad++)
		assert_int_equal(reads(*bad, &w), -EBADMSG);
}

/* One message of a dump: a device with a peer for each of the handshakes, as the kernel writes it;
 * size: of the time's attribute. */
static void told(struct wireguard *w, const int64_t (*handshakes)[2], size_t n, size_t size)
{
	static const struct sockaddr_in at = { .sin_family = AF_INET,
					       .sin_port = 0xbb01,
					       .sin_addr.s_addr = 0x010200c0 };
	_Alignas(struct nlmsghdr) char buf[1024] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nlattr *peers, *peer;

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct genlmsghdr));
	mnl_attr_put_u16(nlh, WGDEVICE_A_LISTEN_PORT, 51820);
	peers = mnl_attr_nest_start(nlh, WGDEVICE_A_PEERS);
	for (size_t i = 0; i < n; i++) {
		peer = mnl_attr_nest_start(nlh, 0);
		mnl_attr_put(nlh, WGPEER_A_ENDPOINT, sizeof(at), &at);
		mnl_attr_put(nlh, WGPEER_A_LAST_HANDSHAKE_TIME, size, handshakes[i]);
		mnl_attr_nest_end(nlh, peer);
	}
	mnl_attr_nest_end(nlh, peers);
	memset(w, 0, sizeof(*w));
	wireguard_told(nlh, w);
	assert_int_equal(w->listen_port, 51820);
	assert_int_equal(w->n, n);
}

static void the_newest_handshake_counts(void **state)
{
	static const int64_t three[][2] = { { 5, 7 }, { 1700000000, 999999999 }, { 0, 0 } },
			     never[][2] = { { 0, 0 } },
			     wrong[][2] = {
				     { -1, 0 }, { 9, -1 }, { 9, 1000000000 }, { INT64_MAX, 0 }
			     };
	struct wireguard w;

	told(&w, three, 3, 16);
	assert_int_equal(w.handshake_ns, 1700000000999999999);
	told(&w, never, 1, 16);
	assert_int_equal(w.handshake_ns, 0);
	told(&w, wrong, 4, 16);
	assert_int_equal(w.handshake_ns, 0);
	told(&w, three, 3, 12);
	assert_int_equal(w.handshake_ns, 0);
}

/* A server that behaves as told: 'e' endless, 's' silent, 'g' good, 'h' half an answer, 'c' closes
 * at once, 'n' accepts nobody, 'a' answers again and again by its first connection alone. */
static pid_t serve(const char *path, char how)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t pid;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pid = fork();
	if (!pid) {
		int client = how == 'n' ? -1 : accept(fd, NULL, NULL);
		char text[] = "endpoint=192.0.2.1:443\nlisten_port=7\nerrno=0\n\n", get[8];

		if (how == 'c')
			_exit(0);
		if (how != 'n' && recv(client, get, 7, MSG_WAITALL) == 7 && strchr("ga", how))
			write(client, text, sizeof(text) - 1);
		for (; how == 'a' && recv(client, get, 7, MSG_WAITALL) == 7;) {
			strchr(text, '7')[0]++;
			write(client, text, sizeof(text) - 1);
			strchr(text, '8')[0]--;
		}
		if (how == 'h')
			write(client, text, 10);
		while (how == 'e' && send(client, "a=b\n", 4, MSG_NOSIGNAL) > 0)
			;
		pause();
	}
	close(fd);
	return pid;
}

struct talk {
	pid_t server; /* 0: whoever it is, it is not believed */
	pid_t before; /* is believed as well; 0: none */
	pid_t listener;
	int diag_fd;
	bool done;
	int r;
	struct wireguard w;
};

struct socket_of {
	uint64_t inode;
	bool held;
};

static void compare_socket(const struct descriptor *d, void *arg)
{
	struct socket_of *s = arg;

	s->held |= d->socket == s->inode;
}

static bool holds(pid_t pid, uint64_t inode)
{
	struct socket_of s = { .inode = inode };

	descriptors_each(pid, compare_socket, &s);
	return s.held;
}

static bool is_believed(void *owner, pid_t listener, uint64_t inode)
{
	struct talk *a = owner;

	a->listener = listener;
	assert_false(holds(getpid(), inode)); /* who listened, and does not hold the other end */
	return (a->server && holds(a->server, inode)) || (a->before && holds(a->before, inode));
}

static void on_done(void *owner, int r, const struct wireguard *w)
{
	struct talk *a = owner;

	assert_false(a->done);
	a->done = true;
	a->r = r;
	if (!r)
		a->w = *w;
}

/* How it ended; no turn of the loop may have waited for the other end. */
static int ask(struct talk *a, sd_event *loop, struct uapi **u, const char *path)
{
	struct uapi_question q = {
		.loop = loop, .owner = a, .is_believed = is_believed, .done = on_done
	};
	int root = open("/", O_PATH | O_DIRECTORY), socket_fd = uapi_find(root, path + 1), r;
	uint64_t start, longest = 0;

	close(root);
	if (socket_fd < 0)
		return socket_fd;
	q.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	q.diag_fd = a->diag_fd;
	start = now_boot_ns();
	a->done = false;
	r = uapi_ask(u, socket_fd, &q);
	close(socket_fd);
	while (!r && !a->done) {
		uint64_t before;

		assert_true(uapi_asks(*u));
		assert_true(sd_event_prepare(loop) > 0 || sd_event_wait(loop, UINT64_MAX) > 0);
		before = now_boot_ns();
		assert_true(sd_event_dispatch(loop) >= 0);
		longest = now_boot_ns() - before > longest ? now_boot_ns() - before : longest;
	}
	assert_true(now_boot_ns() - start < 2 * NS_PER_SEC);
	assert_true(longest < 20 * NS_PER_MSEC);
	if (r || a->r)
		*u = NULL; /* it is gone */
	assert_false(uapi_asks(*u));
	return r ? r : a->r;
}

static void talk_begins(struct talk *a, sd_event **loop)
{
	a->diag_fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	assert_true(sd_event_new(loop) >= 0);
}

static void talk_ends(struct talk *a, sd_event *loop, struct uapi *u)
{
	uapi_stop(u);
	sd_event_unref(loop);
	close(a->diag_fd);
}

static int hold_talk(struct talk *a, const char *path)
{
	struct uapi *u = NULL;
	sd_event *loop;
	int r;

	talk_begins(a, &loop);
	r = ask(a, loop, &u, path);
	talk_ends(a, loop, u);
	return r;
}

static void end_server(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void asked_again(void **state)
{
	char dir[] = "/tmp/vpnleash-XXXXXX", path[64];
	struct talk a = { 0 };
	struct uapi *u = NULL;
	sd_event *loop;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/wg9.sock", dir);
	talk_begins(&a, &loop);
	a.server = serve(path, 'a');
	assert_int_equal(ask(&a, loop, &u, path), 0);
	assert_int_equal(a.w.listen_port, 7);
	for (int i = 0; i < 3; i++) { /* by the first connection: another it does not accept */
		assert_int_equal(ask(&a, loop, &u, path), 0);
		assert_int_equal(a.w.listen_port, 8);
	}
	/* another has that name by now: it is asked, and not who had it */
	a.before = a.server;
	a.server = serve(path, 'g');
	assert_int_equal(ask(&a, loop, &u, path), 0);
	assert_int_equal(a.w.listen_port, 7);
	end_server(a.before);
	a.before = 0;
	/* who answers but once is waited for, and connected to anew the next time */
	assert_int_equal(ask(&a, loop, &u, path), -ETIMEDOUT);
	end_server(a.server);
	assert_int_equal(ask(&a, loop, &u, path), -ENOENT);

	a.server = serve(path, 'a');
	assert_int_equal(ask(&a, loop, &u, path), 0);
	end_server(a.server); /* its end of the connection is gone, its name is not */
	assert_int_equal(ask(&a, loop, &u, path), -ENOENT);
	talk_ends(&a, loop, u);
	unlink(path);
	rmdir(dir);
}

static void hostile_sockets(void **state)
{
	static const struct {
		char how;
		int r;
	} servers[] = { { 'g', 0 },	     { 'e', -EBADMSG }, { 's', -ETIMEDOUT },
			{ 'h', -ETIMEDOUT }, { 'c', -EBADMSG }, { 'n', -ETIMEDOUT } };
	char dir[] = "/tmp/vpnleash-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/wg9.sock", dir);
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		struct talk a = { .server = serve(path, servers[i].how) };
		int r = hold_talk(&a, path);

		/* one that closes may do so before it was seen who it is */
		assert_true(r == servers[i].r ||
			    (servers[i].how == 'c' && (r == -EXDEV || r == -ETIMEDOUT)));
		if (servers[i].how != 'c')
			assert_int_equal(a.listener, servers[i].how == 'n' ? 0 : getpid());
		if (!r)
			assert_int_equal(a.w.listen_port, 7);
		end_server(a.server);
	}
	{ /* not the one that is believed: it is not even asked */
		pid_t pid = serve(path, 'g');
		struct talk a = { .server = 0 };

		assert_int_equal(hold_talk(&a, path), -EXDEV);
		end_server(pid);
		assert_int_equal(hold_talk(&a, path), -ENOENT); /* nobody listens */
	}
	unlink(path);
	rmdir(dir);
}

/* Below somebody else's root a path is his to make. */
static void hostile_paths(void **state)
{
	char dir[] = "/tmp/vpnleash-XXXXXX", host[] = "/tmp/vpnleash-XXXXXX", path[128], to[128];
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), root, fd;

	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(host));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/host.sock", host);
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	root = open(dir, O_PATH | O_DIRECTORY);
	assert_int_equal(uapi_find(root, "run/wg9.sock"), -ENOENT);
	assert_int_equal(mkdirat(root, "run", 0700), 0);
	assert_int_equal(symlinkat(at.sun_path, root, "run/wg9.sock"), 0);
	assert_int_equal(uapi_find(root, "run/wg9.sock"), -ENOTSOCK); /* a link is none */
	assert_int_equal(unlinkat(root, "run/wg9.sock", 0), 0);
	assert_int_equal(mkfifoat(root, "run/wg9.sock", 0600), 0);
	assert_int_equal(uapi_find(root, "run/wg9.sock"), -ENOTSOCK); /* and did not wait */
	for (const char *const *link =
		     (const char *const[]) { "", "../../../../..", "/proc/self/root",
					     "/proc/1/root", NULL };
	     *link; link++) { /* out of it, by a directory */
		snprintf(to, sizeof(to), "%s%s", *link, host);
		assert_int_equal(symlinkat(to, root, "out"), 0);
		fd = uapi_find(root, "out/host.sock");
		assert_true(fd == -ENOENT || fd == -ELOOP);
		unlinkat(root, "out", 0);
	}
	snprintf(to, sizeof(to), "/proc/self/fd/%d", root);
	snprintf(path, sizeof(path), "%s/host.sock", host + 1);
	fd = open("/", O_PATH | O_DIRECTORY);
	assert_true(uapi_find(fd, path) >= 0); /* the control: from the root it is there */
	assert_int_equal(symlinkat("/proc/self/root", root, "magic"), 0);
	snprintf(path, sizeof(path), "%s/magic%s/host.sock", dir + 1, host);
	assert_int_equal(uapi_find(fd, path), -ELOOP);
	assert_int_equal(symlinkat("/run", root, "var"), 0); /* a link inside is followed */
	unlinkat(root, "run/wg9.sock", 0);
	assert_int_equal(close(s), 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/run/wg9.sock", dir);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_true(uapi_find(root, "var/wg9.sock") >= 0);
	snprintf(path, sizeof(path), "rm -rf %s %s", dir, host);
	assert_int_equal(system(path), 0);
}

static int find_self(const struct netns_process *p, void *arg)
{
	*(int *)arg += p->pid == getpid();
	return 0;
}

static void find_sockets(const struct open_socket *s, void *arg)
{
	*(int *)arg += s->protocol == IPPROTO_UDP && s->local_port == 7007 && s->cookie;
}

static void live_alone(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7007) };
	int fd = open("/proc/self/ns/net", O_RDONLY), n = 0, udp = socket(AF_INET, SOCK_DGRAM, 0),
	    diag = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);

	CHECK(!netns_processes(netns_ino(fd), find_self, &n) && n == 1);
	n = 0;
	CHECK(!netns_processes(1, find_self, &n) && !n);
	CHECK(!bind(udp, (struct sockaddr *)&at, sizeof(at)));
	CHECK(!sockets_each(diag, find_sockets, &n) && n == 1);
}

struct found {
	pid_t pid;
	int n;
	char comm[16], cgroup[PATH_MAX];
};

static int find_pid(const struct netns_process *p, void *arg)
{
	struct found *f = arg;

	if (p->pid != f->pid)
		return 0;
	f->n++;
	snprintf(f->comm, sizeof(f->comm), "%s", p->comm);
	snprintf(f->cgroup, sizeof(f->cgroup), "%s", p->cgroup);
	return 0;
}

static void *go_on(void *unused)
{
	pause();
	return unused;
}

/* Its first thread ends, and another lives on; or all end, and nobody has taken note. */
static pid_t leave_leader(bool thread)
{
	pid_t pid = fork();
	pthread_t t;
	char path[64], text[256] = "";

	if (!pid) {
		prctl(PR_SET_NAME, "leader");
		if (thread)
			pthread_create(&t, NULL, go_on, NULL);
		syscall(SYS_exit, 0); /* this thread alone */
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < 500 && !strstr(text, ") Z"); i++) {
		int fd = open(path, O_RDONLY);

		usleep(10000);
		CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
		close(fd);
	}
	CHECK(strstr(text, ") Z"));
	return pid;
}

static void live_without_a_leader(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY), pidfd;
	char own[PATH_MAX], path[PATH_MAX];

	CHECK(!process_cgroup(getpid(), own));
	for (int thread = 0; thread <= 1; thread++) {
		struct found f = { .pid = leave_leader(thread) };

		CHECK(!netns_processes(netns_ino(fd), find_pid, &f));
		CHECK(f.n == thread);
		CHECK(!thread || (!strcmp(f.comm, "leader") && !strcmp(f.cgroup, own)));
		CHECK(process_lives_in(f.pid, netns_ino(fd)) == thread);
		pidfd = (int)syscall(SYS_pidfd_open, f.pid, 0);
		CHECK(process_cgroup_held(f.pid, pidfd, path) == (thread ? 0 : -ESRCH));
		kill(f.pid, SIGKILL);
		waitpid(f.pid, NULL, 0);
		CHECK(process_cgroup_held(getpid(), pidfd, path) == -ESRCH); /* another's number */
		close(pidfd);
	}
}

static void threads_without_a_leader(void **state)
{
	in_new_netns(live_without_a_leader);
}

static void who_lives_there(void **state)
{
	in_new_netns(live_alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_that_lead_out),
		cmocka_unit_test(kinds_of_the_kernel),
		cmocka_unit_test(links_are_read),
		cmocka_unit_test(what_wireguard_says),
		cmocka_unit_test(the_newest_handshake_counts),
		cmocka_unit_test(hostile_sockets),
		cmocka_unit_test(asked_again),
		cmocka_unit_test(who_lives_there),
		cmocka_unit_test(hostile_paths),
		cmocka_unit_test(threads_without_a_leader),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("underlay", tests, NULL, NULL);
}
