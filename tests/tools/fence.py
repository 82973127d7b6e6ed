#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One frame to all out of DEVICE, of an ethertype that nobody has: fence.py DEVICE TEXT."""
import socket
import sys

with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
    s.bind((sys.argv[1], 0))
    s.send(b"\xff" * 6 + b"\2\0\0\0\0\7\x88\xb5" + sys.argv[2].encode().ljust(50))
