#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""As Docker's resolver: on 127.0.0.11, at port 53 by UDP and at 40053 by UDP and TCP. Says "listening", and
"got TEXT" of each question."""
import select
import socket

u = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
u[0].bind(("127.0.0.11", 40053))
u[1].bind(("127.0.0.11", 53))
t.bind(("127.0.0.11", 40053))
t.listen()
print("listening", flush=True)
while True:
    for s in select.select(u + [t], [], [])[0]:
        if s is t:
            c, _ = t.accept()
            c.settimeout(1)
            try:
                print("got", c.recv(100).decode(), flush=True)
            except OSError:
                pass
            c.close()
        else:
            print("got", s.recv(100).decode(), flush=True)
