#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hears datagrams of both families on PORT: hear.py PORT. Says "ready", and "got TEXT" of each."""
import socket
import sys

s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", int(sys.argv[1])))
print("ready", flush=True)
while True:
    print("got", s.recv(64).decode(), flush=True)
