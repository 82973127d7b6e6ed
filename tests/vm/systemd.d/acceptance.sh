#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/vm/systemd.d/acceptance.sh PART: one part of case_acceptance, which says what they are; ends
# at the first thing that is not as it should be. The laboratory is that of tests/e2e/docker, with
# the machine's own engine.
export CASE_DIR=/smoke/case CASE_NAME=acceptance CASE_CGROUP=/sys/fs/cgroup BUILD=$PWD/build
export VPNLEASH=/usr/local/sbin/vpnleash BOUND_FACTOR=3
mkdir -p $CASE_DIR
. tests/lib.sh

# shellcheck source=tests/e2e/docker/lib.sh
. tests/e2e/docker/lib.sh
# shellcheck disable=SC2034 # lib.sh reads these
smoke=/smoke stack=/script named_by=dist SMOKE_CGROUP=
# an emulated machine: enough to be in the middle of it
size=$((24 * 1024 * 1024)) rate=$((512 * 1024))

# A busy machine may not answer in time.
is_at() { at=$(permille "$1") && [ -n "$at" ]; }	# HASH: its progress, in $at

host=0
dist()	# CMD…
{
	local files=(-f /dist/docker-compose.yml -f /script/lab.yml -f /script/lab.systemd.yml)

	[ "$host" = 0 ] || files+=(-f /script/host.yml)
	env VPN_IMAGE=vpnleash-smoke QBITTORRENT_IMAGE=vpnleash-smoke SMOKE_CGROUP=/unused \
		VPN_CONNECTED='wg show CloudflareWARP latest-handshakes | grep -qv "[[:space:]]0$$"' \
		VPN_DATA=/smoke/wg VPN_DATA_PATH=/wg QBITTORRENT_CONFIG=/smoke/qbt/config DOWNLOADS=/smoke/qbt/data \
		docker-compose -p dist "${files[@]}" --progress quiet "$@"
}

# Everything at the far side, too: the seed's own and what the VPN carries are told apart.
# Neither the VPN's tunnel nor the seed's announcements are qBittorrent's.
anybody="(port 6881 or udp port 6771 or src host 10.99.0.3) and not src host 10.77.0.3
	and not (udp and dst host $endpoint and dst port 51820) and not arp
	and not icmp and not igmp and not (tcp[tcpflags] & tcp-rst != 0)"

stack_install()
{
	mkdir -p /script /dist /smoke /usr/local/lib/docker/cli-plugins
	cp tests/e2e/docker/* tests/vm/systemd.d/*.yml /script/
	printf '#!/bin/sh\nshift 2\nexec "$@"\n' >/script/engine.sh
	cp dist/compose/*.yml /dist/
	ln -sf "$BUILD/docker/root/usr/libexec/docker/cli-plugins/docker-compose" /usr/local/lib/docker/cli-plugins/
	ln -sf /usr/local/lib/docker/cli-plugins/docker-compose /usr/local/bin/
	systemctl start docker
	docker import -c 'ENV PATH=/usr/sbin:/usr/bin LANG=C.UTF-8' - vpnleash-smoke <build/docker/image.tar >/dev/null
	write_config seed
	write_config qbt
	write_keys
	docker version -f 'Docker {{.Server.Version}}'
}

lab_install()
{
	make -s -o all install >/dev/null
	# what is seen at boot, from before the engine until after it; and how its containers ended
	cat >/etc/systemd/system/vm-witness.service <<-'EOF'
		[Unit]
		Before=docker.service vpnleash.service
		[Service]
		ExecStart=/usr/bin/tcpdump -Z root -i any -n -U -s 192 --immediate-mode -w /smoke/boot.pcap
		ExecStopPost=/bin/sh -c 'cat /var/lib/docker/containers/*/config.v2.json >/smoke/ended.json'
		[Install]
		WantedBy=multi-user.target
	EOF
	systemctl daemon-reload
	systemctl -q enable docker vm-witness vpnleash
	stack_install
}

# What case_newcomer's user has: a compose file of his own, with which it runs, and leaks.
users_stack()	# FOLDER
{
	mkdir -p /var/lib/docker "$1"
	mount -t tmpfs tmpfs /var/lib/docker # overlay does not lie on the guest's root
	stack_install
	dist config >"$1/docker-compose.yml"
}

control()
{
	dist_up
	wait_until 60 _dist_is qbittorrent running
	wait_until 20 api_up seed
	wait_until 20 api_up vpn
	capture_bridge control
	begin control
	wait_until 60 beyond "$hash" 50
	docker exec vpn pkill -9 wireguard-go
	killed=$EPOCHREALTIME
	name_peer "$hash"
	wait_until 30 seen control "$all and tcp and dst net 203.0.113.0/24" "$killed"
	report control "$killed"
	expect_eq "$(dist_state qbittorrent)" running "qbittorrent, with the VPN dead"
	capture_end control
	dist down -t 3
}

