/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways around that need more than one packet and so are no kinds of prove: way WAY [ARG…]. It acts
 * in the cgroup and netns that it is started in and says on stdout how each attempt went, with the
 * errno's name or "ok". What really left is for a capture to say.
 *
 *   udp ADDRESS PORT TEXT COUNT [device=IF|unicastif=IF|mark=N]…
 *   connect sctp|dccp ADDRESS PORT
 *   uring inline|sqpoll|async|outside|outside-async CGROUP|- ADDRESS PORT TEXT COUNT
 *   uring-later MS ADDRESS PORT TEXT    one send behind a timeout, both already in the kernel
 *   uring-frames IF MS COUNT HEX        the frame, past the qdisc, COUNT times, each behind a
 * timeout, all already in the kernel tcp FIFO FROM PORT IF|- TO PORT     then on FIFO: send,
 * sendfile, splice TEXT; linger0; exit serve FIFO ADDRESS PORT             then on FIFO: send
 * PEER-PORT TEXT; exit multi tcp|serve …                   the same by multipath TCP receive PORT
 * each datagram's text, as it comes allow CGROUP multi|override         attach programs that let
 * everything pass, both ways order LEASES-PIN CGROUP             watch which comes first: leases
 * dead, or frozen
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/lib/tool.h"
#include "vpnleash/abi.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef SOCK_DCCP
#define SOCK_DCCP 6
#endif
#define CONNECTIONS 16
#define LATER	    1

static int stream = IPPROTO_TCP;

struct place {
	struct sockaddr_storage to;
	socklen_t size;
	int family;
};

static struct place place(const char *address, const char *port)
{
	struct place p = { .family = strchr(address, ':') ? AF_INET6 : AF_INET };
	struct sockaddr_in *in = (struct sockaddr_in *)&p.to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&p.to;

	p.to.ss_family = (sa_family_t)p.family;
	in->sin_port = htons((uint16_t)atoi(port)); /* at the same place in both */
	p.size = p.family == AF_INET ? sizeof(*in) : sizeof(*in6);
	if (inet_pton(p.family, address,
		      p.family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr) != 1)
		die("address %s", address);
	return p;
}

static const char *outcome(long r)
{
	return r < 0 ? strerrorname_np((int)-r) : "ok";
}

/* `sent 3 ok 1 errno EPERM`: the last errno, "-" if none. */
static void tell_sent(unsigned int sent, unsigned int ok, long error)
{
	printf("sent %u ok %u errno %s\n", sent, ok, error < 0 ? outcome(error) : "-");
}

/* ---- datagrams with every option that steers ---- */

static int apply(int fd, int family, const char *option)
{
	const char *value = strchr(option, '=') + 1;
	int number = (int)htonl(if_nametoindex(value)), mark = atoi(value);

	if (!strncmp(option, "device=", 7))
		return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, value, (socklen_t)strlen(value));
	if (!strncmp(option, "mark=", 5))
		return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	if (family == AF_INET)
		return setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &number, sizeof(number));
	return setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, &number, sizeof(number));
}

static void way_udp(char **arg)
{
	struct place p = place(arg[0], arg[1]);
	unsigned int ok = 0, count = (unsigned int)atoi(arg[3]);
	int fd = socket(p.family, SOCK_DGRAM, 0);
	long error = 0;

	if (fd < 0)
		die("socket");
	for (char **option = arg + 4; *option; option++)
		if (apply(fd, p.family, *option) < 0)
			die("option %s", *option);
	for (unsigned int i = 0; i < count; i++) {
		if (sendto(fd, arg[2], strlen(arg[2]), 0, (struct sockaddr *)&p.to, p.size) < 0)
			error = -errno;
		else
			ok++;
	}
	tell_sent(count, ok, error);
}

