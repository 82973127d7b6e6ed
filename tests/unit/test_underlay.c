/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What leads out of a netns; WireGuard's own state; who lives in a netns. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* cmocka's; ours is in base/util.h */

#include "base/netns.h"
#include "watch/process.h"
#include "watch/underlay.h"
#include "watch/wireguard.h"

static struct error err;

#define NOWHERE (-2) /* no IFLA_LINK_NETNSID; -1: one that says no id */

static enum link_place place(const char *kind, int32_t nsid, uint32_t flags)
{
	struct link l = { .elsewhere = nsid != NOWHERE, .peer_nsid = nsid, .flags = flags };

	snprintf(l.kind, sizeof(l.kind), "%s", kind);
	return link_place(&l);
}

static void links_that_lead_out(void **state)
{
	(void)state;
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
	assert_int_equal(place("", NOWHERE, IFF_UP), LINK_UNGUARDABLE); /* hardware */
	assert_int_equal(place("veth", -1, IFF_UP),
			 LINK_UNGUARDABLE); /* elsewhere, who knows where */
	assert_int_equal(place("netkit", 0, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("wireguard", NOWHERE, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("a kind of 2031", NOWHERE, IFF_UP), LINK_UNGUARDABLE);
	assert_int_equal(place("a kind of 2031", NOWHERE, 0),
			 LINK_INSIDE); /* down: sends nothing */
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
	(void)state;
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

	(void)state;
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

/* A server that behaves as told: 'e' endless, 's' silent, 'g' good, 'h' half an answer. */
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
		int client = accept(fd, NULL, NULL);
		char text[] = "endpoint=192.0.2.1:443\nlisten_port=7\nerrno=0\n\n";

		if (how == 'g')
			write(client, text, sizeof(text) - 1);
		if (how == 'h')
			write(client, text, 10);
		while (how == 'e' && send(client, "a=b\n", 4, MSG_NOSIGNAL) > 0)
			;
		pause();
	}
	close(fd);
	return pid;
}

static void hostile_sockets(void **state)
{
	char dir[] = "/tmp/vpnleash-XXXXXX", path[64];
	int fd = open("/proc/self/ns/net", O_RDONLY);
	uint64_t ours = netns_ino(fd);
	struct wireguard w;

	(void)state;
	close(fd);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/wg9.sock", dir);
	assert_int_equal(wireguard_userspace(dir, "wg9", ours, -1, &w), -ENOENT);
	assert_int_equal(symlink("/dev/log", path), 0);
	assert_int_equal(wireguard_userspace(dir, "wg9", ours, -1, &w), -ENOTSOCK);
	assert_int_equal(wireguard_userspace(dir,
					     "../../../../../../../../../../../../../../../../../"
					     "../../../../../../../../../../../../../../x",
					     ours, -1, &w),
			 -ENAMETOOLONG);
	for (const char *how = "gesh"; *how; how++) {
		pid_t pid = serve(path, *how);
		uint64_t start = now_boot_ns();
		int r = wireguard_userspace(dir, "wg9", ours, -1, &w);

		assert_true(now_boot_ns() - start < 1 * NS_PER_SEC);
		/* on a busy machine the good one may be too late as well */
		for (int i = 0; *how == 'g' && r == -ETIMEDOUT && i < 20; i++) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			pid = serve(path, *how);
			usleep(50000);
			r = wireguard_userspace(dir, "wg9", ours, -1, &w);
		}
		assert_true(*how == 'g' ? !r : r == -EBADMSG || r == -ETIMEDOUT);
		if (*how == 'g')
			assert_int_equal(w.pid, getpid()); /* who listened */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	{
		pid_t pid = serve(path, 'g');

		assert_int_equal(wireguard_userspace(dir, "wg9", ours + 1, -1, &w), -EXDEV);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	assert_int_equal(wireguard_userspace(dir, "wg9", ours, -1, &w),
			 -ENOENT); /* nobody listens */
	unlink(path);
	rmdir(dir);
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

static void who_lives_there(void **state)
{
	(void)state;
	in_new_netns(live_alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_that_lead_out), cmocka_unit_test(links_are_read),
		cmocka_unit_test(what_wireguard_says), cmocka_unit_test(hostile_sockets),
		cmocka_unit_test(who_lives_there),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("underlay", tests, NULL, NULL);
}
