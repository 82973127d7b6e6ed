#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A socket where WireGuard's should be: uapi_socket.py silent|deaf|endless PATH. It accepts and says nothing;
never accepts; or accepts and never ends. Says "listening", and "connected" for each who comes."""
import os
import socket
import sys
import time

how, path = sys.argv[1:]
os.makedirs(os.path.dirname(path), exist_ok=True)
l = socket.socket(socket.AF_UNIX)
l.bind(path)
l.listen(1000)
print("listening", flush=True)
if how == "deaf":
    time.sleep(10000)
kept = []
while True:
    c, _ = l.accept()
    print("connected", flush=True)
    if how == "endless":
        try:
            while c.send(b"a=b\n" * 100):
                time.sleep(0.0001)
        except OSError:
            pass
    kept.append(c)
