#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwards for others: relay_udp.py PORT ADDRESS…. What comes to 127.0.0.1:PORT goes to PORT of each ADDRESS
by eth0, with that address behind it. Says "listening", and "relayed TEXT" when it has tried all."""
import socket
import sys

port, to = int(sys.argv[1]), sys.argv[2:]
told = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
told.bind(("127.0.0.1", port))
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
print("listening", flush=True)
while True:
    text = told.recv(2000)
    for address in to:
        try:
            out.sendto(text + address.encode(), (address, port))
        except OSError:
            pass
    print("relayed", text.decode(), flush=True)
