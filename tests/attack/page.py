#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A page by which an exit is known: page.py ADDRESS PORT FILE [CERTIFICATE KEY]. Says "serving".

FILE, read at each request, says how it answers: `page TEXT`, or as somebody hostile:
  drip (a byte a second)  body, headers (without end)  chunk (of 2^62 bytes, and what fits)
  short (less than it says)  redirect (to itself)  error  garbage  empty  mute (nothing)  late TEXT (after 2 s)
`all`: these one after the other, and again. Each request is said: "asked HOW HOST PATH".
"""
import itertools
import socket
import ssl
import sys
import threading
import time

address, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
hostile = itertools.cycle("body headers chunk short redirect error garbage empty drip".split())
tls = None
if len(sys.argv) > 4:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[4], sys.argv[5])


def forever(c, what, pause=0):
    while True:
        c.sendall(what)
        time.sleep(pause)


def answer(c):
    c.settimeout(30)
    if tls:
        c = tls.wrap_socket(c, server_side=True)
    request = b""
    while b"\r\n\r\n" not in request:
        more = c.recv(4096)
        if not more:
            return
        request += more
    lines = request.decode("latin-1").split("\r\n")
    host = [l[6:] for l in lines if l.lower().startswith("host: ")][0]
    how, _, text = open(file).read().strip().partition(" ")
    if how == "all":
        how = next(hostile)
    print("asked", how, host, lines[0].split()[1], flush=True)
    good = b"HTTP/1.1 200 OK\r\n"
    if how == "late":
        time.sleep(2)
    if how in ("page", "late"):
        body = b"fl=1\nh=x\n" + text.encode() + b"\nts=1\n"
        c.sendall(good + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    elif how == "drip":
        c.sendall(good + b"Content-Length: 1000\r\n\r\n")
        forever(c, b"x", 1)
    elif how == "body":
        c.sendall(good + b"\r\nwarp=on\n")
        forever(c, b"x" * 65536)
    elif how == "headers":
        c.sendall(good)
        forever(c, b"X-Filler: " + b"x" * 1000 + b"\r\n")
    elif how == "chunk":
        c.sendall(good + b"Transfer-Encoding: chunked\r\n\r\n4000000000000000\r\n")
        forever(c, b"x" * 65536)
    elif how == "short":
        c.sendall(good + b"Content-Length: 1000\r\n\r\nwarp=off")
    elif how == "redirect":
        c.sendall(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + lines[0].split()[1].encode() + b"\r\n\r\n")
    elif how == "error":
        c.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 7\r\n\r\nwarp=on")
    elif how == "garbage":
        c.sendall(bytes(range(256)) * 16)
    elif how == "empty":
        c.sendall(good + b"Content-Length: 0\r\n\r\n")
    elif how == "mute":
        time.sleep(30)


def serve(c):
    try:
        answer(c)
    except OSError:
        pass
    finally:
        c.close()


s = socket.create_server((address, port))
print("serving", flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
