#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets that one cgroup has opened and another uses: inherited.py OPENER USER NETNS FAR-IP PORT. A
connection to FAR-IP:7070, a datagram socket, and a listener on 127.0.0.1, both at PORT, opened in cgroup
OPENER and in NETNS by a process that lives outside of it; used by a child in cgroup USER, or outside ("-").
Says "open", sends "T35-PORT-tcp." and "T35-PORT-udp." for ever, and says how each socket was ended."""
import errno
import os
import socket
import sys
import time

from place import enter, join

opener, user, netns, far, local = sys.argv[1:6]


join(opener)
home = os.open("/proc/self/ns/net", os.O_RDONLY)


enter(netns)
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
t.connect((far, 7070))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
u.bind(("0.0.0.0", int(local)))
l = socket.socket()
l.bind(("127.0.0.1", int(local)))
l.listen()
if user != "-":
    pid = os.fork()
    if pid:
        enter(home)
        os.waitpid(pid, 0)
        sys.exit()
    join(user)
else:
    enter(home)
print("open", flush=True)
ended = set()
while True:
    for s, name in (t, "tcp"), (u, "udp"):
        try:
            if s is t:
                s.send(b"T35-%d-tcp." % int(local))
            else:
                s.sendto(b"T35-%d-udp." % int(local), (far, 9999))
        except OSError as e:
            if name not in ended and e.errno in (errno.ECONNABORTED, errno.EPIPE, errno.EBADF):
                ended.add(name)
                print("ended", name, errno.errorcode[e.errno], flush=True)
    if not l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and "listener" not in ended:
        ended.add("listener")
        print("ended listener", flush=True)
    time.sleep(0.02)
