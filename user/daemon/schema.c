/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/schema.h"

#include <string.h>

enum key_type {
	NO_KEY,
	TEXT,	  /* may be given: not empty, shorter than REQUEST_TEXT_LEN */
	TEXT_DUE, /* must be */
	FLAG,	  /* true or false */
};

#define KEYS 2

static const struct schema {
	const char *verb;
	struct {
		const char *name;
		enum key_type type;
		size_t at; /* in struct request */
	} keys[KEYS];
} schemas[VERBS] = {
#define KEY(key, type)                                    \
	{                                                 \
#key, type, offsetof(struct request, key) \
	}
	[VERB_STATUS] = { "status", { { 0 } } },
	[VERB_WHY] = { "why", { KEY(workload, TEXT_DUE) } },
	[VERB_EVENTS] = { "events", { KEY(workload, TEXT), KEY(follow, FLAG) } },
	[VERB_HOLD] = { "hold", { KEY(workload, TEXT_DUE) } },
	[VERB_RELEASE] = { "release", { KEY(workload, TEXT_DUE) } },
	/* one of the two: to leave the workload out is not to mean all */
	[VERB_DETACH] = { "detach", { KEY(workload, TEXT), KEY(all, FLAG) } },
	[VERB_EXEC] = { "exec", { KEY(interface, TEXT_DUE), KEY(netns, TEXT) } },
	[VERB_SLICES] = { "slices", { { 0 } } },
	[VERB_REHEARSE] = { "rehearse", { KEY(workload, TEXT_DUE), KEY(over, FLAG) } },
#undef KEY
};

static int find_verb(const json_t *j, enum verb_number *ret, struct error *err)
{
	const char *name = json_string_value(json_object_get(j, "verb"));

	for (size_t i = 0; name && i < VERBS; i++)
		if (!strcmp(schemas[i].verb, name)) {
			*ret = (enum verb_number)i;
			return 0;
		}
	return fail(err, ERROR_INPUT, 0,
		    "status, why, events, hold, release, detach, exec, slices, rehearse",
		    "unknown verb");
}

static int take_value(const struct schema *s, size_t key, const json_t *value, struct request *ret,
		      struct error *err)
{
	void *at = (char *)ret + s->keys[key].at;
	const char *text = json_string_value(value), *name = s->keys[key].name;

	if (s->keys[key].type == FLAG && json_is_boolean(value)) {
		*(bool *)at = json_is_true(value);
		return 0;
	}
	if (s->keys[key].type == FLAG)
		return fail(err, ERROR_INPUT, 0, NULL, "%s: '%s' must be true or false", s->verb,
			    name);
	if (!text || !*text || strlen(text) >= REQUEST_TEXT_LEN)
		return fail(err, ERROR_INPUT, 0, NULL, "%s: '%s' must be a text of 1 to %d bytes",
			    s->verb, name, REQUEST_TEXT_LEN - 1);
	*(const char **)at = text;
	return 0;
}

static int take_key(const struct schema *s, const char *name, const json_t *value,
		    struct request *ret, struct error *err)
{
	for (size_t k = 0; k < KEYS; k++)
		if (s->keys[k].type && !strcmp(s->keys[k].name, name))
			return take_value(s, k, value, ret, err);
	return strcmp(name, "verb") ? fail(err, ERROR_INPUT, 0, NULL, "%s: unknown key '%s'",
					   s->verb, quote(name))
				    : 0;
}

int request_parse(const json_t *j, struct request *ret, struct error *err)
{
	struct request request = { 0 };
	const struct schema *s;
	const char *name;
	json_t *value;
	int r = find_verb(j, &request.verb, err);

	if (r)
		return r;
	s = &schemas[request.verb];
	request.name = s->verb;
	/* jansson's macro takes no const; it changes nothing */
	json_object_foreach((json_t *)j, name, value) {
		r = take_key(s, name, value, &request, err);
		if (r)
			return r;
	}
	for (size_t k = 0; k < KEYS; k++)
		if (s->keys[k].type == TEXT_DUE &&
		    !*(const char **)((char *)&request + s->keys[k].at))
			return fail(err, ERROR_INPUT, 0, NULL, "%s: '%s' is missing", s->verb,
				    s->keys[k].name);
	if (request.verb == VERB_DETACH && request.all == !!request.workload)
		return fail(err, ERROR_INPUT, 0, NULL,
			    "detach: needs 'workload', or 'all' and no 'workload'");
	*ret = request;
	return 0;
}
