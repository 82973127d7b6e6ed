# SPDX-License-Identifier: GPL-2.0-or-later
"""What hostile clients do to `vpnleash listen`: besiege_http.py PORT SECONDS CLIENTS.

All at once: CLIENTS that send a byte of a request now and then and take a new place as soon as theirs is gone; garbage;
heads and bodies without an end; another site's name for this host; others that ask as fast as they can and read nothing.
Says "begun" when every slow client is there, goes on for SECONDS, and says at last "N connections, N cut off, N answers"."""
import random
import resource
import selectors
import socket
import sys
import threading
import time

port, seconds, clients = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
end = time.monotonic() + 60 + seconds  # until all are there
counts = {"connections": 0, "cut": 0, "answers": 0}
random.seed(7)
resource.setrlimit(resource.RLIMIT_NOFILE, (4 * clients + 256,) * 2)
GET = b"GET /api/page HTTP/1.1\r\nHost: localhost\r\n"


def connect(block=True):
    s = socket.socket()
    s.settimeout(1 if block else 0)
    try:
        s.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    counts["connections"] += 1
    return s


def slow():
    line = GET + b"X-Slow: " + b"a" * 4000
    global end
    places, looked = selectors.DefaultSelector(), 0
    while time.monotonic() < end:
        while len(places.get_map()) < clients:
            places.register(connect(block=False), selectors.EVENT_READ, [0])
        if not looked:
            end = time.monotonic() + seconds
            print("begun", flush=True)
        for key, _ in places.select(0.05):
            try:
                gone = key.fileobj.recv(65536) == b""
            except OSError:
                gone = True
            if gone:
                places.unregister(key.fileobj)
                key.fileobj.close()
                counts["cut"] += 1
        if time.monotonic() - looked > 0.5:
            looked = time.monotonic()
            for key in list(places.get_map().values()):
                try:
                    key.fileobj.send(line[key.data[0]:key.data[0] + 1])
                    key.data[0] += 1
                except OSError:
                    pass


def send(data, take=True):
    s = connect()
    try:
        s.sendall(data)
        if take:
            counts["answers"] += bool(s.recv(65536))
    except OSError:
        pass
    s.close()


def hostile():
    kinds = [
        b"", b"\r\n\r\n", b"\0" * 9000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"GET /api/page HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"GET /" + b"a" * 1000000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"X: " + b"a" * 1000000 + b"\r\n\r\n", GET + b"a:b\r\n" * 200000 + b"\r\n",
        GET + b"Content-Length: 99999999999\r\n\r\n" + b"a" * 1000000, GET + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + b"a" * 100000,
        GET.replace(b"GET", b"PUT") + b"\r\n", GET + b"Host: evil.example\r\n\r\n", GET + b"Expect: 100-continue\r\nContent-Length: -1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + random.randbytes(500),
    ]
    while time.monotonic() < end:
        send(random.choice(kinds + [random.randbytes(random.randrange(5000))]))


def unread():
    while time.monotonic() < end:
        send(GET + b"\r\n", take=False)
        time.sleep(0.002)


threads = [threading.Thread(target=f) for f in (slow, hostile, hostile, unread)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{counts['connections']} connections, {counts['cut']} cut off, {counts['answers']} answers")
