#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a system call that seccomp does not allow, execve, into a process's mouth, by ptrace:
foreign_call.py PID. Exit 1 where that can not be done."""
import ctypes
import os
import sys

pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
if os.uname().machine != "x86_64":
    sys.exit(1)
ATTACH, GETREGS, SETREGS, DETACH = 16, 12, 13, 17


def ptrace(request, address=0, data=0):
    if libc.ptrace(request, pid, address, data) < 0:
        sys.exit(1)


ptrace(ATTACH)
os.waitpid(pid, 0)
regs = (ctypes.c_ulonglong * 27)()
ptrace(GETREGS, 0, ctypes.addressof(regs))
regs[10] = 59  # rax: execve
regs[15] = 2**64 - 1  # orig_rax: no system call to be restarted
regs[16] -= 2  # rip: back on the `syscall` it waits in
ptrace(SETREGS, 0, ctypes.addressof(regs))
ptrace(DETACH)
