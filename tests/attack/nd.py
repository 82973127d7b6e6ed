#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbour discovery that carries something, made by hand.

  nd.py ways              their names
  nd.py pattern WAY       what shows its frame in the capture's hex
  nd.py send FAR-MAC OWN-IP6 WAY…
      each three times from eth0 of the netns that it is started in, past the qdisc, and so past a
      tc egress program, and three times not
"""
import socket
import struct
import sys

from frame import PACKET_QDISC_BYPASS, SOL_PACKET, icmpv6

NS, NA = 135, 136
SECRET = 0x76A5C300  # and the way's number, in an address or where something is reserved
BEYOND = 0x20010DB8009900000000 << 48


def network(own):
    return int.from_bytes(socket.inet_pton(socket.AF_INET6, own), "big") >> 64 << 64


def group(target, prefix=0xFF02000000000000000000 << 40):
    return prefix | 1 << 32 | 0xFF << 24 | target & 0xFFFFFF


def message(way, own):
    """(type, destination, reserved, target, option with its length, first word of IPv6, source)"""
    secret = SECRET + list(WAYS).index(way)
    me = int.from_bytes(socket.inet_pton(socket.AF_INET6, own), "big")
    here, beyond = network(own) | secret << 16 | 1, BEYOND | secret << 16 | 1
    m = dict(kind=NS, to=group(here), reserved=0, target=here, option=1, mac=None, first=6 << 28, source=me)
    m.update(WAYS[way](secret, me, here, beyond))
    return m


ALL = 0xFF02 << 112 | 1
WAYS = {
    "proper": lambda s, me, here, beyond: {},
    "beyond": lambda s, me, here, beyond: dict(to=beyond, target=beyond),
    "beyond-asked": lambda s, me, here, beyond: dict(to=group(beyond), target=beyond),
    "beyond-of-here": lambda s, me, here, beyond: dict(to=beyond),
    "unheard": lambda s, me, here, beyond: dict(to=here),
    "other-group": lambda s, me, here, beyond: dict(to=group(here) ^ 0xFF),
    "site": lambda s, me, here, beyond: dict(to=group(here) | 0x7 << 112),
    "all": lambda s, me, here, beyond: dict(to=ALL),
    "reserved": lambda s, me, here, beyond: dict(reserved=s),
    "class": lambda s, me, here, beyond: dict(first=6 << 28 | 0xA5C31),
    "foreign-mac": lambda s, me, here, beyond: dict(mac=b"SECRET"),
    "nonce": lambda s, me, here, beyond: dict(option=14, mac=b"SECRET"),
    "nobody-mac": lambda s, me, here, beyond: dict(source=0, mac=b"SECRET"),
    "na-beyond": lambda s, me, here, beyond: dict(kind=NA, to=beyond, target=me, option=2),
    "na-unheard": lambda s, me, here, beyond: dict(kind=NA, to=here, target=me, option=2),
    "na-foreign": lambda s, me, here, beyond: dict(kind=NA, to=ALL, option=2),
    "na-reserved": lambda s, me, here, beyond: dict(kind=NA, to=ALL, target=me, option=2, reserved=s & 0x1FFFFFFF),
    "na-mac": lambda s, me, here, beyond: dict(kind=NA, to=ALL, target=me, option=2, mac=b"SEC" + s.to_bytes(4, "big")[1:]),
}


def frame(way, far_mac, own_mac, own):
    m = message(way, own)
    address = lambda a: socket.inet_ntop(socket.AF_INET6, a.to_bytes(16, "big"))
    source, to = address(m["source"]), address(m["to"])
    body = struct.pack("!BBHI", m["kind"], 0, 0, m["reserved"]) + m["target"].to_bytes(16, "big")
    body += bytes([m["option"], 1]) + (m["mac"] or own_mac)
    body = icmpv6(body, source, to)
    last = m["to"].to_bytes(16, "big")
    mac = b"\x33\x33" + last[12:] if last[0] == 0xFF else far_mac
    head = struct.pack("!IHBB", m["first"], len(body), 58, 255) + m["source"].to_bytes(16, "big") + last
    return mac + own_mac + b"\x86\xdd" + head + body


def main():
    if sys.argv[1] == "ways":
        print(*WAYS)
    elif sys.argv[1] == "pattern":
        secret = SECRET + list(WAYS).index(sys.argv[2])
        print({"na-reserved": "%08x" % (secret & 0x1FFFFFFF), "na-mac": "534543%06x" % (secret & 0xFFFFFF)}.get(
            sys.argv[2], "%08x" % secret))
    else:
        far_mac, own = bytes.fromhex(sys.argv[2].replace(":", "")), sys.argv[3]
        for past in (0, 1):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
                s.bind(("eth0", 0))
                s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, past)
                for way in sys.argv[4:]:
                    for _ in range(3):
                        try:
                            s.send(frame(way, far_mac, s.getsockname()[4], own))
                        except OSError:
                            pass  # guard_inside has dropped it


main()