static void way_connect(char **arg)
{
	bool sctp = !strcmp(arg[0], "sctp");
	struct place p = place(arg[1], arg[2]);
	int fd = socket(p.family, sctp ? SOCK_STREAM : SOCK_DCCP,
			sctp ? IPPROTO_SCTP : IPPROTO_DCCP);

	if (fd < 0) {
		printf("no socket: %s\n", outcome(-errno));
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	printf("connect: %s\n",
	       outcome(connect(fd, (struct sockaddr *)&p.to, p.size) < 0 ? -errno : 0));
	fflush(stdout);
	sleep(1);
}

/* ---- io_uring, by its system calls ---- */

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *entries;
	unsigned int queued;
};

static void *ring_map(struct ring *r, size_t size, off_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, what);

	if (p == MAP_FAILED)
		die("map the ring");
	return p;
}

static struct ring ring_open(unsigned int flags, unsigned int entries)
{
	struct ring r = { .params = { .flags = flags, .sq_thread_idle = 10000 } };
	size_t submit, complete;

	r.fd = (int)syscall(SYS_io_uring_setup, entries, &r.params);
	if (r.fd < 0)
		die("io_uring_setup");
	submit = r.params.sq_off.array + r.params.sq_entries * sizeof(uint32_t);
	complete = r.params.cq_off.cqes + r.params.cq_entries * sizeof(struct io_uring_cqe);
	r.rings = ring_map(&r, submit > complete ? submit : complete, IORING_OFF_SQ_RING);
	r.entries = ring_map(&r, r.params.sq_entries * sizeof(*r.entries), IORING_OFF_SQES);
	return r;
}

static uint32_t *ring_word(struct ring *r, uint32_t offset)
{
	return (uint32_t *)(void *)(r->rings + offset);
}

