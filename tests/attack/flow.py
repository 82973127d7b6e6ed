#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows of datagrams that go on for ever, whatever becomes of them, by eth0.

  flow.py from PORT TEXT ADDRESS…     from PORT to port 9 of each; says "bound", and "received" for what comes in
  flow.py ask ADDRESS PORT TEXT       says "answer N" for each answer
  flow.py answer ADDRESS PORT TEXT    whoever has asked once is answered from then on, asked or not
"""
import itertools
import socket
import sys

SO_BINDTODEVICE = 25


def datagrams(patience):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
    s.settimeout(patience)
    return s


def send(s, text, to):
    try:
        s.sendto(text.encode(), to)
    except OSError:
        pass


def received(s):
    try:
        return s.recv(100)
    except OSError:
        return None


def from_port(port, text, *addresses):
    s = datagrams(0.1)
    s.bind(("", int(port)))
    print("bound", flush=True)
    while True:
        for address in addresses:
            send(s, text, (address, 9))
        if (data := received(s)) is not None:
            print("received", data, flush=True)


def ask(address, port, text):
    s = datagrams(0.2)
    s.connect((address, int(port)))
    answers = itertools.count(1)
    while True:
        send(s, text, (address, int(port)))
        if received(s) is not None:
            print("answer", next(answers), flush=True)


def answer(address, port, text):
    s = datagrams(None)
    s.bind((address, int(port)))
    who = s.recvfrom(100)[1]
    s.settimeout(0.1)
    while True:
        send(s, text, who)
        received(s)


{"from": from_port, "ask": ask, "answer": answer}[sys.argv[1]](*sys.argv[2:])
