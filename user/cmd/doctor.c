/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor: what the daemon needs of this machine, one line a check. Touches no pin, lock or file, so
 * it may run beside a daemon. What can only be found by trying is tried in a scratch cgroup. What
 * containers and routes bring along is doctor_containers.c's and doctor_live.c's.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "act/gate.h"
#include "cmd/cmd.h"
#include "cmd/doctor.h"
#include "config/config.h"
#include "report/control_client.h"

#define BTF "/sys/kernel/btf/vmlinux"

static int check_privilege(struct cgroup_root *root, struct error *line)
{
	static const unsigned int needed[] = { CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON,
					       CAP_NET_RAW };
	char missing[128] = "";

	if (geteuid())
		return fail(line, ERROR_OTHER, 0, "sudo vpnleash doctor", "not running as root");
	if (capng_get_caps_process())
		return fail(line, ERROR_OTHER, -errno, "mount -t proc proc /proc",
			    "read the capabilities");
	for (size_t i = 0, n = 0; i < ARRAY_SIZE(needed); i++)
		if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i]))
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, " %s",
					      capng_capability_to_name(needed[i]));
	if (*missing)
		return fail(line, ERROR_OTHER, 0, "in a container: docker run --privileged",
			    "capabilities missing:%s", missing);
	return say(line, OK, "root, with bpf, net_admin, sys_admin, perfmon, net_raw");
}

static int check_clock(struct cgroup_root *root, struct error *line)
{
	if (in_time_namespace())
		return fail(line, ERROR_OTHER, 0, "nsenter --time=/proc/1/ns/time vpnleash ...",
			    "a time namespace: leases would be wrong");
	return say(line, OK, "the boot clock is the kernel's own");
}

static int check_btf(struct cgroup_root *root, struct error *line)
{
	if (access(BTF, R_OK) < 0)
		return fail(line, ERROR_OTHER, -errno, "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
			    "read " BTF);
	return say(line, OK, "kernel types at " BTF);
}

static int check_cgroup(struct cgroup_root *root, struct error *line)
{
	int r = resolve_cgroup_root(root, line);

	return r ? r : say(line, OK, "cgroup v2 at %s", root->path);
}

static int check_freezer(struct cgroup_root *root, struct error *line)
{
	char name[32], file[64];
	int r;

	if (root->fd < 0 || geteuid())
		return say(line, INFO, "cgroup.freeze not tried: needs root and cgroup v2");
	snprintf(name, sizeof(name), "vpnleash-doctor-%d", getpid());
	snprintf(file, sizeof(file), "%s/cgroup.freeze", name);
	if (mkdirat(root->fd, name, 0755) < 0)
		return fail(line, ERROR_OTHER, -errno, "mount -o remount,rw /sys/fs/cgroup",
			    "make a cgroup in %s", root->path);
	r = write_small(root->fd, file, "1");
	unlinkat(root->fd, name, AT_REMOVEDIR);
	return r ? fail(line, ERROR_OTHER, r, "boot Linux 5.10 or newer", "write cgroup.freeze")
		 : say(line, OK, "cgroup.freeze");
}

static int check_hybrid(struct cgroup_root *root, struct error *line)
{
	_cleanup_file FILE *mounts = fopen("/proc/self/mounts", "re");
	unsigned int major = 0, minor = 0;
	struct utsname kernel;
	struct mntent *m = NULL;

	while (mounts && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, "cgroup") &&
		    (hasmntopt(m, "net_cls") || hasmntopt(m, "net_prio")))
			break;
	if (!m)
		return say(line, OK, "net_cls and net_prio of cgroup v1 are not mounted");
	uname(&kernel);
	sscanf(kernel.release, "%u.%u", &major, &minor);
	/* v5.15: 8520e224f547 ("bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode") */
	if (major < 5 || (major == 5 && minor < 15))
		return fail(line, ERROR_OTHER, 0, "boot with cgroup_no_v1=net_cls,net_prio",
			    "net_cls or net_prio of cgroup v1 is mounted: once it is used, Linux "
			    "%u.%u forgets a socket's cgroup",
			    major, minor);
	return say(line, INFO, "net_cls or net_prio of cgroup v1: harmless since Linux 5.15");
}

static int check_loopback(struct cgroup_root *root, struct error *line)
{
	_cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { .ifr_name = "lo" };

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0)
		return fail(line, ERROR_OTHER, -errno, "ip link show lo", "look at loopback");
	if (!(lo.ifr_flags & IFF_UP))
		return fail(line, ERROR_OTHER, 0, "ip link set lo up",
			    "loopback is down: no proof of the gate");
	return say(line, OK, "loopback is up");
}