static void ring_add(struct ring *r, struct io_uring_sqe entry)
{
	uint32_t *tail = ring_word(r, r->params.sq_off.tail);
	uint32_t index = *tail & (r->params.sq_entries - 1);

	r->entries[index] = entry;
	ring_word(r, r->params.sq_off.array)[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	r->queued++;
}

static void ring_submit(struct ring *r, unsigned int wait)
{
	unsigned int flags = wait ? IORING_ENTER_GETEVENTS : 0;

	if (r->params.flags & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	if (syscall(SYS_io_uring_enter, r->fd, r->queued, wait, flags, NULL, 0) < 0)
		die("io_uring_enter");
	r->queued = 0;
}

/* One request, done: its result. */
static long ring_do(struct ring *r, struct io_uring_sqe entry)
{
	uint32_t *head = ring_word(r, r->params.cq_off.head);
	struct io_uring_cqe *cqe;

	ring_add(r, entry);
	ring_submit(r, 1);
	while (__atomic_load_n(ring_word(r, r->params.cq_off.tail), __ATOMIC_ACQUIRE) == *head)
		usleep(1000);
	cqe = (struct io_uring_cqe *)(void *)(r->rings + r->params.cq_off.cqes);
	cqe += *head & (r->params.cq_entries - 1);
	long result = cqe->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

static struct msghdr *message(struct place *p, char *text)
{
	static struct iovec io;
	static struct msghdr m;

	io = (struct iovec) { text, strlen(text) };
	m = (struct msghdr) {
		.msg_name = &p->to, .msg_namelen = p->size, .msg_iov = &io, .msg_iovlen = 1
	};
	return &m;
}

static void move_to(const char *cgroup)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die("move to %s", cgroup);
	close(fd);
}

static void way_uring(char **arg)
{
	const char *mode = arg[0];
	bool sqpoll = !strcmp(mode, "sqpoll") || !strcmp(mode, "outside");
	bool async = !strcmp(mode, "async") || !strcmp(mode, "outside-async");
	struct place p = place(arg[2], arg[3]);
	unsigned int ok = 0, count = (unsigned int)atoi(arg[5]);
	struct ring r = ring_open(sqpoll ? IORING_SETUP_SQPOLL : 0, 8);
	struct io_uring_sqe each = { .flags = async ? IOSQE_ASYNC : 0 };
	long fd, error = 0, result;

	if (sqpoll && !(r.params.features & IORING_FEAT_SQPOLL_NONFIXED)) {
		printf("not tried: before v5.11 a polling ring needs registered files\n");
		return;
	}
	ring_do(&r, (struct io_uring_sqe) { .opcode = IORING_OP_NOP, .flags = each.flags });
	if (strcmp(arg[1], "-") != 0)
		move_to(arg[1]); /* the ring, and its threads, were made outside */
	struct io_uring_sqe make = {
		.opcode = IORING_OP_SOCKET, .flags = each.flags, .fd = p.family, .off = SOCK_DGRAM
	};

	fd = ring_do(&r, make);
	if (fd == -EINVAL) {
		printf("no IORING_OP_SOCKET before v5.19: socket()\n");
		fd = socket(p.family, SOCK_DGRAM, 0);
	}
	if (fd < 0)
		die("io_uring socket: %s", outcome(fd));
	each.opcode = IORING_OP_SENDMSG;
	each.fd = (int)fd;
	each.addr = (uintptr_t)message(&p, arg[4]);
	each.len = 1;
	for (unsigned int i = 0; i < count; i++) {
		result = ring_do(&r, each);
		if (result < 0)
			error = result;
		else
			ok++;
	}
	tell_sent(count, ok, error);
}

static void way_uring_later(char **arg)
{
	struct place p = place(arg[1], arg[2]);
	struct ring r = ring_open(0, 8);
	long ms = atol(arg[0]);
	struct __kernel_timespec after = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	int fd = socket(p.family, SOCK_DGRAM, 0);

	ring_add(&r, (struct io_uring_sqe) { .opcode = IORING_OP_TIMEOUT,
					     .len = 1,
					     .addr = (uintptr_t)&after,
					     .flags = IOSQE_IO_HARDLINK });
	ring_add(&r, (struct io_uring_sqe) { .opcode = IORING_OP_SENDMSG,
					     .fd = fd,
					     .len = 1,
					     .user_data = LATER,
					     .addr = (uintptr_t)message(&p, arg[3]) });
	ring_submit(&r, 0);
	printf("armed\n");
	/* asleep, not in io_uring_enter(): the send is the kernel's alone */
	while (__atomic_load_n(ring_word(&r, r.params.cq_off.tail), __ATOMIC_ACQUIRE) < 2)
		usleep(10000);
	for (unsigned int i = 0; i < 2; i++) {
		const struct io_uring_cqe *cqe =
			(const struct io_uring_cqe *)(const void *)(r.rings +
								    r.params.cq_off.cqes) +
			i;

		if (cqe->user_data == LATER)
			printf("sent: %s\n", outcome(cqe->res));
	}
}

static void way_uring_frames(char **arg)
{
	static uint8_t frame[2048];
	unsigned int count = (unsigned int)atoi(arg[2]), length = 0;
	struct ring r = ring_open(0, 2 * count);
	long ms = atol(arg[1]);
	struct __kernel_timespec after = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(arg[0]) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		die("packet socket on %s", arg[0]);
	for (const char *hex = arg[3];
	     length < sizeof(frame) && sscanf(hex, "%2hhx", &frame[length]) == 1; hex += 2)
		length++;
	for (unsigned int i = 0; i < count; i++) {
		ring_add(&r, (struct io_uring_sqe) { .opcode = IORING_OP_TIMEOUT,
						     .len = 1,
						     .addr = (uintptr_t)&after,
						     .flags = IOSQE_IO_HARDLINK });
		ring_add(&r,
			 (struct io_uring_sqe) { .opcode = IORING_OP_SEND,
						 .fd = fd,
						 .len = length,
						 .addr = (uintptr_t)frame,
						 .flags = i + 1 < count ? IOSQE_IO_HARDLINK : 0 });
	}
	ring_submit(&r, 0);
	printf("armed\n");
	pause();
}

/* ---- connections, driven line by line ---- */

static int fifo_open(const char *path)
{
	int fd;

	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		die("mkfifo %s", path);
	fd = open(path, O_RDWR | O_CLOEXEC); /* never at its end */
	if (fd < 0)
		die("open %s", path);
	return fd;
}

static char *fifo_line(int fd)
{
	static char line[256];
	size_t n = 0;

	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = 0;
	return line;
}

static long send_by(const char *verb, int fd, const char *text)
{
	size_t length = strlen(text);
	int ends[2], file;
	off_t start = 0;
	long r = -1;

	if (!strcmp(verb, "send")) {
		r = send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (!strcmp(verb, "sendfile")) {
		file = memfd_create("sendfile", 0);
		if (write(file, text, length) == (ssize_t)length)
			r = sendfile(fd, file, &start, length);
	} else if (!strcmp(verb, "splice")) {
		if (pipe(ends) == 0 && write(ends[1], text, length) == (ssize_t)length)
			r = splice(ends[0], NULL, fd, NULL, length, SPLICE_F_NONBLOCK);
	} else {
		die("unknown verb %s", verb);
	}
	return r < 0 ? -errno : r;
}

static void way_tcp(char **arg)
{
	int commands = fifo_open(arg[0]), yes = 1;
	struct place from = place(arg[1], arg[2]), to = place(arg[4], arg[5]);
	int fd = socket(to.family, SOCK_STREAM, stream);
	struct linger at_once = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if ((strcmp(arg[3], "-") != 0 &&
	     setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, arg[3], (socklen_t)strlen(arg[3])) < 0) ||
	    bind(fd, (struct sockaddr *)&from.to, from.size) < 0 ||
	    connect(fd, (struct sockaddr *)&to.to, to.size) < 0)
		die("connect");
	printf("connected\n");
	for (;;) {
		char *line = fifo_line(commands), *text = strchr(line, ' ');

		if (!strcmp(line, "exit"))
			_exit(0); /* the kernel closes */
		if (!strcmp(line, "linger0")) {
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
			printf("linger0: ok\n");
			continue;
		}
		if (!text)
			die("command '%s'", line);
		*text++ = 0;
		printf("%s: %s\n", text, outcome(send_by(line, fd, text)));
	}
}

/* "send PEER-PORT TEXT" */
static void serve_send(char *line, const int *fds, nfds_t n)
{
	struct sockaddr_in peer;
	int port, at = 0;

	if (sscanf(line, "send %d %n", &port, &at) != 1 || !at)
		die("command '%s'", line);
	for (nfds_t i = 0; i < n; i++) {
		socklen_t size = sizeof(peer);

		if (getpeername(fds[i], (struct sockaddr *)&peer, &size) == 0 &&
		    ntohs(peer.sin_port) == port)
			printf("%s: %s\n", line + at, outcome(send_by("send", fds[i], line + at)));
	}
}

static void way_serve(char **arg)
{
	int commands = fifo_open(arg[0]), listener, yes = 1, fds[CONNECTIONS];
	struct place at = place(arg[1], arg[2]);
	struct pollfd p[CONNECTIONS + 2];
	nfds_t n = 0;
	char buf[4096];

	listener = socket(at.family, SOCK_STREAM, stream);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&at.to, at.size) < 0 || listen(listener, 16) < 0)
		die("listen");
	printf("listening\n");
	for (;;) {
		p[0] = (struct pollfd) { commands, POLLIN, 0 };
		p[1] = (struct pollfd) { n < CONNECTIONS ? listener : -1, POLLIN, 0 };
		for (nfds_t i = 0; i < n; i++)
			p[i + 2] = (struct pollfd) { fds[i], POLLIN, 0 };
		poll(p, n + 2, -1);
		for (nfds_t i = n; i-- > 0;) { /* it reads, and never closes by itself */
			if (!p[i + 2].revents || recv(fds[i], buf, sizeof(buf), MSG_DONTWAIT) > 0)
				continue;
			memmove(fds + i, fds + i + 1, (n - i - 1) * sizeof(*fds));
			n--;
		}
		if (p[1].revents) {
			fds[n++] = accept(listener, NULL, NULL);
			printf("accepted\n");
		}
		if (p[0].revents) {
			char *line = fifo_line(commands);

			if (!strcmp(line, "exit"))
				_exit(0);
			serve_send(line, fds, n);
		}
	}
}

