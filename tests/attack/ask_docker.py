#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to 127.0.0.11:40053 in every way, to its port 53, and to a neighbour that forwards on
127.0.0.1:5300: ask_docker.py TOKEN. Each carries "TOKEN-WAY."; says "WAY sent" of it, or the errno's name."""
import errno
import socket
import struct
import sys

token = sys.argv[1]


def said(way, f):
    try:
        f()
        print(way, "sent")
    except OSError as e:
        print(way, errno.errorcode.get(e.errno, str(e)))


def text(way):
    return ("%s-%s." % (token, way)).encode()


def sendto():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(text("sendto"), ("127.0.0.11", 40053))


def connect():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.11", 40053))
    s.send(text("connect"))


def mapped():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.sendto(text("mapped"), ("::ffff:127.0.0.11", 40053))


def raw():
    data = text("raw")
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    s.sendto(struct.pack("!HHHH", 40000, 40053, 8 + len(data), 0) + data, ("127.0.0.11", 0))


def tcp():
    s = socket.socket()
    s.settimeout(1)
    s.connect(("127.0.0.11", 40053))
    s.send(text("tcp"))


def port53():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(text("port53"), ("127.0.0.11", 53))


def forward():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(text("forward"), ("127.0.0.1", 5300))


for f in sendto, connect, mapped, raw, tcp, port53, forward:
    said(f.__name__, f)
