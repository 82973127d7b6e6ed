/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/loop.h"

#include <time.h>

#include "base/util.h"

#define TIMER_USEC 1000 /* accuracy of timers; sd-event's own default is 250 ms */
#define LOG_BURST  20	/* lines at once, then one a second */

int set_timer(sd_event *loop, sd_event_source **s, uint64_t at_ns, sd_event_time_handler_t f,
	      void *arg)
{
	if (!*s)
		return sd_event_add_time(loop, s, CLOCK_BOOTTIME, at_ns / 1000, TIMER_USEC, f, arg);
	sd_event_source_set_time(*s, at_ns / 1000);
	return sd_event_source_set_enabled(*s, SD_EVENT_ONESHOT);
}

bool may_log(struct log_budget *b)
{
	uint64_t now = now_boot_ns(), earned = (now - b->filled_ns) / NS_PER_SEC;

	if (earned) {
		b->tokens = earned > LOG_BURST - b->tokens ? LOG_BURST
							   : b->tokens + (unsigned int)earned;
		b->filled_ns = now;
	}
	if (!b->tokens) {
		b->suppressed++;
		return false;
	}
	b->tokens--;
	if (b->suppressed)
		log_line(LOG_LEVEL_NOTICE, "(%u lines left out)", b->suppressed);
	b->suppressed = 0;
	return true;
}
