/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/engine_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DIRECTORIES 16384
#define DEPTH	    32

struct walk {
	void (*f)(const char *id, const char *path, void *arg);
	void *arg;
	char path[PATH_MAX];
	unsigned int left; /* directories */
};

/* "ID", "docker-ID.scope", "libpod-ID", "libpod-ID.scope"; with --cgroups=split
 * "libpod-payload-ID"; not "libpod-conmon-ID.scope". */
static bool container_of(const char *name, char ret_id[ENGINE_HEX_LEN])
{
	const size_t digits = ENGINE_HEX_LEN - 1;

	if (!strncmp(name, "libpod-payload-", 15))
		name += 15;
	else if (!strncmp(name, "docker-", 7) || !strncmp(name, "libpod-", 7))
		name += 7;
	if (strlen(name) < digits || (name[digits] && strcmp(name + digits, ".scope")))
		return false;
	memcpy(ret_id, name, digits);
	ret_id[digits] = '\0';
	return docker_is_id(ret_id);
}

/* Takes the descriptor over. n: length of w->path. */
static void walk(struct walk *w, int fd, size_t n, unsigned int depth)
{
	DIR *dir = fdopendir(fd);
	char id[ENGINE_HEX_LEN];
	struct dirent *e;
	struct stat st;

	if (!dir)
		close_fd(fd);
	while (dir && w->left && (e = readdir(dir))) {
		size_t length = strlen(e->d_name);

		if (e->d_type != DT_DIR || *e->d_name == '.' || n + 1 + length >= PATH_MAX)
			continue;
		w->left--;
		w->path[n] = '/';
		memcpy(w->path + n + 1, e->d_name, length + 1);
		if (container_of(e->d_name, id)) {
			w->f(id, w->path, w->arg);
			continue;
		}
		fd = depth < DEPTH ? openat(dirfd(dir), e->d_name,
					    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				   : -1;
		if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid))
			close_fd(fd);
		else if (fd >= 0)
			walk(w, fd, n + 1 + length, depth + 1);
	}
	if (dir)
		closedir(dir);
}

void seek_containers(const struct cgroup_root *root,
		     void (*f)(const char *id, const char *path, void *arg), void *arg)
{
	struct walk w = { .f = f, .arg = arg, .left = DIRECTORIES };
	int fd = openat(root->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		walk(&w, fd, 0, 0);
}
