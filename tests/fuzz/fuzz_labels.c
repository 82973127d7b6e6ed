/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The labels of a container, KEY=VALUE a line; or, where the first line is "run" or "lock", the
 * command line of that, a word a line. */
#include "config/config.h"

#include "fuzz.h"
#include "paths.h"

#define LINES 64

/* None, or a program by its name in HOOKS_DIR. */
static bool is_shipped(const char *hook)
{
	return !*hook || (!strncmp(hook, HOOKS_DIR "/", strlen(HOOKS_DIR "/")) &&
			  !strchr(hook + strlen(HOOKS_DIR "/"), '/'));
}

static void parse_labels(char *const *lines, size_t n)
{
	struct config_label labels[LINES];
	struct error err = { 0 };
	struct config c;
	bool keys;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		char *value = strchr(lines[i], '=');

		if (!value)
			continue;
		*value++ = '\0';
		labels[k++] = (struct config_label) { lines[i], value };
	}
	if (config_from_labels("w", "container:x", "/run/netns/x", labels, k, &c, &keys, &err)) {
		check_error(&err);
		MUST(*err.text);
		return;
	}
	/* a label speaks for its own container and netns alone */
	MUST(c.n_workloads == 1 && !strcmp(c.workloads[0].cgroup, "container:x"));
	MUST(*c.workloads[0].tunnel_name || !strcmp(c.tunnels[0].netns, "/run/netns/x"));
	MUST(is_shipped(c.workloads[0].hook) && is_shipped(c.workloads[0].hook_inside));
	config_free(&c);
}

static void parse_words(int argc, char **argv)
{
	struct error err = { 0 };
	struct config c;

	if (config_parse_args(argc, argv, strcmp(argv[0], "lock"), &c, &err)) {
		check_error(&err);
		MUST(*err.text);
		return;
	}
	config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size), *lines[LINES + 1], *save;
	size_t n = 0;

	for (char *l = strtok_r(text, "\n", &save); l && n < LINES; l = strtok_r(NULL, "\n", &save))
		lines[n++] = strdup(l);
	lines[n] = NULL;
	if (n && (!strcmp(lines[0], "run") || !strcmp(lines[0], "lock")))
		parse_words((int)n, lines);
	else
		parse_labels(lines, n);
	while (n)
		free(lines[--n]);
	free(text);
	return 0;
}
