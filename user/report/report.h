/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State → table and JSON. One model for a daemon that reports itself and for pins that are read
 * without one. Foreign text (names, paths) is escaped here and nowhere else.
 */
#pragma once

#include <jansson.h>

#include "act/pins.h"
#include "vpnleash/reasons.h"

struct report_probe {
	const char *text, *says; /* as it is configured; how it is, for people */
	const char *answers;	 /* "yes", "no", "unknown" */
	bool kept;		 /* the one that is asked when all is well */
	uint64_t took_ns, answered_ns;
	uint32_t unanswered;
};

struct report_identity {
	const char *text, *says;
	const char *exit; /* "right", "wrong", "unknown" */
	uint64_t took_ns, answered_ns;
};

struct report_tunnel {
	const char *name, *interface, *netns, *state; /* state NULL: no daemon to know it */
	uint32_t ifindex;
	uint64_t lease_left_ns;		/* 0: no live lease */
	uint64_t passed_out, passed_in; /* packets that its interface has carried */
	const char *watched;		/* the probe that is kept, or "silence not watched" */
	uint64_t patience_ns, rtt_ns;
	bool fixed; /* the patience is configured */
	unsigned int loss_percent;
	json_t *identity;    /* likewise; NULL: none is asked for */
	json_t *probes;	     /* of report_probe_json(), taken over; NULL: none */
	const char *route;   /* that must lead into it; "": none is watched */
	uint64_t gap_ns;     /* so long its signs of life must span before it is opened */
	const char *why;     /* last evidence, in words; what is foreign in it is escaped */
	uint64_t changed_ns; /* boot time of the last change of state */
	json_t *guard;	     /* of the netns, taken over */
};

struct report_workload {
	uint64_t cgroup_id; /* 0: no cgroup */
	const char *name, *state, *tunnel, *guard, *dns;
	/* as `run --cgroup` takes it, and the container's id; NULL or "": not known */
	const char *place, *container_id;
	const char *born_locked; /* "yes", "no", or NULL: no cgroup */
	const char *trouble; /* why it is not leashed, stopped or started; NULL or "": nothing */
	bool frozen_by_us, held, audit, ipv6;
	uint64_t lease_left_ns;
	uint64_t changed_ns;		       /* boot time of the last change of state */
	uint64_t dropped[VPNLEASH_REASON_MAX]; /* packets, by reason */
};

const char *report_reason(uint32_t reason); /* its name, "?" for a number that is none */

json_t *report_text(const char *s);  /* escaped; NULL: null */
json_t *report_known(const char *s); /* of text that is escaped already; NULL or "": null */
json_t *report_drops(const uint64_t dropped[VPNLEASH_REASON_MAX]);
json_t *report_probe_json(const struct report_probe *p);
json_t *report_identity_json(const struct report_identity *e);
json_t *report_tunnel_json(const struct report_tunnel *t);
json_t *report_workload_json(const struct report_workload *w);
/* A workload that no daemon speaks for: by its record, as the gate itself would judge now. */
json_t *report_record_json(const struct pins *p, uint64_t cgroup_id,
			   const struct workload_record *w);
/* One of `removed`; no more than REPORT_REMOVED are listed. */
json_t *report_removed_json(uint64_t cgroup_id, const struct workload_record *w);
#define REPORT_REMOVED 256
/* All of it. daemon: its pid, 0: none; n_removed: removed cgroups with sockets left. Takes over the
 * three lists. */
json_t *report_json(pid_t daemon, json_t *tunnels, json_t *workloads, size_t n_removed,
		    json_t *removed);

/* Read out of it: the text of a key, "" if it has none; the object of that name in a list, or NULL.
 */
const char *report_get(const json_t *j, const char *key);
const json_t *report_find(const json_t *report, const char *list, const char *name);

/* The table for people; at length: with each probe. */
void report_print(FILE *out, const json_t *report, bool at_length);
/* "2.4s", "12s", "3h05m", "4d"; "wrong_ifindex 12, ipv6 3" with an end of line, or "none". */
void report_duration(char *buf, size_t size, json_int_t ms);
void report_print_drops(FILE *out, const json_t *dropped);
/* What `why` and `events` show of the daemon's answers. */
void report_print_why(FILE *out, const json_t *why);
void report_print_event(FILE *out, const json_t *record);
/* Is there a workload, and are all open? */
bool report_any(const json_t *report);
bool report_all_open(const json_t *report);
/* Has each workload and each tunnel that is there its gate and its guard? If not: what lacks. */
#define REPORT_LACKS 600
bool report_complete(const json_t *report, char ret_lacks[REPORT_LACKS]);
