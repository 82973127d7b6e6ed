#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams that nobody asked for: knock.py TOKEN FAR-MAC OWN-MAC OWN-IP PORT, from eth0 of the far netns. From
a neighbour, from the endpoint's address and port, and from its address alone, to 7001 and to PORT, as
"TOKEN-SOURCE-SOURCE-PORT."."""
import socket
import sys

import frame

token, far_mac, mac, own, port = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
ether = bytes.fromhex(mac) + bytes.fromhex(far_mac.replace(":", "")) + b"\x08\0"
for source, source_port in ("10.9.0.20", 4000), ("10.9.0.2", 51820), ("10.9.0.2", 4000):
    text = ("%s-%s-%d." % (token, source, source_port)).encode()
    for to in 7001, int(port):
        s.sendto(ether + frame.ipv4(frame.udp(text, to, source_port), 17, source, own), ("eth0", 0))
