#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who comes first: ahead.py CGROUP FAR-MAC OWN ADDRESS VARIANT…, started in the VPN's cgroup.

A socket of the VPN's sends a large datagram that uses the burst of eth0's queue up, then one that waits
there, noted already: unconnected and from a known port, so that every byte of it is known. From CGROUP a
packet socket sends the same frame past the queue, changed as each variant says: tail, middle, port,
source-port, longer; or twice (unchanged, two times)."""
import socket
import struct
import sys

import frame

PORT, OWN_PORT = 5999, 5777
TEXT = b"NOTED." + b"x" * 288 + b"END."


def ip(text, own, address, port=PORT, source_port=OWN_PORT):
    datagram = struct.pack("!HHHH", source_port, port, 8 + len(text), 0) + text
    pseudo = socket.inet_aton(own) + socket.inet_aton(address) + struct.pack("!BBH", 0, 17, len(datagram))
    datagram = datagram[:6] + struct.pack("!H", frame.checksum(pseudo + datagram)) + datagram[8:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0x4000, 64, 17, 0, socket.inet_aton(own),
                       socket.inet_aton(address))
    return head[:10] + struct.pack("!H", frame.checksum(head)) + head[12:] + datagram


def variant(name, own, address):
    if name == "tail":
        return ip(TEXT[:-4] + b"tai.", own, address)
    if name == "middle":
        return ip(TEXT[:100] + b"middle." + TEXT[107:], own, address)
    if name == "port":
        return ip(TEXT, own, address, port=PORT + 1)
    if name == "source-port":
        return ip(TEXT, own, address, source_port=OWN_PORT + 1)
    if name == "longer":
        return ip(TEXT + b"l", own, address)
    return ip(TEXT, own, address)


cgroup, far_mac, own, address, *names = sys.argv[1:]
vpns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
vpns.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: its identification is 0
vpns.bind(("", OWN_PORT))
with open(cgroup + "/cgroup.procs", "w") as f:
    f.write("0")
c = frame.Context(far_mac, address, own, "")
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
    s.bind(("eth0", 0))
    s.setsockopt(frame.SOL_PACKET, frame.PACKET_QDISC_BYPASS, 1)
    frames = [c.ether(variant(name, own, address)) for name in names for _ in range(2 if name == "twice" else 1)]
    vpns.sendto(b"filler" + b"." * 1400, (address, PORT))
    vpns.sendto(TEXT, (address, PORT))
    for f in frames:
        s.send(f)
