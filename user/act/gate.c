/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gate.h. */
#include "act/gate.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "act/lease.h"
#include "base/child.h"
#include "base/privilege.h"
#include "vpnleash/reasons.h"

#include "vpnleash.skel.h"

#define REMEDY_LOAD "see: vpnleash doctor"
#define LEVELS	    16 /* depths in use at once; a deeper variety of cgroup trees is unheard of */

struct gate {
	struct pins pins;
	bool netns_by_socket;
	/* by depth of the cgroup, as `level` is fixed when a program is loaded */
	struct vpnleash_bpf *instances[LEVELS];
};

static char last_log[4096];

const char *gate_last_log(void)
{
	return last_log;
}

static int keep_log(enum libbpf_print_level level, const char *format, va_list ap)
{
	size_t at = strlen(last_log);

	if (level <= LIBBPF_INFO)
		vsnprintf(last_log + at, sizeof(last_log) - at, format, ap);
	return 0;
}

/* ------ loading ------ */

#define DNS_HOOKS 8

/* Answers before questions: a question must not be redirected whose answer is not understood. */
static void list_dns(struct vpnleash_bpf *skel, struct bpf_program *ret[DNS_HOOKS])
{
	struct bpf_program *all[DNS_HOOKS] = {
		skel->progs.dns_recvmsg4,     skel->progs.dns_recvmsg6,
		skel->progs.dns_getpeername4, skel->progs.dns_getpeername6,
		skel->progs.dns_connect4,     skel->progs.dns_connect6,
		skel->progs.dns_sendmsg4,     skel->progs.dns_sendmsg6
	};

	memcpy(ret, all, sizeof(all));
}

static int load(struct vpnleash_bpf **ret, const struct pins *pins, uint32_t level,
		bool netns_by_socket, struct error *err)
{
	struct vpnleash_bpf *skel = vpnleash_bpf__open();
	int r = 0;

	last_log[0] = '\0';
	if (!skel)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "open the BPF object");
	skel->rodata->level = level;
	skel->rodata->netns_by_socket = netns_by_socket;
	/* getrandom() does not fail once the machine has booted; with zeros a note could be forged
	 */
	if (getrandom((void *)skel->rodata->note_secret, sizeof(skel->rodata->note_secret), 0) < 0)
		r = fail(err, EXIT_FAILURE_, -errno, NULL, "get random bytes");
	bpf_program__set_autoload(skel->progs.gate_socket, netns_by_socket);
	bpf_program__set_autoload(skel->progs.deny_packet, false);
	if (level != 1) {
		struct bpf_program *dns[DNS_HOOKS];

		list_dns(skel, dns);
		for (size_t i = 0; i < DNS_HOOKS; i++)
			bpf_program__set_autoload(dns[i], false);
	}
	if (level != 1) { /* these look at no cgroup's depth: one instance is enough */
		struct bpf_program *once[] = { skel->progs.guard_peer_ingress,
					       skel->progs.guard_peer_egress,
					       skel->progs.guard_inside, skel->progs.guard_weak };

		for (size_t i = 0; i < ARRAY_SIZE(once); i++)
			bpf_program__set_autoload(once[i], false);
	}
	if (!r && pins)
		r = pins_reuse(pins, skel, err);
	if (!r) {
		r = vpnleash_bpf__load(skel);
		if (r)
			fail(err, EXIT_PRIVILEGE, r, REMEDY_LOAD, "load the gate");
	}
	if (r) {
		vpnleash_bpf__destroy(skel);
		return r;
	}
	*ret = skel;
	return 0;
}

static int instance(struct gate *g, uint32_t level, struct vpnleash_bpf **ret, struct error *err)
{
	int r = 0;

	if (level >= LEVELS)
		return fail(err, EXIT_USAGE, -ELOOP, "leash a cgroup nearer to the root",
			    "attach the gate %u levels deep", level);
	if (!g->instances[level])
		r = load(&g->instances[level], &g->pins, level, g->netns_by_socket, err);
	if (!r)
		*ret = g->instances[level];
	return r;
}

/* ------ a scratch cgroup of our own ------ */

struct scratch {
	struct cgroup_ref cgroup;
	struct bpf_link *links[3];
	int (*f)(void *arg);
	void *arg;
};

static int join_and_call(void *arg)
{
	struct scratch *s = arg;
	int r = write_small(s->cgroup.fd, "cgroup.procs", "0");

	return r ? -r : s->f(s->arg);
}

