/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/nl.h"
#include "base/privilege.h"

/* dir: /proc/PID, or that of one thread. */
static int cgroup_of(const char *dir, char ret[PATH_MAX])
{
	char path[96], buf[2 * PATH_MAX], *line;
	ssize_t n;

	snprintf(path, sizeof(path), "%.80s/cgroup", dir);
	n = read_small(AT_FDCWD, path, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	line = !strncmp(buf, "0::", 3) ? buf : strstr(buf, "\n0::");
	if (!line)
		return -ENOENT;
	line = strchr(line, '/');
	if (!line || strcspn(line, "\n") >= PATH_MAX || n == sizeof(buf) - 1)
		return -ENAMETOOLONG;
	snprintf(ret, PATH_MAX, "%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

int process_cgroup(pid_t pid, char ret[PATH_MAX])
{
	char dir[32];

	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	return cgroup_of(dir, ret);
}

int process_cgroup_held(pid_t pid, int pidfd, char ret[PATH_MAX])
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	char path[PATH_MAX];
	int r = process_cgroup(pid, path);

	if (r)
		return r;
	if (poll(&ended, 1, 0))
		return -ESRCH;
	memcpy(ret, path, sizeof(path));
	return 0;
}

bool process_is_to_end(pid_t pid)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGQUIT,
				    34 + 3 /* the kernel's SIGRTMIN + 3 */ };
	char path[64], text[4096];
	uint64_t pending = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_small(AT_FDCWD, path, text, sizeof(text)) < 0)
		return false;
	for (const char *key = "\nSigPnd:\0\nShdPnd:\0"; *key; key += strlen(key) + 1) {
		const char *line = strstr(text, key);

		if (line)
			pending |= strtoull(line + strlen(key), NULL, 16);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (pending & 1ULL << (ends[i] - 1))
			return true;
	return false;
}

bool process_is_new(pid_t pid)
{
	char path[64], text[1024], *at;
	unsigned long long ticks;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_small(AT_FDCWD, path, text, sizeof(text)) < 0)
		return true; /* it was there for less */
	at = strrchr(text, ')');
	for (int field = 3; at && field <= 22; field++) /* proc(5): starttime is the 22nd */
		at = strchr(at + 1, ' ');
	return at && sscanf(at, "%llu", &ticks) == 1 &&
	       now_boot_ns() < (ticks / (unsigned long long)sysconf(_SC_CLK_TCK) + 2) * NS_PER_SEC;
}