struct slices {
	const struct cgroup_root *root;
	int locked;
	char gone[VPNLEASH_NAME_LEN];
};

static int look_at_slice(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct slices *s = arg;

	if (!(w->flags & WORKLOAD_SLICE) || w->flags & WORKLOAD_GONE)
		return 0;
	if (s->root->fd >= 0) {
		_cleanup_fd int fd = resolve_cgroup_id(s->root, cgroup_id);

		if (fd < 0) {
			snprintf(s->gone, sizeof(s->gone), "%s", w->name);
			return 0;
		}
	}
	s->locked++;
	return 0;
}

static int check_pins(struct cgroup_root *root, struct error *line)
{
	struct slices slices = { .root = root };
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	int r = pins_check_dir(line);

	if (r == -ENOENT)
		return say(line, OK, "bpffs at /sys/fs/bpf, nothing pinned");
	if (r)
		return r;
	if (geteuid())
		return say(line, INFO, VPNLEASH_PIN_DIR " is there, not read: needs root");
	r = pins_open(&pins, line);
	if (r == -ENOENT)
		return say(line, INFO, VPNLEASH_PIN_DIR " is half made: the next run completes it");
	if (r)
		return r;
	pins_each_workload(&pins, look_at_slice, &slices);
	if (*slices.gone) {
		const char *shown = quote(slices.gone);

		return say(line, INFO,
			   "%s is gone: made anew it is open until: vpnleash lock --slice %s",
			   shown, shown + strlen("slice:"));
	}
	if (slices.locked)
		return say(line, OK,
			   "pins of ABI version %d at " VPNLEASH_PIN_DIR ", slices locked: %d",
			   VPNLEASH_ABI_VERSION, slices.locked);
	return say(line, OK, "pins of ABI version %d at " VPNLEASH_PIN_DIR, VPNLEASH_ABI_VERSION);
}

static int check_gate(struct cgroup_root *root, struct error *line)
{
	bool netns_by_socket;
	int r;

	if (root->fd < 0 || geteuid())
		return say(line, INFO, "the gate not tried: needs root and cgroup v2");
	r = gate_probe(root, &netns_by_socket, line);
	/* else `line` says it: no privilege, or it loads and is not proven */
	if (r && r != -EPERM && *gate_last_log())
		return fail(line, ERROR_OTHER, r,
			    "boot Linux 5.10 or newer with CONFIG_CGROUP_BPF=y",
			    "load the gate: %.*s", (int)strcspn(gate_last_log(), "\n"),
			    gate_last_log());
	if (r)
		return r;
	if (netns_by_socket)
		return say(
			line, INFO,
			"the gate loads and is proven, but tells a packet's netns by its socket: "
			"sockets made before the attach do not pass, and the link type is not "
			"compared (Linux 6.2 or newer does not need that)");
	return say(line, OK, "the gate loads, is proven, reads netns and link type off the packet");
}

static int check_daemon(struct cgroup_root *root, struct error *line)
{
	json_auto_t *reply = NULL;
	int r = control_ask(json_pack("{s:s}", "verb", "status"), &reply, line);

	if (!r)
		return say(line, INFO, "a daemon is running, pid %lld",
			   json_integer_value(json_object_get(reply, "daemon")));
	if (r == -ESRCH)
		return say(line, INFO, "no daemon is running");
	return geteuid() ? say(line, INFO, "whether a daemon is running: needs root") : r;
}

static const struct check {
	const char *name;
	/* OK, INFO, or a finding's -Exxx. check_cgroup() opens the root that others look at. */
	int (*run)(struct cgroup_root *root, struct error *line);
} checks[] = {
	{ "privilege", check_privilege },
	{ "clock", check_clock },
	{ "btf", check_btf },
	{ "cgroup", check_cgroup },
	{ "freezer", check_freezer },
	{ "hybrid", check_hybrid },
	{ "pins", check_pins },
	{ "loopback", check_loopback },
	{ "gate", check_gate },
	{ "daemon", check_daemon },
};

struct report {
	const char *check;
	bool as_json, ready;
	unsigned int told; /* lines of the present check */
	json_t *lines;
};

static void print(const char *result, const char *text)
{
	const char *colour = *result == 'f' ? "\033[1;31m" : *result == 'o' ? "\033[32m" : "\033[m";
	bool coloured = isatty(STDOUT_FILENO);

	printf("%s%-7s%s %s\n", coloured ? colour : "", result, coloured ? "\033[0m" : "", text);
}

