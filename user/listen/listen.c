/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two threads: one asks the daemon, at its own pace, and publishes what it says; the other serves
 * what is published. So no number of clients makes the daemon do more, and a daemon that does not
 * answer leaves no client waiting.
 */
#include "listen/listen.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "listen/drops.h"
#include "listen/metrics.h"
#include "page.h"
#include "report/control.h"
#include "report/control_client.h"
#include "report/report.h"

#define NOBODY	   65534
#define LOOKED_AT  (60 * NS_PER_SEC) /* after a request: once a second … */
#define SOON_MS	   1000
#define LATER_MS   5000 /* … else for the drops' history alone */
#define STATES_MAX 40	/* of the events on the page: changes … */
#define DROPS_MAX  8	/* … and samples of drops, which would leave no place for them */

/* ------ what is published ------ */

static char *text_of(json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	return text;
}

/* The newest first. */
static json_t *newest_events(const json_t *answer)
{
	const json_t *all = json_object_get(answer, "events");
	json_t *list = json_array();
	size_t states = 0, drops = 0;

	for (size_t i = json_array_size(all); i > 0; i--) {
		json_t *event = json_array_get(all, i - 1);
		const char *kind = json_string_value(json_object_get(event, "event"));

		if (!strcmp(kind, "drop") ? drops++ < DROPS_MAX : states++ < STATES_MAX)
			json_array_append(list, event);
	}
	return list;
}

static char *line(const char *text)
{
	char *s = NULL;

	return asprintf(&s, "%s\n", text) < 0 ? NULL : s;
}

/* asked: how often, so that the page sees when its news are old. */
static void publish(struct http *h, const json_t *report, const json_t *events,
		    const struct drops *drops, json_int_t asked, const struct error *why)
{
	char lacks[REPORT_LACKS];
	bool good = report && report_complete(report, lacks);

	http_publish(h, HTTP_METRICS, 200, metrics_text(report, false));
	http_publish(h, HTTP_OPENMETRICS, 200, metrics_text(report, true));
	http_publish(h, HTTP_HEALTH, good ? 200 : 503,
		     line(good	   ? "gate and guard are in place"
			  : report ? lacks
				   : why->text));
	http_publish(h, HTTP_STATUS, report ? 200 : 503,
		     text_of(report ? json_incref((json_t *)report) : control_refusal(why)));
	http_publish(
		h, HTTP_LIVE, 200,
		text_of(json_pack("{s:s,s:I,s:o,s:O*,s:o,s:o}", "version", VPNLEASH_VERSION,
				  "asked", asked, "error",
				  report ? json_null() : json_string(why->text), "status", report,
				  "events", newest_events(events), "drops", drops_json(drops))));
}

static void *ask_for_ever(void *arg)
{
	struct http *h = arg;
	struct drops drops = { 0 };

	for (json_int_t asked = 1;; asked++) {
		json_auto_t *report = NULL, *events = NULL;
		uint64_t looked = http_asked_ns(h);
		struct error err = { 0 };

		if (!control_ask(json_pack("{s:s}", "verb", "status"), &report, &err))
			control_ask(json_pack("{s:s,s:b}", "verb", "events", "follow", 0), &events,
				    NULL);
		if (report)
			drops_add(&drops, report, now_boot_ns());
		publish(h, report, events, &drops, asked, &err);
		usleep(1000 * (looked && now_boot_ns() - looked < LOOKED_AT ? SOON_MS : LATER_MS));
	}
	return NULL;
}

/* ------ start ------ */

/* Who is root is the group's member alone from here on: it may ask, and change nothing. */
static int drop_privilege(struct error *err)
{
	const struct group *group = getgrnam(CONTROL_GROUP);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, NULL, "give up privileges");
	if (geteuid() != 0)
		return 0;
	if (!group)
		return fail(err, ERROR_PRIVILEGE, -ENOENT,
			    "groupadd --system " CONTROL_GROUP ", and restart the daemon",
			    "ask the daemon without being root: group " CONTROL_GROUP);
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0 || setgroups(1, &group->gr_gid) < 0 ||
	    setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
	    capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) < 0)
		return fail(err, ERROR_PRIVILEGE, -EPERM, NULL, "give up privileges");
	return 0;
}

int listen_run(const struct http_config *config, struct error *err)
{
	struct http *h = NULL;
	pthread_t asking;
	int r = http_open(&h, config, err);

	r = r ? r : drop_privilege(err);
	if (r)
		return r;
	http_publish(h, HTTP_HTML, 200, strdup(page_html));
	http_publish(h, HTTP_CSS, 200, strdup(page_css));
	http_publish(h, HTTP_JS, 200, strdup(page_js));
	r = pthread_create(&asking, NULL, ask_for_ever, h);
	if (r)
		return fail(err, ERROR_OTHER, -r, NULL, "start a thread");
	sd_notify(0, "READY=1");
	return http_serve(h, err);
}
