#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random frames out of a netns, and what of them may leave it by DESIGN 5 and THREATS C, written
without a look at the BPF code:  judge.py SEED COUNT CLIENT-NETNS FAR-NETNS RULE…

  own=IP/LEN              the namespace's address on eth0; its MAC is asked of eth0
  endpoint=IP:PORT/PROTO  where the VPN may talk to, repeatable; the first takes the fences
  host=IP                 where it may talk to while there is no lease (bootstrap)
  lan=PORT:IP:PORT        a flow of a TCP port that was seen inbound (it sends the SYN), repeatable
  open                    nothing guards: all should arrive (the control)

Sent by AF_PACKET past the qdisc, in batches with a fence behind each, and captured at eth0 of FAR.
Every frame that arrives, ours or not, must be one that may; every one of ours that must, arrives.
Prints the numbers and each breach of the rules; 1 if there is one.
"""
import collections
import fcntl
import ipaddress
import os
import random
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import frame as f  # the makers of packets; no rule is in there

MUST, MAY, NOT = "must", "may", "not"
BATCH = 256


def u16(data, at):
    return data[at] << 8 | data[at + 1]


class Rules:
    def __init__(self, words):
        self.endpoints, self.hosts, self.lan, self.open = [], set(), set(), False
        for word in words:
            key, _, value = word.partition("=")
            if key == "own":
                self.own = ipaddress.ip_interface(value)
            elif key == "endpoint":
                place, protocol = value.split("/")
                ip, port = place.rsplit(":", 1)
                self.endpoints.append((socket.inet_aton(ip), int(port),
                                       {"udp": 17, "tcp": 6}[protocol]))
            elif key == "host":
                self.hosts.add(socket.inet_aton(value))
            elif key == "lan":
                port, ip, remote = value.split(":")
                self.lan.add((int(port), socket.inet_aton(ip), int(remote)))
            elif key == "open":
                self.open = True
            else:
                sys.exit("judge: what is '%s'?" % word)
        self.mac = None

    def judge(self, e):
        """(MUST|MAY|NOT, why) of one Ethernet frame, tags and all."""
        kind, body = u16(e, 12), e[14:]
        if e[6:12] != self.mac:
            return NOT, "source MAC"
        if kind == 0x0806:
            return self.arp(body)
        if kind == 0x0800:
            return self.ipv4(e, body)
        return NOT, "ethertype"  # VLAN tags and IPv6 among them

    def arp(self, a):
        if len(a) < 28 or a[:6] != b"\0\1\x08\0\6\4" or u16(a, 6) not in (1, 2):
            return NOT, "ARP header"
        if len(a) > 46 or any(a[28:]):
            return NOT, "ARP with payload"
        if a[8:14] != self.mac or a[14:18] != self.own.ip.packed:
            return NOT, "ARP about another"
        if ipaddress.ip_address(a[24:28]) not in self.own.network:
            return NOT, "ARP off-link"
        if u16(a, 6) == 1 and any(a[18:24]):
            return NOT, "ARP request with a target MAC"
        return (MAY, "ARP padded") if len(a) > 28 else (MUST, "ARP")

    def ipv4(self, e, p):
        if len(p) < 20 or p[0] != 0x45:
            return NOT, "IPv4 header"
        total, field = u16(p, 2), u16(p, 6)
        if not 20 <= total <= len(p):
            return NOT, "IPv4 length"
        if total < len(p) and len(e) > 60:
            return NOT, "trailer"
        if e[0] & 1:
            return NOT, "IPv4 to a group's MAC"
        if p[12:16] != self.own.ip.packed:
            return NOT, "source address"
        padded, to, protocol = total < len(p), p[16:20], p[9]
        rest = p[20:total]
        verdict = self.destination(to, protocol, rest, field & 0x1FFF)
        # what only pads to the least length of Ethernet is left open
        return (MAY, verdict[1] + ", padded") if padded and verdict[0] == MUST else verdict

    def destination(self, to, protocol, rest, offset):
        if to in self.hosts:
            return MUST, "bootstrap"
        if offset:
            # a fragment has no ports: to an endpoint's address, by its protocol
            if any(to == ip and protocol == proto for ip, _, proto in self.endpoints):
                return MUST, "endpoint's fragment"
            return NOT, "fragment"
        if len(rest) < 4:
            return NOT, "no ports"
        source, port = u16(rest, 0), u16(rest, 2)
        whole = len(rest) >= (20 if protocol == 6 else 8)  # else the texts leave it open
        if (to, port, protocol) in self.endpoints:
            return (MUST if whole else MAY), "endpoint"
        if protocol == 6 and (source, to, port) in self.lan:
            # nor do they say which flags a known flow's segment may have
            plain = whole and not rest[13] & 0x07
            return (MUST if plain else MAY), "LAN reply"
        return NOT, "destination"


class Generator:
    """Half is legal or one change away from it; the rest is whatever else a netns could utter."""

    def __init__(self, seed, rules, far_mac):
        self.r, self.rules = random.Random(seed), rules
        self.mac, self.far_mac = rules.mac, far_mac
        self.own = str(rules.own.ip)
        self.serial = 0

    def number(self, bits):
        return self.r.choice((0, 1, self.r.getrandbits(bits), (1 << bits) - 1, self.r.getrandbits(bits)))

    def payload(self, most=60):
        self.serial += 1
        size = self.r.choice((0, 1, 4, 18, 40, self.r.randrange(most), self.r.randrange(1300)))
        return struct.pack("!I", self.serial) + self.r.randbytes(size)

    def transport(self, protocol, source, port):
        if protocol == 17:
            return f.udp(self.payload(), port, source)
        if protocol == 6:
            flags = self.r.choice((0x10, 0x18, 0x12, 0x02, 0x11, 0x04, self.r.getrandbits(8)))
            return struct.pack("!HHIIBBHHH", source, port, self.r.getrandbits(32),
                               self.r.getrandbits(32), 0x50, flags, 512, 0, 0) + self.payload()
        return struct.pack("!BBHI", self.r.choice((0, 3, 5, 8, 13)), 0, 0, port) + self.payload()

    def address(self):
        return self.r.choice((*(socket.inet_ntoa(e[0]) for e in self.rules.endpoints),
                              *(socket.inet_ntoa(h) for h in self.rules.hosts),
                              *(socket.inet_ntoa(ip) for _, ip, _ in self.rules.lan),
                              "10.9.0.88", "198.51.100.1", "192.0.2.1", "192.0.2.2", "8.8.8.8",
                              "255.255.255.255", "10.9.0.255", "224.0.0.1", "239.192.152.143",
                              "127.0.0.1", "0.0.0.0", self.own))

    def to_endpoint(self):
        ip, port, protocol = self.r.choice(self.rules.endpoints)
        return 0x0800, f.ipv4(self.transport(protocol, 4000, port), protocol, self.own, socket.inet_ntoa(ip))

    def fragment(self):
        ip, port, protocol = self.r.choice(self.rules.endpoints)
        whole = self.transport(protocol, 4000, port)
        offset = self.r.choice((0, 1, 2, 185, 0x1FFF))
        return 0x0800, f.ipv4(whole if not offset else self.payload(), protocol, self.own,
                              socket.inet_ntoa(ip), fragment=offset | self.r.choice((0, 0x2000)))

    def lan_reply(self):
        if not self.rules.lan:
            return self.to_endpoint()
        port, ip, remote = self.r.choice(sorted(self.rules.lan))
        return 0x0800, f.ipv4(self.transport(6, port, remote), 6, self.own, socket.inet_ntoa(ip))

    def bootstrap(self):
        to = self.r.choice(sorted(self.rules.hosts) or [socket.inet_aton("192.0.2.1")])
        protocol = self.r.choice((1, 6, 17))
        return 0x0800, f.ipv4(self.transport(protocol, 4000, 53), protocol, self.own, socket.inet_ntoa(to))

    def arp(self):
        operation = self.r.choice((1, 1, 2))
        target = str(self.rules.own.network[self.r.randrange(self.rules.own.network.num_addresses)])
        return 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + self.mac + \
            socket.inet_aton(self.own) + (bytes(6) if operation == 1 else self.r.randbytes(6)) + \
            socket.inet_aton(target)

    def any_ipv4(self):
        protocol = self.r.choice((1, 2, 4, 6, 17, 17, 41, 47, 50, 132, 136, self.number(8)))
        port = self.r.choice((9999, 53, 67, 443, 51820, 8080, self.number(16)))
        return 0x0800, f.ipv4(self.transport(protocol, self.r.choice((4000, 68, 51820, 8080)), port),
                              protocol, self.r.choice((self.own, self.own, self.address())),
                              self.address(), fragment=self.r.choice((0, 0, 0, self.number(16))),
                              options=self.r.choice((b"", b"", b"\1" * 4, b"\x83\7\4\n\t\0\2\0")))

    def any_ipv6(self):
        r, body, header = self.r, self.payload(), 17
        to = r.choice(("fd09::2", "2001:db8::1", "ff02::1", "ff02::16", "ff15::efc0:988f",
                       "::ffff:10.9.0.2", "fe80::2"))
        source = r.choice(("fd09::3", "fe80::3", "::", "fd09::77"))
        kind = r.randrange(4)
        if kind == 0:
            body = f.udp(body, r.choice((51820, 53, 9999)))
        elif kind == 1:
            body = f.icmpv6(struct.pack("!BBHI", r.choice((128, 133, 135, 136, 143)), 0, 0, 0) +
                            socket.inet_pton(socket.AF_INET6, to) + r.randbytes(r.choice((0, 8, 32))),
                            source, to)
            header = 58
        else:
            body = f.udp(body, 51820)
            for _ in range(r.randrange(1, 4)):  # hop-by-hop, routing, fragment, destination options
                extension = r.choice((0, 43, 44, 60))
                body = bytes((header, 0)) + r.randbytes(6) + body
                header = extension
        return 0x86DD, f.ipv6(body, header, source, to, hops=r.choice((255, 255, 64)))

    def other(self):
        return self.r.choice((0x88B5, 0x8864, 0x888E, 0x88CC, 0x8847, 0x0842, 0x86DC, 0x0801,
                              self.number(16), self.r.randrange(1500))), self.payload()

    MAKERS = ("to_endpoint",) * 5 + ("fragment",) * 2 + ("lan_reply",) * 2 + ("bootstrap",) + \
        ("arp",) * 3 + ("any_ipv4",) * 4 + ("any_ipv6",) * 2 + ("other",)

    def mutate(self, e):
        r, e = self.r, bytearray(e)
        way = r.randrange(12)
        if way == 0:  # a bit of what is a header most of the time
            at = r.randrange(min(len(e), 58))
            e[at] ^= 1 << r.randrange(8)
        elif way == 1:
            e[r.randrange(min(len(e), 58))] = self.number(8)
        elif way == 2:
            del e[r.randrange(14, len(e) + 1):]
        elif way == 3:
            e += r.choice((bytes(r.randrange(1, 24)), r.randbytes(r.randrange(1, 200))))
        elif way == 4 and len(e) >= 34:  # another total length
            e[16:18] = struct.pack("!H", max(0, min(65535, r.choice((0, 19, 20, 28, len(e) - 14 +
                                            r.randrange(-30, 30), 65535)))))
        elif way == 5:
            for _ in range(r.choice((1, 1, 2))):
                e[12:12] = struct.pack("!HH", r.choice((0x8100, 0x88A8)), self.number(16))
        elif way == 6:
            e[6:12] = r.choice((self.far_mac, bytes(6), b"\2\0\0\0\0\7", bytes(e[0:6])))
        elif way == 7:
            e[0:6] = r.choice((b"\xff" * 6, b"\1\0\x5e\0\0\1", b"\x33\x33\0\0\0\1", b"\2\0\0\0\0\x42"))
        elif way == 8:
            e[12:14] = r.choice((b"\x08\0", b"\x08\6", b"\x86\xdd", b"\x81\0", b"\x88\xa8", b"\0\x2a"))
        elif way == 9 and len(e) >= 34 and e[14] == 0x45:  # options between the header and the ports
            words = r.randrange(1, 4)
            e[14] += words
            e[34:34] = r.choice((b"\1\1\1\1", bytes(e[34:38])))[:4].ljust(4, b"\0") * words
            e[16:18] = struct.pack("!H", (u16(e, 16) + 4 * words) & 0xFFFF)
        elif way == 10 and len(e) >= 34:
            e[26:30] = socket.inet_aton(r.choice((self.own, "10.9.0.77", "0.0.0.0", "127.0.0.1")))
        elif len(e) >= 34:
            e[30:34] = socket.inet_aton(self.address())
        if len(e) >= 34 and e[12:14] == b"\x08\0" and r.random() < 0.8:  # the sum is right again
            size = max(20, (e[14] & 15) * 4)
            e[24:26] = b"\0\0"
            e[24:26] = struct.pack("!H", f.checksum(bytes(e[14:14 + size])))
        return bytes(e)

    def frame(self):
        kind, body = getattr(self, self.r.choice(self.MAKERS))()
        to = self.far_mac if kind != 0x0806 or self.r.random() < 0.3 else b"\xff" * 6
        e = to + self.mac + struct.pack("!H", kind) + body
        for _ in range(self.r.choice((0, 0, 1, 1, 1, 2, 3))):
            e = self.mutate(e)
        if e[:5] == b"\1\x80\xc2\0\0":  # a bridge keeps these to itself
            e = self.far_mac + e[6:]
        return e[:1514]


class Wire:
    def __init__(self, client, far):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        f.enter(client)
        self.out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.out.setsockopt(f.SOL_PACKET, f.PACKET_QDISC_BYPASS, 1)
        self.out.bind(("eth0", 0))
        self.mac = self.out.getsockname()[4]
        f.enter(far)
        self.far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(f.ETH_P_ALL))
        self.far.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.far.setsockopt(f.SOL_PACKET, 8, 1)  # PACKET_AUXDATA: the tag, which the kernel has taken off
        self.far.bind(("eth0", f.ETH_P_ALL))
        self.far.setblocking(False)
        self.far_mac = self.far.getsockname()[4]
        os.close(home)

    def arrived(self):
        while True:
            try:
                e, more, _, where = self.far.recvmsg(65536, 256)
            except BlockingIOError:
                return
            if where[2] == 4:  # PACKET_OUTGOING
                continue
            for level, kind, data in more:
                if level == f.SOL_PACKET and kind == 8:
                    status, _, _, _, _, tag, ethertype = struct.unpack("=IIIHHHH", data[:20])
                    if status & 0x10:  # TP_STATUS_VLAN_VALID
                        e = e[:12] + struct.pack("!HH", ethertype if status & 0x40 else 0x8100, tag) + e[12:]
            yield e

    def lost(self):
        return struct.unpack("II", self.far.getsockopt(f.SOL_PACKET, 6, 8))[1]  # PACKET_STATISTICS


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    wire, rules = Wire(*sys.argv[3:5]), Rules(sys.argv[5:])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one CPU: order is kept
    rules.mac = wire.mac
    own = str(rules.own.ip)
    generator = Generator(seed, rules, wire.far_mac)
    for port, ip, remote in rules.lan:
        syn = struct.pack("!HHIIBBHHH", remote, port, 1, 0, 0x50, 2, 512, 0, 0)
        wire.far.send(wire.mac + wire.far_mac + b"\x08\0" + f.ipv4(syn, 6, socket.inet_ntoa(ip), own))

    seen, sent, breaches = collections.Counter(), collections.Counter(), []
    refused, others, begin = 0, 0, time.monotonic()
    fence_ip, fence_port, _ = rules.endpoints[0]

    def breach(what, e, why):
        breaches.append("%s (%s), %d bytes: %s" % (what, why, len(e), e[:80].hex()))

    def settle(number, waiting):
        """The batch, and what else came meanwhile, until the fence is there."""
        nonlocal others
        mark = b"JUDGE-FENCE-%d-%d." % (seed, number)
        fence = wire.far_mac + wire.mac + b"\x08\0" + f.ipv4(
            f.udp(mark, fence_port), 17, own, socket.inet_ntoa(fence_ip))
        wire.out.send(fence)
        end = time.monotonic() + 10
        while True:
            for e in wire.arrived():
                if e == fence:
                    return
                verdict, why = rules.judge(e)
                if waiting[e] > 0:
                    waiting[e] -= 1
                else:
                    others += 1
                seen[verdict, why] += 1
                if verdict == NOT and not rules.open:
                    breach("LEAK", e, why)
            if time.monotonic() > end:
                sys.exit("judge: fence %d did not arrive" % number)
            select.select([wire.far], [], [], 0.05)

    done = 0
    while done < count:
        waiting = collections.Counter()
        for _ in range(min(BATCH, count - done)):
            e = generator.frame()
            try:
                wire.out.send(e)
            except OSError:
                refused += 1  # the kernel itself would not
                continue
            waiting[e] += 1
            sent[rules.judge(e)] += 1
        done += BATCH
        settle(done // BATCH, waiting)
        for e, n in waiting.items():
            verdict, why = rules.judge(e)
            if n > 0 and verdict == MUST:
                breach("LOST", e, why)
    if wire.lost():
        sys.exit("judge: the capture lost frames")

    for key in sorted(sent.keys() | seen.keys()):
        print("%-4s %-30s sent %6d arrived %6d" % (*key, sent[key], seen[key]))
    total = sum(sent.values())
    share = {v: sum(n for (verdict, _), n in sent.items() if verdict == v) for v in (MUST, MAY, NOT)}
    print("seed %d: %d frames in %.1f s: must %d may %d not %d; refused %d, of others %d" % (
        seed, total, time.monotonic() - begin, share[MUST], share[MAY], share[NOT], refused, others))
    for line in breaches[:20]:
        print(line)
    print("arrived %d of not %d breaches %d" % (
        sum(n for (verdict, _), n in seen.items() if verdict == NOT), share[NOT], len(breaches)))
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
