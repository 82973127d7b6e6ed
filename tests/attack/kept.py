# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets that outlive the cgroup that made them.

kept.py keep PATH: a supervisor that keeps descriptors, as systemd's FileDescriptorStore does, and uses
them as it is told on the unix socket PATH. kept.py app PATH NAME PEER GO [CONNECT]: a workload that hands it
a datagram socket and a packet socket, keeps a connection with something unsent, and ends when the
file GO is there (`-`: never). kept.py tell PATH WORD…: tell the supervisor:
  send NAME TOKEN   by each socket of NAME: "TOKEN-udp.", "TOKEN-packet."
  fly NAME          sent, and not received by anybody yet; the supervisor has no descriptor of them
  ring NAME         an io_uring holds them (registered files), the supervisor has no descriptor of them
  land NAME         received again
  close NAME        closed
"""
import ctypes
import os
import socket
import sys
import time


def packet_socket():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind(("eth0", 0))
    return s


class Ring:
    """A ring with files registered, set up by the system calls themselves."""

    def __init__(self, fds):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.syscall(425, 4, ctypes.create_string_buffer(120))
        table = (ctypes.c_int * len(fds))(*fds)
        if self.fd < 0 or libc.syscall(427, self.fd, 2, table, len(fds)) < 0:
            raise OSError(ctypes.get_errno(), "io_uring")

    def close(self):
        os.close(self.fd)


def receive(connection):
    message, fds, _, _ = socket.recv_fds(connection, 4096, 4)
    return message.decode().split(), fds


def send(fds, peer, token):
    for kind, fd in zip(("udp", "packet"), fds):
        s = socket.socket(fileno=os.dup(fd))
        text = f"{token}-{kind}.".encode()
        try:
            if kind == "udp":
                s.sendto(text, (peer, 9))
            else:
                s.send(b"\xff" * 6 + s.getsockname()[4] + b"\x88\xb5" + text + b"\0" * 40)
            yield f"{kind} sent"
        except OSError as e:
            yield f"{kind} {e.strerror}"
        s.close()


def keep(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    kept, flying, peers = {}, {}, {}
    while True:
        connection, _ = listener.accept()
        words, fds = receive(connection)
        verb, name = words[:2]
        answer = "done"
        try:
            if verb == "put":
                kept[name], peers[name] = fds, words[2]
            elif verb == "send":
                answer = ", ".join(send(kept[name], peers[name], words[2]))
            elif verb == "fly":
                flying[name] = socket.socketpair()
                socket.send_fds(flying[name][0], [b"x"], kept[name])
                for fd in kept.pop(name):
                    os.close(fd)
            elif verb == "land":
                kept[name] = socket.recv_fds(flying[name][1], 1, 4)[1]
                for s in flying.pop(name):
                    s.close()
            elif verb == "ring":
                ring = Ring(kept[name])
                for fd in kept.pop(name):
                    os.close(fd)
                flying[name] = (ring,)
            elif verb == "close":
                for fd in kept.pop(name, []):
                    os.close(fd)
                for s in flying.pop(name, []):
                    s.close()
        except OSError as e:
            answer = f"{verb}: {e.strerror}"
        connection.send(answer.encode())
        connection.close()


def tell(path, words, fds=()):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        socket.send_fds(s, [" ".join(words).encode()], fds)
        return s.recv(4096).decode()


def app(path, name, peer, go, connect=None):
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept = [datagram]
    try:
        kept.append(packet_socket())
    except PermissionError:
        pass # denied by the LSM
    tell(path, ["put", name, peer], [s.fileno() for s in kept])
    connection = None
    if connect:
        connection = socket.create_connection((peer, int(connect)), 10)
        connection.setblocking(False)
    print("connected", flush=True)
    while not os.path.exists(go):
        try:
            if connection:
                connection.send(f"{name}-tcp.".encode())
        except BlockingIOError:
            pass
        time.sleep(0.02)
    os._exit(0)


if sys.argv[1] == "keep":
    keep(sys.argv[2])
elif sys.argv[1] == "tell":
    print(tell(sys.argv[2], sys.argv[3:]))
else:
    app(*sys.argv[2:])
