/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hold.h. */
#include "core/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_DIR "/var/lib/vpnleash"
#define HELD_DIR  STATE_DIR "/held"

/* A name is foreign text: everything but letters, digits, '-' and '_' becomes %XX. */
static void held_path(char path[PATH_MAX], const char *workload)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = (size_t)snprintf(path, PATH_MAX, HELD_DIR "/");

	for (const char *c = workload; *c && n < PATH_MAX - 4; c++)
		n += (size_t)snprintf(path + n, PATH_MAX - n, strchr(plain, *c) ? "%c" : "%%%02X",
				      (unsigned char)*c);
}

bool hold_is(const char *workload)
{
	char path[PATH_MAX];
	struct stat st;

	held_path(path, workload);
	/* anything but a clear "no such file" is a hold */
	return !lstat(path, &st) || errno != ENOENT;
}

static int sync_dir(void)
{
	_cleanup_fd int fd = open(HELD_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int hold_set(const char *workload, struct error *err)
{
	_cleanup_fd int fd = -1;
	char path[PATH_MAX];

	held_path(path, workload);
	if ((mkdir(STATE_DIR, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(HELD_DIR, 0755) < 0 && errno != EEXIST))
		return fail(err, EXIT_FAILURE_, -errno, NULL, "make " HELD_DIR);
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || fsync(fd) < 0 || sync_dir())
		return fail(err, EXIT_FAILURE_, -errno, NULL, "write '%s'", path);
	return 0;
}

int hold_clear(const char *workload, struct error *err)
{
	char path[PATH_MAX];

	held_path(path, workload);
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(err, EXIT_FAILURE_, -errno, NULL, "remove '%s'", path);
	sync_dir();
	return 0;
}
