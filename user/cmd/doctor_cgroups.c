/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workloads whose own user may leave the leash. See doctor.h. (Of units the daemon knows.) */
#include <errno.h>

#include "cmd/doctor.h"
#include "core/delegation.h"
#include "engine/docker_record.h"
#include "watch/process.h"

struct look {
	const struct cgroup_root *root;
	doctor_tell tell;
	void *owner;
};

static void look_at(const struct look *l, const char *kind, const char *name, const char *path)
{
	char by[DELEGATION_LEN];
	struct error line;

	delegation_of(l->root, path, by);
	if (!*by)
		return;
	fail(&line, ERROR_OTHER, 0, DELEGATION_REMEDY, "%s '%s' may be left by its own user: %s",
	     kind, quote(name), by);
	l->tell(l->owner, -EPERM, &line);
}

static void look_at_file(const struct look *l, const struct config *file)
{
	for (size_t i = 0; i < file->n_workloads; i++) {
		const struct workload_config *w = &file->workloads[i];
		char path[PATH_MAX], child[PATH_MAX + 8];
		const char *name;
		enum place_kind kind = place_kind(w->cgroup, &name);

		if (kind == PLACE_PATH && !cgroup_path(l->root, w->cgroup, path, NULL))
			look_at(l, "workload", *w->name ? w->name : path, path);
		if (kind == PLACE_SLICE && !slice_to_path(l->root, name, path, NULL)) {
			snprintf(child, sizeof(child), "%s/any", path); /* what is born in it */
			look_at(l, "slice", name, child);
		}
	}
}

void doctor_cgroups(const struct cgroup_root *root, const json_t *containers,
		    const struct config *file, doctor_tell tell, void *owner)
{
	struct look l = { .root = root, .tell = tell, .owner = owner };
	const json_t *c;
	size_t i;

	if (root->fd < 0) /* told by another check */
		return;
	if (file)
		look_at_file(&l, file);
	json_array_foreach(containers, i, c) {
		const char *name = docker_text(c, "Name");
		pid_t pid = doctor_pid(c);
		char path[PATH_MAX];

		if (doctor_is_leashed(c, file) && pid > 0 && !process_cgroup(pid, path))
			look_at(&l, "container", *name ? name + (*name == '/') : "?", path);
	}
}
