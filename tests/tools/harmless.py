#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is each line of FILE printable UTF-8 without a control byte, with `json` an object? harmless.py FILE [json]"""
import json
import sys
import unicodedata

data = open(sys.argv[1], "rb").read()
assert data.endswith(b"\n"), "no line, or the last one is cut"
for line in data[:-1].split(b"\n"):
    text = line.decode("utf-8")
    bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")]
    assert not bad, f"{bad!r} in {line!r}"
    if len(sys.argv) > 2:
        value = json.loads(line)
        assert isinstance(value, dict), line
