#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom a hook sends to, on 127.0.0.1: says each line that it is told.

  take.py http PORT   a POST: its headers and body
  take.py smtp PORT   a mail: the dialogue's lines and the text
"""
import socketserver
import sys


class Http(socketserver.StreamRequestHandler):
    def handle(self):
        length = 0
        while (line := self.rfile.readline().decode().strip()) != "":
            print(line, flush=True)
            if line.lower().startswith("content-length:"):
                length = int(line.split(":")[1])
        print("body", self.rfile.read(length).decode(), flush=True)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Smtp(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 here\r\n")
        text = False
        for line in self.rfile:
            line = line.decode().strip()
            print("text" if text else "said", line, flush=True)
            if text and line != ".":
                continue
            text = line == "DATA"
            self.wfile.write(b"354 go on\r\n" if text else b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")


socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", int(sys.argv[2])), {"http": Http, "smtp": Smtp}[sys.argv[1]]).serve_forever()
