#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A frame by a packet socket of eth0, "plain-TOKEN." through the qdisc and "bypass-TOKEN." past it:
packet_socket.py TOKEN. Exit 1 and "denied" where there is no packet socket to be had."""
import socket
import sys

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20

token = sys.argv[1].encode()
for bypass in 0, 1:
    try:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        sys.exit("denied")  # by the LSM
    with s:
        s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, bypass)
        s.bind(("eth0", 0))
        try:
            head = b"\xff" * 6 + s.getsockname()[4] + b"\x88\xb5"
            s.send(head + (b"bypass-" if bypass else b"plain-") + token + b".")
        except OSError as e:
            print(e)
