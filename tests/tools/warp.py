#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VPN as WARP's daemon is one: warp.py client TUN SERVER PORT OTHER [tcp|udp] | warp.py server TUN PORT.
The client's packets go by one unconnected UDP socket; the same process keeps a connection to OTHER:443, by
TCP or UDP, dialled anew whenever it is silent for 2 s. Nothing is encrypted: it is the shape that counts."""
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def carry(fd, s, peer):
    """peer: where to; None: to whom was heard last."""
    while True:
        for ready in select.select([fd, s], [], [], 1)[0] or [None]:
            if ready == fd:
                packet = bytes(b ^ 0x55 for b in os.read(fd, 65536))
                if peer:
                    try:
                        s.sendto(packet, peer)
                    except OSError:
                        pass
            elif ready == s:
                data, who = s.recvfrom(65536)
                if data != b"hello":
                    os.write(fd, bytes(b ^ 0x55 for b in data))
                elif sys.argv[1] == "server":
                    s.sendto(b"hello", who)
                peer = peer if sys.argv[1] == "client" else who
            elif sys.argv[1] == "client":
                try:
                    s.sendto(b"hello", peer)
                except OSError:
                    pass


def keep(other, kind):
    while True:
        try:
            with socket.socket(socket.AF_INET, kind) as s:
                s.setsockopt(socket.SOL_SOCKET, 25, b"eth0")
                s.settimeout(2)
                s.connect((other, 443))
                while True:
                    s.sendall(b"BESIDE.")
                    if not s.recv(2000):
                        break
                    time.sleep(0.2)
        except OSError as e:
            print("other: %s" % e, flush=True)
            time.sleep(0.2)


s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "server":
    s.bind(("", int(sys.argv[3])))
    carry(tun(sys.argv[2]), s, None)
else:
    ctypes.CDLL(None).prctl(15, b"warp-svc", 0, 0, 0)
    kind = socket.SOCK_DGRAM if sys.argv[6:] == ["udp"] else socket.SOCK_STREAM
    threading.Thread(target=keep, args=(sys.argv[5], kind), daemon=True).start()
    s.setsockopt(socket.SOL_SOCKET, 25, b"eth0")
    carry(tun(sys.argv[2]), s, (sys.argv[3], int(sys.argv[4])))
