#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts every connection to ADDRESS:PORT, and keeps it: sink.py ADDRESS PORT. Says "listening"."""
import socket
import sys

s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(64)
print("listening", flush=True)
kept = []
while True:
    kept.append(s.accept())
