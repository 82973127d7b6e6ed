#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""throughput.py ROWS JSON: the table of tests/bench/throughput. Ratios are of one round's turns."""
import collections
import json
import statistics
import sys

rounds = collections.defaultdict(list)
for line in open(sys.argv[1]):
    name, gbit, cpu = line.rstrip("\n").split("\t")
    rounds[name].append((float(gbit), float(cpu)))


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


table = {}
for name, turns in rounds.items():
    columns = list(zip(*turns))
    columns += [[turn[i] / base[i] for turn, base in zip(turns, rounds["nothing"])] for i in (0, 1)]
    table[name] = dict(zip(("gbit_per_s", "cpu_s_per_gbit", "gbit_to_nothing", "cpu_to_nothing"),
                           (list(column) for column in columns)))
print("iperf3 through WireGuard, median (quartiles) of", len(rounds["nothing"]), "rounds\n")
print(f"{'':24} {'Gbit/s':26} {'CPU s per Gbit':26} {'Gbit/s to nothing':26} CPU to nothing")
for name, columns in table.items():
    print(f"{name:24}", *(f"{quartiles(values):26}" for values in columns.values()))
json.dump(table, open(sys.argv[2], "w"), indent=1)
