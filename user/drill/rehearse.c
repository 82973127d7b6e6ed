/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "drill/rehearse.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "act/counters.h"
#include "base/child.h"
#include "report/control_client.h"
#include "report/report.h"

#define KEEP_MS	      180000 /* after which the keeper waits for nobody */
#define LOOK_NS	      200000
#define EVIDENCE_NS   NS_PER_SEC /* by which hard evidence must have shut */
#define SLACK_NS      (100 * NS_PER_MSEC)
#define GIVE_UP_NS    (5 * NS_PER_SEC)	 /* after the promise was broken */
#define JIFFIES_NS    (20 * NS_PER_MSEC) /* the gate looks at the clock once in one of them */
#define SHUT_FOR_NS   NS_PER_SEC	 /* in which nothing may pass */
#define STOP_BOUND_NS (90 * NS_PER_SEC)
#define OPEN_BOUND_NS (60 * NS_PER_SEC)

/* ------ the keeper ------ */

struct keeper {
	struct broken *broken;
	const struct failure *failure;
	int go[2], said[2];
	struct child child;
};

/* What the keeper says, once when it has begun and once when it has put back. */
struct said {
	uint64_t at_ns;
	int r;
};

static void say(const struct keeper *k, uint64_t at_ns, int r)
{
	struct said s = { .at_ns = at_ns, .r = r };

	if (write(k->said[1], &s, sizeof(s)) < 0)
		return; /* nobody listens any more */
}

static int keep(void *arg)
{
	struct keeper *k = arg;
	struct pollfd told = { .fd = k->go[0], .events = POLLIN };
	uint64_t began;
	int r;

	prctl(PR_SET_PDEATHSIG, 0); /* it is for then that we are here */
	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	close(k->go[1]);
	close(k->said[0]);
	began = now_boot_ns();
	r = k->failure->begin(k->broken);
	say(k, began, r);
	while (!r && poll(&told, 1, KEEP_MS) < 0 && errno == EINTR)
		;
	r = k->failure->end(k->broken);
	say(k, now_boot_ns(), r);
	return 0;
}

static void close_ends(struct keeper *k)
{
	for (int i = 0; i < 2; i++) {
		k->go[i] = close_fd(k->go[i]);
		k->said[i] = close_fd(k->said[i]);
	}
}

static bool hear(struct keeper *k, struct said *ret)
{
	ssize_t n;

	while ((n = read(k->said[0], ret, sizeof(*ret))) < 0 && errno == EINTR)
		;
	return n == sizeof(*ret);
}

static int start_keeper(struct keeper *k, struct said *ret)
{
	int r = pipe2(k->go, O_CLOEXEC) < 0 || pipe2(k->said, O_CLOEXEC) < 0
			? -errno
			: child_start(&k->child, keep, k);

	if (r) {
		close_ends(k);
		return r;
	}
	k->go[0] = close_fd(k->go[0]);
	k->said[1] = close_fd(k->said[1]);
	return hear(k, ret) ? ret->r : -ECHILD;
}

/* It is put back when this returns 0. */
static int end_keeper(struct keeper *k, struct said *ret)
{
	k->go[1] = close_fd(k->go[1]);
	if (!hear(k, ret)) {
		child_kill(&k->child);
		ret->r = k->failure->end(k->broken);
		ret->at_ns = now_boot_ns();
	}
	child_wait(&k->child, -1);
	close_ends(k);
	return ret->r;
}

/* ------ what is seen meanwhile ------ */

/* The gate stamps a lease by which a packet passes, in each jiffy anew. */
static uint64_t passed(const struct drill *d)
{
	const volatile struct lease *l = &d->leases[d->slot];

	return l->passed_out + l->passed_in;
}

static uint64_t dropped(const struct drill *d)
{
	uint64_t by_reason[VPNLEASH_REASON_MAX] = { 0 }, n = 0;

	counters_read(&d->pins, d->cgroup_id, by_reason);
	for (int i = 0; i < VPNLEASH_REASON_MAX; i++)
		n += by_reason[i];
	return n;
}

/* When the lease ended, 0: it lives. One that ran out did so when it says, whenever we look. */
static uint64_t ended_ns(const struct drill *d, uint64_t *last)
{
	uint64_t now = now_boot_ns(), expires = d->leases[d->slot].expires_ns;

	if (expires)
		*last = expires;
	return *last && *last <= now ? *last : expires ? 0 : now;
}

static bool look_again(const struct drill *d, uint64_t until_ns)
{
	struct timespec pause = { .tv_nsec = LOOK_NS };
	struct pollfd frozen = { .fd = d->events, .events = POLLPRI };

	ppoll(&frozen, 1, &pause, NULL);
	return !*d->interrupted && now_boot_ns() < until_ns;
}

/* The workload's state, and since when; "": not known. */
static uint64_t state_since(const struct drill *d, char ret[16], uint64_t *ret_gap_ns)
{
	json_auto_t *report = NULL;
	const json_t *tunnel, *workload;

	*ret = '\0';
	if (control_ask(json_pack("{s:s}", "verb", "status"), &report, NULL))
		return 0;
	tunnel = report_find(report, "tunnels", d->tunnel);
	if (tunnel)
		*ret_gap_ns =
			(uint64_t)json_integer_value(json_object_get(tunnel, "reopen_gap_ms")) *
			NS_PER_MSEC;
	workload = report_find(report, "workloads", d->workload);
	snprintf(ret, 16, "%.15s", report_get(workload, "state"));
	return (uint64_t)json_integer_value(json_object_get(workload, "changed_boot_ns"));
}

