#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls go downward: layers.py [TREE [OBJECTS]] (., build).

What a file includes, and the symbols that its object asks of another (nm), against the table of rooms in
docs/design.md. Fails, and names them:
  - files that call each other in a circle, headers that include each other in one
  - what a room (user/ROOM/) calls or includes of one that the table does not let it call
  - a table that lets a room call one that is not above it in the table: then rooms could be a circle
Within a room a file may include the header of one that calls it: who is called has to know the struct.
"""
import collections
import os
import re
import subprocess
import sys

TREE = sys.argv[1] if len(sys.argv) > 1 else "."
OBJECTS = sys.argv[2] if len(sys.argv) > 2 else os.path.join(TREE, "build")
USER = os.path.join(TREE, "user")
DESIGN = os.path.join(TREE, "docs/design.md")
SHOWN = 4  # symbols of one call


def rooms_in(cell):
    return re.findall(r"`([\w.]+)/?`", cell)


def read_table(found):
    """({room: the rooms that it may call}, what is wrong with the table)"""
    table = re.search(r"^\| room \| may call \|.*\n\|[ -|]*\|\n((?:\|.*\n)+)", open(DESIGN).read(), re.M)
    if not table:
        sys.exit(f"{DESIGN} has no table 'room | may call'")
    allowed, wrong = {}, []
    for row in table[1].splitlines():
        rooms, called = (rooms_in(cell) for cell in row.split("|")[1:3])
        wrong += [f"{', '.join(rooms)} may call {room}, which is in no row above"
                  for room in called if room not in allowed]
        allowed.update({room: set(called) for room in rooms})
    wrong += [f"{room} is not in the table" for room in sorted(found - set(allowed))]
    wrong += [f"{room} is in the table and not in user/" for room in sorted(set(allowed) - found)]
    return allowed, wrong


def room_of(path):
    return path.split("/")[0]


def sources():
    for folder, _, names in sorted(os.walk(USER)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), USER)


def included(path):
    """the headers of user/ that it includes; those of include/, vmlinux/ and build/ are everybody's"""
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', open(os.path.join(USER, path)).read(), re.M):
        for header in (os.path.normpath(os.path.join(os.path.dirname(path), name)), name):
            if os.path.exists(os.path.join(USER, header)):
                yield header
                break


def symbols(path):
    """(defined, asked for) by the object of a source"""
    defined, undefined = set(), set()
    listing = subprocess.check_output(["nm", os.path.join(OBJECTS, "user", path[:-2] + ".o")], text=True)
    for line in listing.splitlines():
        *_, kind, name = line.split()
        if kind == "U":
            undefined.add(name)
        elif kind.isupper():
            defined.add(name)
    return defined, undefined


def graph(paths):
    """{file: {file that it calls or includes: the symbols, or the header's name}}"""
    needs, home, asked = collections.defaultdict(lambda: collections.defaultdict(set)), {}, {}
    for path in paths:
        for header in included(path):
            needs[path][header] = {os.path.basename(header)}
        if path.endswith(".c"):
            defined, asked[path] = symbols(path)
            home.update(dict.fromkeys(defined, path))
    for path, undefined in asked.items():
        for symbol in undefined & home.keys():
            needs[path][home[symbol]].add(symbol)
    return needs


def circles(needs):
    """strongly connected files (Tarjan), the largest first"""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in needs.get(file, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == index[file]:
            circle = stack[stack.index(file):]
            del stack[-len(circle):]
            if len(circle) > 1:
                found.append(sorted(circle))

    for file in sorted(needs):
        if file not in index:
            visit(file)
    return sorted(found, key=lambda circle: (-len(circle), circle))


def main():
    paths = list(sources())
    needs = graph(paths)
    allowed, wrong = read_table({room_of(path) for path in paths})
    wrong = [f"docs/design.md: {what}" for what in wrong]

    def edge(file, other):
        names = sorted(needs[file][other])
        return f"{file} -> {other} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})"

    for file in sorted(needs):
        for other in sorted(needs[file]):
            room, called = room_of(file), room_of(other)
            if called != room and called not in allowed.get(room, ()):
                wrong.append(f"{room} may not call {called}: {edge(file, other)}")
    for circle in circles(needs):
        wrong.append(f"{len(circle)} files in a circle:")
        wrong += [f"  {edge(file, other)}" for file in circle for other in sorted(set(circle) & set(needs[file]))]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(paths)} files in {len(allowed)} rooms: every call goes downward")


main()
