/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/identity.h"

#include <errno.h>
#include <string.h>

#include "core/probes.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "prober/check.h"
#include "watch/netlink.h"

#define AGAIN_NS (60 * NS_PER_SEC)		      /* after an answer that is right, */
#define WRONG_NS (5 * NS_PER_SEC)		      /* one that is wrong, */
#define RETRY_NS (10 * NS_PER_SEC)		      /* none, or since when there was a silence, */
#define DOWN_NS	 NS_PER_SEC			      /* none while it is down: somebody waits */
#define LOST_NS	 (CHECK_IDENTITY_NS + 2 * NS_PER_SEC) /* nobody will tell any more */
#define IS_EXIT	 (1U << 31)			      /* of a target's number: not a probe's */

static bool is_given(const struct tunnel *t)
{
	return *t->config.identity.url;
}

/* ------ asking ------ */

static int ask(struct tunnel *t)
{
	const struct identity_rule *rule = &t->config.identity;
	struct check c = { .kind = CHECK_IDENTITY,
			   .target = t->id | IS_EXIT,
			   .number = ++t->identity.number,
			   .guarded = probes_guarded(t),
			   .port = (uint16_t)rule->port,
			   .resolver = rule->resolver };
	struct link_identity link = { 0 };
	int r = watch_netlink_identity(t->link, &link);

	c.ifindex = link.ifindex;
	memcpy(c.interface, t->config.interface, sizeof(c.interface));
	memcpy(c.text, rule->url, sizeof(c.text));
	memcpy(c.host, rule->host, sizeof(c.host));
	memcpy(c.expect, rule->expect, sizeof(c.expect));
	return r ? r : checks_ask(&t->daemon->checks, &c, t->netns_fd);
}

static void unanswered(struct tunnel *t, int error, uint64_t now)
{
	t->identity.asked_ns = 0;
	t->identity.error = error;
	t->identity.next_ns = now + (t->state == TUNNEL_UP ? RETRY_NS : DOWN_NS);
}

void identity_look(struct tunnel *t, uint64_t now)
{
	struct identity *e = &t->identity;

	if (!is_given(t))
		return;
	if (e->asked_ns && now - e->asked_ns >= LOST_NS)
		unanswered(t, CHECK_UNASKED, now);
	/* down: there is no point in it before something comes out of the tunnel */
	if (e->asked_ns || now < e->next_ns || !t->link_ready ||
	    (t->state != TUNNEL_UP && !t->reopen.first_seen_ns))
		return;
	e->asked_ns = now;
	if (ask(t))
		unanswered(t, CHECK_UNASKED, now);
}

void identity_doubt(struct tunnel *t)
{
	struct identity *e = &t->identity;

	if (e->next_ns > e->answered_ns + RETRY_NS)
		e->next_ns = e->answered_ns + RETRY_NS;
}

void identity_forget(struct tunnel *t)
{
	struct check drop = { .kind = CHECK_DROP, .target = t->id | IS_EXIT };
	struct identity *e = &t->identity;

	if (e->asked_ns)
		checks_ask(&t->daemon->checks, &drop, -1);
	if (e->asked_ns || e->exit == EXIT_RIGHT)
		e->next_ns = 0;
	e->asked_ns = 0;
	if (e->exit == EXIT_RIGHT)
		e->exit = EXIT_UNKNOWN;
}

bool identity_is_right(const struct tunnel *t)
{
	return !is_given(t) || t->identity.exit == EXIT_RIGHT;
}

/* ------ answers ------ */

static void identity_told(struct tunnel *t, const struct check_news *news)
{
	struct identity *e = &t->identity;
	uint64_t now = now_boot_ns();

	if (!e->asked_ns || news->number != e->number)
		return;
	if (news->result != IDENTITY_RIGHT && news->result != IDENTITY_WRONG) {
		unanswered(t, news->result, now);
		return;
	}
	e->took_ns = now - e->asked_ns;
	e->asked_ns = 0;
	e->answered_ns = now;
	e->error = 0;
	e->exit = news->result == IDENTITY_RIGHT ? EXIT_RIGHT : EXIT_WRONG;
	e->next_ns = now + (e->exit == EXIT_RIGHT ? AGAIN_NS : WRONG_NS);
	t->daemon->exit_told(t);
}

static void on_check(struct daemon *d, const struct check_news *news)
{
	bool of_exit = news->target & IS_EXIT;
	uint32_t id = of_exit ? news->target & ~IS_EXIT : news->target / RULES_PROBES;
	size_t i = news->target % RULES_PROBES;

	for_each_tunnel(d, t) {
		if (t->id != id)
			continue;
		if (of_exit)
			identity_told(t, news);
		else if (i < t->config.probes.n)
			probes_exec_ended(t, i, news);
		return;
	}
}

static int on_checks(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct daemon *d = arg;
	struct check_news news;
	int r = 0;

	for (int i = 0; i < WATCH_BOUND && !(r = checks_read(&d->checks, &news)); i++)
		on_check(d, &news);
	if (r != -EPIPE && r != -EBADMSG)
		return 0;
	/* it was forked before this process gave up what it needs */
	log_line(LOG_LEVEL_ERR, "the process that asks for identity and runs the probes exec has "
				"ended: they stay unanswered (restart vpnleash)");
	d->checks_source = sd_event_source_disable_unref(d->checks_source);
	return 0;
}

int checks_begin(struct daemon *d, struct error *err)
{
	int r = checks_start(&d->checks, err);

	if (r)
		return r;
	r = sd_event_add_io(d->loop, &d->checks_source, d->checks.fd, EPOLLIN, on_checks, d);
	if (r < 0)
		return fail(err, ERROR_OTHER, r, NULL, "listen to the checks");
	sd_event_source_set_priority(d->checks_source, PRIORITY_LIFE);
	return 0;
}

/* ------ in words ------ */

const char *identity_text(const struct tunnel *t, char *buf, size_t size)
{
	const struct identity_rule *rule = &t->config.identity;

	snprintf(buf, size, "%s expect %s", rule->url, quote(rule->expect));
	return buf;
}

const char *identity_says(const struct tunnel *t, char *buf, size_t size)
{
	const struct identity *e = &t->identity;
	char why[112];

	if (e->error)
		snprintf(buf, size, "no answer: %s",
			 check_says(CHECK_IDENTITY, e->error, why, sizeof(why)));
	else if (e->exit == EXIT_UNKNOWN)
		snprintf(buf, size, e->asked_ns ? "being asked" : "not asked yet");
	else
		snprintf(buf, size, "%s, in %.1f ms",
			 check_says(CHECK_IDENTITY,
				    e->exit == EXIT_RIGHT ? IDENTITY_RIGHT : IDENTITY_WRONG, why,
				    sizeof(why)),
			 (double)e->took_ns / NS_PER_MSEC);
	return buf;
}
