/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/marks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_DIR "/var/lib/vpnleash"

static const char *const dirs[] = {
	[MARK_HELD] = STATE_DIR "/held",
	[MARK_WANTED] = STATE_DIR "/wanted",
	[MARK_UNIT] = STATE_DIR "/units",
	[MARK_NETWORK] = STATE_DIR "/network",
};

/* A name is foreign text: everything but letters, digits, '-' and '_' becomes %XX. */
static void mark_path(char path[PATH_MAX], enum mark mark, const char *workload)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = (size_t)snprintf(path, PATH_MAX, "%s/", dirs[mark]);

	for (const char *c = workload; *c && n < PATH_MAX - 4; c++)
		n += (size_t)snprintf(path + n, PATH_MAX - n, strchr(plain, *c) ? "%c" : "%%%02X",
				      (unsigned char)*c);
}

bool mark_is(enum mark mark, const char *workload)
{
	char path[PATH_MAX];
	struct stat st;

	mark_path(path, mark, workload);
	if (!lstat(path, &st))
		return true;
	return mark == MARK_HELD && errno != ENOENT; /* anything but a clear "no such file" */
}

void mark_each(enum mark mark, void (*f)(const char *name, void *arg), void *arg)
{
	_cleanup_dir DIR *dir = opendir(dirs[mark]);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char name[NAME_MAX + 1];
		unsigned int c;
		size_t n = 0;

		for (const char *s = e->d_name; *s; s++) {
			bool coded = *s == '%' && sscanf(s + 1, "%2X", &c) == 1;

			name[n++] = coded ? (char)c : *s;
			s += coded ? 2 : 0;
		}
		name[n] = '\0';
		if (*e->d_name != '.')
			f(name, arg);
	}
}

/* To disk: the file (-1: one that was removed) and its name. */
static int sync_mark(enum mark mark, int fd)
{
	_cleanup_fd int dir = -1;

	if (mark != MARK_HELD)
		return 0;
	dir = open(dirs[mark], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 || (fd >= 0 && fsync(fd) < 0) || fsync(dir) < 0 ? -errno : 0;
}

int mark_write(enum mark mark, const char *workload, const char *text, struct error *err)
{
	ssize_t n = (ssize_t)strlen(text);
	_cleanup_fd int fd = -1;
	char path[PATH_MAX];

	mark_path(path, mark, workload);
	if ((mkdir(STATE_DIR, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(dirs[mark], 0755) < 0 && errno != EEXIST))
		return fail(err, ERROR_OTHER, -errno, NULL, "make '%s'", dirs[mark]);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, (size_t)n) != n || sync_mark(mark, fd))
		return fail(err, ERROR_OTHER, -errno, NULL, "write '%s'", path);
	return 0;
}

int mark_set(enum mark mark, const char *workload, struct error *err)
{
	return mark_write(mark, workload, "", err);
}

void mark_read(enum mark mark, const char *workload, char *buf, size_t size)
{
	char path[PATH_MAX];

	mark_path(path, mark, workload);
	if (read_small(AT_FDCWD, path, buf, size) < 0)
		*buf = '\0';
}

int mark_clear(enum mark mark, const char *workload, struct error *err)
{
	char path[PATH_MAX];

	mark_path(path, mark, workload);
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(err, ERROR_OTHER, -errno, NULL, "remove '%s'", path);
	sync_mark(mark, -1);
	return 0;
}
