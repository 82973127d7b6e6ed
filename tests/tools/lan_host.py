#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of the LAN with services, and who asks them.

  lan_host.py serve PORT…                       on every IPv4 address, by TCP and UDP; says "LAN-PORT." to who speaks
  lan_host.py ask PROTOCOL ADDRESS PORT SECONDS [SOURCE [SOURCE-PORT]]
                                                prints the answer's first line
  lan_host.py hold ADDRESS PORT                 connects, says "connected OWN-PORT"; for each line on stdin sends
                                                "?" and says "answer TEXT", or "silence" after two seconds
"""
import socket
import sys
import threading


def serve_tcp(port):
    s = socket.create_server(("", port), backlog=4096)
    while True:
        c, _ = s.accept()
        threading.Thread(target=converse, args=(c, port)).start()


def converse(c, port):
    try:
        while c.recv(100):
            c.send(b"LAN-%d." % port)
    except OSError:
        pass
    c.close()


def serve_udp(port):
    """From the address that was asked."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    s.bind(("", port))
    while True:
        _, info, _, who = s.recvmsg(100, 100)
        try:
            s.sendmsg([b"LAN-%d." % port], [(socket.IPPROTO_IP, 8, b"\0" * 4 + info[0][2][4:8] + b"\0" * 4)], 0, who)
        except OSError:
            pass


def ask(protocol, address, port, seconds, source="", source_port="0"):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(float(seconds))
    s.bind((source, int(source_port)))
    s.connect((address, int(port)))
    s.send(b"WHO-IS-THERE.")
    print(s.recv(100).decode())


def hold(address, port):
    s = socket.create_connection((address, int(port)), 5)
    s.settimeout(2)
    print("connected %d" % s.getsockname()[1], flush=True)
    for _ in sys.stdin:
        try:
            s.send(b"?")
            print("answer", s.recv(100).decode(), flush=True)
        except OSError:
            print("silence", flush=True)


if sys.argv[1] == "serve":
    for p in map(int, sys.argv[2:]):
        for f in serve_tcp, serve_udp:
            threading.Thread(target=f, args=(p,)).start()
else:
    {"ask": ask, "hold": hold}[sys.argv[1]](*sys.argv[2:])
