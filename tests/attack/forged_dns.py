#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers each question of a probe with what only looks like its answer: forged_dns.py ADDRESS. Ends with SERVFAIL,
which is the resolver's, and no sign that anybody is behind it. Says "forging", and "asked" of each question."""
import socket
import sys

address = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((address, 53))
elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
elsewhere.bind((address, 5353))


def forgeries(q):
    head, asked = q[:2], q[12:]
    flags, one, rest = b"\x81\x80", b"\0\1", bytes(6)
    name, kind = asked[:-4], asked[-4:]
    yield bytes([q[0] ^ 1]) + q[1:2] + flags + one + rest + asked  # another id
    yield head + b"\x01\x00" + one + rest + asked  # a question
    yield head + b"\xa9\x80" + one + rest + asked  # of another kind of query
    yield head + flags + b"\0\0" + rest + asked  # no question
    yield head + flags + b"\0\2" + rest + asked * 2  # two
    yield head + flags + one + rest + name.swapcase() + kind  # other capitals
    yield head + flags + one + rest + name + b"\0\x1c\0\1"  # AAAA
    yield head + flags + one + rest + b"\xc0\x0c" + kind  # a name that is its own pointer
    yield head + flags + one + rest + b"\x3f" * 1400  # a name without an end
    yield head + flags + one + rest + asked[:-1]  # cut
    yield head[:1]
    yield b""
    yield head + flags + one + rest + b"\xff" * 60000  # more than there is room for


print("forging", flush=True)
while True:
    q, who = s.recvfrom(2000)
    print("asked", flush=True)
    for f in forgeries(q):
        for _ in range(5):
            s.sendto(f, who)
    elsewhere.sendto(q[:2] + b"\x81\x80" + q[4:], who)  # right, from another port
    s.sendto(q[:2] + b"\x81\x82" + q[4:], who)
    s.sendto(q[:2] + b"\x81\x80" + q[4:], who)  # and right, too late: that probe is done
