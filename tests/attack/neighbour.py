#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbours of a VPN that are awake: neighbour.py WAY TOKEN FRAME, for ever, from eth0.

  plain    datagrams by an ordinary socket bound to eth0
  raw      FRAME (hex) by a packet socket, past the qdisc
  ended    the same by a second thread; the first one has ended, so that the process looks dead
  left     the same by a process that has left for a user and network namespace of its own
  forge    what others send on eth0, at once, with its last bytes replaced by TOKEN
  repeat   what others send on eth0, at once, byte by byte
Each says "sending" first. The last four need CAP_NET_RAW and nothing else.
"""
import ctypes
import errno
import socket
import sys
import threading
import time

CLONE_NEWUSER, CLONE_NEWNET, SYS_EXIT = 0x10000000, 0x40000000, 60
ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_QDISC_BYPASS = 3, 4, 263, 20
LOST = errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN
libc = ctypes.CDLL(None, use_errno=True)


def packet_socket():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind(("eth0", 0))
    s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    return s


def send(s, frame):
    try:
        s.send(frame)
    except OSError as e:
        if e.errno not in LOST:
            raise


def plain(token, _):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 25, b"eth0")
    while True:
        for port in 9, 53, 443:
            try:
                s.sendto(token, ("198.51.100.1", port))
            except OSError:
                pass  # EPERM: it may not
        time.sleep(0.01)


def raw(_, frame, s=None):
    s = s or packet_socket()
    while True:
        send(s, frame)
        time.sleep(0.01)


def ended(_, frame):
    threading.Thread(target=raw, args=(None, frame)).start()
    libc.syscall(SYS_EXIT, 0)  # of this thread alone


def left(_, frame):
    s = packet_socket()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    raw(None, frame, s)


def others():
    """What leaves by eth0 and was not sent by us."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind(("eth0", ETH_P_ALL))
    seen = set()
    while True:
        frame, where = tap.recvfrom(65536)
        if where[2] != PACKET_OUTGOING or frame[12:14] != b"\x08\0" or hash(frame) in seen:
            continue
        if len(seen) > 100000:
            seen.clear()
        seen.add(hash(frame))
        yield frame, seen


def forge(token, _):
    s = packet_socket()
    for frame, seen in others():
        head = 14 + 20 + (20 if frame[23] == 6 else 8)
        if len(frame) >= head + len(token) and not frame.endswith(token):
            forged = frame[:-len(token)] + token
            seen.add(hash(forged))
            send(s, forged)


def repeat(_, __):
    s = packet_socket()
    for frame, _ in others():
        send(s, frame)


if __name__ == "__main__":
    way, token, frame = sys.argv[1:4]
    print("sending", flush=True)
    globals()[way](token.encode(), bytes.fromhex(frame))
