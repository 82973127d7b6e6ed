/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of a process in another mount namespace, under its own root. What stands there is whoever's
 * is root inside: a link to a file of ours, a FIFO that nobody ever opens, a device, /proc.
 */
#pragma once

#include <sys/types.h>

/*
 * openat2(2) as that process would find it: links, ".." and absolute paths end at its root, and
 * none of /proc's links that lead elsewhere is followed. Never waits for the other end of a FIFO;
 * close-on-exec. Opening alone can do something where it is a device: with O_PATH one sees first
 * (fstat) what it is; /proc/self/fd/N of the answer then is that very file, also for connect(2).
 * The descriptor or -Exxx; -ELOOP: a link of /proc, or one link too many.
 */
int open_in_root(pid_t pid, const char *path, int flags);

/* A regular file there, its beginning: NUL-terminated; bytes or -Exxx, -EINVAL: no regular one. */
ssize_t read_in_root(pid_t pid, const char *path, char *buf, size_t size);