# What later boots are to know of it.
begin_transfer()	# NAME
{
	begin "$1"
	echo "$hash $1" >/smoke/transfer
}

leash()
{
	host=1
	systemctl start vpnleash
	dist_up
	wait_until 60 _dist_is qbittorrent running
	capture_bridge leash
	wait_state qbittorrent open 30
	"$VPNLEASH" status
	expect_match "$(cat "/proc/$(docker inspect -f '{{.State.Pid}}' qbittorrent)/cgroup")" \
		'^0::/vpnleash.slice/docker-[0-9a-f]+.scope$' "its cgroup"
	wait_until 20 api_up vpn
	begin_transfer leash
	wait_until 60 beyond "$hash" 50

	docker exec vpn pkill -9 wireguard-go
	killed=$(now_ms)
	wait_state qbittorrent frozen 10
	note "frozen $(($(now_ms) - killed)) ms after the kill, as seen from here"
	expect_eq "$(dist_state vpn)" running "vpn, whose daemon is dead"
	wait_dist qbittorrent exited 90
	expect_at_most $(($(now_ms) - killed)) 90000 "ms until it is exited"
	expect_eq "$(docker inspect -f '{{.State.ExitCode}}' qbittorrent)" 0 "exit code of qbittorrent"
	docker restart -t 3 vpn >/dev/null
	restarted=$(now_ms)
	wait_dist qbittorrent running 90
	expect_at_most $(($(now_ms) - restarted)) 90000 "ms until it is running"
	wait_state qbittorrent open 30
	wait_until 20 api_up vpn
	wait_until 20 is_at "$hash"
	goes_on "$hash" $((at + 20))
	expect_eq "$(count leash "$all and not $kernel")" 0 "packets of qBittorrent beyond the bridge"
	wait_until 5 seen leash "udp and dst host $endpoint and dst port 51820"
	capture_end leash
}

first()	# MESSAGE: when the daemon said so in this boot, in seconds
{
	journalctl -b -u vpnleash -o json | jq -r --arg said "$1" \
		'select(.MESSAGE | strings | test($said)).__REALTIME_TIMESTAMP' | awk 'NR == 1 { printf "%.6f\n", $1 / 1e6 }'
}

# After a reset or reboot: nothing of qBittorrent anywhere before the first lease; it runs again by
# itself; its transfer goes on.
recovered()
{
	local name lease opened packet

	read -r hash name </smoke/transfer
	wait_until 200 systemctl -q is-active docker
	wait_dist vpn running 60
	wait_dist qbittorrent running 60
	wait_state qbittorrent open 60
	wait_until 20 api_up vpn
	wait_until 20 is_at "$hash"
	if [ "$at" = 1000 ]; then # between two resets
		finish "$name" "$hash"
		begin_transfer "boot$BOOT"
		at=0
	fi
	goes_on "$hash" "$at"
	[ "$at" != 0 ] || sync # what is new of it is to be there after the next reset
	journalctl -b -u vpnleash -o short-precise --no-hostname
	lease=$(first "tunnel '.*CloudflareWARP': [a-z]+ -> up")
	opened=$(first "workload 'qbittorrent': [a-z]+ -> open")
	packet=$(packets boot "$anybody" | awk 'NR == 1 { print $1 }')
	packets boot "$anybody" | sed -n 1,5p
	expect_match "$lease,$opened,$packet" '^[0-9.]+,[0-9.]+,[0-9.]+$' "first lease, opened, first packet"
	awk -v a="$lease" -v b="$packet" 'BEGIN { printf "first packet %.3f s after the first lease\n", b - a; exit b <= a }' ||
		fail_case "a packet before the first lease"
	expect_at_most "$(awk -v a="$lease" -v b="$opened" 'BEGIN { printf "%.0f\n", (b - a) * 1000 }')" 60000 \
		"ms from the first lease until it is open"
	expect_eq "$(count boot "src host 10.99.0.3 and $all and not $kernel")" 0 "packets of it on the bridge since the boot"
}

freeze()
{
	docker exec vpn pkill -9 wireguard-go
	wait_state qbittorrent frozen 10
	rm -f /smoke/ended.json
}

ended_well()
{
	expect_eq "$(jq -r 'select(.Name == "/qbittorrent").State | "\(.Running) \(.ExitCode)"' /smoke/ended.json)" \
		"false 0" "how the frozen container ended at the shutdown"
	journalctl -b -1 -u docker -u vpnleash -o short-precise --no-hostname | grep -A 30 'Stopping' || :
	expect_eq "$(journalctl -b -1 -o cat _PID=1 | awk '/Stopped docker.service|Stopped Docker/ { d = NR }
		/Stopped vpnleash.service/ { v = NR } END { print d && v && d < v }')" 1 "vpnleash stopped after the engine"
}

whole()
{
	local name

	read -r hash name </smoke/transfer
	finish "$name" "$hash"
}

"$@"
