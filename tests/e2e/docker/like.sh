#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Start-up scripts as VPN images have them, for the first evening; first processes in busybox' shell.
# Neither knows of vpnleash.
#
#	like.sh warp		asks its maker by name and HTTP, connects, keeps private addresses out
#				of the tunnel; its program is not started anew
#	like.sh forwarding	connects, writes down the port of /wg/port as gluetun does, and tells it once
#				to the torrent client; its program is not started anew
#	like.sh gluetun		shuts its own firewall, connects, answers by where it was asked, and
#				starts its VPN anew when that carries nothing
set -eu

export WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1
server=10.99.0.2

# Not busybox' own, which its shell would take.
ip()
{
	/usr/sbin/ip "$@"
}

gateway=$(ip route show default | awk '{ print $3 }')
own=$(ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }')

connect()	# INTERFACE
{
	wireguard-go "$1" >/dev/null 2>&1
	wg setconf "$1" /wg/CloudflareWARP.conf
	wg set "$1" fwmark 51820
	ip addr add 10.66.0.2/24 dev "$1"
	ip link set "$1" mtu 1420 up
	ip route add default dev "$1" table 51820
}

rules()
{
	ip rule add pref 100 not fwmark 51820 table 51820
	ip rule add pref 99 table main suppress_prefixlength 0
}

warp()
{
	until wget -q -T 2 -O /dev/null http://provider/vpn.sh; do
		sleep 1
	done
	for private in 172.16.0.0/12 192.168.0.0/16; do
		ip route add "$private" via "$gateway"
	done
	rules
	connect CloudflareWARP
	exec sleep 1000000
}

tell_port()
{
	until wg show CloudflareWARP latest-handshakes | grep -qv '[[:space:]]0$'; do
		sleep 0.2
	done
	mkdir -p /tmp/gluetun
	cp /wg/port /tmp/gluetun/forwarded_port
	curl -sS -m 5 --data-urlencode "json={\"listen_port\":$(cat /wg/port)}" \
		http://127.0.0.1:8080/api/v2/app/setPreferences
	echo "port $(cat /wg/port): curl ended with $?"
}

forwarding()
{
	rules
	connect CloudflareWARP
	tell_port 2>&1 || :
	exec sleep 1000000
}

gluetun()
{
	for chain in INPUT OUTPUT FORWARD; do
		iptables -P $chain DROP
	done
	for way in "INPUT -i lo" "OUTPUT -o lo" "INPUT -m conntrack --ctstate ESTABLISHED,RELATED" \
		"OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED" "OUTPUT -o tun0" \
		"OUTPUT -o eth0 -d $server -p udp --dport 51820" "INPUT -i eth0 -p tcp --dport 8080"; do
		# shellcheck disable=SC2086 # words
		iptables -A $way -j ACCEPT
	done
	ip rule add pref 98 from "$own" table 200
	ip route add default via "$gateway" table 200
	rules
	connect tun0
	while sleep 3; do
		if ! ping -c 1 -W 3 1.1.1.1 >/dev/null; then
			pkill -9 wireguard-go || :
			sleep 1
			connect tun0
		fi
	done
}

"$1"