/* Run f(arg) in a child that lives in a scratch cgroup with the gate on it: what f returned, or
 * -Exxx. *ret_id is the id of that cgroup, which is gone again. */
static int in_scratch_cgroup(struct gate *g, const struct cgroup_root *root, int (*f)(void *),
			     void *arg, uint64_t *ret_id, struct error *err)
{
	struct scratch s = { .cgroup.fd = -1, .f = f, .arg = arg };
	struct vpnleash_bpf *skel = NULL;
	char path[64];
	int r;

	/* unique: daemons in different pid namespaces may start at once */
	snprintf(path, sizeof(path), GATE_SCRATCH "%d-%llx", getpid(),
		 (unsigned long long)now_boot_ns());
	if (mkdirat(root->fd, path + 1, 0755) < 0)
		return fail(err, EXIT_PRIVILEGE, -errno, "is the cgroup v2 mount writable?",
			    "make the scratch cgroup '%s%s'", root->path, path);
	r = resolve_cgroup(root, path, &s.cgroup, err);
	if (!r)
		r = instance(g, 1, &skel, err);
	if (!r) {
		struct bpf_program *programs[] = { skel->progs.gate_egress,
						   skel->progs.gate_ingress,
						   skel->progs.gate_socket };
		size_t n = g->netns_by_socket ? 3 : 2;

		for (size_t i = 0; !r && i < n; i++) {
			s.links[i] = bpf_program__attach_cgroup(programs[i], s.cgroup.fd);
			if (!s.links[i])
				r = fail(err, EXIT_PRIVILEGE, -errno, REMEDY_LOAD,
					 "attach the gate to '%s%s'", root->path, path);
		}
	}
	if (!r)
		r = child_call(join_and_call, &s);
	for (size_t i = 0; i < ARRAY_SIZE(s.links); i++)
		bpf_link__destroy(s.links[i]);
	if (ret_id)
		*ret_id = s.cgroup.id;
	close_fd(s.cgroup.fd);
	/* The kernel empties a cgroup a moment after its last process was reaped. */
	for (int i = 0; unlinkat(root->fd, path + 1, AT_REMOVEDIR) < 0 && errno == EBUSY && i < 200;
	     i++)
		usleep(5000);
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

static int prove_attribution(struct gate *g, const struct cgroup_root *root, struct error *err)
{
	struct counter_key key = { .reason = REASON_DOCKER_DNS };
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free struct counter *c = calloc((size_t)cpus, sizeof(*c));
	uint64_t dropped = 0;
	__u64 id = 0;
	int r;

	if (!c)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "prove the gate");
	r = in_scratch_cgroup(g, root, ask_docker_dns, NULL, (uint64_t *)&id, err);
	if (r < 0)
		return r;
	key.cgroup_id = id;
	if (!bpf_map_lookup_elem(g->pins.counters, &key, c))
		for (int i = 0; i < cpus; i++)
			dropped += c[i].packets;
	bpf_map_delete_elem(g->pins.counters, &key);
	if (r != EPERM || !dropped)
		return fail(err, EXIT_PRIVILEGE, r ? -r : 0,
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
	struct cookie_request *q = arg;
	char byte = 0, space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = space,
			    .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd;

	if (setns(q->netns_fd, CLONE_NEWNET) < 0)
		return errno;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		return errno;
	*c = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(q->reply_fd, &m, 0) < 0 ? errno : 0;
}

static int receive_fd(int socket_fd)
{
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = space,
			    .msg_controllen = sizeof(space) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(socket_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int gate_netns_cookie(struct gate *g, const struct cgroup_root *root, int netns_fd,
		      uint64_t *ret_cookie, struct error *err)
{
	_cleanup_fd int here = -1, made = -1;
	struct cookie_request q = { .netns_fd = netns_fd };
	int pair[2], r;

	if (!g->netns_by_socket)
		return fail(err, EXIT_PRIVILEGE, -EOPNOTSUPP, REMEDY_LOAD,
			    "read the cookie of the network namespace");
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "make a socket pair");
	here = pair[0];
	q.reply_fd = pair[1];
	/* gate_socket notes the cookie at the socket; user space reads it by the socket's fd */
	r = in_scratch_cgroup(g, root, send_socket_made_in, &q, NULL, err);
	close(q.reply_fd);
	if (r < 0)
		return r;
	if (!r)
		made = receive_fd(here);
	if (r || made < 0 || bpf_map_lookup_elem(g->pins.netns_cookies, &made, ret_cookie) < 0)
		return fail(err, EXIT_FAILURE_,
			    r	       ? -r
			    : made < 0 ? made
				       : -errno,
			    NULL, "read the cookie of the network namespace");
	return 0;
}

/* ------ opening ------ */

/* Find out by loading, not by version number, how this kernel tells a packet's netns; the first way
 * is the faster one. pins NULL: with maps of its own. */
static int load_either_way(struct gate *g, const struct pins *pins, struct error *err)
{
	struct error none;
	int r;

	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return fail(err, EXIT_PRIVILEGE, -errno,
			    "vpnleash needs a kernel with CONFIG_DEBUG_INFO_BTF",
			    "read /sys/kernel/btf/vmlinux");
	r = load(&g->instances[1], pins, 1, false, &none);
	if (r == -EPERM)
		return fail(err, EXIT_PRIVILEGE, r,
			    "run as root, or give CAP_BPF, CAP_NET_ADMIN "
			    "and CAP_PERFMON",
			    "load the gate");
	if (!r)
		return 0;
	g->netns_by_socket = true;
	return load(&g->instances[1], pins, 1, true, err);
}

/* ------ pins of another version ------ */

struct noted {
	uint64_t cgroup_id;
	struct pins_record record;
};

struct replacing {
	struct gate *gate;
	const struct cgroup_root *root;
	struct error *err;
	struct noted *noted;
	size_t n;
};

static bool was_slice(const struct replacing *r, uint64_t cgroup_id)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->noted[i].cgroup_id == cgroup_id)
			return r->noted[i].record.flags & WORKLOAD_SLICE;
	return false;
}

