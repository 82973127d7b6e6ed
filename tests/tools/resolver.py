#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, asked and answered by hand.

  resolver.py serve ADDRESS…            answers every A question on ADDRESS:53, UDP and TCP, with ADDRESS
                                        (an IPv6 one: with 6.6.6.6)
  resolver.py forward ADDRESS UPSTREAM  answers with what UPSTREAM:53 says, as a resolver on loopback does
  resolver.py ask HOW SERVER NAME       one question; prints `ANSWER from SOURCE`, or `none: why`
      HOW: connected, unconnected, tcp, mapped (an IPv6 socket to ::ffff:SERVER), mapped-unconnected
  $PATIENCE: seconds to wait for an answer (2)
"""
import os
import socket
import struct
import sys
import threading

PATIENCE = int(os.environ.get("PATIENCE", 2))


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


def name_of(q):
    labels, at = [], 12
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode("latin-1"))
        at += 1 + q[at]
    return ".".join(labels)


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # whole, whichever thread says it
    sys.stdout.flush()


def asked(address, who, q, how=""):
    say("asked", address, who, name_of(q) + how)


def forwarder(upstream):
    def answer(q, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE)
            try:
                s.sendto(q, (upstream, 53))
                return s.recv(2000)
            except OSError as e:
                say("lost", name_of(q), e)
    return answer


def serve(address, answer=reply):
    v6 = ":" in address
    family, says = (socket.AF_INET6, "6.6.6.6") if v6 else (socket.AF_INET, address)
    u = socket.socket(family, socket.SOCK_DGRAM)
    t = socket.socket(family)
    for s in u, t:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, 53))
    t.listen(64)

    def by_udp(q, who):
        r = answer(q, says)
        if r:
            u.sendto(r, who)

    def by_tcp(c, who):
        with c:
            q = c.recv(2000)[2:]
            asked(address, who[0], q, " tcp")
            r = answer(q, says)
            if r:
                c.send(struct.pack("!H", len(r)) + r)

    def udp():
        while True:
            q, who = u.recvfrom(2000)
            asked(address, who[0], q)
            threading.Thread(target=by_udp, args=(q, who)).start()

    def tcp():
        while True:
            threading.Thread(target=by_tcp, args=t.accept()).start()

    threading.Thread(target=udp).start()
    threading.Thread(target=tcp).start()


def ask(how, server, name):
    mapped = how.startswith("mapped")
    if mapped:
        server = "::ffff:" + server
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(PATIENCE)
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
    elif sys.argv[1] == "forward":
        serve(sys.argv[2], forwarder(sys.argv[3]))
        print("serving", flush=True)
    else:
        try:
            ask(*sys.argv[2:])
        except OSError as e:
            print("none:", e)
