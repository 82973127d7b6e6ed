/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /run/vpnleash/control.sock: one line of JSON each way, {"verb": …} → an object. For root and,
 * where there is such a group, for members of CONTROL_GROUP; what these may ask is the answerer's
 * to say. Nothing a client does can block the daemon, or occupy it for more than a quarter of the
 * time; one that dawdles makes room when others come.
 */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "base/util.h"

#define CONTROL_RUN_DIR "/run/vpnleash"
#define CONTROL_SOCKET	CONTROL_RUN_DIR "/control.sock"
#define CONTROL_GROUP	"vpnleash"

struct control;

/* Who asks, as the kernel noted it when the client connected. */
struct control_peer {
	pid_t pid; /* in our pid namespace; 0: it is in none below ours */
	bool root; /* false: a member of CONTROL_GROUP */
};

/* The answer to one request, a new reference; {"error": "…", "exit_code": n} for a refusal. */
typedef json_t *(*control_answer)(void *owner, const json_t *request,
				  const struct control_peer *peer);

/* The one daemon's lock: an fd to keep open. -EBUSY: a daemon, `lock` or `detach` is at work. */
int control_lock(struct error *err);

/* For whoever makes or replaces the pins: for a moment, so it is waited for. A daemon holds it only
 * while it starts: `lock --slice` may work beside it. */
int control_lock_pins(struct error *err);

int control_start(struct control **ret, sd_event *loop, control_answer answer, void *owner,
		  struct error *err);
void control_stop(struct control *c);

/* To every client whose answer had "follow": true. One that does not keep up is dropped. */
void control_publish(struct control *c, const json_t *record);

json_t *control_refusal(const struct error *err);