/* The instance for its gate. Of a removed cgroup nobody knows the depth; the deepest instance finds
 * no ancestor of its sockets, and so no record. */
static int instance_for(struct replacing *r, uint64_t cgroup_id, struct vpnleash_bpf **ret)
{
	struct cgroup_ref c;

	if (resolve_cgroup_of_id(r->root, cgroup_id, &c))
		return instance(r->gate, LEVELS - 1, ret, r->err);
	close_fd(c.fd);
	return instance(r->gate, c.level + was_slice(r, cgroup_id), ret, r->err);
}

/* From here on the cgroup's packets meet the new gate, which has no record of it: all are dropped.
 */
static int replace_link(uint64_t cgroup_id, void *arg)
{
	struct replacing *r = arg;
	struct vpnleash_bpf *skel = NULL;
	int e;

	if (!pins_in_force(cgroup_id)) /* removed, and without a socket left */
		return pins_remove_links(cgroup_id, r->err);
	e = instance_for(r, cgroup_id, &skel);
	if (e)
		return e;
	for (int i = 0; i < 2; i++) {
		const char *hook = i ? "gate_ingress" : "gate_egress";
		_cleanup_fd int link = pins_open_link(hook, cgroup_id);

		if (link < 0 || bpf_link_update(link,
						bpf_program__fd(i ? skel->progs.gate_ingress
								  : skel->progs.gate_egress),
						NULL) < 0)
			return fail(r->err, EXIT_FAILURE_, link < 0 ? link : -errno, NULL,
				    "replace %s of cgroup %llu", hook,
				    (unsigned long long)cgroup_id);
	}
	return 0;
}

