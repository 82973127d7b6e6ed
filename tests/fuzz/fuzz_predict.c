/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a container's cgroup will be: a line each with words (systemd, podman), the parent that was
 * learnt, the parent that is asked for, the id. */
#include "engine/docker_record.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size), *line[4] = { text, "", "", "" }, *end;
	struct docker_info info = { 0 };
	char *ret = malloc(PATH_MAX); /* of exactly its size */

	if (!ret)
		abort();
	for (int i = 1; i < 4 && (end = strchr(line[i - 1], '\n')); i++) {
		*end = '\0';
		line[i] = end + 1;
	}
	info.systemd_driver = strstr(line[0], "systemd");
	info.podman = strstr(line[0], "podman");
	snprintf(info.default_parent, sizeof(info.default_parent), "%s", line[1]);
	strcpy(ret, "untouched");
	if (docker_predict_cgroup(&info, line[2], line[3], ret)) {
		MUST(!strcmp(ret, "untouched"));
	} else {
		size_t n = strlen(ret), id = strlen(line[3]), tail = info.systemd_driver ? 6 : 0;

		/* whole: it ends in the id, and no part of it is longer than a name may be */
		MUST(*ret == '/' && n < PATH_MAX && n >= id + tail);
		MUST(!strncmp(ret + n - tail - id, line[3], id));
		for (const char *part = ret; *part;) {
			part += strspn(part, "/");
			MUST(strcspn(part, "/") <= NAME_MAX);
			MUST(strncmp(part, "../", 3) && strcmp(part, ".."));
			part += strcspn(part, "/");
		}
	}
	free(ret);
	free(text);
	return 0;
}
