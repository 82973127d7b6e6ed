#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tries eth1, whether it is there or not, every half millisecond: hotplug.py udp|frames TEXT.

  udp      a datagram to a neighbour and one to all, by a socket that is bound to eth1
  frames   TEXT by a packet socket, past the qdisc
"""
import socket
import sys
import time

SOL_PACKET, PACKET_QDISC_BYPASS, SO_BINDTODEVICE = 263, 20, 25
way, text = sys.argv[1], sys.argv[2].encode()
frame = b"\xff" * 6 + b"\2\0\0\0\0\7" + b"\x88\xb5" + text * 8


def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth1")
        s.sendto(text, ("10.9.1.2", 9))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.sendto(text, ("255.255.255.255", 9))


def frames():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        s.sendto(frame, ("eth1", 0))


while True:
    try:
        udp() if way == "udp" else frames()
    except OSError:
        pass
    time.sleep(0.0005)
