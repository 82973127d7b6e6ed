# SPDX-License-Identifier: GPL-2.0-or-later
"""Cgroups that die with a living socket.

dead.py HOME slice PATH NUMBER | dead.py HOME anew PATH NUMBER: NUMBER children of PATH, or PATH itself that
often, each made, waited for until it is leashed, a datagram socket opened and used in it, and
removed. Then says "removed NUMBER" and keeps the sockets; each newline on stdin closes half of
them, and says how many are left. Ends with them.
"""
import os
import resource
import socket
import sys
import time

from place import join

LINKS = "/sys/fs/bpf/vpnleash/links/"
home, mode, path, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
hook = "dns_recvmsg4" if mode == "slice" else "gate_egress"
resource.setrlimit(resource.RLIMIT_NOFILE, (number + 100, number + 100))


def bounded(done):
    end = time.monotonic() + 60
    while not done():
        if time.monotonic() > end:
            sys.exit(f"not so after 60 s: {number}")
        time.sleep(0.001)


def removed(cgroup):
    try:
        os.rmdir(cgroup)
    except OSError:
        return False
    return True


sockets = []
for i in range(number):
    cgroup = path + (f"/d{i}" if mode == "slice" else "")
    os.mkdir(cgroup)
    link = LINKS + f"{hook}-{os.stat(cgroup).st_ino}"
    bounded(lambda: os.path.exists(link))
    join(cgroup)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    join(home)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    try:
        s.sendto(b"alive.", ("198.51.100.1", 9))
    except OSError:
        pass
    sockets.append(s)
    bounded(lambda: removed(cgroup))
print("removed", number, flush=True)

for line in sys.stdin:
    refused = 0
    for s in sockets:
        try:
            s.sendto(b"dead.", ("198.51.100.1", 9))
        except OSError:
            refused += 1
    if line.strip() == "send":
        print("refused", refused, flush=True)
        continue
    for s in sockets[: len(sockets) // 2 + 1]:
        s.close()
    sockets = sockets[len(sockets) // 2 + 1 :]
    print("left", len(sockets), flush=True)
    if not sockets:
        break
