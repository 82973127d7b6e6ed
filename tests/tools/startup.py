#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VPN's container does before its VPN: startup.py ADDRESS COMMAND ARG…: a name is asked for by
UDP, a key by TCP, both of ADDRESS, until they are answered; then COMMAND in its place."""
import os
import socket
import sys
import time

address, command = sys.argv[1], sys.argv[2:]
began = time.monotonic()
for attempt in range(60):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            s.sendto(b"who is vpn.example", (address, 53))
            s.recv(100)
        asked = time.monotonic()
        with socket.create_connection((address, 443), timeout=3) as s:
            s.sendall(b"the key, please" * 40)
            s.recv(100)
        break
    except OSError as e:
        print("attempt %d: %s" % (attempt, e), flush=True)
        time.sleep(0.2)
else:
    sys.exit("nobody answers")
print("got the key: name after %.2f s, server after %.2f s" % (asked - began, time.monotonic() - asked), flush=True)
os.execvp(command[0], command)
