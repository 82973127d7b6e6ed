/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status: from the daemon, or, without one, from the pins. */
#include <errno.h>
#include <string.h>

#include "act/gate.h"
#include "cmd/cmd.h"
#include "out/control.h"
#include "out/report.h"

#include <bpf/bpf.h>

struct walk {
	const struct pins *pins;
	json_t *workloads;
};

/* Without a daemon: what the gate itself would do now. */
static int add_from_record(uint64_t cgroup_id, const struct workload *w, void *arg)
{
	struct walk *walk = arg;
	struct lease l = { 0 };
	__u32 slot = w->slot;
	uint64_t now = now_boot_ns();
	struct report_workload r = {
		.cgroup_id = cgroup_id,
		.name = w->name,
		.frozen_by_us = w->flags & WORKLOAD_FROZEN_BY_US,
		.changed_ns = w->since_ns,
	};

	bpf_map_lookup_elem(walk->pins->leases, &slot, &l);
	if (l.expires_ns > now && l.expires_ns - now <= VPNLEASH_LEASE_CAP_NS)
		r.lease_left_ns = l.expires_ns - now;
	r.state = r.lease_left_ns && w->flags & WORKLOAD_ADMITTED ? "open" :
		  r.frozen_by_us ? "frozen" : "blocked";
	report_read_drops(walk->pins, cgroup_id, r.dropped);
	json_array_append_new(walk->workloads, report_workload_json(&r));
	return 0;
}

static int report_pins(json_t **ret, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	struct walk walk = { &pins, json_array() };
	int r = pins_open(&pins, err);

	if (!r)
		pins_each_workload(&pins, add_from_record, &walk);
	if (r && r != -ENOENT) {
		json_decref(walk.workloads);
		return r;
	}
	*ret = report_json(0, json_array(), walk.workloads);
	return 0;
}

int cmd_status(int argc, char **argv, struct error *err)
{
	bool as_json = argc == 2 && !strcmp(argv[1], "--json"), no_daemon;
	json_t *request, *report = NULL;
	int r, exit_code;

	if (wants_help(argc, argv)) {
		printf("usage: vpnleash status [--json]\n\n"
		       "Every workload, its state, lease and drops by reason. Without a daemon it reads "
		       "the pins.\n\n"
		       "Exit codes: 0 all open (or nothing is leashed), 1 some not, 3 no daemon.\n");
		return EXIT_GOOD;
	}
	if (argc > 1 && !as_json)
		return fail(err, EXIT_USAGE, 0, "see: vpnleash status --help", "unknown option");
	request = json_pack("{s:s}", "verb", "status");
	r = control_ask(request, &report, err);
	json_decref(request);
	no_daemon = r == -ESRCH;
	if (no_daemon)
		r = report_pins(&report, err);
	if (r)
		return r;
	if (as_json) {
		json_dumpf(report, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		report_print(stdout, report);
		if (no_daemon && report_any(report))
			printf("no daemon: nothing is renewed; what is not open stays locked\n"
			       "  to open it again:  vpnleash run --cgroup PATH --interface NAME ...\n"
			       "  to unleash it:     vpnleash detach NAME\n");
	}
	exit_code = no_daemon && report_any(report) ? EXIT_NO_DAEMON :
		    report_all_open(report)	    ? EXIT_GOOD :
						      EXIT_NEGATIVE;
	json_decref(report);
	return exit_code;
}
