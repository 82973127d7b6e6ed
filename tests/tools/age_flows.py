#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes every flow that the gate knows one whose last packet was 601 s ago, in the pinned map."""
import json
import subprocess
import time

flows = "/sys/fs/bpf/vpnleash/flows"
then = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 601 * 10**9) % 2**64
for f in json.loads(subprocess.check_output(["bpftool", "-j", "map", "dump", "pinned", flows])):
    value = f["value"][:8] + ["%02x" % b for b in then.to_bytes(8, "little")] + f["value"][16:]
    subprocess.check_call(["bpftool", "map", "update", "pinned", flows, "key", "hex"] +
                          [k[2:] for k in f["key"]] + ["value", "hex"] + [v[-2:] for v in value])
