/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * verify: does the leash hold, here and now? A canary in the workload's own cgroup and netns sends
 * what THREATS may be tried with, to addresses of nobody; see verify/.
 *
 * However it ends, it opens nothing and leaves nothing: the decoy and the canary die with this
 * process, the rehearsed failure ends by itself, and a process of its own wakes the daemon.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "act/counters.h"
#include "base/cgroup.h"
#include "base/netns.h"
#include "cmd/names.h"
#include "cmd/verify.h"
#include "report/control_client.h"

#define LOOK_MS	 50
#define OPEN_MS	 30000
#define LEASE_MS 6000  /* no lease lasts longer: VPNLEASH_LEASE_CAP_NS */
#define WAKE_MS	 60000 /* after which the daemon waits for nobody: verify may be suspended */

/* Where the workload is, by what is pinned. */
struct subject {
	struct pins pins;
	struct cgroup_root root;
	struct cgroup_ref cgroup;
	struct workload_record record;
	struct lease lease;
	int netns_fd;
};

static void close_subject(struct subject *s)
{
	pins_close(&s->pins);
	close_fd(s->root.fd);
	close_fd(s->cgroup.fd);
	close_fd(s->netns_fd);
}

/* ------ who it is, and where ------ */

static int ask(struct verify *v, uint64_t *ret_cgroup_id, struct error *err)
{
	json_auto_t *report = NULL;
	const json_t *j;
	bool daemon;
	int r = names_report(&report, &daemon, err);

	r = r ? r : names_find(report, v->asked_for, v->name, err);
	if (r)
		return r;
	j = report_find(report, "workloads", v->name);
	*ret_cgroup_id = (uint64_t)json_integer_value(json_object_get(j, "cgroup_id"));
	if (!*ret_cgroup_id)
		return fail(err, ERROR_OTHER, 0, "start it; see: vpnleash why",
			    "'%s' does not run: nothing can be proved", v->name);
	v->daemon = daemon ? (pid_t)json_integer_value(json_object_get(report, "daemon")) : 0;
	snprintf(v->state, sizeof(v->state), "%s", report_get(j, "state"));
	v->names_redirected = daemon && *report_get(j, "dns") &&
			      strncmp(report_get(j, "dns"), "nobody", 6) &&
			      strcmp(report_get(j, "enforce"), "audit") != 0;
	return 0;
}

static bool is_netns(int netns_fd, void *arg)
{
	const struct subject *s = arg;
	uint64_t cookie;

	if (s->lease.netns_ino)
		return netns_ino(netns_fd) == s->lease.netns_ino;
	return !netns_cookie(netns_fd, &cookie) && cookie == s->record.netns_cookie;
}

static int open_subject(struct subject *s, uint64_t cgroup_id, struct error *err)
{
	uint32_t slot;
	int r = pins_open(&s->pins, err);

	r = r ? r : resolve_cgroup_root(&s->root, err);
	if (r)
		return r;
	r = resolve_cgroup_of_id(&s->root, cgroup_id, &s->cgroup);
	if (r || bpf_map_lookup_elem(s->pins.workloads, &cgroup_id, &s->record) < 0)
		return fail(err, ERROR_OTHER, -ESTALE, "try again", "find the workload's cgroup");
	slot = s->record.slot;
	if (slot)
		bpf_map_lookup_elem(s->pins.leases, &slot, &s->lease);
	s->netns_fd = netns_find(is_netns, s);
	if (s->netns_fd < 0)
		return fail(err, ERROR_OTHER, s->netns_fd, "see: vpnleash why",
			    "find the network namespace of its tunnel");
	return 0;
}

static uint64_t lease_ends_ns(const struct subject *s)
{
	uint32_t slot = s->record.slot;
	struct lease l = { 0 };

	bpf_map_lookup_elem(s->pins.leases, &slot, &l);
	return l.expires_ns;
}

/* ------ one column ------ */

static int run(struct verify *v, const struct subject *s, enum column c, struct error *err)
{
	uint64_t before[VPNLEASH_REASON_MAX];
	int r;

	counters_read(&s->pins, s->cgroup.id, before);
	r = trial_run(&v->trial, c, c == COLUMN_CONTROL ? -1 : s->cgroup.fd, err);
	counters_read(&s->pins, s->cgroup.id, v->dropped[c]);
	for (int i = 0; i < VPNLEASH_REASON_MAX; i++)
		v->dropped[c][i] -= before[i];
	return r;
}

