/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must hold of a container, whatever the engine said of it. After engine/docker_record.c. */
#ifndef VPNLEASH_FUZZ_ITEM_H
#define VPNLEASH_FUZZ_ITEM_H

#include "fuzz.h"

static void check_item(const struct engine_item *i)
{
	MUST_END(i->name);
	MUST_END(i->unusable);
	MUST_END(i->cgroup);
	MUST_END(i->network_mode);
	MUST_END(i->compose_project);
	MUST_END(i->compose_service);
	MUST_END(i->compose_dir);
	MUST_END(i->compose_files);
	MUST_END(i->unit);
	MUST_END(i->replaces);
	MUST(docker_is_id(i->id) && i->kind == ENGINE_CONTAINER);
	MUST(i->pid >= 0 && i->n_labels <= ENGINE_LABELS);
	for (size_t k = 0; k < i->n_labels; k++) {
		MUST_END(i->labels[k].key);
		MUST_END(i->labels[k].value);
	}
	if (*i->unusable) {
		MUST(!*i->cgroup && !i->pid && !i->running && !i->n_labels && *i->name);
	} else {
		MUST(*i->cgroup == '/' && strstr(i->cgroup, i->id));
		MUST(!check_parts(i->cgroup));
	}
}

#endif