static void tell(void *owner, int r, const struct error *line)
{
	const char *result = r < 0 ? "finding" : r == INFO ? "info" : "ok";
	struct report *report = owner;

	report->told++;
	report->ready = report->ready && r >= 0;
	json_array_append_new(report->lines, json_pack("{s:s,s:s,s:s}", "check", report->check,
						       "result", result, "text", line->text));
	if (!report->as_json)
		print(result, line->text);
}

static void begin(struct report *report, const char *check, struct error *line)
{
	*line = (struct error) { 0 };
	report->check = check;
	report->told = 0;
}

/* The file, read as the daemon would. Without any the labels say all. */
static int check_config(const char *file, struct config *ret, bool *ret_read, struct error *line)
{
	const char *path = file ? file : CONFIG_FILE;
	int r;

	*ret_read = false;
	if (!file && access(path, F_OK) < 0)
		return say(line, INFO, "no file at " CONFIG_FILE);
	r = config_read(path, ret, line);
	if (r)
		return r;
	*ret_read = true;
	return say(line, OK, "'%s': %zu tunnel(s), %zu workload(s)", path, ret->n_tunnels,
		   ret->n_workloads);
}

static void check_surroundings(struct report *report, const struct cgroup_root *root,
			       const struct config *file)
{
	struct doctor d = { .root = root, .file = file, .tell = tell, .owner = report };
	json_t *containers = json_array();
	struct error line;
	size_t leashed;

	begin(report, "engine", &line);
	doctor_engines(&d, containers);

	begin(report, "containers", &line);
	d.containers = containers;
	leashed = doctor_containers(&d);
	if (!report->told && leashed)
		tell(report,
		     say(&line, OK, "%zu leashed container(s), nothing in the way", leashed),
		     &line);
	else if (!report->told)
		tell(report, say(&line, INFO, "no leashed container to look at"), &line);

	begin(report, "delegation", &line);
	doctor_cgroups(&d);
	if (!report->told)
		tell(report,
		     say(&line, OK, "no workload in a cgroup that others than root may change"),
		     &line);

	begin(report, "names", &line);
	tell(report, doctor_names(file, &line), &line);

	begin(report, "routes", &line);
	doctor_routes(&d);
	if (!report->told)
		tell(report, say(&line, INFO, "no tunnel to look at"), &line);
	json_decref(containers);
}

int cmd_doctor(int argc, char **argv, struct error *err)
{
	struct report report = { .ready = true };
	struct cgroup_root root = { .fd = -1 };
	struct config config = { 0 };
	struct error line;
	const char *file = NULL;
	bool read_one;
	json_t *j;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash doctor [-c FILE] [--json]\n\n"
		       "Checks what the daemon needs on this machine, what weakens the leash of containers, and\n"
		       "what the routes send past the tunnel. Each check is one line: ok, info, or a finding with\n"
		       "its remedy. It changes nothing, and may run beside a daemon. It looks at containers that\n"
		       "are leashed, by label or in the file, and at those that share their network.\n\n"
		       "  -c FILE  instead of " CONFIG_FILE "\n"
		       "  --json   one JSON object on one line\n\n"
		       "example: sudo vpnleash doctor\n\n"
		       "Exit codes: 0 ready, 1 findings, 2 the file has an error.\n");
		return EXIT_GOOD;
	}
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			report.as_json = true;
		else if (!strcmp(argv[i], "-c") && i + 1 < argc)
			file = argv[++i];
		else
			return fail(err, ERROR_INPUT, 0, "see: vpnleash doctor --help",
				    "unknown option");
	}
	report.lines = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		begin(&report, checks[i].name, &line);
		tell(&report, checks[i].run(&root, &line), &line);
	}
	begin(&report, "config", &line);
	r = check_config(file, &config, &read_one, &line);
	tell(&report, r, &line);
	check_surroundings(&report, &root, read_one ? &config : NULL);
	close_fd(root.fd);
	if (read_one)
		config_free(&config);
	j = json_pack("{s:b,s:o}", "ready", report.ready, "checks", report.lines);
	if (report.as_json && !json_dumpf(j, stdout, JSON_COMPACT))
		putchar('\n');
	json_decref(j);
	return r < 0 ? ERROR_INPUT : report.ready ? EXIT_GOOD : EXIT_NEGATIVE;
}
