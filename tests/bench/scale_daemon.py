#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scale_daemon.py VPNLEASH CGROUP-ROOT CGROUP TUNNEL NETNS DIRECTORY: what many workloads cost the daemon, as a curve.

CPU time of the daemon's process, by its schedstat. Birth and death are of BATCH cgroups of a locked slice, told per cgroup, on top
of N; reload and status are one of each, of N; at rest a second. Then as many sections of a file, and how long fifty workloads
with a hundred threads each take to freeze, from the record that the tunnel is down.
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import time

vpnleash, root, place, tunnel, netns, directory = sys.argv[1:]
path = place.removeprefix(root)
CURVE = [int(n) for n in os.environ.get("CURVE", "10 100 300 1000").split()]
BATCH = 10
conf = directory + "/conf"
TUNNEL = f"[tunnel t]\ninterface = {tunnel}\nnetns = {netns}\nprobe = icmp:198.51.100.1\nguard = off\n"


def cpu_ms(pid):
    return int(open(f"/proc/{pid}/schedstat").read().split()[0]) / 1e6


def write(text):
    with open(conf, "w") as f:
        f.write(TUNNEL + text)


def status():
    out = subprocess.run([vpnleash, "status", "--json"], capture_output=True).stdout
    return json.loads(out) if out else {}


def until(what, test, bound=120):
    end = time.monotonic() + bound
    while not test():
        if time.monotonic() > end:
            sys.exit(f"not in {bound} s: {what}")
        time.sleep(0.2)


def states():
    return [w["state"] for w in status().get("workloads", [])]


def said(text):
    return text in open(directory + "/daemon.log").read()


def start():
    with open(directory + "/daemon.log", "w") as log:
        daemon = subprocess.Popen([vpnleash, "run", "-c", conf], stdout=log, stderr=log)
    until("the daemon answers", lambda: status().get("daemon"))
    return daemon


def stop(daemon):
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    subprocess.run([vpnleash, "detach", "--all"], stderr=subprocess.DEVNULL)


def links():
    """gates and witnesses that are pinned: what a birth ends with"""
    return sum(name.startswith("dns_recvmsg4-") for name in os.listdir("/sys/fs/bpf/vpnleash/links"))


def cost(daemon, what, change, done):
    before = cpu_ms(daemon.pid)
    change()
    until(what, done)
    return cpu_ms(daemon.pid) - before


def at_rest(daemon, seconds=5):
    before = cpu_ms(daemon.pid)
    time.sleep(seconds)
    return (cpu_ms(daemon.pid) - before) / seconds


def reload(daemon, text):
    lines = open(directory + "/daemon.log").read().count("reload: ")
    write(text)
    return cost(daemon, "reload", lambda: daemon.send_signal(signal.SIGHUP),
                lambda: open(directory + "/daemon.log").read().count("reload: ") > lines)


def ask(daemon):
    before, began = cpu_ms(daemon.pid), time.monotonic()
    status()
    return cpu_ms(daemon.pid) - before, (time.monotonic() - began) * 1e3


def curve():
    text = f"[workload all]\ncgroup = slice:{path}\ntunnel = t\n"
    write(text)
    daemon = start()
    print("A slice of workloads; the daemon's CPU, ms\n")
    print("workloads   birth, each   of a batch   at rest, a second   reload   status   status, elapsed   death, each")
    made = 0
    for n in CURVE:
        before = cpu_ms(daemon.pid)
        grown = n - made
        for i in range(made, n):
            os.mkdir(f"{place}/w{i}")
        made = n
        until("all are leashed", lambda: links() >= made and len(states()) >= made)
        grow = (cpu_ms(daemon.pid) - before) / grown
        until("all are open", lambda: states().count("open") >= made)
        time.sleep(1)
        rest = at_rest(daemon)
        extra = [f"{place}/x{i}" for i in range(BATCH)]
        birth = cost(daemon, "births", lambda: [os.mkdir(x) for x in extra], lambda: links() >= made + BATCH) / BATCH
        until("all are open", lambda: states().count("open") >= made + BATCH)
        death = cost(daemon, "deaths", lambda: [os.rmdir(x) for x in extra], lambda: links() <= made) / BATCH
        again = reload(daemon, text + f"allow = tcp/{8000 + n % 1000}\n")
        asked = [ask(daemon) for _ in range(5)]
        asked_cpu, elapsed = (statistics.median(column) for column in zip(*asked))
        print(f"{n:9}   {grow:11.2f}   {birth:10.2f}   {rest:17.2f}   {again:6.1f}   {asked_cpu:6.1f}   {elapsed:15.1f}   {death:11.2f}", flush=True)
    stop(daemon)
    for i in range(made):
        os.rmdir(f"{place}/w{i}")


def sections(n=256):
    for i in range(n):
        os.mkdir(f"{place}/s{i}")
    text = "".join(f"[workload s{i}]\ncgroup = {path}/s{i}\ntunnel = t\n" for i in range(n))
    write(text)
    print(f"\n{n} sections of a file; the daemon's CPU, ms\n")
    for which in "first", "later":
        began = time.monotonic()
        daemon = start()
        until("all are open", lambda: states().count("open") == n)
        print(f"{which} start, until all are open: {cpu_ms(daemon.pid):.1f} ({(time.monotonic() - began) * 1e3:.0f} elapsed)")
        if which == "first":
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
    print(f"at rest, a second: {at_rest(daemon):.2f}")
    print(f"reload, nothing new: {reload(daemon, text):.1f}")
    print(f"reload, one key of all: {reload(daemon, text.replace('tunnel = t', 'tunnel = t' + chr(10) + 'allow = tcp/8080')):.1f}")
    print(f"status: {ask(daemon)[0]:.1f}", flush=True)
    stop(daemon)
    for i in range(n):
        os.rmdir(f"{place}/s{i}")


def freeze(n=50, threads=100):
    sleepers = []
    for i in range(n):
        os.mkdir(f"{place}/f{i}")
        code = (f"import threading,time\nopen('{place}/f{i}/cgroup.procs','w').write('0')\n"
                f"for _ in range({threads - 1}): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
                "print(flush=True)\ntime.sleep(3600)")
        sleepers.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
    for sleeper in sleepers:
        sleeper.stdout.readline()
    write(f"[workload all]\ncgroup = slice:{path}\ntunnel = t\n")
    daemon = start()
    until("all are open", lambda: states().count("open") == n)
    subprocess.run(["ip", "-n", os.path.basename(netns), "link", "set", "dev", tunnel, "down"], check=True)
    until("all are frozen", lambda: states().count("frozen") == n)
    out = subprocess.run([vpnleash, "events", "--json"], capture_output=True, text=True).stdout
    records = [json.loads(line) for line in out.splitlines()]
    down = max(r["boot_ns"] for r in records if r.get("tunnel") and r.get("from") == "up")
    took = sorted((r["boot_ns"] - down) / 1e6 for r in records if r.get("to") == "frozen" and r["boot_ns"] >= down)
    print(f"\n{len(took)} workloads with {threads} threads each, from `down` to `frozen 1`, ms:",
          ", ".join(f"{name} {took[min(len(took) - 1, int(len(took) * q))]:.1f}"
                    for name, q in (("least", 0), ("quarter", .25), ("median", .5), ("three quarters", .75), ("most", 1))))
    for sleeper in sleepers:
        sleeper.kill()
    stop(daemon)


curve()
sections()
freeze()
