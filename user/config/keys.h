/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of files, of the command line and of labels: one table, and how each value is read. */
#pragma once

#include "config/config.h"

/* The error of what somebody wrote. */
#define wrong(err, remedy, ...) fail(err, ERROR_INPUT, 0, remedy, __VA_ARGS__)

/* Where a key's value goes; all three point into one struct config. */
struct place {
	bool of_label; /* a stranger's word */
	struct config *config;
	struct tunnel_config *tunnel;
	struct workload_config *workload;
};

enum section { SECTION_NONE, SECTION_DAEMON, SECTION_TUNNEL, SECTION_WORKLOAD };

/* What a reader has to know of some keys beside how their value is read. */
enum key_kind {
	KEY_PLAIN,
	KEY_CGROUP,    /* one more workload on the command line */
	KEY_TUNNEL,    /* names a section of a file: no option */
	KEY_INTERFACE, /* of labels: what makes a tunnel */
};

struct key {
	const char *name, *value;
	const char *help; /* NULL: the same key of another section has its line */
	enum section section;
	enum key_kind kind;
	bool repeatable;
	bool no_label; /* the engine's to say */
	int (*set)(struct place *p, const char *value, struct error *err);
};

/* NULL: no such key. SECTION_NONE: the first of that name in any section. */
const struct key *key_find(enum section section, const char *name, size_t length);
/* One bit for each key, to note those that were given. */
uint64_t key_bit(const struct key *key);

/* "tunnel, on-failure, ...": what a label may be called after "vpnleash.". */
void key_list_labels(char *ret, size_t size);
/* One line for each key of the command line, for --help. */
void config_print_keys(FILE *out);
