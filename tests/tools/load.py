#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Work for a line or for a machine:

  load.py serve ADDRESS PORT           takes connections; what says "down" is sent to without end, what others
                                       send is thrown away. Says "serving"
  load.py up|down ADDRESS PORT         one connection that carries as much as it can, dialled anew when it ends
  load.py udp ADDRESS PORT KBIT        so many kilobits a second of datagrams of 1000 bytes
  load.py connect ADDRESS PORT NUMBER  so many connections, 500 at once. Says "connected N failed N seconds N"
  load.py memory                       takes all that the machine has, and gives back some of it all the time
"""
import os
import select
import socket
import sys
import threading
import time

how, to = sys.argv[1], (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 3 else None
BLOCK = bytes(16384)


def carry(s):
    with s:
        try:
            down = s.recv(4) == b"down"
            while s.sendall(BLOCK) is None if down else s.recv(65536):
                pass
        except OSError:
            pass


def serve():
    s = socket.create_server(to, backlog=4096)
    print("serving", flush=True)
    while True:
        try:
            threading.Thread(target=carry, args=(s.accept()[0],), daemon=True).start()
        except (OSError, RuntimeError):  # one gone before it was taken; too many at once
            time.sleep(0.01)


def tcp():
    while True:
        try:
            with socket.create_connection(to, 30) as s:
                s.settimeout(60)
                s.sendall(how.ljust(4).encode())
                while s.recv(65536) if how == "down" else s.sendall(BLOCK) is None:
                    pass
        except OSError:
            time.sleep(0.5)


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    start, n, pause = time.monotonic(), 0, 8 / float(sys.argv[4])
    while True:
        try:
            s.sendto(BLOCK[:1000], to)
        except OSError:
            pass
        n += 1
        time.sleep(max(0, start + n * pause - time.monotonic()))


def connect():
    left, ok, failed, start = int(sys.argv[4]), 0, 0, time.monotonic()
    poll, open_ = select.epoll(), {}
    while left or open_:
        while left and len(open_) < 500:
            s = socket.socket()
            s.setblocking(False)
            left -= 1
            if s.connect_ex(to) not in (0, 115):  # EINPROGRESS
                failed += 1
                continue
            open_[s.fileno()] = s
            poll.register(s, select.EPOLLOUT)
        for fd, event in poll.poll(1):
            ok, failed = (ok, failed + 1) if event & select.EPOLLERR else (ok + 1, failed)
            open_.pop(fd).close()
    print("connected", ok, "failed", failed, "seconds", int(time.monotonic() - start), flush=True)


def memory():
    with open("/proc/self/oom_score_adj", "w") as f:
        f.write("1000")  # whoever must end, it is this one

    def stalls():  # how often somebody had to look for memory before it got any
        with open("/proc/vmstat") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("allocstall"))

    def files():  # what can be dropped and must be read again: without swap nothing else is scanned
        while True:
            for directory, _, names in os.walk("/usr/lib"):
                for path in (os.path.join(directory, name) for name in names):
                    if os.path.isfile(path) and not os.path.islink(path):
                        with open(path, "rb") as f:
                            while f.read(1 << 20):
                                yield

    taken, seen = [], stalls()
    for _ in files():
        now = stalls()
        if now == seen:
            taken.append(bytearray(os.urandom(4096)) * 1024)
        else:
            del taken[::64]
        seen = now



{"serve": serve, "up": tcp, "down": tcp, "udp": udp, "connect": connect, "memory": memory}[how]()
