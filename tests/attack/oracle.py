#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""T69: random frames against the guard, and what it should let out, written from the rules of
docs/design.md and not from the BPF code.

  oracle.py send SEED COUNT FAR-MAC FAR-IP OWN-IP     from eth0 of the netns it is started in
  oracle.py judge SEED COUNT FAR-MAC FAR-IP OWN-IP OWN-MAC <FRAMES
      FRAMES as `frame.py capture` writes them. Exit 1 if a frame arrived that should not have, or
      one did not that should.

The frames are made anew from the seed by both, so nothing needs to be kept. Each has its number in
it twice where there is room; a frame is known by all its bytes.
"""

import random
import socket
import struct
import sys

sys.path.insert(0, "tests/attack")
import frame  # noqa: E402  (checksums and headers; no rule is in there)

ENDPOINT = 51820

def addresses(r, far, own):
    return r.choice([far] * 6 + [own] * 3 + ["10.9.0.77", "198.51.100.1", "224.0.0.1", "255.255.255.255",
                                            "127.0.0.1", "0.0.0.0"])

def make_ipv4(r, number, far, own):
    source, to = r.choice([own] * 8 + ["10.9.0.77", far]), addresses(r, far, own)
    protocol = r.choice([17] * 8 + [6, 6, 1, 2, 47, 50, 136, 132, 0, 255])
    body = struct.pack("!I", number) * r.choice([1, 2, 5, 20, 100])
    port = r.choice([ENDPOINT] * 8 + [53, 443, 9999, 8080, 0])
    if protocol in (17, 136):
        payload = frame.udp(body, port, r.choice([4000, ENDPOINT, 8080]))
    elif protocol == 6:
        payload = struct.pack("!HHIIBBHHH", 4000, port, number, 0, 0x50, r.randrange(64), 99, 0, 0) + body
    else:
        payload = struct.pack("!HH", 4000, port) + body
    fragment = r.choice([0] * 8 + [0x4000, 0x2000, 1, 0x2001, 185, 0x1FFF, 0x8000])
    options = r.choice([b""] * 10 + [b"\1" * 4, b"\x94\4\0\0", b"\1" * 40])
    packet = frame.ipv4(payload, protocol, source, to, fragment, options)
    if r.random() < 0.1:  # a total length that is not what is there
        total = max(0, len(packet) + r.choice([-8, -1, 1, 8, 1000, -len(packet), -len(packet) + 19]))
        packet = packet[:2] + struct.pack("!H", total) + packet[4:10] + b"\0\0" + packet[12:]
        packet = packet[:10] + struct.pack("!H", frame.checksum(packet[:20])) + packet[12:]
    if r.random() < 0.03:
        packet = bytes([packet[0] & 0x0F | r.choice([0, 5, 6, 15]) << 4]) + packet[1:]
    return packet

def make_ipv6(r, number, mac):
    source = r.choice(["fd09::3", "fe80::3", "::", "2001:db8::9"])
    to = r.choice(["fd09::2", "ff02::1", "ff02::2", "2001:db8::1"])
    kind = r.choice([17, 58, 58, 0, 43, 44, 60, 6])
    body = struct.pack("!I", number) * r.choice([1, 4, 30])
    if kind == 58:
        return frame.neighbour(r.choice([133, 134, 135, 136, 143, 128]), body, source, to)
    return frame.ipv6(frame.udp(body, ENDPOINT), kind, source, to, r.choice([64, 255]))

def make_arp(r, number, far, own, mac):
    a = struct.pack("!HHBBH", r.choice([1] * 9 + [6]), r.choice([0x800] * 9 + [0x86DD]),
                    r.choice([6] * 9 + [8]), r.choice([4] * 9 + [16]), r.choice([1] * 5 + [2] * 4 + [3]))
    a += r.choice([mac] * 6 + [b"\2\0\0\0\0\7"]) + socket.inet_aton(r.choice([own] * 6 + ["10.9.0.77"]))
    a += r.choice([bytes(6)] * 4 + [struct.pack("!IH", number, 7)])
    a += socket.inet_aton(r.choice([far] * 4 + ["10.9.0.%d" % (number % 250 + 1), "203.0.113.1"]))
    return a + r.choice([b""] * 6 + [bytes(18), struct.pack("!I", number)])

def make(seed, count, far_mac, far, own, mac):
    r = random.Random(seed)
    for number in range(count):
        kind = r.choice([0x0800] * 12 + [0x0806] * 3 + [0x86DD] * 3 + [0x88B5, 0x8100, 0x8847, 0x8863, 0x05])
        if kind == 0x0806:
            body = make_arp(r, number, far, own, mac)
        elif kind == 0x86DD:
            body = make_ipv6(r, number, mac)
        else:
            body = make_ipv4(r, number, far, own)
        if kind == 0x8100:
            body = struct.pack("!HH", r.randrange(4096), 0x0800) + body
        to = r.choice([far_mac] * 8 + [b"\xff" * 6, b"\1\0\x5e\0\0\1", b"\2\0\0\0\0\x08"])
        f = to + r.choice([mac] * 12 + [b"\2\0\0\0\0\7"]) + struct.pack("!H", kind) + body
        if r.random() < 0.05:
            f += r.choice([b"\0" * 4, struct.pack("!I", number) * 4])
        if r.random() < 0.03:
            f = f[:r.randrange(14, len(f) + 1)]
        if r.random() < 0.05:  # any byte behind the destination
            at = r.randrange(6, len(f))
            f = f[:at] + bytes([r.randrange(256)]) + f[at + 1:]
        yield f

def may_leave(f, far, own, mac):
    """The rules: docs/design.md, "What leaves"."""
    if len(f) < 14 or f[6:12] != mac:
        return False
    kind, p = f[12:14], f[14:]
    own, far = socket.inet_aton(own), socket.inet_aton(far)
    if kind == b"\x08\x06":
        return len(f) == 42 and p[:6] == b"\0\1\x08\0\6\4" and p[6:8] in (b"\0\1", b"\0\2") and \
            p[8:14] == mac and p[14:18] == own and p[24:27] == own[:3] and \
            (p[6:8] == b"\0\2" or p[18:24] == bytes(6))
    if kind != b"\x08\0" or f[0] & 1 or len(p) < 20 or p[0] != 0x45:
        return False
    total = struct.unpack("!H", p[2:4])[0]
    if total < 20 or total != len(p):
        return False
    if p[12:16] != own or p[16:20] != far or p[9] != 17:
        return False
    if struct.unpack("!H", p[6:8])[0] & 0x1FFF:
        return True  # a later fragment, of the endpoint's protocol and to its address
    return total >= 24 and struct.unpack("!H", p[22:24])[0] == ENDPOINT

def main():
    verb, seed, count, far_mac, far, own = sys.argv[1:7]
    far_mac = bytes.fromhex(far_mac.replace(":", ""))
    if verb == "send":
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.setsockopt(263, 20, 1)  # the outer guard is to be judged, not the one inside
        s.bind(("eth0", 0))
        mac = s.getsockname()[4]
        refused = 0
        for f in make(int(seed), int(count), far_mac, far, own, mac):
            try:
                s.send(f)
            except OSError:
                refused += 1
        print("sent", int(count) - refused, "refused", refused)
        return 0
    mac = bytes.fromhex(sys.argv[7])
    allowed, denied = {}, set()
    for f in make(int(seed), int(count), far_mac, far, own, mac):
        if may_leave(f, far, own, mac):
            allowed[f[:128].hex()] = f
        else:
            denied.add(f[:128].hex())
    arrived = {line.split()[1] for line in sys.stdin if line[:1].isdigit()}
    wrong = denied & arrived - allowed.keys()
    # what a bridge or the far machine's own address sends back to us never comes by
    missing = {h for h in allowed if h not in arrived}
    print("frames", int(count), "allowed", len(allowed), "arrived", len(allowed.keys() & arrived),
          "wrongly", len(wrong), "missing", len(missing))
    for h in list(wrong)[:5]:
        print("should not have arrived:", h)
    for h in list(missing)[:5]:
        print("should have arrived:", h)
    return 1 if wrong or missing or len(allowed) < int(count) // 100 else 0

if __name__ == "__main__":
    sys.exit(main())
