/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What everything on the daemon's one loop needs: an order, timers, a bound to what it logs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Order of one turn of the loop: evidence first, then what is done on the strength of it. */
enum priority {
	PRIORITY_EVIDENCE = -20,
	PRIORITY_LIFE = -10,
	PRIORITY_TIMERS = 0,
	PRIORITY_LAST = 100
};

/* A timer at boot time at_ns; *s is made at first use. */
int set_timer(sd_event *loop, sd_event_source **s, uint64_t at_ns, sd_event_time_handler_t f,
	      void *arg);

/* Lines that one tunnel and its workloads may still log; see may_log(). */
struct log_budget {
	unsigned int tokens, suppressed;
	uint64_t filled_ns;
};
/* A flapping tunnel must not flood the log; what is left out is counted and said. */
bool may_log(struct log_budget *b);
