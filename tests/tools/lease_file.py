#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes a write lease of FILE (F_SETLEASE) and does not give it back: lease_file.py FILE. Says "leased"."""
import fcntl
import signal
import sys
import time

signal.signal(signal.SIGIO, signal.SIG_IGN)
f = open(sys.argv[1], "r+")
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
time.sleep(100)
