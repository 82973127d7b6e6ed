#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes inotify's instances or watches of this user, all of them: hog.py instances|watches. Says "full", or
"not full" when /usr has too few files for that. What others give back meanwhile, it takes."""
import ctypes
import errno
import os
import sys
import time

IN_CLOEXEC, IN_DELETE_SELF = 0o2000000, 0x400
libc = ctypes.CDLL(None, use_errno=True)


def files():
    for at, _, names in os.walk("/usr"):
        for name in names:
            yield os.path.join(at, name).encode()


def instances():
    while (fd := libc.inotify_init1(IN_CLOEXEC)) >= 0:
        yield fd


def take_watches():
    full = False
    for fd in instances():
        for path in files():
            while libc.inotify_add_watch(fd, path, IN_DELETE_SELF) < 0 and ctypes.get_errno() == errno.ENOSPC:
                if not full:
                    print("full", flush=True)
                full = True
                time.sleep(0.002)
    print("not full", flush=True)


if sys.argv[1] == "watches":
    take_watches()
else:
    for _ in instances():
        pass
    print("full", flush=True)
    time.sleep(1000)
