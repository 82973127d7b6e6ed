/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of a configuration file. */
#include "config/config.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size);
	struct error err = { 0 };
	struct config c;

	if (config_init(&c, &err))
		abort();
	if (config_parse_text(&c, "fuzz.conf", text, &err) ||
	    config_finish(&c, "fuzz.conf", &err)) {
		check_error(&err);
		MUST(*err.text && err.kind == ERROR_INPUT);
	}
	MUST(c.n_tunnels <= CONFIG_TUNNELS && c.n_workloads <= CONFIG_WORKLOADS);
	MUST(c.n_slices <= CONFIG_SLICES);
	for (size_t i = 0; i < c.n_tunnels; i++) {
		MUST_END(c.tunnels[i].name);
		MUST_END(c.tunnels[i].interface);
		MUST_END(c.tunnels[i].netns);
	}
	for (size_t i = 0; i < c.n_workloads; i++) {
		MUST_END(c.workloads[i].name);
		MUST_END(c.workloads[i].cgroup);
		MUST_END(c.workloads[i].hook);
	}
	config_free(&c);
	free(text);
	return 0;
}
