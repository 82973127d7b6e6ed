/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One container, as the engine describes it: a line with words (systemd, podman), then what the
 * list has of it, its record, and its image, with a line "---" between them.
 */
#include "engine/docker_record.c"

#include "engine/docker_remake.h"
#include "item.h"

#define ID "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static json_t *next_part(char **rest)
{
	char *this = *rest, *end = this ? strstr(this, "\n---\n") : NULL;

	*rest = end ? end + 5 : NULL;
	return this ? docker_parse(this, end ? (size_t)(end - this) : strlen(this)) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct engine_item none;
	char *text = text_of_input(data, size), *rest = strchr(text, '\n');
	struct engine_item *i = calloc(1, sizeof(*i));
	struct docker_info info = { 0 };
	json_t *listed, *inspect, *image;

	if (!i)
		abort();
	if (rest)
		*rest++ = '\0';
	info.systemd_driver = strstr(text, "systemd");
	info.podman = strstr(text, "podman");
	listed = next_part(&rest);
	inspect = next_part(&rest);
	image = next_part(&rest);
	docker_read_record(i, &info, ID, inspect);
	if (!*i->unusable && docker_has_labels(inspect))
		docker_read_labels(i, inspect, image);
	json_decref(docker_remake(inspect, "image", ID));
	MUST_END(i->unusable);
	if (!*i->unusable)
		check_item(i);
	*i = none;
	docker_read_listed(i, ID, listed, "played");
	check_item(i);
	json_decref(listed);
	json_decref(inspect);
	json_decref(image);
	free(i);
	free(text);
	return 0;
}
