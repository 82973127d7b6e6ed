#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams to the internet by the route, and into the tunnel to a multicast group that it has joined itself,
so that they come back with the tunnel's ifindex: own_multicast.py TUNNEL. Says "ready" when the first has
come back, and when the gate refuses it: {"shut_ns": boot time, "heard": N, "sent": N}. Ends then, or after
40 s."""
import errno
import json
import socket
import struct
import sys
import time

tun = socket.if_nametoindex(sys.argv[1])
group = socket.inet_aton("239.1.2.3") + struct.pack("=4si", bytes(4), tun)
hear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hear.bind(("239.1.2.3", 9999))
hear.setblocking(False)
hear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
tell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tell.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard, sent, end = 0, 0, time.monotonic() + 40
while time.monotonic() < end:
    try:
        out.sendto(b"x", ("198.51.100.1", 7))
        sent += 1
        tell.sendto(b"y", ("239.1.2.3", 9999))
    except OSError as e:
        if e.errno != errno.EPERM:
            raise
        shut = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        print(json.dumps({"shut_ns": shut, "heard": heard, "sent": sent}), flush=True)
        break
    try:
        while True:
            hear.recv(100)
            heard += 1
            if heard == 1:
                print("ready", flush=True)
    except BlockingIOError:
        pass
    time.sleep(0.002)