static int note_record(uint64_t cgroup_id, const struct pins_record *record, void *arg)
{
	struct replacing *r = arg;
	struct noted *more = realloc(r->noted, (r->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	r->noted = more;
	r->noted[r->n++] = (struct noted) { cgroup_id, *record };
	return 0;
}

static void put_slice(struct gate *g, const struct cgroup_ref *slice, uint64_t since_ns)
{
	struct workload_record w = { .cgroup_tag = (uint32_t)slice->id,
				     .flags = WORKLOAD_SLICE,
				     .level = slice->level,
				     .since_ns = since_ns };

	slice_name(slice->path, w.name);
	bpf_map_update_elem(g->pins.workloads, &slice->id, &w, BPF_ANY);
}

/* What it froze is ours to thaw, what `vpnleash exec` made ours to go on with, what was locked as a
 * slice is one, and of a removed cgroup with sockets left the weak guard has to know. */
static void take_over(struct replacing *r, const struct noted *noted)
{
	const struct pins_record *was = &noted->record;
	struct workload_record w = { .cgroup_tag = (uint32_t)noted->cgroup_id,
				     .flags = was->flags & WORKLOAD_FROZEN_BY_US,
				     .level = (uint32_t)was->level,
				     .since_ns = now_boot_ns() };
	struct cgroup_ref c;
	int gone = resolve_cgroup_of_id(r->root, noted->cgroup_id, &c);

	/* before ABI 4 there was no flag for it */
	if (!gone && fgetxattr(c.fd, EXEC_XATTR, NULL, 0) >= 0)
		w.flags |= WORKLOAD_EXEC;
	if (gone ? pins_in_force(noted->cgroup_id) : w.flags) {
		memcpy(w.name, was->name, sizeof(w.name));
		bpf_map_update_elem(r->gate->pins.workloads, &noted->cgroup_id, &w, BPF_ANY);
	} else if (!gone && was->flags & WORKLOAD_SLICE) {
		put_slice(r->gate, &c, w.since_ns);
	}
	if (!gone)
		close_fd(c.fd);
}

/* Fail-closed: every gate is replaced by one without records, then the maps' pins, the header last.
 * A crash anywhere in between is another version's pins again, and shut. */
static int replace_other_version(struct gate *g, const struct cgroup_root *root, struct error *err)
{
	struct replacing r = { .gate = g, .root = root, .err = err };
	int e = pins_each_record_of_other(note_record, &r);

	/* instances of other levels share the maps of this one */
	if (!e)
		e = pins_of(g->instances[1], &g->pins, err);
	if (!e)
		e = pins_each_link("gate_egress", replace_link, &r, err);
	if (!e)
		e = pins_create(g->instances[1], &g->pins, err);
	for (size_t i = 0; !e && i < r.n; i++)
		take_over(&r, &r.noted[i]);
	free(r.noted);
	if (!e)
		log_line(LOG_LEVEL_NOTICE, "pins of another version are replaced: all is shut");
	return e;
}

int gate_open(struct gate **ret, const struct cgroup_root *root, struct error *err)
{
	struct gate *g = calloc(1, sizeof(*g));
	int found, r;

	if (!g)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "open the gate");
	libbpf_set_print(keep_log);
	g->pins = PINS_NONE;
	found = r = pins_open(&g->pins, err);
	if (!found || found == -ENOENT || found == -EPROTO)
		r = load_either_way(g, found ? NULL : &g->pins, err);
	if (!r && found == -ENOENT)
		r = pins_create(g->instances[1], &g->pins, err);
	if (!r && found == -EPROTO)
		r = replace_other_version(g, root, err);
	if (!r)
		r = prove_attribution(g, root, err);
	if (r) {
		gate_close(g);
		return r;
	}
	*ret = g;
	return 0;
}

int gate_probe(const struct cgroup_root *root, bool *ret_netns_by_socket, struct error *err)
{
	struct gate *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return fail(err, EXIT_FAILURE_, -ENOMEM, NULL, "try the gate");
	libbpf_set_print(keep_log);
	g->pins = PINS_NONE;
	r = load_either_way(g, NULL, err);
	if (!r) {
		/* never pinned: they go with their last descriptor */
		g->pins.counters =
			fcntl(bpf_map__fd(g->instances[1]->maps.counters), F_DUPFD_CLOEXEC, 3);
		r = prove_attribution(g, root, err);
	}
	if (!r)
		*ret_netns_by_socket = g->netns_by_socket;
	gate_close(g);
	return r;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < LEVELS; i++)
		vpnleash_bpf__destroy(g->instances[i]);
	pins_close(&g->pins);
	free(g);
}

const struct pins *gate_pins(const struct gate *g)
{
	return &g->pins;
}

struct vpnleash_bpf *gate_programs(const struct gate *g)
{
	return g->instances[1];
}

bool gate_netns_by_socket(const struct gate *g)
{
	return g->netns_by_socket;
}

/* ------ attaching ------ */

