#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VPN as WARP's daemon is one: warp.py client TUN SERVER PORT OTHER [tcp|udp] | warp.py server TUN PORT.
The client's packets go by one unconnected UDP socket; the same process keeps a connection to OTHER:443, by
TCP or UDP, dialled anew whenever it is silent for 2 s. Of several PORTs (2408,2409) the server is at the next with
each SIGUSR1, and SIGUSR2 sends 13800 bytes there in one go (UDP_SEGMENT). Nothing is encrypted: it is the shape
that counts."""
import ctypes
import fcntl
import os
import select
import signal
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


def move(s, peers):
    def burst(*_):
        s.setsockopt(socket.SOL_UDP, 103, 1200)
        try:
            s.sendto(b"BURST." * 2300, peers[0])
        except OSError as e:
            print("burst: %s" % e, flush=True)
        s.setsockopt(socket.SOL_UDP, 103, 0)

    signal.signal(signal.SIGUSR1, lambda *_: peers.append(peers.pop(0)))
    signal.signal(signal.SIGUSR2, burst)


def carry(fd, s, peers):
    """peers: where to, the first of them; None: to whom was heard last."""
    peer = None
    while True:
        peer = peers[0] if peers else peer
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
                if data not in (b"hello", b"BURST." * 200, b"BURST." * 100):
                    os.write(fd, bytes(b ^ 0x55 for b in data))
                elif sys.argv[1] == "server":
                    s.sendto(b"hello", who)
                peer = who
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
    peers = [(sys.argv[3], int(port)) for port in sys.argv[4].split(",")]
    move(s, peers)
    carry(tun(sys.argv[2]), s, peers)
