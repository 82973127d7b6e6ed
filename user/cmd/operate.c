/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hold, release, detach: the daemon does it if there is one; beside a live daemon nothing is
 * written. */
#include <errno.h>
#include <string.h>

#include "act/detach.h"
#include "act/lease.h"
#include "cmd/cmd.h"
#include "core/marks.h"
#include "report/control.h"
#include "report/control_client.h"

static int detach_without_daemon(const char *name, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	struct cgroup_root root = { .fd = -1 };
	_cleanup_fd int lock = control_lock(err);
	_cleanup_fd int pins_lock = lock < 0 ? -1 : control_lock_pins(err);
	int r;

	if (lock < 0 || pins_lock < 0)
		return lock < 0 ? lock : pins_lock;
	r = resolve_cgroup_root(&root, err);
	if (r)
		return r;
	r = pins_open(&pins, err);
	if (r == -ENOENT) {
		close_fd(root.fd);
		return 0;
	}
	if (r == -EPROTO && !name) {
		/* another version's: its records can not be read, but its gate can be taken off */
		r = pins_remove_all(err);
		if (!r)
			log_line(LOG_LEVEL_WARNING,
				 "these were another version's pins: if a cgroup is still frozen, "
				 "write 0 to its cgroup.freeze");
		close_fd(root.fd);
		return r ? r : 1;
	}
	if (!r)
		r = detach_recorded(&pins, &root, name, false, err);
	close_fd(root.fd);
	return r;
}

int cmd_detach(int argc, char **argv, struct error *err)
{
	json_t *request, *reply = NULL;
	const char *name;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash detach WORKLOAD|slice:NAME|--all\n\n"
		       "The only way to take the gate off. Thaws what vpnleash froze. WORKLOAD is "
		       "the "
		       "name that\n`vpnleash status` shows. slice:NAME takes all in the slice off; "
		       "one "
		       "that is in a\nslice does not go alone.\n\n"
		       "Exit codes: 0 detached (or nothing was leashed), 2 no such workload, 5 "
		       "other "
		       "failure.\n");
		return EXIT_GOOD;
	}
	if (argc != 2)
		return fail(err, EXIT_USAGE, 0, "vpnleash detach WORKLOAD|--all",
			    "what to detach?");
	name = strcmp(argv[1], "--all") ? argv[1] : NULL;
	request = name ? json_pack("{s:s,s:s}", "verb", "detach", "workload", name)
		       : json_pack("{s:s,s:b}", "verb", "detach", "all", 1);
	if (!request)
		return fail(err, EXIT_USAGE, 0, NULL, "'%s' is not the name of a workload",
			    quote(argv[1]));
	r = control_ask(request, &reply, err);
	json_decref(request);
	json_decref(reply);
	if (r != -ESRCH)
		return r;
	r = detach_without_daemon(name, err);
	if (r == 0 && name)
		return fail(err, EXIT_USAGE, -ENOENT, "see: vpnleash status", "detach '%s'",
			    quote(name));
	if (r == 0)
		printf("nothing is leashed\n");
	return r < 0 ? r : EXIT_GOOD;
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

/* The hold is kept by name; a record that is there feels it at once. */
static int hold_without_daemon(const char *name, bool held, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	struct holding mark = { .name = name, .held = held };
	_cleanup_fd int lock = control_lock(err);
	int r = lock < 0 ? lock : held ? mark_set(MARK_HELD, name, err) : 0;

	if (!r)
		r = pins_open(&pins, err);
	if (!r)
		r = lease_open(&mark.leases, &pins, err);
	if (!r)
		r = pins_each_workload(&pins, mark_record, &mark)
			    ? fail(err, EXIT_FAILURE_, -EIO, NULL, "mark the record")
			    : 0;
	lease_close(mark.leases);
	if (r == -ENOENT) /* nothing is leashed: the name alone is kept */
		r = 0;
	return r || held ? r : mark_clear(MARK_HELD, name, err);
}

static int hold_or_release(int argc, char **argv, bool held, struct error *err)
{
	const char *verb = held ? "hold" : "release";
	json_t *request, *reply = NULL;
	int r;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash %s WORKLOAD\n\n%s\n\n"
		       "Exit codes: 0 done, 2 the daemon has no such workload, 4 missing "
		       "privilege, 5 other\n"
		       "failure. Without a daemon the name is noted for the next one.\n",
		       verb,
		       held ? "Blocks the workload until `vpnleash release`, over restarts of "
			      "daemon, "
			      "workload and machine."
			    : "Ends a hold; the workload opens when its tunnel has a lease.");
		return EXIT_GOOD;
	}
	if (argc != 2 || argv[1][0] == '-')
		return fail(err, EXIT_USAGE, 0, "see: vpnleash status", "which workload?");
	request = json_pack("{s:s,s:s}", "verb", verb, "workload", argv[1]);
	r = request ? control_ask(request, &reply, err)
		    : fail(err, EXIT_USAGE, 0, NULL, "not the name of a workload");
	json_decref(request);
	json_decref(reply);
	return r == -ESRCH ? hold_without_daemon(argv[1], held, err) : r;
}

int cmd_hold(int argc, char **argv, struct error *err)
{
	return hold_or_release(argc, argv, true, err);
}

int cmd_release(int argc, char **argv, struct error *err)
{
	return hold_or_release(argc, argv, false, err);
}
