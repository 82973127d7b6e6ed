/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hold, release, detach: the daemon does it if there is one; beside a live daemon nothing is
 * written. */
#include <errno.h>
#include <string.h>

#include "act/detach.h"
#include "act/lease.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "core/marks.h"
#include "report/control.h"
#include "report/control_client.h"

/* How many were taken off; of another version's pins 1. */
static int detach_pinned(const struct cgroup_root *root, const char *name, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	int r = pins_open(&pins, err);

	if (!r)
		return detach_recorded(&pins, root, name, false, err);
	if (r == -ENOENT)
		return 0;
	if (r != -EPROTO || name)
		return r;
	/* another version's: its records can not be read, but its gate can be taken off */
	r = pins_remove_all(err);
	if (r)
		return r;
	log_line(LOG_LEVEL_WARNING,
		 "these were another version's pins: if a cgroup is still frozen, "
		 "write 0 to its cgroup.freeze");
	return 1;
}

static int detach_without_daemon(const char *name, struct error *err)
{
	struct cgroup_root root;
	_cleanup_fd int lock = control_lock(err), pins_lock = -1;
	int r;

	if (lock < 0)
		return lock;
	pins_lock = control_lock_pins(err);
	if (pins_lock < 0)
		return pins_lock;
	r = resolve_cgroup_root(&root, err);
	if (r)
		return r;
	r = detach_pinned(&root, name, err);
	close_fd(root.fd);
	return r;
}

static int detach_all(struct error *err)
{
	json_auto_t *reply = NULL;
	int r = control_ask(json_pack("{s:s,s:b}", "verb", "detach", "all", 1), &reply, err);

	if (r != -ESRCH)
		return r;
	r = detach_without_daemon(NULL, err);
	if (r == 0)
		printf("nothing is leashed\n");
	return r < 0 ? r : EXIT_GOOD;
}

int cmd_detach(int argc, char **argv, struct error *err)
{
	json_auto_t *reply = NULL;
	char name[NAME_LEN];
	bool daemon;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash detach WORKLOAD|slice:NAME|--all\n\n"
		       "Takes the gate off; nothing else does. Thaws what vpnleash froze. Whatever runs then sends\n"
		       "wherever the routes lead. WORKLOAD is as in `vpnleash status`, or as `run` takes it.\n"
		       "It is never left out: nobody is detached by mistake. slice:NAME detaches a\n"
		       "slice and every workload in it; a workload in a slice can not be detached alone.\n\n"
		       "Exit codes: 0 detached (or nothing was leashed), 2 no such workload, 4 missing privilege,\n"
		       "            5 other failure.\n");
		return EXIT_GOOD;
	}
	if (argc == 2 && !strcmp(argv[1], "--all"))
		return detach_all(err);
	if (argc != 2 || argv[1][0] == '-')
		return fail(err, ERROR_INPUT, 0, "vpnleash detach WORKLOAD|--all",
			    "what to detach?");
	r = names_ask(argv[1], name, &daemon, err);
	if (r)
		return r;
	if (!daemon) {
		r = detach_without_daemon(names_plain(name), err);
		return r < 0 ? r : EXIT_GOOD;
	}
	/* the daemon may know it by its record alone, which has it unescaped */
	if (!strcmp(name, quote(argv[1])))
		snprintf(name, sizeof(name), "%s", argv[1]);
	return control_ask(json_pack("{s:s,s:s}", "verb", "detach", "workload", name), &reply, err);
}

struct holding {
	struct leases *leases;
	const char *name;
	bool held;
};

static int mark_record(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct holding *mark = arg;

	if (strncmp(w->name, mark->name, sizeof(w->name)))
		return 0;
	return record_flags(mark->leases, cgroup_id, mark->held ? WORKLOAD_HELD : 0,
			    mark->held ? WORKLOAD_ADMITTED : WORKLOAD_HELD);
}

static int mark_records(const char *name, bool held, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	struct holding mark = { .name = name, .held = held };
	int r = pins_open(&pins, err);

	if (r)
		return r;
	r = lease_open(&mark.leases, &pins, err);
	if (r)
		return r;
	r = pins_each_workload(&pins, mark_record, &mark);
	lease_close(mark.leases);
	return r ? fail(err, ERROR_OTHER, -EIO, NULL, "mark the record") : 0;
}

/* The hold is kept by name; a record that is there feels it at once. */
static int hold_without_daemon(const char *name, bool held, struct error *err)
{
	_cleanup_fd int lock = control_lock(err);
	int r = lock < 0 ? lock : 0;

	if (!r && held)
		r = mark_set(MARK_HELD, name, err);
	if (r)
		return r;
	r = mark_records(name, held, err);
	if (r && r != -ENOENT) /* nothing is leashed: the name alone is kept */
		return r;
	return held ? 0 : mark_clear(MARK_HELD, name, err);
}

int cmd_hold(int argc, char **argv, struct error *err)
{
	const char *verb = argv[0];
	bool held = !strcmp(verb, "hold");
	json_auto_t *reply = NULL;
	char name[NAME_LEN];
	bool daemon = true;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash %s [WORKLOAD]\n\n%s\n"
		       "WORKLOAD may be left out if there is only one. Without a daemon the name is noted for\n"
		       "the next one.\n\n"
		       "Exit codes: 0 done, 2 no such workload, 4 missing privilege, 5 other failure.\n",
		       verb,
		       held ? "Cuts the workload off until `vpnleash release`. The hold outlives restarts of\n"
			      "the daemon, the workload and the machine. Its processes go on running."
			    : "Ends a hold. The workload opens when its tunnel has a lease.");
		return EXIT_GOOD;
	}
	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return fail(err, ERROR_INPUT, 0, "see: vpnleash status", "which workload?");
	r = names_ask(argc == 2 ? argv[1] : NULL, name, &daemon, err);
	if (r && !daemon && argc == 2) { /* its name is noted */
		names_to_be(argv[1], name);
		return hold_without_daemon(name, held, err);
	}
	if (r)
		return r;
	if (!daemon)
		return hold_without_daemon(names_plain(name), held, err);
	return control_ask(json_pack("{s:s,s:s}", "verb", verb, "workload", name), &reply, err);
}
