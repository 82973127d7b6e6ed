#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A resolver and a web server of the internet: internet.py ADDRESS. Every datagram to port 53 or 443 is
answered; what a connection to port 443 or 853 sends comes back."""
import socket
import sys
import threading


def resolver(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    while True:
        question, who = s.recvfrom(2000)
        s.sendto(b"answer to " + question, who)


def echo(c):
    with c:
        try:
            while data := c.recv(2000):
                c.sendall(data)
        except OSError:
            pass


def server(address, port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen()
    while True:
        threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()


for port in 53, 443:
    threading.Thread(target=resolver, args=(sys.argv[1], port), daemon=True).start()
threading.Thread(target=server, args=(sys.argv[1], 853), daemon=True).start()
print("serving", flush=True)
server(sys.argv[1], 443)
