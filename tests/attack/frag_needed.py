#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A router, 10.9.0.40, says by ICMP that a packet of WireGuard's was too large: its MTU is 1000:
frag_needed.py FAR-IP OWN-IP FAR-MAC OWN-MAC OWN-PORT, in FAR's netns."""
import socket
import struct
import sys

import frame

far, own, far_mac, mac, port = sys.argv[1:]
quoted = frame.ipv4(frame.udp(b"x" * 8, 51820, int(port)), 17, own, far)
icmp = struct.pack("!BBHHH", 3, 4, 0, 0, 1000) + quoted[:28]
icmp = icmp[:2] + struct.pack("!H", frame.checksum(icmp)) + icmp[4:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
ether = bytes.fromhex(mac) + bytes.fromhex(far_mac.replace(":", "")) + b"\x08\0"
s.sendto(ether + frame.ipv4(icmp, 1, "10.9.0.40", own), ("eth0", 0))
