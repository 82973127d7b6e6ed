/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

int resolve_cgroup_root(struct cgroup_root *ret, struct error *err)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m = NULL;
	_cleanup_fd int fd = -1;
	struct stat st;

	while (mounts && (m = getmntent(mounts)) && strcmp(m->mnt_type, "cgroup2"))
		;
	if (m)
		snprintf(ret->path, sizeof(ret->path), "%s", m->mnt_dir);
	if (mounts)
		endmntent(mounts);
	if (!m)
		return fail(err, ERROR_PRIVILEGE, -ENOENT,
			    "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
			    "find the cgroup v2 hierarchy");
	fd = open(ret->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno, NULL, "open '%s'", ret->path);
	if (st.st_ino != 1) /* kernfs numbers the true root 1 */
		return fail(err, ERROR_PRIVILEGE, -EXDEV,
			    "start vpnleash in the host's cgroup namespace",
			    "'%s' is not the root of the cgroup hierarchy", ret->path);
	ret->fd = TAKE_FD(fd);
	return 0;
}

int cgroup_path(const struct cgroup_root *root, const char *text, char ret[PATH_MAX],
		struct error *err)
{
	size_t prefix = strlen(root->path), n = 0;
	char path[PATH_MAX];

	if (!strncmp(text, root->path, prefix) && (text[prefix] == '/' || !text[prefix]))
		text += prefix;
	if (strlen(text) >= PATH_MAX - 1 || (*text && *text != '/') || strchr(text, '\n'))
		return fail(err, ERROR_INPUT, 0,
			    "give /PATH below the cgroup v2 root, or the full path",
			    "'%s' is not the path of a cgroup", quote(text));
	for (const char *part = text; *part;) {
		size_t length;

		part += strspn(part, "/");
		length = strcspn(part, "/");
		if (length == 2 && !strncmp(part, "..", 2))
			return fail(err, ERROR_INPUT, 0, "write the path without '..'",
				    "'%s' is not the path of a cgroup", quote(text));
		if (length && !(length == 1 && *part == '.'))
			n += (size_t)snprintf(path + n, PATH_MAX - n, "/%.*s", (int)length, part);
		part += length;
	}
	if (!n)
		return fail(err, ERROR_INPUT, 0, "leash a cgroup below it",
			    "the root cgroup can not be a workload");
	memcpy(ret, path, n + 1);
	return 0;
}

bool cgroup_is_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return !strncmp(path, top, n) && (!path[n] || path[n] == '/');
}

int resolve_cgroup(const struct cgroup_root *root, const char *path, struct cgroup_ref *ret,
		   struct error *err)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	size_t length = strlen(path);
	struct statfs fs;
	struct stat st;
	_cleanup_fd int fd = (int)syscall(SYS_openat2, root->fd, path + 1, &how, sizeof(how));
	int r = fd < 0 ? -errno : 0;

	if (fd >= 0 && (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0))
		r = -errno;
	else if (fd >= 0 && fs.f_type != CGROUP2_SUPER_MAGIC)
		r = -ENOTDIR;
	if (r)
		return fail(err, ERROR_INPUT, r,
			    r == -ENOENT ? "start the workload first, or correct --cgroup" : NULL,
			    "open cgroup '%s' below '%s'", quote(path), root->path);

	*ret = (struct cgroup_ref) { .fd = TAKE_FD(fd), .id = st.st_ino };
	for (const char *c = path; *c; c++)
		ret->level += *c == '/';
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	snprintf(ret->name, sizeof(ret->name), "%s",
		 length < sizeof(ret->name) ? path : path + length - sizeof(ret->name) + 1);
	return 0;
}

static int bad_slice(const char *text, struct error *err)
{
	return fail(err, ERROR_INPUT, 0,
		    "NAME.slice as systemd has it, or /PATH below the cgroup root",
		    "'%s' is not the name of a slice", quote(text));
}

