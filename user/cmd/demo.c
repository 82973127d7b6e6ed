/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * demo: a VPN dies under load, first without vpnleash, then with it, in the laboratory of lab.sh.
 *
 * First the control: the same program, the same load, and packets beside the tunnel are seen, so
 * that "none" means something afterwards. Everything happens on the stage of stage.h.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "act/pins.h"
#include "base/child.h"
#include "base/netns.h"
#include "cmd/cmd.h"
#include "demo/lab.h"
#include "demo/stage.h"
#include "report/control_client.h"

#define RUNNING_MS 1000	  /* how long a living tunnel is watched */
#define DEAD_MS	   1500	  /* and a dead one */
#define LEASE_MS   3000	  /* what `run` grants by default */
#define SLACK_MS   500	  /* for packets inside a wireguard-go that gets no CPU */
#define OPEN_MS	   20000  /* a bound */
#define DEMO_MS	   180000 /* emulated machines are slow; others need 15 s */
#define LOG	   "/run/vpnleash.log"

struct demo {
	struct stage *stage;
	struct error *err; /* the stage's */
	uint64_t started_ns;
	struct lab lab;
	struct child daemon;
	struct pins pins;

	struct count running[2], killed[2], again, shut, alone;	 /* [1]: with vpnleash */
	uint64_t down_ns, lease_ns, frozen_ns, open_ns, shut_ns; /* how long it took */
};

