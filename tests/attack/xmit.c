/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xmit xsk|live IFNAME FRAME-HEX COUNT: frames past every tc program of the netns that it is
 * started in. xsk: AF_XDP in copy mode, for which CAP_NET_RAW is enough. live: an XDP program that
 * redirects to IFNAME, run by BPF_PROG_TEST_RUN on live frames. Says `sent N errno E`.
 *
 * xmit redirect FROM TO: a tc program that sends what FROM sends out of TO, until it is killed.
 * xmit front IFNAME: a tc program that lets all through, before every other, likewise.
 * xmit pass IFNAME: an XDP program that lets all through, until it is killed: with one, a veth
 * takes redirected frames.
 */
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/lib/tool.h"

#define FRAME_SIZE  2048
#define RING	    64
#define LIVE_FRAMES (1U << 1) /* BPF_F_TEST_XDP_LIVE_FRAMES */

static unsigned char frame[FRAME_SIZE];
static size_t length;

static void read_hex(const char *hex)
{
	for (; hex[0] && hex[1] && length < sizeof(frame); hex += 2)
		sscanf(hex, "%2hhx", &frame[length++]);
}

static void *ring(int fd, off_t at, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);

	if (p == MAP_FAILED)
		die("map a ring");
	return p;
}

static int xsk(const char *ifname, unsigned int count)
{
	int fd = socket(AF_XDP, SOCK_RAW, 0), entries = RING;
	unsigned char *area = mmap(NULL, RING * FRAME_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xdp_umem_reg umem = { .addr = (uintptr_t)area,
				     .len = RING * FRAME_SIZE,
				     .chunk_size = FRAME_SIZE };
	struct sockaddr_xdp to = { .sxdp_family = AF_XDP,
				   .sxdp_flags = XDP_COPY,
				   .sxdp_ifindex = if_nametoindex(ifname) };
	struct xdp_mmap_offsets at;
	socklen_t size = sizeof(at);
	struct xdp_desc *descriptors;
	uint32_t *producer;
	char *tx;

	if (fd < 0 || area == MAP_FAILED)
		die("socket AF_XDP");
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &entries, sizeof(entries)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &entries, sizeof(entries)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_TX_RING, &entries, sizeof(entries)) < 0 ||
	    getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size) < 0)
		die("rings");
	tx = ring(fd, XDP_PGOFF_TX_RING, at.tx.desc + RING * sizeof(struct xdp_desc));
	producer = (uint32_t *)(tx + at.tx.producer);
	descriptors = (struct xdp_desc *)(tx + at.tx.desc);
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("bind to %s", ifname);
	for (unsigned int i = 0; i < count && i < RING; i++) {
		memcpy(area + i * FRAME_SIZE, frame, length);
		descriptors[i] =
			(struct xdp_desc) { .addr = i * FRAME_SIZE, .len = (uint32_t)length };
	}
	__atomic_store_n(producer, count, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < count; i++)
		if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS)
			return -errno;
	return 0;
}

static int load_program(uint32_t type, const struct bpf_insn *program, uint32_t n)
{
	union bpf_attr load = { .prog_type = type,
				.insn_cnt = n,
				.insns = (uintptr_t)program,
				.license = (uintptr_t) "GPL" };
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));

	if (fd < 0)
		die("load");
	return fd;
}

static void pass(const char *ifname)
{
	struct bpf_insn program[] = { { .code = 0xb7, .dst_reg = 0, .imm = XDP_PASS },
				      { .code = 0x95 } };
	union bpf_attr link = { 0 };

	link.link_create.prog_fd = (uint32_t)load_program(BPF_PROG_TYPE_XDP, program, 2);
	link.link_create.target_ifindex = if_nametoindex(ifname);
	link.link_create.attach_type = BPF_XDP;
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) < 0)
		die("attach to %s", ifname);
	printf("passing\n");
	fflush(stdout);
	pause();
}

static void hold_tcx(const char *ifname, int program, uint32_t flags, const char *says)
{
	union bpf_attr link = { 0 };

	link.link_create.prog_fd = (uint32_t)program;
	link.link_create.target_ifindex = if_nametoindex(ifname);
	link.link_create.attach_type = 47; /* BPF_TCX_EGRESS, v6.6 */
	link.link_create.flags = flags;
	if (syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link)) < 0)
		die("attach to %s", ifname);
	printf("%s\n", says);
	fflush(stdout);
	pause();
}

static void redirect(const char *from, const char *to)
{
	struct bpf_insn program[] = {
		{ .code = 0xb7, .dst_reg = 1, .imm = (int)if_nametoindex(to) },
		{ .code = 0xb7, .dst_reg = 2 },
		{ .code = 0x85, .imm = 23 },
		{ .code = 0x95 },
	};

	hold_tcx(from, load_program(BPF_PROG_TYPE_SCHED_CLS, program, 4), 0, "redirecting");
}

static void front(const char *ifname)
{
	struct bpf_insn program[] = { { .code = 0xb7, .dst_reg = 0, .imm = 0 }, /* TCX_PASS */
				      { .code = 0x95 } };

	hold_tcx(ifname, load_program(BPF_PROG_TYPE_SCHED_CLS, program, 2),
		 1U << 3 /* BPF_F_BEFORE */, "fronting");
}

static int live(const char *ifname, unsigned int count)
{
	/* r1 = index, r2 = 0, call bpf_redirect, exit */
	struct bpf_insn program[] = {
		{ .code = 0xb7, .dst_reg = 1, .imm = (int)if_nametoindex(ifname) },
		{ .code = 0xb7, .dst_reg = 2 },
		{ .code = 0x85, .imm = 23 },
		{ .code = 0x95 },
	};
	union bpf_attr run = { 0 };

	run.test.prog_fd = (uint32_t)load_program(BPF_PROG_TYPE_XDP, program, 4);
	run.test.data_in = (uintptr_t)frame;
	run.test.data_size_in = (uint32_t)length;
	run.test.repeat = count;
	run.test.flags = LIVE_FRAMES;
	return syscall(SYS_bpf, BPF_PROG_TEST_RUN, &run, sizeof(run)) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	unsigned int count = argc == 5 ? (unsigned int)atoi(argv[4]) : 0;
	int r;

	if (argc == 3 && !strcmp(argv[1], "front"))
		front(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "pass"))
		pass(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "redirect"))
		redirect(argv[2], argv[3]);
	if (!count || count > RING)
		die("usage: xmit xsk|live IFNAME FRAME-HEX COUNT");
	read_hex(argv[3]);
	r = !strcmp(argv[1], "xsk") ? xsk(argv[2], count) : live(argv[2], count);
	printf("sent %u errno %s\n", count, r < 0 ? strerrorname_np(-r) : "-");
	return 0;
}
