#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Joins a multicast group of each family on eth0, for a second: the kernel says so by IGMP and MLD."""
import socket
import struct
import time

eth0 = socket.if_nametoindex("eth0")
v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
              socket.inet_aton("239.1.2.3") + struct.pack("=4si", bytes(4), eth0))
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
              socket.inet_pton(socket.AF_INET6, "ff05::1234") + struct.pack("=i", eth0))
time.sleep(1)