/* When it got into that state, after since_ns; 0: not within the bound. */
static uint64_t wait_state(const struct drill *d, const char *state, uint64_t since_ns,
			   uint64_t bound_ns, uint64_t *gap_ns)
{
	uint64_t end = now_boot_ns() + bound_ns, at, gap = 0;
	struct timespec pause = { .tv_nsec = 20 * NS_PER_MSEC };
	char now[16];

	do {
		at = state_since(d, now, &gap);
		if (at > since_ns && !strcmp(now, state))
			return at;
		if (gap_ns && *now) /* before it opens: that counts as one more */
			*gap_ns = gap;
		nanosleep(&pause, NULL);
	} while (!*d->interrupted && now_boot_ns() < end);
	return 0;
}

/* How soon it must be shut. */
static uint64_t promise_ns(const struct drill *d, const struct failure *f, uint64_t lease_end_ns,
			   uint64_t began_ns)
{
	switch (f->by) {
	case SHUT_BY_EVIDENCE:
		return EVIDENCE_NS;
	case SHUT_BY_PATIENCE:
		return d->patience_ns + SLACK_NS;
	default:
		return (lease_end_ns > began_ns ? lease_end_ns - began_ns : 0) + NS_PER_SEC;
	}
}

/* From the failure on until it is to be put back. */
static void watch(const struct drill *d, const struct failure *f, uint64_t began_ns,
		  struct rehearsal *ret)
{
	uint64_t lease_end_ns = d->leases[d->slot].expires_ns;
	uint64_t promise = promise_ns(d, f, lease_end_ns, began_ns), last = 0, shut;
	uint64_t passed_before, dropped_before;

	while (!(shut = ended_ns(d, &last)) && look_again(d, began_ns + promise + GIVE_UP_NS))
		;
	if (*d->interrupted)
		return;
	if (!shut) {
		snprintf(ret->wrong, sizeof(ret->wrong), "the gate was not shut after %.1f s",
			 (double)(promise + GIVE_UP_NS) / 1e9);
		return;
	}
	ret->shut_ns = shut > began_ns ? shut - began_ns : 1;
	if (ret->shut_ns > promise)
		snprintf(ret->wrong, sizeof(ret->wrong), "shut after %.3f s, promised were %.3f s",
			 (double)ret->shut_ns / 1e9, (double)promise / 1e9);
	while (look_again(d, shut + JIFFIES_NS))
		if (!ret->frozen_ns && events_say(d->events, "frozen 1") == 1)
			ret->frozen_ns = now_boot_ns() - began_ns;
	passed_before = passed(d);
	dropped_before = dropped(d);
	while (look_again(d, shut + SHUT_FOR_NS))
		if (!ret->frozen_ns && events_say(d->events, "frozen 1") == 1)
			ret->frozen_ns = now_boot_ns() - began_ns;
	if (d->wait_for_stop && f->by != SHUT_BY_LEASE) {
		uint64_t at = wait_state(d, "stopped", began_ns, STOP_BOUND_NS, NULL);

		ret->stopped_ns = at ? at - began_ns : 0;
	}
	ret->passed = passed(d) != passed_before;
	ret->dropped = dropped(d) - dropped_before;
	if (ret->passed)
		snprintf(ret->wrong, sizeof(ret->wrong), "packets passed while it was shut");
}

int drill_rehearse(struct drill *d, const struct failure *f, struct rehearsal *ret,
		   struct error *err)
{
	struct keeper k = { &d->broken, f, { -1, -1 }, { -1, -1 }, CHILD_NONE };
	struct said began, ended;
	char typed[256];
	uint64_t at;
	int r;

	*ret = (struct rehearsal) { 0 };
	if (f->prepare && f->prepare(&d->broken, err)) {
		snprintf(ret->refused, sizeof(ret->refused), "%s", err->text);
		return 0;
	}
	d->announce(d, f);
	r = start_keeper(&k, &began);
	if (r)
		snprintf(ret->refused, sizeof(ret->refused), "it can not be brought about: %s%s",
			 strerror(-r),
			 r == -EBUSY ? " (before Linux 6.2 no interface that is up is renamed)"
				     : "");
	else
		watch(d, f, began.at_ns, ret);
	r = end_keeper(&k, &ended);
	if (r)
		return fail(err, ERROR_OTHER, r, f->by_hand(&d->broken, typed, sizeof(typed)),
			    "put '%s' back", f->name);
	if (*ret->refused || *d->interrupted)
		return *d->interrupted ? -EINTR : 0;
	at = wait_state(d, "open", began.at_ns, OPEN_BOUND_NS, &ret->gap_ns);
	if (*d->interrupted)
		return -EINTR;
	if (at)
		ret->open_ns = at > ended.at_ns ? at - ended.at_ns : 1;
	else if (!*ret->wrong)
		snprintf(ret->wrong, sizeof(ret->wrong),
			 "not open again %llu s after it was put back (see: vpnleash why)",
			 (unsigned long long)(OPEN_BOUND_NS / NS_PER_SEC));
	return 0;
}
