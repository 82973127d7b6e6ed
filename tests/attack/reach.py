#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `reach` names as a way out or in, in frames by hand, through the qdisc and past it.

  reach.py out TOKEN FAR-MAC FAR-IP OWN-IP HOST PORT   to the host: ACK with data, SYN-ACK, RST and FIN without a
        connection; a SYN and a datagram to the next port; a datagram and a SYN in a later fragment; SCTP; from a
        strange address; with IP options. To the VPN's server at that port, and to somebody public
  reach.py in TOKEN FAR-MAC OWN-MAC HOST OWN-IP PORT LOCAL-PORT   from the host (in its netns): from that port to other
        ports than LOCAL-PORT, from other ports to LOCAL-PORT
"""
import socket
import struct
import sys

import frame

FIN, SYN, RST, ACK, PSH_ACK, SYN_ACK = 1, 2, 4, 0x10, 0x18, 0x12
MORE, OFFSET = 0x2000, 1


def tcp(source, to, flags, data):
    return struct.pack("!HHIIBBHHH", source, to, 1, 1, 0x50, flags, 1000, 0, 0) + data


def send(ether):
    for bypass in 0, 1:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
            s.setsockopt(frame.SOL_PACKET, frame.PACKET_QDISC_BYPASS, bypass)
            try:
                s.sendto(ether, ("eth0", 0))
            except OSError:
                pass


def out(token, far_mac, far, own, host, port):
    c = frame.Context(far_mac, far, own, token)
    port = int(port)

    def say(what, payload, protocol=6, to=host, source=own, **how):
        send(c.ether(frame.ipv4(payload, protocol, source, to, **how)))

    def marked(what):
        return b"%s-%s." % (token.encode(), what.encode())

    for name, flags in ("ack", ACK), ("data", PSH_ACK), ("synack", SYN_ACK), ("rst", RST), ("fin", FIN | ACK):
        say(name, tcp(4001, port, flags, marked(name)))
    say("port", tcp(4001, port + 1, SYN, marked("port")))
    say("udp", frame.udp(marked("udp"), port), 17)
    say("fragment", tcp(4001, port, SYN, marked("fragment")), fragment=MORE | OFFSET)
    say("last", tcp(4001, port, SYN, marked("last")), fragment=OFFSET)
    say("sctp", tcp(4001, port, SYN, marked("sctp")), 132)
    say("options", tcp(4001, port, SYN, marked("options")), options=b"\1\1\1\1")
    say("spoofed", tcp(4001, port, SYN, marked("spoofed")), source="10.9.0.77")
    say("server", tcp(4001, port, SYN, marked("server")), to=far)
    say("public", tcp(4001, port, SYN, marked("public")), to="203.0.113.9")


def into(token, own_mac, host_mac, host, own, port, local):
    port, local = int(port), int(local)
    for source, to in (port, 8081), (port, local + 1), (port + 1, local):
        for flags in SYN, SYN_ACK, PSH_ACK, RST:
            ip = frame.ipv4(tcp(source, to, flags, token.encode()), 6, host, own)
            send(bytes.fromhex(own_mac + host_mac.replace(":", "") + "0800") + ip)
        ip = frame.ipv4(frame.udp(token.encode(), to, source), 17, host, own)
        send(bytes.fromhex(own_mac + host_mac.replace(":", "") + "0800") + ip)


{"out": out, "in": into}[sys.argv[1]](*sys.argv[2:])
