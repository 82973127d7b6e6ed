#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends by eth0 until it is killed: keep_sending.py TOKEN TO. "TOKEN-udp." to TO:9 by a datagram socket,
"TOKEN-packet." by a packet socket, every 10 ms. Says "sending" once some have been tried."""
import itertools
import socket
import sys
import time

token, to = sys.argv[1].encode(), sys.argv[2]
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
frame = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
frame.bind(("eth0", 0))
head = b"\xff" * 6 + b"\2\0\0\0\0\7\x88\xb5"
ways = {
    b"udp": lambda text: datagram.sendto(text, (to, 9)),
    b"packet": lambda text: frame.send(head + text.ljust(50)),
}
for n in itertools.count():
    for way, send in ways.items():
        try:
            send(token + b"-" + way + b".")
        except OSError:
            pass
    if n == 5:
        print("sending", flush=True)
    time.sleep(0.01)
