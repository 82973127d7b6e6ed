/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/parked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "core/marks.h"
#include "core/registry.h"
#include "engine/inventory.h"

#define AGAIN_NS (1 * NS_PER_SEC)

struct parked {
	struct parked *next;
	struct inventory_watch watch;
	bool asked;
	char unit[ENGINE_NAME_LEN];
};

static void unit_is(void *owner, const struct engine_item *item)
{
	/* whatever it is, it is to run */
}

static void unit_done(void *owner, int result, const char *error)
{
	struct parked *p = owner;
	struct error err;

	if (result == -ENOTCONN) {
		p->asked = false;
		return;
	}
	if (result)
		log_line(LOG_LEVEL_ERR,
			 "unit '%s', which was stopped by us, can not be started: %s",
			 quote(p->unit), quote(*error ? error : strerror(-result)));
	if (mark_clear(MARK_UNIT, p->unit, &err))
		log_line(LOG_LEVEL_ERR, "%s", err.text);
}

static void unit_engine_is(void *owner, bool there)
{
	struct parked *p = owner;

	p->asked &= !p->watch.request; /* nobody answers that */
	p->watch.request = 0;
}

static const struct inventory_listener unit_news = {
	.item = unit_is,
	.done = unit_done,
	.engine = unit_engine_is,
};

static void add_unit(const char *name, void *arg)
{
	struct parked *p = calloc(1, sizeof(*p));
	struct daemon *d = arg;

	if (!p || strlen(name) >= sizeof(p->unit)) {
		free(p);
		return;
	}
	snprintf(p->unit, sizeof(p->unit), "%s", name);
	p->next = d->parked;
	d->parked = p;
	inventory_watch(d->inventory, &p->watch, ENGINE_UNIT, p->unit, &unit_news, p);
}

static int on_parked(sd_event_source *s, uint64_t usec, void *arg)
{
	struct daemon *d = arg;
	bool any = false;

	for (struct parked *p = d->parked; p; p = p->next) {
		if (d->running && !p->asked &&
		    inventory_reachable(d->inventory, ENGINE_CONTAINER, ""))
			p->asked = !inventory_ask(&p->watch, true, p->unit);
		any |= !p->asked || p->watch.request;
	}
	if (any)
		set_timer(d->loop, &d->parked_timer, now_boot_ns() + AGAIN_NS, on_parked, d);
	return 0;
}

void parked_begin(struct daemon *d)
{
	mark_each(MARK_UNIT, add_unit, d);
	if (d->parked)
		set_timer(d->loop, &d->parked_timer, now_boot_ns() + AGAIN_NS, on_parked, d);
}

void parked_free(struct daemon *d)
{
	sd_event_source_disable_unref(d->parked_timer);
	for (struct parked *p = d->parked, *next; p; p = next) {
		next = p->next;
		inventory_unwatch(&p->watch);
		free(p);
	}
}
