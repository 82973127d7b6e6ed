/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine writes about a container → struct engine_item. Pure but for /proc, where the
 * cgroup of a container that runs is looked up. A stranger chooses names, labels and paths in a
 * record, so each value is bounded and must have its type; one that has not makes the whole record
 * unusable (see engine.h).
 */
#pragma once

#include <jansson.h>

#include "engine/engine.h"

/* What the engine says of itself. default_parent is learnt from the first container that asked for
 * no parent of its own and runs; "": not known yet. */
struct docker_info {
	bool systemd_driver, podman;
	char default_parent[PATH_MAX];
};

#define DOCKER_REPLACES \
	"vpnleash.replaces" /* the label of who was made by us, see docker_remake.h */

/* n bytes of JSON, which are changed; NULL: they are none. */
json_t *docker_parse(char *text, size_t n);
/* The text at `key`; "": there is none. */
const char *docker_text(const json_t *j, const char *key);
bool docker_is_podman(const json_t *version);
/* 64 hexadecimal digits. */
bool docker_is_id(const char *s);

/* Of a container's HostConfig. Text is as a person wrote it: "cap_net_raw" is NET_RAW. */
bool docker_lists(const json_t *list, const char *capability);
bool docker_has_capability(const json_t *host_config, const char *capability, bool by_default);

/* `inspect`, which should be the record of the container `id`, into *i, which is zeroed. Labels are
 * read apart: the caller asks the engine for the image first, if there are labels of ours.
 * image NULL: it is not known. */
void docker_read_record(struct engine_item *i, struct docker_info *info, const char *id,
			const json_t *inspect);
bool docker_has_labels(const json_t *inspect);
void docker_read_labels(struct engine_item *i, const json_t *inspect, const json_t *image);
/* Of a record that is unusable: what the engine's list says. listed NULL: not even that. */
void docker_read_listed(struct engine_item *i, const char *id, const json_t *listed,
			const char *why);

/* Where the engine will make the cgroup. -ENAMETOOLONG: no cgroup can be called that; -EINVAL: the
 * path leaves the hierarchy. */
int docker_predict_cgroup(const struct docker_info *info, const char *parent, const char *id,
			  char ret[PATH_MAX]);
