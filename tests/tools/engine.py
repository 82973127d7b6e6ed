#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A container engine that says what a case wants, byte for byte: engine.py SOCKET DIR.

What no real engine says on demand: DIR/list is the list of containers, DIR/ID.json the record of
one; with DIR/ID.status it has another status, with DIR/ID.kills whoever asks for it is killed, as
by a bug in reading it, with DIR/ID.late the next answer comes so many seconds late. With
DIR/filter.status a list that is filtered has another status. Lines that are added to DIR/events are told. Each request is printed.
"""
import json, os, signal, socket, struct, sys, threading, time

path, folder = sys.argv[1:]


def file(name):
    try:
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def follow_events(client):
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    told = len(file("events") or b"")
    while True:
        now = file("events") or b""
        if len(now) > told:
            client.sendall(b"%x\r\n%s\r\n" % (len(now) - told, now[told:]))
            told = len(now)
        time.sleep(0.05)


def answer_of(url, client):
    what, _, query = url.partition("?")
    if what == "/info":
        return 200, b'{"CgroupDriver":"systemd"}'
    if what == "/version" or what.startswith("/images/"):
        return 200, b"{}"
    if what == "/containers/json":
        listed = file("list")
        if "filters=" in query and file("filter.status") is not None:
            return int(file("filter.status")), b"{}"
        if "filters=" in query:
            listed = json.dumps([c for c in json.loads(listed) if c.get("Id") and str(c["Id"]) in query]).encode()
        return 200, listed
    name = what.split("/")[2] if what.startswith("/containers/") else ""
    if file(name + ".kills") is not None:
        size = struct.calcsize("3i")
        pid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
        os.kill(pid, signal.SIGKILL)
        return 0, b""
    late = file(name + ".late")
    if late is not None:
        os.remove(os.path.join(folder, name + ".late"))
        time.sleep(float(late))
    body = file(name + ".json")
    return (404, b"{}") if body is None else (int(file(name + ".status") or 200), body)


def serve(client):
    asked = b""
    while b"\r\n\r\n" not in asked:
        part = client.recv(65536)
        if not part:
            return
        asked += part
    url = asked.split()[1].decode()
    print(url, flush=True)
    try:
        if url.startswith("/events"):
            follow_events(client)
        status, body = answer_of(url, client)
        client.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
    except OSError:
        pass
    client.close()


listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
