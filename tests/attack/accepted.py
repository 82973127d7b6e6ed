#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that is in APP with what it opened in OTHER: accepted.py APP OTHER FAR-IP. A connection by
eth0 to FAR-IP:7070, and one that it has accepted on port 7071. Says "listening" and then "inside"; sends
"T34-opened." and "T34-accepted." by them for ever."""
import socket
import sys
import time

from place import join

app, other, far = sys.argv[1:4]


join(other)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
s.connect((far, 7070))
l = socket.socket()
l.bind(("0.0.0.0", 7071))
l.listen()
print("listening", flush=True)
c, _ = l.accept()
join(app)
print("inside", flush=True)
while True:
    for x, name in (s, "opened"), (c, "accepted"):
        try:
            x.send(("T34-%s." % name).encode())
        except OSError:
            pass
    time.sleep(0.05)
