# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the attacks on the edge of the namespace share, after tests/lib.sh: the laboratory with the
# host's end of eth0 in the case's own netns, and a capture beyond it. What is no socket of the
# workload is sent by an unlabelled neighbour too: $other, in the same netns.
# shellcheck disable=SC2034 # lab.sh reads it
LAB_EDGE=here
WAY=$BUILD/tests/attack/way
FRAMES=$CASE_DIR/frames.log
_edge_from=0 _edge_fence=0

# KIND MODE: eth0 is a macvlan or ipvlan of edge0, as an engine makes it on a NAS, and not a veth;
# another one beside it is somebody's else. Before edge_up; lab_up finds eth0 and leaves it.
edge_shared() {
	_lab_netns "$LAB_CLIENT"
	_lab_netns "$LAB_FAR"
	ip -batch - <<-EOF
		link add labbr$LAB_NUMBER type bridge forward_delay 0 mcast_snooping 0
		link add edge$LAB_NUMBER type veth peer name wire$LAB_NUMBER
		link add out$LAB_NUMBER type veth peer name eth0 netns $LAB_FAR
		link set dev labbr$LAB_NUMBER addrgenmode none
		link set dev labbr$LAB_NUMBER up
		link set dev edge$LAB_NUMBER addrgenmode none up
		link set dev wire$LAB_NUMBER addrgenmode none master labbr$LAB_NUMBER up
		link set dev out$LAB_NUMBER addrgenmode none master labbr$LAB_NUMBER up
	EOF
	ip link add link "edge$LAB_NUMBER" name eth0 netns "$LAB_CLIENT" type "$1" mode "$2" ||
		skip "no $1 on this kernel"
}
edge_up() {
	# shellcheck disable=SC2086 # KIND MODE
	[ -z "${UNDERLAY:-}" ] || edge_shared $UNDERLAY
	lab_up
	# br_netfilter would mend or drop what is malformed: here the guard is to be seen at work
	local nf=/proc/sys/net/bridge/bridge-nf-call-iptables
	[ ! -w $nf ] || echo 0 >$nf
	app=$(cgroup_new app) other=$(cgroup_new other)
	spawn frames python3 tests/attack/frame.py capture "$LAB_FAR" eth0
	wait_until 10 grep -qx capturing "$FRAMES"
	FAR_MAC=$(ip -n "$LAB_FAR" -br link show eth0 | awk '{ print $3 }')
	EDGE=edge$LAB_NUMBER
	CLIENT_MAC=$(ip -n "$LAB_CLIENT" -br link show eth0 | awk '{ gsub(":", "", $3); print $3 }')
}

# Frames of the client's own since the mark, by what they are: "COUNT WHAT" a line; the VPN's own and
# the fence left out.
from_client() {
	tail -n +$((_edge_from + 1)) "$FRAMES" | awk -v mac="$CLIENT_MAC" '
		substr($2, 13, 12) != mac { next }
		{ type = substr($2, 25, 4); what = "ethertype " type }
		type == "0806" { what = "arp" }
		type == "86dd" { what = "ipv6 " substr($2, 41, 2) }
		type == "0800" {
			ihl = substr($2, 30, 1); protocol = substr($2, 47, 2)
			what = ihl != 5 ? "igmp" : protocol == "01" ? "icmp" : protocol == "06" ? "tcp" : "udp"
			if (protocol == "11" && substr($2, 73, 4) == "ca6c") next # the endpoint
		}
		{ n[what]++ }
		END { for (what in n) print n[what], what }'
}

# In the client's netns, in one of the two cgroups ($WHO).
WHO=app
inside() { in_cgroup "${!WHO}" nsenter --net="/run/netns/$LAB_CLIENT" "$@"; }
spawn_inside() { spawn "$1" in_cgroup_exec "${!WHO}" nsenter --net="/run/netns/$LAB_CLIENT" "${@:2}"; }

# Three frames of each way, and three more past the qdisc.
frames() {	# TOKEN WAY…
	inside python3 tests/attack/frame.py send "$1" 3 "$FAR_MAC" "$LAB_FAR4" "$LAB_CLIENT4" "${@:2}"
}

# What left before has arrived or never will: one datagram to the endpoint on each CPU, which
# every guard lets through.
edge_fence() {
	local cpu
	_edge_fence=$((_edge_fence + 1))
	for cpu in $(seq 0 $(($(nproc) - 1))); do
		lab_in_client taskset -c "$cpu" "$WAY" udp "$LAB_FAR4" 51820 "FENCE-$_edge_fence." 1 >/dev/null
	done
	_fenced() { [ "$(grep -c "FENCE-$_edge_fence\." "$FRAMES")" -ge "$(nproc)" ]; }
	wait_until 10 _fenced
}
# The same where no endpoint is known, or another: from beyond the guard, behind what has passed it.
edge_fence_beyond() {
	_edge_fence=$((_edge_fence + 1))
	python3 tests/tools/fence.py "out$LAB_NUMBER" "FENCE-$_edge_fence."
	_fenced() { [ "$(grep -c "FENCE-$_edge_fence\." "$FRAMES")" -ge "$(nproc)" ]; }
	wait_until 10 _fenced
}
edge_mark() { edge_fence; _edge_from=$(wc -l <"$FRAMES"); }

# Frames since the mark in whose line the pattern is found; what left before is waited for.
arrived() { tail -n +$((_edge_from + 1)) "$FRAMES" | grep -cE -- "$1" || :; }
_some_arrived() { [ "$(arrived "$1")" -gt 0 ]; }
wait_arrived() {	# PATTERN…: of each at least one, since the mark
	local pattern
	for pattern in "$@"; do wait_until 10 _some_arrived "$pattern"; done
}
expect_arrived() {	# NUMBER|some PATTERN WHAT
	local n
	n=$(arrived "$2")
	if [ "$1" = some ]; then
		[ "$n" -gt 0 ] || fail_case "$3: nothing arrived, expected some"
		echo "ok: $3: $n arrived"
	else
		expect_eq "$n" "$1" "$3: frames beyond the edge"
	fi
}

# ATTEMPT TOKEN WAY… tries every way, marked "TOKEN-WAY.": by the workload ($WHO app) and by its
# neighbour (other); all seen without vpnleash, none with it, tunnel up and tunnel dead. A case
# redefines `pattern` for ways that have no room for a token.
pattern() { echo "$1-$2\."; }	# TOKEN WAY
_edge_try() {	# TOKEN EXPECTED ATTEMPT WAY…
	local way
	edge_mark
	"$3" "$1" "${@:4}"
	edge_fence
	for way in "${@:4}"; do
		expect_arrived "$2" "$(pattern "$1" "$way")" "$way by $WHO, ${PHASE:-control}"
	done
}
expect_edge_holds() {	# ATTEMPT WAY…
	WHO=other _edge_try control some "$@"
	leash_edge
	for PHASE in up dead; do
		[ $PHASE = up ] || { lab_vpn_kill; wait_state "$W" blocked 10; }
		for WHO in app other; do
			_edge_try "$PHASE$WHO" 0 "$@"
		done
	done
}

# With narrow bootstrap, so that the edge is as shut without a lease as with one; and with processes
# that go on when the tunnel is dead: frozen, they would not even try.
leash_edge() {
	leash "$app" --on-failure block --bootstrap 192.0.2.1 "$@"
	wait_state "$W" open 15
}
