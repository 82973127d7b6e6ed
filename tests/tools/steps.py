#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""steps.py FILE: which calls of a traced story are worth a fault.

FILE is what `strace -y -o` wrote. Prints `CALL ORDINAL WHAT` a line: every call that changes something in
the kernel, and of all others the first and the last of each kind (call, and the file or command)."""
import re
import sys

CHANGES = re.compile(r"MAP_(UPDATE|DELETE)|MAP_CREATE|MAP_FREEZE|PROG_LOAD|LINK_(CREATE|UPDATE|DETACH)|OBJ_PIN")

ordinal = {}
kinds = {}
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    found = re.match(r"(\w+)\((?:AT_FDCWD[^,]*, )?([^,)]*)", line)
    if not found:
        continue
    call, what = found.groups()
    ordinal[call] = ordinal.get(call, 0) + 1
    what = re.sub(r"\d+", "N", what.strip('"'))
    steps = kinds.setdefault((call, what), [])
    changes = call in ("write", "rename", "renameat") or CHANGES.match(what.removeprefix("BPF_"))
    if len(steps) < 2 or changes:
        steps.append(ordinal[call])
    else:
        steps[-1] = ordinal[call]

for (call, what), steps in sorted(kinds.items()):
    for step in steps:
        print(call, step, what)
