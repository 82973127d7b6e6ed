#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is each line of stdin what a schema of docs/schema says? schema.py SCHEMA

A reader must ignore keys that it does not know, so the schemas allow them; we must know them, so here they are
refused. Prints how many lines were compared. `schema.py SCHEMA --keys` prints the keys that it describes.
"""
import json
import sys

import jsonschema


def close(node):
    """no other keys in any object whose keys are listed"""
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for child in node.values():
            close(child)


def keys(node, above=""):
    for name, child in node.get("properties", {}).items():
        yield above + name
        yield from keys(child, above + name + ".")
    if "items" in node:
        yield from keys(node["items"], above[:-1] + "[].")


schema = json.load(open(sys.argv[1]))
if sys.argv[2:] == ["--keys"]:
    print("\n".join(keys(schema)))
    sys.exit()
jsonschema.Draft7Validator.check_schema(schema)
close(schema)
validator, n = jsonschema.Draft7Validator(schema), 0
for line in sys.stdin:
    n += 1
    for error in validator.iter_errors(json.loads(line)):
        sys.exit(f"line {n}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
print(n)
