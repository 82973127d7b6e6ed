#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How often a process sleeps in a poll() for one descriptor, and not in the loop's epoll_wait: waits_alone.py
SECONDS PID. Prints "WAITING LOOKS"."""
import sys
import time

end, waiting, n = time.monotonic() + int(sys.argv[1]), 0, 0
with open("/proc/%s/wchan" % sys.argv[2]) as f:
    while time.monotonic() < end:
        f.seek(0)
        waiting += "poll_schedule_timeout" in f.read()
        n += 1
        time.sleep(0.002)
print(waiting, n)