/* PID (COMM) STATE …, of which COMM may hold anything. The state, 0: it is not there (any more). */
static char state_of(const char *dir, char ret_comm[16])
{
	char path[96], text[128], *end, *begin;

	snprintf(path, sizeof(path), "%.80s/stat", dir);
	if (read_small(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	begin = strchr(text, '(');
	end = strrchr(text, ')');
	if (!begin || !end || end[1] != ' ')
		return 0;
	*end = '\0';
	snprintf(ret_comm, 16, "%.15s", begin + 1);
	return end[2] == 'X' ? 0 : end[2];
}

pid_t process_parent(pid_t pid)
{
	char path[64], text[4096], *line;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_small(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, "\nPPid:");
	return line ? (pid_t)strtol(line + 6, NULL, 10) : 0;
}

static bool is_netns(const char *dir, uint64_t netns_ino)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%.80s/ns/net", dir);
	return !stat(path, &st) && st.st_ino == netns_ino;
}

/* One of the threads beside the first for which f() holds, its directory in ret. */
static bool find_thread(const char *dir, bool (*f)(const char *thread, uint64_t arg), uint64_t arg,
			char ret[64])
{
	const char *pid = strrchr(dir, '/') + 1;
	_cleanup_dir DIR *d = NULL;
	bool found = false;
	struct dirent *e;
	struct stat st;

	snprintf(ret, 64, "%.30s/task", dir);
	if (stat(ret, &st) < 0 || st.st_nlink <= 3) /* ".", ".." and one thread */
		return false;
	d = opendir(ret);
	while (d && !found && (e = readdir(d))) {
		if (e->d_name[0] == '.' || !strcmp(e->d_name, pid))
			continue;
		snprintf(ret, 64, "%.30s/task/%.20s", dir, e->d_name);
		found = f(ret, arg);
	}
	return found;
}

/* Threads may live apart: the leader is looked at first, then the others. */
static bool lives_in(const char *dir, uint64_t netns_ino)
{
	char thread[64];

	return is_netns(dir, netns_ino) || find_thread(dir, is_netns, netns_ino, thread);
}

bool process_lives_in(pid_t pid, uint64_t netns_ino)
{
	char dir[32];

	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	return lives_in(dir, netns_ino);
}

static bool is_alive(const char *thread, uint64_t unused)
{
	char comm[16], state = state_of(thread, comm);

	return state && state != 'Z';
}

/* A process whose first thread has ended lives on in the others, and where these are: a leader that
 * is dead stays in the cgroup in which it died. */
static bool read_process(struct netns_process *p)
{
	char dir[32], thread[64], state;
	const char *alive = dir;

	snprintf(dir, sizeof(dir), "/proc/%d", p->pid);
	state = state_of(dir, p->comm);
	if (!state)
		return false;
	if (state == 'Z') {
		if (!find_thread(dir, is_alive, 0, thread))
			return false;
		alive = thread;
	}
	return cgroup_of(alive, p->cgroup) != -ENOENT; /* it has just ended */
}

int netns_processes(uint64_t netns_ino, int (*f)(const struct netns_process *p, void *arg),
		    void *arg)
{
	_cleanup_dir DIR *d = opendir("/proc");
	struct dirent *e;
	int r = d ? 0 : -errno;

	privilege_long_work(true); /* however large it is: not a thing to do in real time */
	while (!r && d && (e = readdir(d))) {
		struct netns_process p = { 0 };
		char dir[32];

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(dir, sizeof(dir), "/proc/%.20s", e->d_name);
		p.pid = atoi(e->d_name);
		if (lives_in(dir, netns_ino) && read_process(&p))
			r = f(&p, arg);
	}
	privilege_long_work(false);
	return r;
}

/* ------ what a process holds ------ */

/* "iff:\tNAME" of tun_chr_show_fdinfo(), drivers/net/tun.c; NAME may be empty. */
static void read_tun(int proc, const char *number, char ret[IFNAMSIZ])
{
	char path[64], text[512], *line;

	snprintf(path, sizeof(path), "fdinfo/%.20s", number);
	if (read_small(proc, path, text, sizeof(text)) < 0)
		return;
	line = strstr(text, "\niff:\t");
	if (line)
		snprintf(ret, IFNAMSIZ, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
}

static void read_descriptor(int proc, int fds, const char *number, struct descriptor *ret)
{
	char target[64];
	ssize_t n = readlinkat(fds, number, target, sizeof(target) - 1);

	memset(ret, 0, sizeof(*ret));
	if (n < 0)
		return;
	target[n] = '\0';
	if (sscanf(target, "socket:[%lu]", &ret->socket) != 1 && strstr(target, "/tun"))
		read_tun(proc, number, ret->tun);
}

int descriptors_each(pid_t pid, void (*f)(const struct descriptor *d, void *arg), void *arg)
{
	_cleanup_dir DIR *d = NULL;
	_cleanup_fd int proc = -1;
	struct dirent *e;
	char path[64];
	int fds, n = 0;

	/* by one descriptor of the process: its number may be another's a moment later */
	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds = proc < 0 ? -1 : openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fds < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	d = fdopendir(fds);
	if (!d) {
		close_fd(fds);
		return -ENOMEM;
	}
	while ((e = readdir(d)) && n++ < DESCRIPTORS) {
		struct descriptor held;

		if (e->d_name[0] == '.')
			continue;
		read_descriptor(proc, dirfd(d), e->d_name, &held);
		if (held.socket || *held.tun)
			f(&held, arg);
	}
	return e ? -E2BIG : 0;
}

/* ------ sockets ------ */

struct each {
	void (*f)(const struct open_socket *s, void *arg);
	void *arg;
	uint8_t protocol;
};

static int on_socket(const struct nlmsghdr *nlh, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct each *e = arg;
	struct open_socket s = { .protocol = e->protocol };
	const struct nlattr *attr;

	if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY || !nl_has(nlh, sizeof(*m)))
		return MNL_CB_OK;
	map_address(s.local, m->idiag_family, m->id.idiag_src);
	map_address(s.remote, m->idiag_family, m->id.idiag_dst);
	s.local_port = ntohs(m->id.idiag_sport);
	s.remote_port = ntohs(m->id.idiag_dport);
	s.cookie = m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32;
	s.ifindex = m->id.idiag_if;
	s.inode = m->idiag_inode;
	mnl_attr_for_each(attr, nlh, sizeof(*m))
		if (mnl_attr_get_type(attr) == INET_DIAG_CGROUP_ID &&
		    mnl_attr_get_payload_len(attr) == sizeof(s.cgroup_id))
			memcpy(&s.cgroup_id, mnl_attr_get_payload(attr), sizeof(s.cgroup_id));
	e->f(&s, e->arg);
	return MNL_CB_OK;
}

static int dump_sockets(int fd, int family, uint8_t protocol, struct each *e)
{
	struct nl_question question;
	struct inet_diag_req_v2 *q =
		nl_begin(&question, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(*q));

	q->sdiag_family = (uint8_t)family;
	q->sdiag_protocol = protocol;
	q->idiag_states = ~0U;
	e->protocol = protocol;
	return nl_ask(fd, &question.head, on_socket, e);
}

int sockets_each(int diag_fd, void (*f)(const struct open_socket *s, void *arg), void *arg)
{
	static const struct {
		int family;
		uint8_t protocol;
	} kinds[] = { { AF_INET, IPPROTO_TCP },
		      { AF_INET6, IPPROTO_TCP },
		      { AF_INET, IPPROTO_UDP },
		      { AF_INET6, IPPROTO_UDP } };
	struct each e = { .f = f, .arg = arg };
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(kinds); i++)
		r = dump_sockets(diag_fd, kinds[i].family, kinds[i].protocol, &e);
	return r;
}

static void unmap_address(__be32 to[4], bool v4, const uint8_t from[16])
{
	memset(to, 0, 16);
	memcpy(to, from + (v4 ? 12 : 0), v4 ? 4 : 16);
}

int socket_end(int diag_fd, const struct open_socket *s)
{
	struct nl_question question;
	struct inet_diag_req_v2 *q = nl_begin(&question, SOCK_DESTROY, NLM_F_ACK, sizeof(*q));
	bool v4 = is_mapped(s->local);

	q->sdiag_family = v4 ? AF_INET : AF_INET6;
	q->sdiag_protocol = s->protocol;
	q->idiag_states = ~0U;
	q->id.idiag_sport = htons(s->local_port);
	q->id.idiag_dport = htons(s->remote_port);
	unmap_address(q->id.idiag_src, v4, s->local);
	unmap_address(q->id.idiag_dst, v4, s->remote);
	q->id.idiag_if = s->ifindex;
	q->id.idiag_cookie[0] = (uint32_t)s->cookie;
	q->id.idiag_cookie[1] = (uint32_t)(s->cookie >> 32);
	return nl_ask(diag_fd, &question.head, NULL, NULL);
}
