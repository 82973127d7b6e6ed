#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""100,000 SYNs of 10.9.0.21 to port 8080: syn_flood.py OWN-MAC OWN-IP, on eth0 of the far netns."""
import socket
import struct
import sys

import frame

mac, own = sys.argv[1:3]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(("eth0", 0))
head = bytes.fromhex(mac) + s.getsockname()[4] + b"\x08\0"
for i in range(100_000):
    port = 1024 + i % 60000
    tcp = struct.pack("!HHIIBBHHH", port, 8080, i, 0, 0x50, 2, 1000, 0, 0)
    pseudo = socket.inet_aton("10.9.0.21") + socket.inet_aton(own) + struct.pack("!HH", 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", frame.checksum(pseudo + tcp)) + tcp[18:]
    s.send(head + frame.ipv4(tcp, 6, "10.9.0.21", own))
