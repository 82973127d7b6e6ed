#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The web interface of a program, and its clients.

  webui.py serve PORT                       on every address, of both families; says "WEBUI-T55." to who speaks
  webui.py echo PORT                        takes one connection, and gives back what it says
  webui.py ask SOURCE ADDRESS PORT SECONDS  connects from SOURCE ("": any), prints the answer's first line
  webui.py hold SOURCE ADDRESS PORT SECONDS connects, says "connected"; for each line on stdin sends "?" and
                                            says "answer TEXT", or "silence" after SECONDS
"""
import socket
import sys
import threading


def listen(family, address, port):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    s.listen(4096)
    return s


def serve(family, address, port):
    s = listen(family, address, port)
    while True:
        c, _ = s.accept()
        try:
            c.recv(100)
            c.send(b"WEBUI-T55.")
            c.close()
        except OSError:
            pass


def echo(port):
    c, _ = listen(socket.AF_INET, "", port).accept()
    while True:
        c.send(c.recv(100))


def connect(source, address, port, seconds):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(float(seconds))
    s.bind((source, 0))
    s.connect((address, int(port)))
    return s


def ask(*where):
    s = connect(*where)
    s.send(b"GET /api/v2/app/version HTTP/1.0\r\n\r\n")
    print(s.recv(1000).split(b"\r\n")[0].decode())


def hold(*where):
    while True:
        try:
            s = connect(*where)
            break
        except OSError:
            pass
    print("connected", flush=True)
    for _ in sys.stdin:
        s.send(b"?")
        try:
            print("answer", s.recv(100).decode(), flush=True)
        except OSError:
            print("silence", flush=True)


verb, arguments = sys.argv[1], sys.argv[2:]
if verb == "serve":
    threading.Thread(target=serve, args=(socket.AF_INET6, "::", int(arguments[0]))).start()
    serve(socket.AF_INET, "0.0.0.0", int(arguments[0]))
elif verb == "echo":
    echo(int(arguments[0]))
else:
    (ask if verb == "ask" else hold)(*arguments)
