#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Leaves its cgroup by its own user's rights: leave.py TOKEN CGROUP.PROCS. Sends "STAYED75-TOKEN." by eth0
before and "LEFT75-TOKEN." after, and says of each whether it was sent."""
import socket
import sys

token, way_out = sys.argv[1:3]


def send(what):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    try:
        s.sendto(f"{what}-{token}.".encode(), ("198.51.100.1", 9))
        print(what, "sent")
    except OSError as e:
        print(what, e)


send("STAYED75")
try:
    with open(way_out, "w") as f:
        f.write("0")
except OSError as e:
    sys.exit(f"it may not leave: {e}")
send("LEFT75")
