# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile client does to the control socket: besiege.py HOW SECONDS [SOCKET].

Says "begun" with its first connection, "no more" when it holds all that it wants or can get, and at last
"HOW: N connections, N answers". Ends after SECONDS with everything still held open."""
import random
import socket
import sys
import threading
import time

how, seconds = sys.argv[1], float(sys.argv[2])
path = sys.argv[3] if len(sys.argv) > 3 else "/run/vpnleash/control.sock"
end = time.monotonic() + seconds
held, connections, answers = [], 0, 0
random.seed(7)


def connect(block=True):
    global connections
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(1 if block else 0)
    try:
        s.connect(path)
    except (BlockingIOError, TimeoutError, ConnectionError):
        s.close()
        return None
    connections += 1
    if connections == 1:
        print("begun", flush=True)
    return s


def send(s, data):
    global answers
    try:
        s.sendall(data)
        answers += bool(s.recv(65536))
    except OSError:
        pass


def garbage():
    deep = 2000
    lines = [
        b"", b"\n", b"\0\n", b"null\n", b"[]\n", b"{}\n", b'{"verb":', b'{"verb":"status"', b"{" * 4096,
        b"[" * deep + b"]" * deep + b"\n", b'{"a":' * 700 + b"1" + b"}" * 700 + b"\n",
        b'{"verb":1e999999}\n', b'{"verb":' + b"9" * 4000 + b"}\n", b'{"verb":-0.0e-99999}\n',
        b'{"verb":"\\u0000"}\n', b'{"verb":"st\0atus"}\n', b'{"verb":"\xff\xfe"}\n',
        b'{"verb":"status","verb":"detach"}\n', b'{"verb":["status"]}\n', b'{"verb":"fly"}\n',
        b'{"verb":"why","workload":"' + b"%n" * 2000 + b'"}\n', b'{"verb":"why","workload":"\\ud800"}\n',
        b'{"verb":"hold"}\n', b'{"verb":"release","workload":7}\n', b'{"verb":"exec"}\n',
        b'{"verb":"exec","interface":"\\u001b[31m\\n","netns":"../../.."}\n', b"A" * 100000,
    ]
    while time.monotonic() < end:
        s = connect()
        if not s:
            continue
        data = random.choice(lines + [random.randbytes(random.randrange(5000))])
        if data.endswith(b"\n") and len(data) < 4096:
            send(s, data)
        else:
            try:
                s.sendall(data)
            except OSError:
                pass
        s.close()


def dawdle(step):
    """40 clients that send a byte now and then, or none at all."""
    line = b'{"verb":"status"}\n'
    clients = []
    while time.monotonic() < end:
        while len(clients) < 40:
            s = connect(block=False)
            if not s:
                break
            clients.append([s, 0])
        for c in list(clients):
            try:
                if step and c[1] < len(line) - 1:
                    c[0].sendall(line[c[1]:c[1] + 1])
                    c[1] += 1
                if c[0].recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                c[0].close()
                clients.remove(c)
        time.sleep(step or 0.05)


def thousand():
    while time.monotonic() < end:
        s = connect(block=False) if len(held) < 1000 else None
        if s:
            held.append(s)
        else:
            time.sleep(0.002)


def hold_unread(request):
    more = True
    while time.monotonic() < end:
        s = connect() if len(held) < 200 else None
        if not s:
            if more:
                print("no more", flush=True)
            more = False
            time.sleep(0.05)
            continue
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        try:
            s.sendall(request)
        except OSError:
            pass
        held.append(s)


def hammer():
    def one():
        while time.monotonic() < end:
            s = connect()
            if s:
                send(s, b'{"verb":"events"}\n')
                s.close()
    threads = [threading.Thread(target=one) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


{
    "garbage": garbage,
    "bytes": lambda: dawdle(0.2),
    "silent": lambda: dawdle(0),
    "thousand": thousand,
    "unread": lambda: hold_unread(b'{"verb":"events"}\n'),
    "followers": lambda: hold_unread(b'{"verb":"events","follow":true}\n'),
    "hammer": hammer,
}[how]()
print(f"{how}: {connections} connections, {answers} answers")