static bool has_gate(int cgroup_fd)
{
	__u32 ids[64], flags = 0, n = ARRAY_SIZE(ids);

	if (bpf_prog_query(cgroup_fd, BPF_CGROUP_INET_EGRESS, 0, &flags, ids, &n) < 0)
		return errno == ENOSPC; /* too many to look through: take no chances */
	for (__u32 i = 0; i < n; i++) {
		_cleanup_fd int fd = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = { 0 };
		__u32 length = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length) &&
		    !strcmp(info.name, "gate_egress"))
			return true;
	}
	return false;
}

/* nftw has no argument for its callback */
static __thread char found_below[PATH_MAX];

static int look_below(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	_cleanup_fd int fd = -1;

	if (type != FTW_D || ftw->level == 0)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !has_gate(fd))
		return 0;
	snprintf(found_below, sizeof(found_below), "%s", path);
	return 1;
}

static int check_above(const struct cgroup_root *root, const struct cgroup_ref *c,
		       struct error *err)
{
	char path[PATH_MAX];

	if (has_gate(root->fd))
		return fail(err, EXIT_USAGE, -EBUSY, NULL, "leash '%s': the root has a gate",
			    c->name);
	for (const char *end = strchr(c->path + 1, '/'); end; end = strchr(end + 1, '/')) {
		_cleanup_fd int fd = -1;

		snprintf(path, sizeof(path), "%.*s", (int)(end - c->path - 1), c->path + 1);
		fd = openat(root->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && has_gate(fd))
			return fail(err, EXIT_USAGE, -EBUSY, "leash only one of the two",
				    "leash '%s': '/%s' above it has a gate", c->name, quote(path));
	}
	return 0;
}

/* Of the cgroup with that full path. */
static int check_below(const char *path, const struct cgroup_ref *c, struct error *err)
{
	if (nftw(path, look_below, 32, FTW_PHYS | FTW_MOUNT) != 1)
		return 0;
	return fail(err, EXIT_USAGE, -EBUSY, "leash only one of the two",
		    "leash '%s': '%s' below it has a gate", c->name, quote(found_below));
}

/* At most one gate on a path: nested gates AND their verdicts and count twice. */
static int check_alone(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
		       struct error *err)
{
	char path[PATH_MAX * 2];
	int r = check_above(root, c, err);

	snprintf(path, sizeof(path), "%s%s", root->path, c->path);
	return r ? r : check_below(path, c, err);
}

struct hook {
	const char *name;
	struct bpf_program *program;
	struct bpf_link *made;
	int adopted;
};

/* The gate that looks at cgroups of that level, on the cgroup c. `check` is asked before anything
 * is attached that was not there. */
static int attach(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
		  uint32_t level,
		  int (*check)(struct gate *g, const struct cgroup_root *root,
			       const struct cgroup_ref *c, struct error *err),
		  struct error *err)
{
	struct vpnleash_bpf *skel = NULL;
	struct hook hooks[3] = { 0 };
	size_t n = g->netns_by_socket ? 3 : 2, pinned = 0;
	char path[PINS_PATH_MAX];
	int r = instance(g, level, &skel, err);

	if (r)
		return r;
	hooks[0] = (struct hook) { "gate_egress", skel->progs.gate_egress, NULL, -1 };
	hooks[1] = (struct hook) { "gate_ingress", skel->progs.gate_ingress, NULL, -1 };
	hooks[2] = (struct hook) { "gate_socket", skel->progs.gate_socket, NULL, -1 };

	for (size_t i = 0; !r && i < n; i++) {
		struct hook *h = &hooks[i];

		h->adopted = pins_open_link(h->name, c->id);
		if (h->adopted >= 0) {
			/* in place: no packet meets a cgroup without a gate */
			if (bpf_link_update(h->adopted, bpf_program__fd(h->program), NULL) < 0)
				r = fail(err, EXIT_FAILURE_, -errno, NULL, "replace %s of '%s'",
					 h->name, c->name);
			continue;
		}
		if (h->adopted != -ENOENT && h->adopted != -EPROTO)
			r = fail(err, EXIT_FAILURE_, h->adopted, NULL, "open %s of '%s'", h->name,
				 c->name);
		if (!r && i == 0)
			r = check(g, root, c, err);
		if (!r && i == 0 && has_gate(c->fd))
			r = fail(err, EXIT_USAGE, -EBUSY, "end the other vpnleash first",
				 "leash '%s': it has a gate that is not pinned here", c->name);
		if (r)
			break;
		h->made = bpf_program__attach_cgroup(h->program, c->fd);
		if (!h->made)
			r = fail(err, EXIT_PRIVILEGE, -errno, REMEDY_LOAD, "attach %s to '%s'",
				 h->name, c->name);
	}
	/* all are attached: publish */
	for (size_t i = 0; !r && i < n; i++) {
		if (!hooks[i].made)
			continue;
		pins_link_path(path, hooks[i].name, c->id);
		unlink(path); /* -EPROTO above: of a cgroup that is gone */
		if (bpf_link__pin(hooks[i].made, path) < 0)
			r = fail(err, EXIT_FAILURE_, -errno, NULL, "pin '%s'", path);
		else
			pinned |= 1u << i;
	}
	for (size_t i = 0; i < n; i++) {
		if (r && pinned & (1u << i))
			bpf_link__unpin(hooks[i].made);
		bpf_link__destroy(hooks[i].made); /* a pinned one stays attached */
		hooks[i].adopted = close_fd(hooks[i].adopted);
	}
	return r;
}

