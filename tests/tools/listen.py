#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes TCP connections and says nothing: listen.py ADDRESS PORT. Says "listening"."""
import socket
import sys

s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    s.accept()[0].close()
