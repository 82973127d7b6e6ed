#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A resolver of the VPN's container: forwarder.py PORT tcp|udp ADDRESS REMOTE-PORT. What it is asked on
127.0.0.1:PORT goes to ADDRESS by eth0, over one connection that is kept, and dialled anew when no answer
comes in two seconds; "keep." when nobody asks."""
import select
import socket
import sys
import time

port, kind, address, remote = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(("127.0.0.1", port))
print("ready", flush=True)
while True:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, 25, b"eth0")
            s.settimeout(2)
            s.connect((address, remote))
            while True:
                s.sendall(asked.recv(500) if select.select([asked], [], [], 0.2)[0] else b"keep.")
                if not s.recv(2000):
                    break
                print("answered", flush=True)
    except OSError as e:
        print(e, flush=True)
        time.sleep(0.1)
