#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests of every verb to the control socket, each wrong in one thing: mistyped.py WORKLOAD. A key of each
wrong type, unknown, missing, empty, too long, twice. Each must get one clear error; says "refused N"."""
import json
import socket
import sys


def ask(line):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect("/run/vpnleash/control.sock")
    s.sendall(line.encode() + b"\n")
    got = b""
    while not got.endswith(b"\n"):
        d = s.recv(65536)
        if not d:
            break
        got += d
    return json.loads(got)


name = json.dumps(sys.argv[1])
keys = {  # 1: it must be there
    "status": {},
    "slices": {},
    "rehearse": {"workload": 1, "over": 0},
    "why": {"workload": 1},
    "hold": {"workload": 1},
    "release": {"workload": 1},
    "events": {"workload": 0, "follow": 0},
    "detach": {"workload": 0, "all": 0},
    "exec": {"interface": 1, "netns": 0},
}
values = {
    "text": name,
    "other": '"x"',
    "empty": '""',
    "long": '"%s"' % ("a" * 2000),
    "number": "5",
    "null": "null",
    "true": "true",
    "false": "false",
    "one": "1",
    "list": "[%s]" % name,
    "object": '{"a":%s}' % name,
    "real": "1e3",
}
flags = ("follow", "all", "over")
asked = 0


def refused(line):
    global asked
    asked += 1
    answer = ask(line)
    error = answer.get("error")
    if not error or "\n" in error or answer.get("exit_code") != 2 or len(answer) != 2:
        print("not refused: %s: %s" % (line[:200], answer))
        sys.exit(1)


for verb, known in keys.items():
    # what would do without the wrong key
    due = "".join(',"%s":%s' % (k, name) for k, must in known.items() if must)
    if verb == "detach":
        due = ',"workload":%s' % name
    for key in ("x", "Workload", "workloads", "verb ", "ALL", "interface\u0300"):
        refused('{"verb":"%s"%s,%s:%s}' % (verb, due, json.dumps(key), name))
    refused('{"verb":"%s"%s,"verb":"%s"}' % (verb, due, verb))
    for key, must in known.items():
        if must:
            refused('{"verb":"%s"}' % verb)
        for what, value in values.items():
            if key in flags and what in ("true", "false"):
                continue
            if key not in flags and what in ("text", "other"):
                continue
            others = "".join(',"%s":%s' % (k, name) for k, m in known.items() if m and k != key)
            refused('{"verb":"%s"%s,"%s":%s}' % (verb, others, key, value))
            refused('{"%s":%s%s,"verb":"%s"}' % (key, value, others, verb))
        refused('{"verb":"%s","%s":%s,"%s":%s}' % (verb, key, name, key, name))
    for key in ("workload", "all", "follow", "over", "interface", "netns"):
        if key not in known:
            refused('{"verb":"%s"%s,"%s":%s}' % (verb, due, key, "true" if key in flags else name))
for line in (
    '{"verb":"detach"}',
    '{"verb":"detach","all":false}',
    '{"verb":"detach","all":true,"workload":%s}' % name,
    '{"verb":"detach","all":true,"all":true}',
    '{"verb":"detach","workload":"/not/there"}',
    '["detach"]',
    '"detach"',
    "7",
    "",
    '{"verb":"detach","workload":"a\\u0000b"}',
):
    refused(line)
print("refused", asked)