__attribute__((format(printf, 2, 3))) static void tell(const struct demo *d, const char *format,
						       ...)
{
	va_list ap;

	printf("%5.1f s  ", (double)(now_boot_ns() - d->started_ns) / 1e9);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

static int start_daemon(struct demo *d)
{
	char *argv[] = { "/proc/self/exe",
			 "run",
			 "--cgroup",
			 d->stage->cgroup.path,
			 "--interface",
			 LAB_TUNNEL,
			 "--netns",
			 LAB_NETNS,
			 "--probe",
			 "icmp:" LAB_OUTSIDE,
			 NULL };
	_cleanup_fd int log = open(LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int r = log < 0 ? -errno : child_spawn(&d->daemon, argv, log);

	d->stage->daemon = d->daemon.pid;
	return r ? fail(d->err, ERROR_OTHER, r, NULL, "start vpnleash run") : 0;
}

/* When the workload became open; 0: it is not, or nobody says. */
static uint64_t opened_ns(void)
{
	json_auto_t *report = NULL;
	const char *state = "";
	json_int_t changed = 0;

	if (!control_ask(json_pack("{s:s}", "verb", "status"), &report, NULL))
		json_unpack(report, "{s:[{s:s,s:I}]}", "workloads", "state", &state,
			    "changed_boot_ns", &changed);
	return strcmp(state, "open") ? 0 : (uint64_t)changed;
}

static int wait_open(struct demo *d, uint64_t since_ns, uint64_t *ret_ns)
{
	uint64_t end = now_boot_ns() + OPEN_MS * NS_PER_MSEC, at;

	while (!(at = opened_ns())) {
		int r;

		if (child_wait(&d->daemon, 0) != -ETIMEDOUT)
			return fail(d->err, ERROR_OTHER, 0, "its log is above", "vpnleash ended");
		if (now_boot_ns() > end)
			return fail(d->err, ERROR_OTHER, -ETIMEDOUT, "its log is above",
				    "vpnleash has not opened the tunnel");
		r = lab_watch(&d->lab, 20, d->err);
		if (r)
			return r;
	}
	*ret_ns = at > since_ns ? at - since_ns : 0;
	return 0;
}

/* How long after the kill the tunnel is down, the kernel no longer finds a lease, and calls the
 * program frozen. Looks every 20 µs and a bit. */
static int time_shutting(struct demo *d, uint64_t killed_ns)
{
	_cleanup_fd int fd = netns_socket(d->lab.client, AF_INET, SOCK_DGRAM, 0);
	const struct timespec pause = { .tv_nsec = 20000 };
	struct ifreq tunnel = { .ifr_name = LAB_TUNNEL };
	struct workload_record w;
	struct lease l;
	char events[64];
	uint64_t ns = 0;

	prctl(PR_SET_TIMERSLACK, 1UL);
	if (fd < 0 || bpf_map_lookup_elem(d->pins.workloads, &d->stage->cgroup.id, &w) < 0)
		return fail(d->err, ERROR_OTHER, -errno, NULL, "read the workload's record");
	for (__u32 slot = w.slot; !d->frozen_ns || !d->lease_ns; ns = now_boot_ns() - killed_ns) {
		if (ns > (LEASE_MS + 1000) * NS_PER_MSEC)
			return fail(d->err, ERROR_ABSENT, 0, "its log is above",
				    "vpnleash did not %s after the VPN was killed",
				    d->lease_ns ? "freeze the program" : "revoke the lease");
		if (!d->down_ns &&
		    (ioctl(fd, SIOCGIFFLAGS, &tunnel) < 0 || !(tunnel.ifr_flags & IFF_UP)))
			d->down_ns = ns;
		if (!d->lease_ns && !bpf_map_lookup_elem(d->pins.leases, &slot, &l) &&
		    !l.expires_ns)
			d->lease_ns = ns;
		if (!d->frozen_ns &&
		    read_small(d->stage->cgroup.fd, "cgroup.events", events, sizeof(events)) > 0 &&
		    strstr(events, "frozen 1"))
			d->frozen_ns = ns;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int load(struct demo *d)
{
	return lab_load(&d->lab, d->stage->cgroup.fd, DEMO_MS / 1000, d->err);
}

/* ---- the three acts ---- */

static int act_without(struct demo *d)
{
	uint64_t killed_ns;
	int r;

	tell(d, "1. without vpnleash: a program sends through the tunnel");
	if ((r = load(d)) || (r = lab_count(&d->lab, RUNNING_MS, &d->running[0], d->err)) ||
	    (r = lab_kill_vpn(&killed_ns, d->err)))
		return r;
	tell(d, "   kill -9 of the VPN");
	r = lab_count(&d->lab, DEAD_MS, &d->killed[0], d->err);
	sender_free(&d->lab.sender);
	if (r)
		return r;
	if (!d->running[0].tunnel || !d->killed[0].beyond)
		return fail(d->err, ERROR_OTHER, 0, "so a zero with vpnleash would prove nothing",
			    "the control has seen no leak");
	tell(d, "   %" PRIu64 " packets went out beside it", d->killed[0].beyond);
	return 0;
}

static int act_with(struct demo *d)
{
	struct count between;
	uint64_t ns;
	int r;

	tell(d, "2. with vpnleash: the VPN again, and `vpnleash run`");
	if ((r = lab_do("lab_vpn_start && lab_handshake", d->err)) || (r = start_daemon(d)) ||
	    (r = wait_open(d, 0, &ns)) || (r = pins_open(&d->pins, d->err)) ||
	    (r = lab_count(&d->lab, 0, &between, d->err)))
		return r;
	tell(d, "   the same program sends through the tunnel");
	if ((r = load(d)) || (r = lab_count(&d->lab, RUNNING_MS, &d->running[1], d->err)))
		return r;
	if (!d->running[1].tunnel)
		return fail(d->err, ERROR_OTHER, 0, "its log is above",
			    "nothing came through the open tunnel");
	tell(d, "   kill -9 of the VPN");
	if ((r = lab_kill_vpn(&ns, d->err)) || (r = time_shutting(d, ns)))
		return r;
	tell(d, "   the lease is gone, the program frozen");
	return lab_count(&d->lab, DEAD_MS, &d->killed[1], d->err);
}

static int act_back(struct demo *d)
{
	uint64_t ns = now_boot_ns(), last;
	int r;

	tell(d, "3. the VPN starts again, and so the program goes on");
	if ((r = lab_do("lab_vpn_start", d->err)) || (r = wait_open(d, ns, &d->open_ns)) ||
	    (r = lab_count(&d->lab, RUNNING_MS, &d->again, d->err)))
		return r;
	if (!d->again.tunnel)
		return fail(d->err, ERROR_OTHER, 0, "its log is above",
			    "nothing came through the tunnel again");
	tell(d, "   kill -9 of vpnleash: nobody renews the lease");
	ns = now_boot_ns();
	child_kill(&d->daemon);
	r = lab_count(&d->lab, LEASE_MS + SLACK_MS, &d->shut, d->err);
	if (r)
		return r;
	last = lab_last_in_tunnel_ns(&d->lab);
	d->shut_ns = last > ns ? last - ns : 0;
	tell(d, "   kill -9 of the VPN as well");
	if ((r = lab_kill_vpn(&ns, d->err)) || (r = lab_count(&d->lab, DEAD_MS, &d->alone, d->err)))
		return r;
	return d->alone.tried ? 0
			      : fail(d->err, ERROR_OTHER, 0, "is its cgroup frozen?",
				     "the program no longer sends");
}

/* ---- the result ---- */

static void print_row(const char *what, const uint64_t *without, uint64_t with)
{
	char text[24] = "";

	if (without)
		snprintf(text, sizeof(text), "%" PRIu64, *without);
	printf("%-40s %16s %16" PRIu64 "\n", what, text, with);
}

static void print_time(const char *from, const char *to, double value, const char *unit)
{
	printf("%-20s -> %-38s %10.1f %s\n", from, to, value, unit);
}

static int print_result(const struct demo *d)
{
	uint64_t leaked = d->running[1].beyond + d->killed[1].beyond + d->again.beyond +
			  d->shut.beyond + d->alone.beyond;
	bool late = d->shut_ns > (LEASE_MS + SLACK_MS) * NS_PER_MSEC, good = !leaked && !late;
	bool coloured = isatty(STDOUT_FILENO);

	printf("\n%-40s %16s %16s\n", "packets of the program", "without vpnleash",
	       "with vpnleash");
	print_row("in the tunnel, VPN running", &d->running[0].tunnel, d->running[1].tunnel);
	print_row("beside it, VPN running", &d->running[0].beyond, d->running[1].beyond);
	print_row("beside it, after kill -9 of the VPN", &d->killed[0].beyond, d->killed[1].beyond);
	print_row("in the tunnel, VPN running again", NULL, d->again.tunnel);
	print_row("beside it, VPN running again", NULL, d->again.beyond);
	print_row("beside it, after kill -9 of vpnleash", NULL, d->shut.beyond);
	print_row("beside it, after kill -9 of both", NULL, d->alone.beyond);
	printf("\n");
	print_time("VPN killed (-9)", "tunnel down", (double)d->down_ns / 1e6, "ms");
	print_time("", "lease gone", (double)d->lease_ns / 1e6, "ms");
	print_time("", "program frozen", (double)d->frozen_ns / 1e6, "ms");
	print_time("VPN started", "program open again", (double)d->open_ns / 1e9, "s");
	print_time("vpnleash killed (-9)", "shut (lease 3 s)", (double)d->shut_ns / 1e9, "s");
	printf("\n");
	printf("%s", !coloured ? "" : good ? "\033[1;32m" : "\033[1;31m");
	if (leaked)
		printf("LEAK: %" PRIu64 " packets passed vpnleash.", leaked);
	else if (late)
		printf("LATE: the tunnel was still in use after the lease's end.");
	else
		printf("Without vpnleash %" PRIu64 " packets left beside the VPN; with it, none.",
		       d->running[0].beyond + d->killed[0].beyond);
	printf("%s\n", coloured ? "\033[0m" : "");
	return good ? EXIT_GOOD : EXIT_NEGATIVE;
}

static void show_log(void)
{
	char text[8192];

	if (read_small(AT_FDCWD, LOG, text, sizeof(text)) > 0)
		fprintf(stderr, "%s\n", text);
}

static int play_acts(struct demo *d)
{
	int r = lab_open(&d->lab, d->err);

	r = r ? r : act_without(d);
	r = r ? r : act_with(d);
	r = r ? r : act_back(d);
	return r ? r : print_result(d);
}

static int play_demo(struct stage *s)
{
	struct demo d = { .stage = s,
			  .err = &s->err,
			  .started_ns = now_boot_ns(),
			  .daemon = CHILD_NONE,
			  .pins = PINS_NONE };
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0); /* through a pipe, too, no silent minute */
	tell(&d, "building a laboratory: a WireGuard VPN with a second way out beside it");
	r = play_acts(&d);
	if (r)
		show_log();
	return r;
}

int cmd_demo(int argc, char **argv, struct error *err)
{
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash demo\n\n"
		       "Kills a VPN under load, first without vpnleash, then with it, and counts the packets that\n"
		       "get out. Takes about 15 s. It all happens in namespaces of its own, beside whatever runs\n"
		       "here, and nothing is left behind.\n\n"
		       "example: sudo vpnleash demo\n\n"
		       "Exit codes: 0 leaks without vpnleash and none with it, 1 a leak, 2 usage,\n"
		       "            4 something is missing, 5 nothing could be proved.\n");
		return EXIT_GOOD;
	}
	if (argc > 1)
		return fail(err, ERROR_INPUT, 0, "see: vpnleash demo --help", "unknown option");
	if (geteuid())
		return fail(err, ERROR_PRIVILEGE, -EPERM, "sudo vpnleash demo", "start the demo");
	r = lab_check(err);
	return r ? r : stage_run(play_demo, DEMO_MS, err);
}
