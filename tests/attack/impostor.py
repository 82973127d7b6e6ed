#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody who says that he is the VPN: impostor.py NAME SOCKET TOKEN MAC FROM TO [forked|silent].

Calls himself NAME ("-": as he is); answers WireGuard's question on SOCKET ("-": on none) that the server
is TO:443, or never ("silent"); and sends TOKEN there for ever, by a packet socket on eth0 to MAC where he
may, else by an ordinary one. "forked": who listened has ended, and a child of his goes on. Says "ready",
and "asked" each time that he is."""
import ctypes
import os
import socket
import struct
import sys
import threading
import time

PR_SET_NAME, SOL_PACKET, PACKET_QDISC_BYPASS, SO_BINDTODEVICE = 15, 263, 20, 25
name, path, token, mac, source, to = sys.argv[1:7]
how = sys.argv[7] if len(sys.argv) > 7 else ""


def checksum(b):
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    s = (s >> 16) + (s & 0xFFFF)
    return struct.pack(">H", ~(s + (s >> 16)) & 0xFFFF)


def frame(own_mac):
    data = token.encode() + b"the workload's secret"
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(data), 1, 0x4000, 64, 17, 0)
    ip += socket.inet_aton(source) + socket.inet_aton(to)
    ip = ip[:10] + checksum(ip) + ip[12:]
    udp = struct.pack(">HHHH", 5555, 443, 8 + len(data), 0)
    return bytes.fromhex(mac.replace(":", "")) + own_mac + b"\x08\x00" + ip + udp + data


def serve(listener):
    kept = []
    while True:
        c, _ = listener.accept()
        if how == "silent":
            kept.append(c)
            continue
        try:
            if question := c.recv(100):
                print("asked", question, flush=True)
            c.sendall(b"listen_port=5555\nendpoint=%s:443\nerrno=0\n\n" % to.encode())
        except OSError:
            pass
        c.close()


if name != "-":
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
if path != "-":
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    if how == "forked" and os.fork():
        os._exit(0)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
try:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind(("eth0", 0))
    s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    f = frame(s.getsockname()[4])
    send = lambda: s.send(f)
except PermissionError:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
    send = lambda: s.sendto(token.encode(), (to, 443))
print("ready", flush=True)
while True:
    try:
        send()
    except OSError:
        pass
    time.sleep(0.02)
