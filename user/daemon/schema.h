/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a request on the control socket may look like: its verb, and of that verb the keys with
 * their types. Nothing else is taken: a key that is misspelt or of another type is not "not given",
 * or a slip of the pen would mean more than was meant. Pure; see verbs.c for who may ask.
 */
#pragma once

#include <jansson.h>

#include "base/util.h"

enum verb_number {
	VERB_STATUS,
	VERB_WHY,
	VERB_EVENTS,
	VERB_HOLD,
	VERB_RELEASE,
	VERB_DETACH,
	VERB_EXEC,
	VERB_SLICES,
	VERB_REHEARSE,
	VERBS
};

#define REQUEST_TEXT_LEN 1024 /* a name as `status` shows it, escaped; a netns' path */

struct request {
	enum verb_number verb;
	const char *name;			  /* of the verb */
	const char *workload, *interface, *netns; /* NULL: not named; theirs is the JSON's life */
	bool all, follow, over;
	pid_t client; /* who asks: not the request's to say */
};

/* 0, or -EINVAL with a sentence that names the verb and what is wrong with it. */
int request_parse(const json_t *j, struct request *ret, struct error *err);
