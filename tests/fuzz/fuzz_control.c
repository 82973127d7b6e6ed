/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client sends to the control socket, by the socket's own reader, in pieces of a size that
 * the first byte says; each request is judged by the schema. */
#include "report/control.c"

#include "daemon/schema.h"
#include "fuzz.h"

static json_t *judge(void *owner, const json_t *j, const struct control_peer *peer)
{
	struct request r = { 0 };
	struct error err = { 0 };

	if (request_parse(j, &r, &err)) {
		check_error(&err);
		MUST(*err.text && err.kind == ERROR_INPUT && !r.name);
		return control_refusal(&err);
	}
	MUST(r.verb < VERBS && r.name && !r.client);
	MUST(!strcmp(r.name, json_string_value(json_object_get(j, "verb"))));
	MUST(json_object_size(j) == 1 + !!r.workload + !!r.interface + !!r.netns +
					    !!json_object_get(j, "all") +
					    !!json_object_get(j, "follow"));
	if (r.verb == VERB_DETACH) /* all only if that is what was said */
		MUST(r.all ? !r.workload && json_is_true(json_object_get(j, "all"))
			   : r.workload && *r.workload);
	return json_pack("{s:b}", "follow", r.follow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct control c = { .answer = judge, .fd = -1 };
	const struct ucred peer = { .pid = 1 };
	size_t piece = size && data[0] ? data[0] : 1;
	struct client *k;
	json_t *record;
	int pair[2];

	if (!c.loop && sd_event_new(&c.loop) < 0)
		abort();
	if (size < 1 || size > 2 * REQUEST_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
		return 0;
	k = c.clients[0] = client_new(&c, pair[0], &peer);
	if (!k)
		abort();
	for (size_t at = 1; at < size && c.clients[0]; at += piece) {
		send(pair[1], data + at, at + piece > size ? size - at : piece, MSG_NOSIGNAL);
		client_serve(k);
	}
	record = json_pack("{s:s}", "event", "x");
	control_publish(&c, record);
	json_decref(record);
	shutdown(pair[1], SHUT_WR);
	if (c.clients[0])
		client_serve(k);
	if (c.clients[0])
		client_free(k);
	close(pair[1]);
	return 0;
}