/* What was tried while it was shut, was it shut to the end? */
static int check_shut(const struct subject *s, struct error *err)
{
	return lease_ends_ns(s) <= now_boot_ns()
		       ? 0
		       : fail(err, ERROR_OTHER, 0, "try again",
			      "its tunnel was open again before all was sent");
}

static void pause_ms(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

/* How long it took until it is open again counts as disturbance. */
static void await_open(struct verify *v, uint64_t since_ns)
{
	uint64_t end = now_boot_ns() + OPEN_MS * NS_PER_MSEC;
	const char *state = "";

	while (now_boot_ns() < end) {
		json_auto_t *report = NULL;
		bool daemon = false;
		const json_t *j;

		j = names_report(&report, &daemon, NULL)
			    ? NULL
			    : report_find(report, "workloads", v->name);
		state = daemon && j ? report_get(j, "state") : "";
		if (!strcmp(state, "open")) {
			v->disturbed_ns += now_boot_ns() - since_ns;
			return;
		}
		pause_ms(LOOK_MS);
	}
	v->disturbed_ns += now_boot_ns() - since_ns;
	snprintf(v->not_open, sizeof(v->not_open),
		 "it was open before, and is not after %d s (see: vpnleash why)", OPEN_MS / 1000);
}

/* ------ the tunnel fails ------ */

static int rehearse(const struct verify *v, bool over, struct error *err)
{
	json_auto_t *answer = NULL;

	return control_ask(
		json_pack("{s:s,s:s,s:b}", "verb", "rehearse", "workload", v->name, "over", over),
		&answer, err);
}

static int run_down(struct verify *v, const struct subject *s, struct error *err)
{
	uint64_t since = now_boot_ns();
	int r = rehearse(v, false, err);

	if (r)
		return r;
	if (lease_ends_ns(s))
		r = fail(err, ERROR_OTHER, 0, "see: vpnleash status",
			 "the lease lives though its tunnel was to fail");
	r = r ? r : run(v, s, COLUMN_DOWN, err);
	r = r ? r : check_shut(s, err);
	rehearse(v, true, NULL); /* it would end by itself */
	await_open(v, since);
	return r;
}

/* ------ the daemon dies ------ */

/* Waits for the end of who stopped the daemon, and lets it go on. Not our child's kind of child: it
 * is to outlive us. */
static void wake(int pidfd, int end_fd)
{
	struct pollfd end = { .fd = end_fd, .events = POLLIN };

	setsid(); /* Ctrl-C is not for it */
	while (poll(&end, 1, WAKE_MS) < 0 && errno == EINTR)
		;
	pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
	_exit(0);
}

/* Stopped, it does what a dead one does: nothing. It goes on when *ret_fd is closed, by whatever.
 */
static int stop_daemon(int *ret_fd, pid_t *ret_waker, struct error *err)
{
	_cleanup_fd int pidfd = -1;
	pid_t pid = 0; /* by the kernel; 0: of another pid namespace */
	int ends[2];

	if (!control_daemon(&pid, err) && pid)
		pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return fail(err, ERROR_PRIVILEGE, -ESRCH, "run it in the host's pid namespace",
			    "find the daemon's process");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "make a pipe");
	*ret_waker = fork();
	if (*ret_waker == 0) {
		close_fd(ends[1]);
		wake(pidfd, ends[0]);
	}
	close_fd(ends[0]);
	if (*ret_waker < 0 || pidfd_send_signal(pidfd, SIGSTOP, NULL, 0) < 0) {
		int r = -errno;

		close_fd(ends[1]);
		return fail(err, ERROR_PRIVILEGE, r, "run as root", "stop the daemon");
	}
	*ret_fd = ends[1];
	return 0;
}

/* Nobody renews: when does it end? Bounded by the cap of the gate itself. */
static int await_lease_end(const struct subject *s, uint64_t *ret_ns, struct error *err)
{
	uint64_t end = now_boot_ns() + LEASE_MS * NS_PER_MSEC;

	while ((*ret_ns = lease_ends_ns(s)) > now_boot_ns()) {
		if (now_boot_ns() > end)
			return fail(err, ERROR_OTHER, -ETIMEDOUT, "see: vpnleash status",
				    "the lease is still renewed: by whom?");
		pause_ms(LOOK_MS);
	}
	if (!*ret_ns) /* revoked meanwhile */
		*ret_ns = now_boot_ns();
	return 0;
}

