#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Single frames, made by hand, and the capture that knows them again.

  frame.py send TOKEN COUNT FAR-MAC FAR-IP OWN-IP WAY…
      each COUNT times from eth0 of the netns that it is started in, marked "TOKEN-WAY.", and as
      often past the qdisc (PACKET_QDISC_BYPASS), and so past a tc egress program.
  frame.py hex TOKEN FAR-MAC FAR-IP OWN-IP WAY
      the frame itself, for whoever sends it otherwise
  frame.py ways
  frame.py capture NETNS IF
      one line a frame on stdout: LENGTH HEX TEXT, TEXT what is printable in it.
"""
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ENDPOINT = 51820


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def ipv4(payload, protocol, source, destination, fragment=0, options=b"", total=None):
    """br_netfilter drops a wrong header checksum: it must be right, whatever else is not."""
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | length // 4, 0, total or length + len(payload), 7,
                       fragment, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(destination)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(payload, port, source_port=4000):
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def ipv6(payload, header, source, destination, hops=255):
    return struct.pack("!IHBB", 6 << 28, len(payload), header, hops) + \
        socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) + \
        payload


def icmpv6(body, source, destination):
    pseudo = socket.inet_pton(socket.AF_INET6, source) + \
        socket.inet_pton(socket.AF_INET6, destination) + struct.pack("!II", len(body), 58)
    return body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]


def neighbour(kind, body, source, destination):
    return ipv6(icmpv6(struct.pack("!BBHI", kind, 0, 0, 0) + body, source, destination), 58, source,
                destination)


def arp(c, operation=1, sender=None, target=None, target_mac=b"\0" * 6, mac=None):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + (mac or c.mac) + \
        socket.inet_aton(sender or c.own) + target_mac + socket.inet_aton(target or c.far)


class Context:
    def __init__(self, far_mac, far, own, token):
        self.far_mac = bytes.fromhex(far_mac.replace(":", ""))
        self.far, self.own, self.token = far, own, token.encode()
        with socket.socket() as s:
            self.mac = fcntl.ioctl(s, 0x8927, struct.pack("256s", b"eth0"))[18:24]  # SIOCGIFHWADDR

    def ether(self, payload, kind=0x0800, to=None, source=None):
        return (to or self.far_mac) + (source or self.mac) + struct.pack("!H", kind) + payload

    def datagram(self, port=9999, to=None, source=None, **more):
        return ipv4(udp(self.token, port), 17, source or self.own, to or self.far, **more)


BROADCAST, LL = b"\xff" * 6, "fe80::3"
WAYS = {
    # packet sockets, and what no IP stack would send
    "raw": lambda c: c.ether(c.datagram()),
    "ethertype": lambda c: c.ether(c.token, 0x88B5),
    "vlan": lambda c: c.ether(struct.pack("!HH", 7, 0x0800) + c.datagram(), 0x8100),
    "qinq": lambda c: c.ether(struct.pack("!HHHH", 7, 0x8100, 8, 0x0800) + c.datagram(), 0x88A8),
    "vlan-endpoint": lambda c: c.ether(struct.pack("!HH", 7, 0x0800) + c.datagram(ENDPOINT), 0x8100),
    "pppoe": lambda c: c.ether(b"\x11\0\0\1\0\x20\0\x21" + c.datagram(), 0x8864),
    # ARP that says more than it must
    "arp-payload": lambda c: c.ether(arp(c) + c.token.ljust(18)[:18], 0x0806, BROADCAST),
    "arp-long": lambda c: c.ether(arp(c) + c.token * 9, 0x0806, BROADCAST),
    "arp-smuggle": lambda c: c.ether(arp(c, target_mac=c.token[:6]), 0x0806, BROADCAST),
    "arp-offlink": lambda c: c.ether(arp(c, target="203.0.113.77"), 0x0806, BROADCAST),
    "arp-foreign": lambda c: c.ether(arp(c, sender="10.9.0.77"), 0x0806, BROADCAST),
    "arp-other-mac": lambda c: c.ether(arp(c, mac=b"\2\0\0\0\0\7"), 0x0806, BROADCAST),
    # IPv6
    "na-payload": lambda c: c.ether(neighbour(136, bytes(16) + c.token * 4, LL, "ff02::1"), 0x86DD),
    "ns": lambda c: c.ether(neighbour(135, socket.inet_pton(socket.AF_INET6, "fd09::2") +
                                      b"\1\1" + c.mac, "fd09::3", "ff02::1:ff00:2"), 0x86DD),
    "rs": lambda c: c.ether(neighbour(133, c.token, LL, "ff02::2"), 0x86DD),
    "endpoint6": lambda c: c.ether(ipv6(udp(c.token, ENDPOINT), 17, "fd09::3", "fd09::2"), 0x86DD),
    # imitations of what may pass
    "endpoint-foreign-ip": lambda c: c.ether(c.datagram(ENDPOINT, source="10.9.0.77")),
    "endpoint-foreign-mac": lambda c: c.ether(c.datagram(ENDPOINT), source=b"\2\0\0\0\0\7"),
    "endpoint-other-port": lambda c: c.ether(c.datagram(ENDPOINT + 1)),
    "endpoint-tcp": lambda c: c.ether(ipv4(struct.pack("!HHIIBBHHH", 4000, ENDPOINT, 1, 0, 0x50, 2,
                                                       1, 0, 0) + c.token, 6, c.own, c.far)),
    "endpoint-broadcast-mac": lambda c: c.ether(c.datagram(ENDPOINT), to=BROADCAST),
    "ihl6": lambda c: c.ether(c.datagram(ENDPOINT, options=b"\1\1\1\1")),
    "ihl-port": lambda c: c.ether(ipv4(udp(c.token, 9999), 17, c.own, c.far,
                                       options=struct.pack("!HH", 4000, ENDPOINT))),
    "fragment": lambda c: c.ether(ipv4(c.token * 2, 17, c.own, "10.9.0.88", fragment=100)),
    "fragment-other-protocol": lambda c: c.ether(ipv4(c.token * 2, 1, c.own, c.far, fragment=100)),
    "trailer": lambda c: c.ether(ipv4(udp(b"x" * 40, ENDPOINT), 17, c.own, c.far) + c.token),
    "short": lambda c: c.ether(c.datagram(ENDPOINT, total=4000)),
    # what the guard lets through: documented, so it must stay true
    "endpoint": lambda c: c.ether(c.datagram(ENDPOINT)),
    "endpoint-fragment": lambda c: c.ether(ipv4(c.token * 2, 17, c.own, c.far, fragment=100)),
}


def send(token, count, far_mac, far, own, *ways):
    for way in ways:
        c = Context(far_mac, far, own, "%s-%s." % (token, way))
        dgram = way == "dgram"
        frame = c.ether(c.datagram()) if dgram else WAYS[way](c)
        for bypass in 0, 1:
            with socket.socket(socket.AF_PACKET,
                               socket.SOCK_DGRAM if dgram else socket.SOCK_RAW, 0) as s:
                s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, bypass)
                for _ in range(int(count)):
                    try:
                        if dgram:
                            s.sendto(frame[14:], ("eth0", 0x0800, 0, 0, c.far_mac))
                        else:
                            s.sendto(frame, ("eth0", 0))
                    except OSError as e:
                        if e.errno != errno.ENOBUFS:  # a tc program inside has dropped it
                            raise


def enter(netns):
    fd = os.open("/run/netns/" + netns, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def capture(netns, interface):
    enter(netns)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    s.bind((interface, ETH_P_ALL))
    print("capturing", flush=True)
    while True:
        frame, where = s.recvfrom(65536)
        if where[2] == 4:  # PACKET_OUTGOING
            continue
        text = "".join(chr(b) if 33 <= b < 127 else "." for b in frame)
        print(len(frame), frame[:128].hex(), text, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(*sys.argv[2:])
    elif sys.argv[1] == "hex":
        token, *where, way = sys.argv[2:]
        print(WAYS[way](Context(*where, "%s-%s." % (token, way))).hex())
    elif sys.argv[1] == "ways":
        print("\n".join(["dgram", *WAYS]))
    else:
        capture(*sys.argv[2:])