int slice_to_path(const struct cgroup_root *root, const char *text, char ret[PATH_MAX],
		  struct error *err)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\-";
	static const char suffix[] = ".slice";
	size_t length = strlen(text), stem = length - (sizeof(suffix) - 1), n = 0;
	char path[PATH_MAX];

	if (*text == '/')
		return cgroup_path(root, text, ret, err);
	if (!strcmp(text, "-.slice"))
		return fail(err, ERROR_INPUT, 0, "lock a slice below it",
			    "'-.slice' is the root of all slices");
	/* each '-' is a step down, so none may be empty; unit names have 255 bytes at most */
	if (length <= sizeof(suffix) - 1 || length > 255 || strcmp(text + stem, suffix) ||
	    strspn(text, plain) != length || strstr(text, "..") || strstr(text, "--") ||
	    *text == '-' || *text == '.' || text[stem - 1] == '-')
		return bad_slice(text, err);
	for (size_t i = 1; i <= stem; i++) {
		if (i < stem && text[i] != '-')
			continue;
		if (n + i + sizeof(suffix) >= sizeof(path))
			return bad_slice(text, err);
		n += (size_t)snprintf(path + n, sizeof(path) - n, "/%.*s%s", (int)i, text, suffix);
	}
	memcpy(ret, path, n + 1);
	return 0;
}

void slice_name(const char *path, char ret[VPNLEASH_NAME_LEN])
{
	static const struct cgroup_root none = { .fd = -1, .path = "" };
	const size_t room = VPNLEASH_NAME_LEN - sizeof("slice:");
	const char *last = strrchr(path, '/');
	size_t length = strlen(path);
	char systemd[PATH_MAX];

	if (last && last[1] && !slice_to_path(&none, last + 1, systemd, NULL) &&
	    !strcmp(systemd, path) && strlen(last + 1) <= room)
		snprintf(ret, VPNLEASH_NAME_LEN, "slice:%s", last + 1);
	else
		snprintf(ret, VPNLEASH_NAME_LEN, "slice:%s",
			 length <= room ? path : path + length - room);
}

int cgroup_make(const struct cgroup_root *root, const char *path, struct error *err)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_fd int fd = openat(root->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char part[NAME_MAX + 1];

	for (const char *at = path; fd >= 0 && *at;) {
		size_t length = strcspn(++at, "/");
		int next = -1;

		snprintf(part, sizeof(part), "%.*s", (int)length, at);
		if (length < sizeof(part) && (!mkdirat(fd, part, 0755) || errno == EEXIST))
			next = (int)syscall(SYS_openat2, fd, part, &how, sizeof(how));
		else if (length >= sizeof(part))
			errno = ENAMETOOLONG;
		if (next < 0)
			break;
		close(fd);
		fd = next;
		at += length;
		if (!*at)
			return 0;
	}
	return fail(err, ERROR_PRIVILEGE, -errno, "is the cgroup v2 mount writable?",
		    "make the cgroup '%s' below '%s'", quote(path), root->path);
}

int resolve_cgroup_id(const struct cgroup_root *root, uint64_t id)
{
	/* FILEID_KERNFS, include/linux/exportfs.h: the handle is the id itself (v5.5) */
	struct {
		struct file_handle header;
		uint64_t id;
	} handle = { { .handle_bytes = sizeof(id), .handle_type = 0xfe }, id };
	int fd = open_by_handle_at(root->fd, &handle.header, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cgroup_path_of_id(const struct cgroup_root *root, uint64_t id, char ret[PATH_MAX])
{
	_cleanup_fd int fd = resolve_cgroup_id(root, id);
	size_t prefix = strlen(root->path);
	char link[64], path[PATH_MAX];
	ssize_t n;

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)prefix)
		return -ESTALE;
	path[n] = '\0';
	snprintf(ret, PATH_MAX, "%s", path[prefix] ? path + prefix : "/");
	return 0;
}

int resolve_cgroup_of_id(const struct cgroup_root *root, uint64_t id, struct cgroup_ref *ret)
{
	char path[PATH_MAX];
	int r = cgroup_path_of_id(root, id, path);

	return r ? r : resolve_cgroup(root, path, ret, NULL);
}