/* One of the programs that look at no cgroup's depth. In place if it is there already. */
static int attach_dns(struct bpf_program *p, const struct cgroup_ref *c, struct error *err)
{
	const char *name = bpf_program__name(p);
	_cleanup_fd int link = pins_open_link(name, c->id);
	bool of_another = link == -EPROTO; /* which is gone */
	char path[PINS_PATH_MAX];

	if (link >= 0)
		return bpf_link_update(link, bpf_program__fd(p), NULL) < 0
			       ? fail(err, EXIT_FAILURE_, -errno, NULL, "replace %s of '%s'", name,
				      c->name)
			       : 0;
	/* any other failure may leave one that is in force, and a witness of sockets */
	if (link != -ENOENT && !of_another)
		return fail(err, EXIT_FAILURE_, link, NULL, "open %s of '%s'", name, c->name);
	link = bpf_link_create(bpf_program__fd(p), c->fd, bpf_program__expected_attach_type(p),
			       NULL);
	pins_link_path(path, name, c->id);
	if (link >= 0 && of_another)
		unlink(path);
	return link < 0 || bpf_obj_pin(link, path) < 0
		       ? fail(err, EXIT_PRIVILEGE, -errno, REMEDY_LOAD, "attach %s to '%s'", name,
			      c->name)
		       : 0;
}

/* On a slice's child, which has no gate of its own: by a link of the child's the kernel tells when
 * the last socket of it is gone. Without a question asked it changes nothing. */
static int attach_witness(struct gate *g, const struct cgroup_ref *c, struct error *err)
{
	return attach_dns(g->instances[1]->progs.dns_recvmsg4, c, err);
}

static const char *const gate_hooks[] = { "gate_egress", "gate_ingress", "gate_socket" };

/* The gate alone: what else is on the cgroup stays. */
static void take_gate_off(uint64_t cgroup_id)
{
	char path[PINS_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(gate_hooks); i++) {
		pins_link_path(path, gate_hooks[i], cgroup_id);
		unlink(path);
	}
}

int gate_attach(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
		struct error *err)
{
	struct workload_record slice;
	int above = gate_slice_above(&g->pins, c->fd, &slice, NULL), r;

	if (gate_is_slice(&g->pins, c->id, NULL))
		return fail(err, EXIT_USAGE, -EBUSY,
			    "leash its children, or detach the slice first",
			    "leash '%s': it is locked as a slice", c->name);
	if (above > 1)
		return fail(err, EXIT_USAGE, -EBUSY, "leash the slice's direct child",
			    "leash '%s': it lies deeper in '%s'", c->name, quote(slice.name));
	if (above == 1)
		return attach_witness(g, c, err);
	r = attach(g, root, c, c->level, check_alone, err);
	/* locked meanwhile, by a `lock --slice` that looked below before there was a gate */
	if (r || gate_slice_above(&g->pins, c->fd, NULL, NULL) != 1)
		return r;
	r = attach_witness(g, c, err);
	if (!r)
		take_gate_off(c->id);
	return r;
}

/* ------ slices ------ */

bool gate_is_slice(const struct pins *pins, uint64_t cgroup_id, struct workload_record *ret)
{
	_cleanup_fd int out = -1, in = -1;
	struct workload_record w;

	if (bpf_map_lookup_elem(pins->workloads, &cgroup_id, &w) || !(w.flags & WORKLOAD_SLICE))
		return false;
	out = pins_open_link("gate_egress", cgroup_id);
	in = pins_open_link("gate_ingress", cgroup_id);
	if (out < 0 || in < 0)
		return false;
	w.name[sizeof(w.name) - 1] = '\0'; /* a pin is input */
	if (ret)
		*ret = w;
	return true;
}

