#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two connections by eth0 that their program has left and the kernel still knows: late_segments.py
FAR-NETNS CLIENT-NETNS FAR-IP OWN-IP SECONDS, in the sender's cgroup. An orphan in FIN_WAIT2, and one that
goes to TIME_WAIT while the peer's FIN is not acknowledged: nft's set `lost` eats that ACK. Says "ready";
at a line on stdin the orphan gets late data, and the peer's FIN comes again meanwhile."""
import socket
import subprocess
import sys
import time

from place import enter

far_ns, client_ns, far, own = sys.argv[1:5]


def pair():
    enter("/run/netns/" + far_ns)
    l = socket.socket()
    l.bind((far, 0))
    l.listen()
    enter("/run/netns/" + client_ns)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    s.bind((own, 0))
    s.connect(l.getsockname())
    return s, l.accept()[0]


orphan, orphan_peer = pair()
orphan.close()
orphan_peer.recv(1)
wait, wait_peer = pair()
port = wait.getsockname()[1]
wait.shutdown(socket.SHUT_WR)
wait_peer.recv(1)
enter("/run/netns/" + far_ns)
subprocess.check_call(["nft", "add element inet t lost { %d }" % port])  # its ACK never arrives
wait_peer.close()
time.sleep(0.1)
wait.close()
print("ready", flush=True)
sys.stdin.readline()
orphan_peer.send(b"late")
time.sleep(float(sys.argv[5]))