static int run_dead(struct verify *v, const struct subject *s, struct error *err)
{
	uint64_t since = 0;
	pid_t waker = 0;
	int fd = -1, r = v->daemon ? stop_daemon(&fd, &waker, err) : 0;

	if (r)
		return r;
	r = await_lease_end(s, &since, err);
	r = r ? r : run(v, s, COLUMN_DEAD, err);
	r = r ? r : check_shut(s, err);
	if (fd < 0)
		return r;
	close_fd(fd);
	waitpid(waker, NULL, 0);
	await_open(v, since);
	return r;
}

/* ------ all of it ------ */

static bool confirmed(const struct verify *v)
{
	char answer[8] = "";

	printf("This cuts '%s', and whoever shares its tunnel, off for some seconds, twice: its tunnel's\n"
	       "failure is rehearsed, then the daemon is stopped until the lease has ended. Go on? [y/N] ",
	       v->name);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

/* A control, the state that it is in, and, of an open one, the other states. */
static int run_all(struct verify *v, const struct subject *s, struct error *err)
{
	bool open = v->daemon && !strcmp(v->state, "open");
	char frozen[64];
	int r;

	v->frozen = read_small(s->cgroup.fd, "cgroup.events", frozen, sizeof(frozen)) > 0 &&
		    strstr(frozen, "frozen 1");
	r = run(v, s, COLUMN_CONTROL, err);
	if (r || v->frozen)
		return r;
	if (!v->daemon)
		return run_dead(v, s, err);
	r = run(v, s, open ? COLUMN_UP : COLUMN_DOWN, err);
	if (r || v->quick || !open)
		return r;
	r = run_down(v, s, err);
	return r || *v->not_open ? r : run_dead(v, s, err);
}

static int parse(int argc, char **argv, struct verify *v, struct error *err)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			v->quick = true;
		else if (!strcmp(argv[i], "--yes"))
			v->yes = true;
		else if (!strcmp(argv[i], "--json"))
			v->json = true;
		else if (argv[i][0] != '-' && !v->asked_for)
			v->asked_for = argv[i];
		else
			return fail(err, ERROR_INPUT, 0, "see: vpnleash verify --help",
				    "unknown option '%s'", quote(argv[i]));
	}
	return geteuid() ? fail(err, ERROR_PRIVILEGE, -EPERM, "sudo vpnleash verify",
				"start the canary")
			 : 0;
}

static int verify(struct verify *v, struct error *err)
{
	struct subject s = { .pins = PINS_NONE, .root.fd = -1, .cgroup.fd = -1, .netns_fd = -1 };
	uint64_t cgroup_id = 0;
	int r = ask(v, &cgroup_id, err);

	if (r)
		return r;
	if (v->daemon && !strcmp(v->state, "open") && !v->quick && !v->yes) {
		if (!isatty(STDIN_FILENO))
			return fail(err, ERROR_INPUT, 0, "--yes, or --quick, which does not",
				    "the full form interrupts the workload");
		if (!confirmed(v))
			return fail(err, ERROR_OTHER, 0, "--quick interrupts nothing",
				    "nothing was done");
	}
	r = open_subject(&s, cgroup_id, err);
	r = r ? r : place_open(&v->trial.place, s.netns_fd, s.lease.ifindex, err);
	if (!r) {
		trial_begin(&v->trial);
		r = run_all(v, &s, err);
		place_close(&v->trial.place);
	}
	close_subject(&s);
	return r ? r : verify_tell(v);
}

int cmd_verify(int argc, char **argv, struct error *err)
{
	struct verify *v;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash verify [--quick] [--yes] [--json] [WORKLOAD]\n\n"
		       "Proves on this machine that nothing of WORKLOAD passes beside its tunnel: a canary in its\n"
		       "cgroup and network sends every kind of packet to addresses that are nobody's, after a\n"
		       "control outside the gate whose packets are seen. While the tunnel is up, while its failure\n"
		       "is rehearsed, and while the daemon is stopped: in between the workload is cut off for some\n"
		       "seconds, so it asks first.\n\n"
		       "  --quick  as it is now, in 5 s; interrupts nothing\n"
		       "  --yes    do not ask\n"
		       "  --json   one JSON object on one line\n\n"
		       "example: sudo vpnleash verify qbittorrent\n\n"
		       "Exit codes: 0 nothing passed, 1 a leak, 2 usage, 4 missing privilege,\n"
		       "            5 nothing could be proved.\n");
		return EXIT_GOOD;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "start");
	r = parse(argc, argv, v, err);
	r = r ? r : verify(v, err);
	free(v);
	return r;
}