int gate_slice_above(const struct pins *pins, int cgroup_fd, struct workload_record *ret,
		     uint64_t *ret_id)
{
	_cleanup_fd int fd = openat(cgroup_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	/* 1 is the root's */
	for (int above = 1; fd >= 0 && !fstat(fd, &st) && st.st_ino != 1; above++) {
		int up;

		if (gate_is_slice(pins, st.st_ino, ret)) {
			if (ret_id)
				*ret_id = st.st_ino;
			return above;
		}
		up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	return 0;
}

/* Call f for each direct child. A return other than 0 ends the walk. */
static int each_child(const struct cgroup_ref *c,
		      int (*f)(int fd, uint64_t id, const char *name, void *arg), void *arg)
{
	int list = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = list < 0 ? NULL : fdopendir(list);
	struct dirent *e;
	int r = d ? 0 : -errno;

	while (!r && (e = readdir(d))) {
		_cleanup_fd int fd = -1;
		struct stat st;

		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		fd = openat(c->fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 && !fstat(fd, &st))
			r = f(fd, st.st_ino, e->d_name, arg);
	}
	if (d)
		closedir(d);
	return r;
}

struct below {
	struct gate *gate;
	const struct cgroup_root *root;
	const struct cgroup_ref *slice;
	struct error *err;
};

/* A direct child that is leashed by itself may be: its gate looks where the slice's will. */
static int check_child(int fd, uint64_t id, const char *name, void *arg)
{
	struct below *b = arg;
	char path[PATH_MAX * 2 + NAME_MAX];

	if (has_gate(fd)) {
		_cleanup_fd int ours = pins_open_link("gate_egress", id);

		if (ours < 0 || gate_is_slice(&b->gate->pins, id, NULL))
			return fail(b->err, EXIT_USAGE, -EBUSY, "lock only one of the two",
				    "lock '%s': '%s' in it has a gate %s", b->slice->name,
				    quote(name),
				    ours < 0 ? "that is not pinned here" : "as a slice");
	}
	snprintf(path, sizeof(path), "%s%s/%s", b->root->path, b->slice->path, name);
	return check_below(path, b->slice, b->err);
}

static int check_slice(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *c,
		       struct error *err)
{
	struct below b = { g, root, c, err };
	int r = check_above(root, c, err);

	return r ? r : each_child(c, check_child, &b);
}

static int take_childs_gate_off(int fd, uint64_t id, const char *name, void *arg)
{
	const struct below *b = arg;
	struct cgroup_ref c = { .fd = fd, .id = id };
	_cleanup_fd int gate = pins_open_link("gate_egress", id);
	int r;

	if (gate < 0 || gate_is_slice(&b->gate->pins, id, NULL))
		return 0;
	snprintf(c.name, sizeof(c.name), "%.63s", name);
	r = attach_witness(b->gate, &c, b->err);
	if (!r)
		take_gate_off(id);
	return r;
}

/* The slice of that name was another cgroup, which was removed: its gate stays while a socket of a
 * child of it lives. */
static int part_with_former(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	const struct below *b = arg;
	struct workload_record gone = *w;
	char name[VPNLEASH_NAME_LEN];
	_cleanup_fd int fd = -1;

	slice_name(b->slice->path, name);
	if (!(w->flags & WORKLOAD_SLICE) || strcmp(w->name, name))
		return 0;
	fd = resolve_cgroup_id(b->root, cgroup_id);
	if (fd != -ESTALE)
		return 0;
	if (pins_in_force(cgroup_id)) { /* the daemon's, to look after */
		gone.flags |= WORKLOAD_GONE;
		bpf_map_update_elem(b->gate->pins.workloads, &cgroup_id, &gone, BPF_EXIST);
	} else if (!pins_remove_links(cgroup_id, NULL)) {
		record_unbind(&b->gate->pins, cgroup_id);
	}
	return 0;
}

int gate_load_level(struct gate *g, uint32_t level, struct error *err)
{
	struct vpnleash_bpf *skel;

	return instance(g, level, &skel, err);
}

int gate_lock_slice(struct gate *g, const struct cgroup_root *root, const struct cgroup_ref *slice,
		    struct error *err)
{
	struct below b = { g, root, slice, err };
	struct workload_record w;
	bool known = !bpf_map_lookup_elem(g->pins.workloads, &slice->id, &w);
	uint64_t since_ns;
	int r;

	since_ns = known ? w.since_ns : now_boot_ns();
	if (known && !(w.flags & WORKLOAD_SLICE)) {
		w.name[sizeof(w.name) - 1] = '\0';
		return fail(err, EXIT_USAGE, -EBUSY, "vpnleash detach it first",
			    "lock '%s': it is leashed as the workload '%s'", slice->name,
			    quote(w.name));
	}
	if (gate_slice_above(&g->pins, slice->fd, &w, NULL))
		return fail(err, EXIT_USAGE, -EBUSY, "lock only one of the two",
			    "lock '%s': it lies in '%s'", slice->name, quote(w.name));
	/* the record first: from the first packet on it is known whose gate it is */
	put_slice(g, slice, since_ns);
	r = attach(g, root, slice, slice->level + 1, check_slice, err);
	if (r) {
		if (!known)
			bpf_map_delete_elem(g->pins.workloads, &slice->id);
		return r;
	}
	/* the upper is attached, and the records are in place: now the lower come off */
	r = each_child(slice, take_childs_gate_off, &b);
	if (r)
		return fail(err, EXIT_FAILURE_, r, NULL, "look into '%s'", slice->name);
	pins_each_workload(&g->pins, part_with_former, &b);
	pins_touch(&g->pins);
	return 0;
}

int gate_resolve_by(struct gate *g, const struct cgroup_ref *c, const struct resolver *r,
		    struct error *err)
{
	struct bpf_program *dns[DNS_HOOKS];
	__u64 id = c->id;

	list_dns(g->instances[1], dns);
	for (size_t i = 0; i < DNS_HOOKS; i++) {
		int r = attach_dns(dns[i], c, err);

		if (r)
			return r;
	}
	if (bpf_map_update_elem(g->pins.resolvers, &id, r, BPF_ANY) < 0)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "set the resolver of '%s'", c->name);
	return 0;
}

/* Loaded and attached without complaint it may be in force or not: the kernel's list says. */
static bool has_bpf_lsm(void)
{
	_cleanup_fd int fd = open("/sys/kernel/security/lsm", O_RDONLY | O_CLOEXEC);
	char list[256], *save;
	ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);

	if (n < 0)
		return false;
	list[n] = '\0';
	for (char *lsm = strtok_r(list, ",\n", &save); lsm; lsm = strtok_r(NULL, ",\n", &save))
		if (!strcmp(lsm, "bpf"))
			return true;
	return false;
}

