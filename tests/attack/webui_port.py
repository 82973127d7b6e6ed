#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The port of a LAN exception as a way out, to 10.9.0.20, who never asked.

  webui_port.py datagrams TOKEN                         by UDP from port 8080
  webui_port.py segments TOKEN FAR-MAC FAR-IP OWN-IP    TCP by hand from port 8080: ACKs with data, SYN,
                                                        SYN-ACK, RST, through the qdisc and past it
"""
import socket
import struct
import sys

import frame

LAN = "10.9.0.20"
ACK, PSH_ACK, SYN, SYN_ACK, RST = 0x10, 0x18, 0x02, 0x12, 0x04


def datagrams(token):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.9.0.3", 8080))
    for _ in range(3):
        s.sendto(token.encode(), (LAN, 7777))


def segments(token, far_mac, far, own):
    c = frame.Context(far_mac, far, own, token)
    for flags in ACK, PSH_ACK, SYN, SYN_ACK, RST:
        tcp = struct.pack("!HHIIBBHHH", 8080, 7777, 1, 1, 0x50, flags, 1000, 0, 0) + c.token
        for bypass in 0, 1:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
                s.setsockopt(frame.SOL_PACKET, frame.PACKET_QDISC_BYPASS, bypass)
                try:
                    s.sendto(c.ether(frame.ipv4(tcp, 6, own, LAN)), ("eth0", 0))
                except OSError:
                    pass


(datagrams if sys.argv[1] == "datagrams" else segments)(*sys.argv[2:])
