#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets of another cgroup than their user: foreign.py APP OTHER FAR-IP TOKEN WAY…, started as root in
neither of the two cgroups. Each way opens a socket on eth0 and sends "TOKEN-WAY." by it, three times, to
FAR-IP:9999.

  passed_in     opened in OTHER, passed to APP by SCM_RIGHTS       passed_out    the reverse
  before_join   opened in OTHER by who then joins APP              after_leave   the reverse, and a new one
  getfd         opened in OTHER, taken from there by pidfd_getfd in APP
"""
import ctypes
import os
import signal
import socket
import sys

from place import join

app, other, far, token = sys.argv[1:5]
PIDFD_GETFD = 438
libc = ctypes.CDLL(None)


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    return s


def send(s, way):
    for _ in range(3):
        try:
            s.sendto(("%s-%s." % (token, way)).encode(), (far, 9999))
        except OSError:
            pass


def passed(make_in, use_in, way):
    a, b = socket.socketpair()
    pid = os.fork()
    if not pid:
        join(make_in)
        s = udp()
        socket.send_fds(a, [b"x"], [s.fileno()])
        os._exit(0)
    os.waitpid(pid, 0)
    join(use_in)
    fd = socket.recv_fds(b, 10, 1)[1][0]
    send(socket.socket(fileno=fd), way)


def way_passed_in(way):
    passed(other, app, way)


def way_passed_out(way):
    passed(app, other, way)


def way_before_join(way):
    join(other)
    s = udp()
    join(app)
    send(s, way)


def way_after_leave(way):
    join(app)
    s = udp()
    join(other)
    send(s, way)
    send(udp(), way)


def way_getfd(way):
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        join(other)
        s = udp()
        os.write(w, b"%d" % s.fileno())
        signal.pause()
    fd = int(os.read(r, 10))
    join(app)
    mine = libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), fd, 0)
    send(socket.socket(fileno=mine), way)
    os.kill(pid, 9)
    os.waitpid(pid, 0)


for way in sys.argv[5:]:
    pid = os.fork()
    if not pid:
        globals()["way_" + way](way)
        os._exit(0)
    os.waitpid(pid, 0)