static void way_multi(char **arg)
{
	stream = IPPROTO_MPTCP;
	if (!strcmp(arg[0], "serve"))
		way_serve(arg + 1);
	way_tcp(arg + 1);
}

static void way_receive(char **arg)
{
	struct place at = place("0.0.0.0", arg[0]);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[256];
	ssize_t n;

	if (bind(fd, (struct sockaddr *)&at.to, at.size) < 0)
		die("bind");
	printf("bound\n");
	while ((n = recv(fd, buf, sizeof(buf), 0)) >= 0)
		printf("received %.*s\n", (int)n, buf);
}

/* ---- what a delegated cgroup may attach ---- */

static void allow(int cgroup, enum bpf_prog_type type, enum bpf_attach_type where, uint32_t flags)
{
	struct bpf_insn pass[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1 },
				   { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr load = { .prog_type = type,
				.insns = (uintptr_t)pass,
				.insn_cnt = 2,
				.license = (uintptr_t) "GPL",
				.expected_attach_type = where };
	union bpf_attr attach = { .target_fd = (uint32_t)cgroup,
				  .attach_type = where,
				  .attach_flags = flags };
	long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));

	if (fd < 0)
		die("load");
	attach.attach_bpf_fd = (uint32_t)fd;
	printf("attach: %s\n",
	       outcome(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0 ? -errno
										      : 0));
}