int gate_deny_packets(const struct cgroup_ref *c)
{
	struct vpnleash_bpf *skel = NULL;
	struct bpf_program *p;
	struct bpf_link *link;
	char path[PINS_PATH_MAX];
	int r = 0;

	pins_link_path(path, "deny_packet", c->id);
	if (!access(path, F_OK)) /* an earlier daemon's */
		return 0;
	if (!has_bpf_lsm())
		return -EOPNOTSUPP;
	skel = vpnleash_bpf__open();
	if (!skel)
		return -ENOMEM;
	bpf_object__for_each_program(p, skel->obj)
		bpf_program__set_autoload(p, p == skel->progs.deny_packet);
	privilege_long_work(true);
	r = vpnleash_bpf__load(skel);
	privilege_long_work(false);
	if (r) {
		vpnleash_bpf__destroy(skel);
		return -EOPNOTSUPP;
	}
	link = bpf_program__attach_cgroup(skel->progs.deny_packet, c->fd);
	if (!link)
		r = -errno;
	else if (bpf_link__pin(link, path) < 0)
		r = -errno;
	bpf_link__destroy(link);
	vpnleash_bpf__destroy(skel);
	return r;
}

int gate_detach(uint64_t cgroup_id, struct error *err)
{
	/* at once: of a pin that is removed the kernel takes the program off a while later */
	for (size_t i = 0; i < ARRAY_SIZE(gate_hooks); i++) {
		_cleanup_fd int link = pins_open_link(gate_hooks[i], cgroup_id);

		if (link >= 0)
			bpf_link_detach(link);
	}
	return pins_remove_links(cgroup_id, err);
}
