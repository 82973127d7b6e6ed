#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tries every way out of eth0, as fast as it can: pour.py TEXT ADDRESS…. Datagrams to port 9 of each ADDRESS,
each by a socket of its own, and frames to all by a packet socket, past the qdisc."""
import socket
import sys
import time

SOL_PACKET, PACKET_QDISC_BYPASS, SO_BINDTODEVICE = 263, 20, 25
text, addresses = sys.argv[1].encode(), sys.argv[2:]
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
raw.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
frame = b"\xff" * 6 + b"\2\0\0\0\0\7" + b"\x88\xb5" + text * 12


def datagram(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
        s.sendto(text, (address, 9))


while True:
    for address in addresses:
        try:
            datagram(address)
        except OSError:
            pass
    try:
        raw.sendto(frame, ("eth0", 0))
    except OSError:
        pass
    time.sleep(0.001)
