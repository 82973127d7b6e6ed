#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, asked and answered by hand.

  resolver.py serve ADDRESS…            answers every A question on ADDRESS:53, UDP and TCP, with ADDRESS
                                        (an IPv6 one: with 6.6.6.6)
  resolver.py ask HOW SERVER NAME       one question; prints `ANSWER from SOURCE`, or `none: why`
      HOW: connected, unconnected, tcp, mapped (an IPv6 socket to ::ffff:SERVER), mapped-unconnected
"""
import socket
import struct
import sys
import threading


def question(name, number=7):
    q = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    return struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + q + b"\0\0\1\0\1"


def reply(q, address):
    end = q.index(b"\0", 12) + 5
    a = q[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + q[12:end]
    if q[end - 4:end - 2] == b"\0\1":  # A
        a = q[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + q[12:end] + \
            b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address)
    return a


def serve(address):
    v6 = ":" in address
    family, says = (socket.AF_INET6, "6.6.6.6") if v6 else (socket.AF_INET, address)
    u = socket.socket(family, socket.SOCK_DGRAM)
    t = socket.socket(family)
    for s in u, t:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, 53))
    t.listen(64)

    def udp():
        while True:
            q, who = u.recvfrom(2000)
            print("asked", address, who[0], flush=True)
            u.sendto(reply(q, says), who)

    def tcp():
        while True:
            c, who = t.accept()
            q = c.recv(2000)[2:]
            print("asked", address, who[0], "tcp", flush=True)
            r = reply(q, says)
            c.send(struct.pack("!H", len(r)) + r)
            c.close()

    threading.Thread(target=udp).start()
    threading.Thread(target=tcp).start()


def ask(how, server, name):
    mapped = how.startswith("mapped")
    if mapped:
        server = "::ffff:" + server
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(2)
    q = question(name)
    if how == "tcp":
        s.connect((server, 53))
        s.send(struct.pack("!H", len(q)) + q)
        a, source = s.recv(2000)[2:], s.getpeername()[0]
    elif how.endswith("unconnected"):
        s.sendto(q, (server, 53))
        a, who = s.recvfrom(2000)
        source = who[0]
    else:
        s.connect((server, 53))
        s.send(q)
        a, source = s.recv(2000), s.getpeername()[0]
    print(socket.inet_ntoa(a[-4:]), "from", source)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        for address in sys.argv[2:]:
            serve(address)
        print("serving", flush=True)
    else:
        try:
            ask(*sys.argv[2:])
        except OSError as e:
            print("none:", e)