static void way_allow(char **arg)
{
	int cgroup = open(arg[0], O_RDONLY | O_DIRECTORY);
	uint32_t flags = !strcmp(arg[1], "multi") ? BPF_F_ALLOW_MULTI : BPF_F_ALLOW_OVERRIDE;

	if (cgroup < 0)
		die("open %s", arg[0]);
	allow(cgroup, BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, flags);
	allow(cgroup, BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, flags);
}

/* ---- the order of a revocation ---- */

static bool says_frozen(int fd)
{
	char byte = '?';

	return pread(fd, &byte, 1, 0) == 1 && byte == '1';
}

/* cgroup.freeze is read before the leases: what is alive after it was written is the wrong order.
 */
static void way_order(char **arg)
{
	union bpf_attr get = { .pathname = (uintptr_t)arg[0] }; /* no read-only fd maps shared */
	long map = syscall(SYS_bpf, BPF_OBJ_GET, &get, sizeof(get));
	const volatile struct lease *leases;
	char path[4096];
	bool wanted = false;
	int freeze;

	snprintf(path, sizeof(path), "%s/cgroup.freeze", arg[1]);
	freeze = open(path, O_RDONLY);
	if (map < 0 || freeze < 0)
		die("open %s and %s", arg[0], path);
	leases = mmap(NULL, VPNLEASH_SLOTS * sizeof(*leases), PROT_READ, MAP_SHARED, (int)map, 0);
	if (leases == MAP_FAILED)
		die("map the leases");
	printf("watching\n");
	for (uint64_t reads = 1, after_revocation = 0; !wanted; reads++) {
		unsigned int alive = 0;

		wanted = says_frozen(freeze);
		for (unsigned int i = 0; i < VPNLEASH_SLOTS; i++)
			alive += leases[i].expires_ns > boot_ns();
		after_revocation += !alive && !wanted;
		if (wanted)
			printf("frozen with %u leases alive, reads %llu, of which revoked and not "
			       "yet frozen %llu\n",
			       alive, (unsigned long long)reads,
			       (unsigned long long)after_revocation);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		void (*run)(char **arg);
	} ways[] = {
		{ "udp", 4, way_udp },
		{ "connect", 3, way_connect },
		{ "uring", 6, way_uring },
		{ "uring-later", 4, way_uring_later },
		{ "uring-frames", 4, way_uring_frames },
		{ "tcp", 6, way_tcp },
		{ "serve", 3, way_serve },
		{ "receive", 1, way_receive },
		{ "allow", 2, way_allow },
		{ "order", 2, way_order },
		{ "multi", 4, way_multi },
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (argc > 1 && !strcmp(argv[1], ways[i].name) && argc - 2 >= ways[i].args) {
			ways[i].run(argv + 2);
			return 0;
		}
	die("usage: way WAY ARG…, see the head of tests/attack/way.c");
}
