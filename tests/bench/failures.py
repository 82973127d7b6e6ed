#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of tests/bench/failures → one table, each cell "median (max)" in ms: failures.py ROWS JSON."""
import json
import os
import platform
import statistics
import sys
import time

COLUMNS = "shut", "frozen", "stopped", "open again"


def cell(values):
    values = [float(v) for v in values if v != "-"]
    return f"{statistics.median(values):.1f} ({max(values):.1f})" if values else "-"


rows = {}
for line in open(sys.argv[1]):
    kind, *values, leaks = line.rstrip("\n").split("\t")
    rows.setdefault(kind, []).append((values, leaks))

print(f"failures: {platform.system()} {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, "
      + time.strftime("%Y-%m-%d", time.gmtime()))
print("\nms, median (max): from the failure until shut, frozen, stopped; from when it was mended until open again; "
      "packets captured beside the tunnel\n")
print(f"{'':46} {'n':>2} " + " ".join(f"{c:>21}" for c in COLUMNS) + f" {'leaks':>6}")
told = []
for kind, measured in rows.items():
    leaks = sum(int(m[1]) for m in measured)
    print(f"{kind:46} {len(measured):2} " + " ".join(f"{cell([m[0][i] for m in measured]):>21}" for i in range(4))
          + f" {leaks:6}")
    told.append({"kind": kind, "leaks": leaks,
                 **{f"{c}_ms": [None if m[0][i] == "-" else float(m[0][i]) for m in measured]
                    for i, c in enumerate(c.replace(" ", "_") for c in COLUMNS)}})
json.dump({"part": "failures", "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
           "kernel": platform.release(), "load": os.getloadavg()[0], "rows": told}, open(sys.argv[2], "w"), indent=1)
