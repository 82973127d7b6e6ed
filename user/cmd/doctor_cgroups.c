/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workloads whose own user may leave the leash. See doctor.h. (Of units the daemon knows.) */
#include <errno.h>

#include "cmd/doctor.h"
#include "core/delegation.h"
#include "engine/docker_record.h"
#include "watch/process.h"

static void look_at(const struct doctor *d, const char *kind, const char *name, const char *path)
{
	char by[DELEGATION_LEN];
	struct error line;

	delegation_of(d->root, path, by);
	if (!*by)
		return;
	fail(&line, ERROR_OTHER, 0, DELEGATION_REMEDY, "%s '%s' may be left by its own user: %s",
	     kind, quote(name), by);
	d->tell(d->owner, -EPERM, &line);
}

static void look_at_file(const struct doctor *d)
{
	for (size_t i = 0; i < d->file->n_workloads; i++) {
		const struct workload_config *w = &d->file->workloads[i];
		char path[PATH_MAX], child[PATH_MAX + 8];
		const char *name;
		enum place_kind kind = place_kind(w->cgroup, &name);

		if (kind == PLACE_PATH && !cgroup_path(d->root, w->cgroup, path, NULL))
			look_at(d, "workload", *w->name ? w->name : path, path);
		if (kind == PLACE_SLICE && !slice_to_path(d->root, name, path, NULL)) {
			snprintf(child, sizeof(child), "%s/any", path); /* what is born in it */
			look_at(d, "slice", name, child);
		}
	}
}

void doctor_cgroups(const struct doctor *d)
{
	const json_t *c;
	size_t i;

	if (d->root->fd < 0) /* told by another check */
		return;
	if (d->file)
		look_at_file(d);
	json_array_foreach(d->containers, i, c) {
		const char *name = docker_text(c, "Name");
		pid_t pid = doctor_pid(c);
		char path[PATH_MAX];

		if (doctor_is_leashed(c, d->file) && pid > 0 && !process_cgroup(pid, path))
			look_at(d, "container", *name ? name + (*name == '/') : "?", path);
	}
}
