#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A file is another each time that somebody looks: swap.py GOOD EVIL NAME, for ever. EVIL is
uid 1000's."""
import os
import shutil
import sys

good, evil, name = sys.argv[1:]
shutil.copy2(good, name + ".good")
shutil.copy2(evil, name + ".evil")
os.chown(name + ".evil", 1000, 1000)
while True:
    for which in ".good", ".evil":
        os.link(name + which, name + ".new")
        os.rename(name + ".new", name)
