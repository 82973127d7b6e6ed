/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child in a cgroup of our own, with the gate on it: what is sent there shows what it sees. */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/gate_internal.h"
#include "base/child.h"
#include "base/worker.h"
#include "vpnleash/reasons.h"

#define SCRATCH_LEN (64 + 2 * GATE_LEVELS)
#define COOKIE	    "read the cookie of the network namespace"

struct scratch {
	struct cgroup_ref cgroup;
	int links[GATE_HOOKS];
	int (*f)(void *arg);
	void *arg;
};

static int join_and_call(void *arg)
{
	struct scratch *s = arg;
	int r = write_small(s->cgroup.fd, "cgroup.procs", "0");

	return r ? -r : s->f(s->arg);
}

static int attach_to_scratch(struct gate *g, struct scratch *s, struct error *err)
{
	for (size_t i = 0; i < gate_hooks(g); i++) {
		s->links[i] = bpf_link_create(g->programs[g->level][i], s->cgroup.fd,
					      gate_program_type(i), NULL);
		if (s->links[i] < 0)
			return fail(err, ERROR_PRIVILEGE, -errno, GATE_REMEDY_LOAD,
				    "attach the gate to '%s%s'", g->root->path, s->cgroup.path);
	}
	return 0;
}

/* As deep as the gate looks, the scratch cgroup itself at 1. */
static void scratch_path(char path[SCRATCH_LEN], const char *name, uint32_t level)
{
	static const char deeper[] = "/0/0/0/0/0/0/0/0/0/0/0/0/0/0";

	_Static_assert(sizeof(deeper) == 2 * (GATE_LEVELS - 2) + 1,
		       "one for each depth but the first");
	snprintf(path, SCRATCH_LEN, "%.63s%.*s", name, 2 * (int)(level - 1), deeper);
}

bool gate_remove_scratch(int root_fd, const char *name)
{
	char path[SCRATCH_LEN];
	bool gone = true;

	for (uint32_t level = GATE_LEVELS - 1; level; level--) {
		scratch_path(path, name, level);
		gone = !unlinkat(root_fd, path, AT_REMOVEDIR) || errno != EBUSY;
	}
	return gone;
}

static int make_scratch(const struct gate *g, const char *name, struct cgroup_ref *ret,
			struct error *err)
{
	char path[SCRATCH_LEN];

	for (uint32_t level = 1; level <= g->level; level++) {
		scratch_path(path, name, level);
		if (mkdirat(g->root->fd, path + 1, 0755) < 0)
			return fail(err, ERROR_PRIVILEGE, -errno,
				    "is the cgroup v2 mount writable?",
				    "make the scratch cgroup '%s%s'", g->root->path, path);
	}
	return resolve_cgroup(g->root, path, ret, err);
}

/* Run f(arg) in a child that lives in a scratch cgroup with the gate on it: what f returned, or
 * -Exxx. *ret_id is the id of that cgroup, which is gone again. */
static int in_scratch_cgroup(struct gate *g, int (*f)(void *), void *arg, uint64_t *ret_id,
			     struct error *err)
{
	struct scratch s = { .cgroup.fd = -1, .f = f, .arg = arg };
	char name[64];
	int r;

	/* unique: daemons in different pid namespaces may start at once */
	snprintf(name, sizeof(name), GATE_SCRATCH "%d-%llx", getpid(),
		 (unsigned long long)now_boot_ns());
	r = make_scratch(g, name, &s.cgroup, err);
	if (!r)
		r = attach_to_scratch(g, &s, err);
	if (!r)
		r = child_call(join_and_call, &s);
	for (size_t i = 0; i < ARRAY_SIZE(s.links); i++)
		if (s.links[i] > 0)
			close_fd(s.links[i]);
	if (ret_id)
		*ret_id = s.cgroup.id;
	close_fd(s.cgroup.fd);
	/* the kernel empties a cgroup a moment after its last process was reaped */
	for (int i = 0; i < 4000 && !gate_remove_scratch(g->root->fd, name + 1); i++)
		usleep(250);
	return r;
}

static int ask_docker_dns(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(0x7f00000b) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || sendto(fd, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return errno;
	return 0;
}

int gate_prove(struct gate *g, struct error *err)
{
	struct counter_key key = { .reason = REASON_DOCKER_DNS };
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free struct counter *c = calloc((size_t)cpus, sizeof(*c));
	uint64_t dropped = 0;
	__u64 id = 0;
	int r;

	if (!c)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "prove the gate");
	r = in_scratch_cgroup(g, ask_docker_dns, NULL, (uint64_t *)&id, err);
	if (r < 0)
		return r;
	key.cgroup_id = id;
	if (!bpf_map_lookup_elem(g->pins.counters, &key, c))
		for (int i = 0; i < cpus; i++)
			dropped += c[i].packets;
	bpf_map_delete_elem(g->pins.counters, &key);
	if (r != EPERM || !dropped)
		return fail(err, ERROR_PRIVILEGE, r ? -r : 0,
			    "is loopback down? ip link set lo up; net_cls or net_prio of cgroup v1 "
			    "in use? boot with cgroup_no_v1=net_cls,net_prio",
			    "prove that the gate sees a cgroup's packets (dropped %llu)",
			    (unsigned long long)dropped);
	return 0;
}

struct cookie_request {
	int netns_fd, reply_fd;
};

static int send_socket_made_in(void *arg)
{
	const struct cookie_request *q = arg;
	char byte = 0;
	int fd;

	if (setns(q->netns_fd, CLONE_NEWNET) < 0)
		return errno;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	return fd < 0 ? errno : -send_record(q->reply_fd, &byte, sizeof(byte), fd);
}

static int ask_for_socket(struct gate *g, int netns_fd, int *ret_socket, struct error *err)
{
	_cleanup_fd int here = -1, there = -1;
	char byte;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "make a socket pair");
	here = pair[0];
	there = pair[1];
	r = in_scratch_cgroup(g, send_socket_made_in, &(struct cookie_request) { netns_fd, there },
			      NULL, err);
	if (r < 0)
		return r;
	r = r ? -r : (int)receive_record(here, &byte, sizeof(byte), ret_socket);
	if (r >= 0 && *ret_socket < 0)
		r = -EBADMSG;
	return r < 0 ? fail(err, ERROR_OTHER, r, NULL, COOKIE) : 0;
}

int gate_netns_cookie(struct gate *g, int netns_fd, uint64_t *ret_cookie, struct error *err)
{
	_cleanup_fd int made = -1;
	int r;

	if (!g->netns_by_socket)
		return fail(err, ERROR_PRIVILEGE, -EOPNOTSUPP, GATE_REMEDY_LOAD, COOKIE);
	/* gate_socket notes the cookie at the socket; user space reads it by the socket's fd */
	r = ask_for_socket(g, netns_fd, &made, err);
	if (r)
		return r;
	if (bpf_map_lookup_elem(g->pins.netns_cookies, &made, ret_cookie) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, COOKIE);
	return 0;
}
