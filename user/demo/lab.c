/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "demo/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/child.h"
#include "base/netns.h"
#include "lab.sh.h"

#define KINDS	    "udp4,tcp4,udp6,icmp4,device4,multicast4"
#define INTERVAL_MS 5
#define LOOK_USEC   10000
#define STEP_MS	    60000 /* a bound; lab.sh has shorter ones of its own */
#define VPN_PID	    "/run/vpnleash-lab/client/vpn.pid"

int lab_check(struct error *err)
{
	static const char *const programs[] = { "bash", "ip", "wg", "wireguard-go", "nsenter" };
	_cleanup_fd int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	char script[64];

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		char *argv[] = { "sh", "-c", script, NULL };
		struct child sh;

		snprintf(script, sizeof(script), "command -v %s >/dev/null", programs[i]);
		if (child_spawn(&sh, argv, -1) || child_wait(&sh, STEP_MS))
			return fail(err, ERROR_PRIVILEGE, 0,
				    "apt install iproute2 wireguard-tools wireguard-go util-linux",
				    "%s is missing", programs[i]);
	}
	return tun < 0 ? fail(err, ERROR_PRIVILEGE, -errno,
			      "modprobe tun; in a container: --device /dev/net/tun",
			      "open /dev/net/tun")
		       : 0;
}

int lab_do(const char *verbs, struct error *err)
{
	/* variables of the caller's must not make it another laboratory */
	char script[sizeof(lab_sh) + 256];
	char *argv[] = { "bash", "-c", script, NULL };
	struct child bash;
	int r;

	/* the host's end of eth0 on a bridge here, as an engine has it: that is where the guard
	 * sits */
	snprintf(script, sizeof(script), "unset \"${!LAB@}\"\nLAB_EDGE=here\n%s\n%s", lab_sh,
		 verbs);
	r = child_spawn(&bash, argv, STDERR_FILENO);
	if (!r) {
		r = child_wait(&bash, STEP_MS);
		child_kill(&bash);
	}
	return r ? fail(err, ERROR_OTHER, r < 0 ? r : 0, "see the lines above",
			"the laboratory failed at: %s", verbs)
		 : 0;
}

static int open_captures(struct lab *l, struct error *err)
{
	struct targets *t = &l->targets;
	int r = targets_init(t, err);

	if (r)
		return r;
	address_parse(LAB_OUTSIDE, AF_INET, &t->outside[0]);
	address_parse("2001:db8::1", AF_INET6, &t->outside[1]);
	address_parse("10.9.0.2", AF_INET, &t->onlink[0]);
	address_parse("fd09::2", AF_INET6, &t->onlink[1]);
	t->fence[0] = t->onlink[0]; /* the guard lets through what goes to the VPN's server */
	t->fence_port = t->endpoint_port = 51820;
	snprintf(t->underlay, sizeof(t->underlay), "eth0");
	r = capture_open(&l->beyond, l->far, "eth0", t, err);
	return r ? r : capture_open(&l->tunnel, l->far, "wgfar0", t, err);
}

int lab_open(struct lab *l, struct error *err)
{
	int r = lab_do("ip link set lo up && lab_up", err);

	r = r ? r : netns_open(LAB_NETNS, &l->client, err);
	r = r ? r : netns_open("/run/netns/far", &l->far, err);
	return r ? r : open_captures(l, err);
}

int lab_load(struct lab *l, int cgroup_fd, unsigned int max_seconds, struct error *err)
{
	struct sending plan = { .cgroup_fd = cgroup_fd,
				.netns_fd = l->client,
				.interval_ms = INTERVAL_MS,
				.max_seconds = max_seconds };
	int r = kinds_parse(KINDS, &plan.kinds, err);

	l->counted.tried = 0; /* a new program's tallies begin anew */
	return r ? r : sender_start(&l->sender, &plan, &l->targets, err);
}

int lab_kill_vpn(uint64_t *ret_when_ns, struct error *err)
{
	char text[16] = "";
	ssize_t n = read_small(AT_FDCWD, VPN_PID, text, sizeof(text));
	pid_t pid = (pid_t)strtol(text, NULL, 10);

	if (n < 0 || pid <= 1)
		return fail(err, ERROR_OTHER, n < 0 ? (int)n : 0, NULL, "find the VPN's process");
	*ret_when_ns = now_boot_ns();
	return kill(pid, SIGKILL) < 0
		       ? fail(err, ERROR_OTHER, -errno, "did it end by itself?", "kill the VPN")
		       : 0;
}

int lab_watch(struct lab *l, unsigned int ms, struct error *err)
{
	uint64_t end = now_boot_ns() + ms * NS_PER_MSEC;

	while (now_boot_ns() < end) {
		int r = capture_drain(&l->beyond, err);

		r = r ? r : capture_drain(&l->tunnel, err);
		if (r)
			return r;
		usleep(LOOK_USEC);
	}
	return 0;
}

int lab_count(struct lab *l, unsigned int ms, struct count *ret, struct error *err)
{
	struct count now;
	int r = lab_watch(l, ms, err);

	r = r ? r : capture_fence(&l->beyond, l->client, err);
	r = r ? r : capture_drain(&l->tunnel, err);
	if (r)
		return r;
	now = (struct count) { .beyond = l->beyond.classes[FRAME_KIND],
			       .tunnel = l->tunnel.classes[FRAME_KIND] };
	for (size_t i = 0; l->sender.tally && i < KINDS_LIMIT; i++)
		now.tried += __atomic_load_n(&l->sender.tally[i].attempted, __ATOMIC_RELAXED);
	*ret = (struct count) { .beyond = now.beyond - l->counted.beyond,
				.tunnel = now.tunnel - l->counted.tunnel,
				.tried = now.tried - l->counted.tried };
	l->counted = now;
	return 0;
}

uint64_t lab_last_in_tunnel_ns(const struct lab *l)
{
	uint64_t last = 0;

	for (size_t i = 0; i < KINDS_LIMIT; i++)
		if (l->tunnel.seen[i].last_ns > last)
			last = l->tunnel.seen[i].last_ns;
	return last;
}
