#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends what is on stdin to the daemon's control socket, and prints what it answers, or why it does not."""
import socket
import sys

with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(4)
    s.connect("/run/vpnleash/control.sock")
    try:
        s.sendall(sys.stdin.buffer.read())
        print(s.recv(65536).decode(errors="replace"))
    except OSError as e:
        print(e)
