#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Both ends of the smoke's VPN; runs in the containers, in busybox' shell.
#
#	vpn.sh provider		wg0, forwards into "inet"; first process
#	vpn.sh client		CloudflareWARP, the first time; first process
#	vpn.sh up		CloudflareWARP again, after wireguard-go was killed
#
# The first process outlives wireguard-go and does not start it again: a
# container whose daemon has died goes on running, as Cloudflare's does.
set -eu

# The kernel may have a WireGuard of its own; what is wanted is a process.
export WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1

# Not busybox' own, which its shell would take.
ip()
{
	/usr/sbin/ip "$@"
}

tunnel()
{
	wireguard-go "$1" >/dev/null 2>&1
	wg setconf "$1" "/wg/$1.conf"
	ip addr add "$2" dev "$1"
	ip link set "$1" mtu 1420 up
}

# Routed as by wg-quick: the engine's own default route stays, and is what is left when
# wireguard-go dies; the tunnel's packets never find into the tunnel.
client()
{
	tunnel CloudflareWARP 10.66.0.2/24
	wg set CloudflareWARP fwmark 51820
	ip route add default dev CloudflareWARP table 51820
	ip rule del pref 100 2>/dev/null || :
	ip rule add pref 100 not fwmark 51820 table 51820
	ip rule del pref 99 2>/dev/null || :
	ip rule add pref 99 table main suppress_prefixlength 0
}

case $1 in
provider)
	tunnel wg0 10.66.0.1/24
	# what everybody asks whether there is an internet
	ip addr add 1.1.1.1/32 dev lo
	# Packets of the tunnel's own subnet would be dropped by the engine's rules
	# on "inet"; real providers masquerade as well. With a fresh port for
	# each flow: a peer that comes back from the same port is taken for its dead
	# connection, until that one is given up after two minutes.
	iptables -t nat -A POSTROUTING -s 10.66.0.0/24 ! -o wg0 \
		-j MASQUERADE --random-fully
	# The seed has a whole network of names: a client waits a minute before it
	# tries the same address again.
	iptables -t nat -A PREROUTING -i wg0 -d 203.0.113.0/24 \
		-j DNAT --to-destination 10.77.0.3
	;;
client) client ;;
up)
	client
	exit
	;;
esac
exec sleep 1000000
