#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From each CPU one frame to all out of DEVICE, of an ethertype that nobody has: fence.py DEVICE TEXT. A packet
waits in the queue of the CPU that sent it: once "TEXTcpuN." of each N is there, so is what was sent before."""
import os
import socket
import sys

with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
    s.bind((sys.argv[1], 0))
    for cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})
        s.send(b"\xff" * 6 + b"\2\0\0\0\0\7\x88\xb5" + f"{sys.argv[2]}cpu{cpu}.".encode().ljust(50))
