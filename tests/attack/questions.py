#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks three forwarders, on 127.0.0.1:5301 to 5303, "QUESTION1." to "QUESTION3." for ever. Says "asking"."""
import socket
import time

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("asking", flush=True)
while True:
    for n in 1, 2, 3:
        try:
            s.sendto(b"QUESTION%d." % n, ("127.0.0.1", 5300 + n))
        except OSError:
            pass
    time.sleep(0.05)
