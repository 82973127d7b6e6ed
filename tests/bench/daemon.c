/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon costs while nothing happens: memory, wake-ups, size; and how soon it is ready. */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/child.h"

#define NOTIFY	  "/run/bench-notify"
#define IDLE_SEC  20
#define PROCESSES 16

static int notify_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = NOTIFY };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	unlink(NOTIFY);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("listen on " NOTIFY ": %s", strerror(errno));
	setenv("NOTIFY_SOCKET", NOTIFY, 1);
	return fd;
}

/* ms from before the fork until READY=1. */
static double start(struct child *c, const char *cgroup, int notify, int log)
{
	char app[PATH_MAX], binary[PATH_MAX], text[256];
	char *argv[] = { binary,	"run",
			 "--cgroup",	app,
			 "--interface", "CloudflareWARP",
			 "--netns",	"/run/netns/client",
			 "--probe",	"icmp:198.51.100.1",
			 NULL };
	struct pollfd p = { .fd = notify, .events = POLLIN };
	uint64_t from = now_boot_ns();
	ssize_t n;

	snprintf(app, sizeof(app), "%s/app", cgroup);
	snprintf(binary, sizeof(binary), "%s", build_path("vpnleash"));
	if (child_spawn(c, argv, log))
		die("start the daemon: %s", strerror(errno));
	do {
		if (poll(&p, 1, 20000) != 1)
			die("the daemon is not ready after 20 s; see '%s'", DAEMON_LOG);
		n = recv(notify, text, sizeof(text) - 1, 0);
		text[n < 0 ? 0 : n] = '\0';
	} while (!strstr(text, "READY=1"));
	return (double)(now_boot_ns() - from) / 1e6;
}

/* CPU time until now, ms: what starting costs, however long others made it wait. */
static double cpu_ms(pid_t pid)
{
	char path[64], text[128] = "";
	_cleanup_file FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		return 0;
	return strtod(text, NULL) / 1e6;
}

static void stop(struct child *c)
{
	kill(c->pid, SIGTERM);
	if (child_wait(c, 10000) < 0)
		child_kill(c);
}

/* The number after `key` in /proc/PID/FILE, 0 if it is not there. */
static double proc_number(pid_t pid, const char *file, const char *key)
{
	char path[64], line[256];
	double number = 0;
	_cleanup_file FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			number = strtod(line + strlen(key), NULL);
	return number;
}

/* The daemon and its children. */
static size_t processes_of(pid_t daemon, pid_t ret[PROCESSES])
{
	char path[64];
	size_t n = 0;
	_cleanup_file FILE *f = NULL;

	ret[n++] = daemon;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", daemon, daemon);
	f = fopen(path, "re");
	while (f && n < PROCESSES && fscanf(f, "%d", &ret[n]) == 1)
		n++;
	return n;
}

static double stripped_size(void)
{
	char *argv[] = { "strip", "-o", "/run/vpnleash.stripped", (char *)build_path("vpnleash"),
			 NULL };
	struct child c = CHILD_NONE;
	struct stat st;

	if (child_spawn(&c, argv, -1) || child_wait(&c, 20000) ||
	    stat("/run/vpnleash.stripped", &st) < 0)
		return 0;
	return (double)st.st_size / 1024;
}

int bench_daemon(const char *cgroup)
{
	struct peer starts[] = { { .name = "first start: maps made, pinned" },
				 { .name = "later start: pins adopted" },
				 { .name = "CPU time of a first start" },
				 { .name = "CPU time of a later start" } };
	enum { RSS, PSS, ANONYMOUS, WAKEUPS, SIZE, WEIGHTS };
	/* proportional: a page that n processes have counts 1/n for each, so all once */
	struct peer weights[WEIGHTS] = { { .name = "resident, all processes, KiB" },
					 { .name = "proportional, all processes, KiB" },
					 { .name = "of it anonymous, KiB" },
					 { .name = "wake-ups per second, idle tunnel" },
					 { .name = "binary, stripped, KiB" } };
	int log, notify = notify_socket();
	size_t n = rounds(25), processes;
	double before[PROCESSES];
	pid_t pids[PROCESSES];
	struct error err;
	struct cgroup_root root;
	char app[PATH_MAX];
	json_t *each = json_array();
	struct child c;

	result_begin("daemon");
	snprintf(app, sizeof(app), "%s/app", cgroup);
	if (resolve_cgroup_root(&root, &err))
		die("%s", err.text);
	if (mkdirat(root.fd, app + 1, 0755) < 0 && errno != EEXIST)
		die("make the cgroup '%s': %s", app, strerror(errno));
	log = open(DAEMON_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	for (size_t i = 0; i < n; i++)
		for (int adopted = 0; adopted < 2; adopted++) {
			series_add(&starts[adopted].series, start(&c, cgroup, notify, log));
			series_add(&starts[2 + adopted].series, cpu_ms(c.pid));
			stop(&c);
			if (adopted && pins_remove_all(&err))
				die("%s", err.text);
		}
	result_distributions("From fork to READY=1", "ms", starts, ARRAY_SIZE(starts));

	start(&c, cgroup, notify, log);
	sleep(3); /* opened, at rest */
	processes = processes_of(c.pid, pids);
	for (size_t i = 0; i < processes; i++)
		before[i] = proc_number(pids[i], "status", "voluntary_ctxt_switches:");
	sleep(IDLE_SEC);
	double total[WEIGHTS] = { [SIZE] = stripped_size() };

	for (size_t i = 0; i < processes; i++) {
		double rss = proc_number(pids[i], "status", "VmRSS:"),
		       pss = proc_number(pids[i], "smaps_rollup", "Pss:"),
		       anonymous = proc_number(pids[i], "smaps_rollup", "Pss_Anon:"),
		       wakeups = (proc_number(pids[i], "status", "voluntary_ctxt_switches:") -
				  before[i]) /
				 IDLE_SEC;

		printf("%s: resident %.0f KiB, proportional %.0f KiB, %.0f of it anonymous, %.2f wake-ups per second\n",
		       i ? "child" : "daemon", rss, pss, anonymous, wakeups);
		json_array_append_new(each, json_pack("{s:s,s:f,s:f,s:f,s:f}", "process",
						      i ? "child" : "daemon", "rss_kib", rss,
						      "pss_kib", pss, "anonymous_kib", anonymous,
						      "wakeups_per_second", wakeups));
		total[RSS] += rss;
		total[PSS] += pss;
		total[ANONYMOUS] += anonymous;
		total[WAKEUPS] += wakeups;
	}
	result_note("processes", each);
	for (int i = 0; i < WEIGHTS; i++)
		series_add(&weights[i].series, total[i]);
	result_distributions("At rest", "as named", weights, WEIGHTS);
	stop(&c);
	pins_remove_all(NULL);
	return 0;
}
