#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A datagram with TOKEN that comes to eth0 by a detour: detour.py WAY DEVICE TOKEN FAR-IP MAC, three times.

  tun      an IP packet out of the tun DEVICE, which it makes: to be forwarded
  tap      a frame to MAC out of the tap DEVICE, which it makes, in bridge br9
  child    a frame to MAC, the router's, by a packet socket of a namespace behind this one
  lo       the same on lo, to be forwarded
  bypass   a frame to MAC by a packet socket, past the qdisc, once
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time

import frame

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 1, 2, 0x1000
SOURCES = {"tun": "10.8.0.2", "tap": "10.9.0.3", "child": "10.7.0.2", "lo": "10.9.0.9", "bypass": "10.9.0.3"}
way, device, token, far, mac = sys.argv[1:]
packet = frame.ipv4(frame.udp(token.encode(), 9999), 17, SOURCES[way], far)


def ether(source):
    return bytes.fromhex(mac.replace(":", "")) + source + b"\x08\0" + packet


def by_socket(source=None, bypass=0, count=3):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.setsockopt(frame.SOL_PACKET, frame.PACKET_QDISC_BYPASS, bypass)
        s.bind((device, 0))
        for _ in range(count):
            s.send(ether(source or s.getsockname()[4]))


def ip(*words):
    subprocess.run(("ip",) + words, check=True)


def by_tun():
    fd = os.open("/dev/net/tun", os.O_RDWR)
    kind = IFF_TUN if way == "tun" else IFF_TAP
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), kind | IFF_NO_PI))
    ip("link", "set", "dev", device, "up")
    if way == "tun":
        ip("addr", "add", "10.8.0.1/24", "dev", device)
    else:
        ip("link", "set", "dev", device, "master", "br9")
        time.sleep(0.3)  # until the bridge forwards
    for _ in range(3):
        os.write(fd, packet if way == "tun" else ether(b"\2\0\0\0\0\x09"))
        time.sleep(0.05)


if way in ("tun", "tap"):
    by_tun()
elif way == "child":
    by_socket(b"\2\0\0\0\0\7")
elif way == "lo":
    by_socket(bytes(6))
else:
    by_socket(bypass=1, count=1)
