# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The laboratory: a workload's network namespace with a real WireGuard tunnel, and a far machine
# that is at once the VPN's other end, the LAN's neighbour and the internet. A dead VPN leaks in
# it, because a second default route by eth0 is left: that is the situation to be proved harmless.
#
#     client                                                far
#     eth0 10.9.0.3 fd09::3 ────────── veth ────────── eth0 10.9.0.2 fd09::2
#     CloudflareWARP 10.66.0.2 ═══ WireGuard :51820 ═══ wgfar 10.66.0.1    lo 198.51.100.1 2001:db8::1
#
# Sourced by tests/lib.sh and, out of the binary, by `vpnleash demo`. The caller owns a private
# mount namespace with a tmpfs on /run (netns names and WireGuard's sockets are per mount
# namespace, so two laboratories never meet). Every function may be called twice. A function
# returns 1, and says why on stderr, when something did not come true in LAB_TIMEOUT seconds.

LAB=${LAB:-/run/vpnleash-lab}
LAB_TIMEOUT=${LAB_TIMEOUT:-20}		# a bound, never a wait; emulated kernels need seconds
LAB_KEEPALIVE=${LAB_KEEPALIVE:-off}	# off: an idle tunnel is silent, as a test of silence needs
LAB_WIREGUARD=${LAB_WIREGUARD:-userspace}	# kernel: the client's end only, so that lab_peer_stop works
LAB_VPN_CGROUP=${LAB_VPN_CGROUP:-}	# the client's wireguard-go joins this cgroup first
# far: eth0's other end is in `far`. here: it is in the caller's namespace, on a bridge to `far`,
# as an engine's host has it; that is where the guard sits, out of the workload's reach.
LAB_EDGE=${LAB_EDGE:-far}
# The internet. More addresses may be added before lab_up, say a resolver's.
LAB_INTERNET=${LAB_INTERNET:-198.51.100.1/32 2001:db8::1/128}

# What the verbs below speak of: the pair CLIENT, FAR with network number NUMBER (0 to 255). The
# second pair's tunnel needs a name of its own: WireGuard's sockets go by interface name alone.
lab_pair() {	# CLIENT FAR NUMBER [TUNNEL]
	LAB_CLIENT=$1 LAB_FAR=$2 LAB_NUMBER=$3
	LAB_TUNNEL=${4:-CloudflareWARP}
	LAB_FAR_TUNNEL=wgfar$3
	LAB_CLIENT4=10.9.$3.3 LAB_FAR4=10.9.$3.2 LAB_INSIDE4=10.66.$3.2 LAB_PEER4=10.66.$3.1
	local v6
	v6=$(printf '%x' "$3")
	[ "$v6" != 0 ] || v6=
	LAB_CLIENT6=fd09:${v6:+$v6:}:3 LAB_FAR6=fd09:${v6:+$v6:}:2
	LAB_INSIDE6=fd66:${v6:+$v6:}:2 LAB_PEER6=fd66:${v6:+$v6:}:1
	LAB_STATE=$LAB/$1
}
lab_pair "${LAB_CLIENT:-client}" "${LAB_FAR:-far}" "${LAB_NUMBER:-0}" "${LAB_TUNNEL:-CloudflareWARP}"

# nsenter and not `ip netns exec`: that one mounts another /sys and loses the cgroup and bpf mounts.
lab_in() {	# NETNS COMMAND…
	local netns=$1
	shift
	nsenter --net="/run/netns/$netns" -- "$@"
}
lab_in_client() { lab_in "$LAB_CLIENT" "$@"; }
lab_in_far() { lab_in "$LAB_FAR" "$@"; }

# Many lines for one start of ip: on an emulated machine each start costs a quarter of a second.
_lab_ip() { ip -n "$1" -batch -; }	# NETNS <lines

_lab_fail() {
	echo "lab: $*" >&2
	return 1
}

# Until the command succeeds; bounded by LAB_TIMEOUT.
_lab_until() {
	local end=$((SECONDS + LAB_TIMEOUT))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -le "$end" ] || { _lab_fail "still not so after $LAB_TIMEOUT s: $*"; return 1; }
		sleep 0.02
	done
}

# A netns that is quiet by itself (no duplicate address detection, no router solicitations), takes
# replies on any interface (strict rp_filter would eat the very leak that a control must see), and
# has ping sockets for everybody, as in Docker's containers.
_lab_netns() {	# NAME
	[ -e "/run/netns/$1" ] || ip netns add "$1" || return
	# shellcheck disable=SC2016 # $f belongs to the inner shell
	lab_in "$1" sh -c '
		cd /proc/sys/net || exit 0
		put() { [ ! -w "$2" ] || echo "$1" >"$2"; }
		for f in all default; do
			put 0 ipv4/conf/$f/rp_filter
			put 0 ipv6/conf/$f/disable_ipv6
			put 0 ipv6/conf/$f/accept_dad
			put 0 ipv6/conf/$f/accept_ra
			put 0 ipv6/conf/$f/router_solicitations
		done
		put "0 2147483647" ipv4/ping_group_range' 2>/dev/null || :
}

# eth0 of both, joined.
_lab_wire() {
	if ! ip -n "$LAB_CLIENT" link show dev eth0 >/dev/null 2>&1; then
		if [ "$LAB_EDGE" = here ]; then
			# The bridge only carries: addresses of its own would answer and chatter. Its mode
			# comes first and alone: in one request with `up` it comes too late.
			ip -batch - <<-EOF || return
				link add labbr$LAB_NUMBER type bridge forward_delay 0 mcast_snooping 0
				link add edge$LAB_NUMBER type veth peer name eth0 netns $LAB_CLIENT
				link add out$LAB_NUMBER type veth peer name eth0 netns $LAB_FAR
				link set dev labbr$LAB_NUMBER addrgenmode none
				link set dev labbr$LAB_NUMBER up
				link set dev edge$LAB_NUMBER addrgenmode none master labbr$LAB_NUMBER up
				link set dev out$LAB_NUMBER addrgenmode none master labbr$LAB_NUMBER up
			EOF
		else
			ip -n "$LAB_CLIENT" link add eth0 type veth peer name eth0 netns "$LAB_FAR" || return
		fi
	fi
	local address internet=
	for address in $LAB_INTERNET; do internet+="addr replace $address dev lo"$'\n'; done
	_lab_ip "$LAB_FAR" <<-EOF || return
		link set lo up
		link set eth0 up
		addr replace $LAB_FAR4/24 dev eth0
		addr replace $LAB_FAR6/64 dev eth0 nodad
		$internet
	EOF
	_lab_ip "$LAB_CLIENT" <<-EOF
		link set lo up
		link set eth0 up
		addr replace $LAB_CLIENT4/24 dev eth0
		addr replace $LAB_CLIENT6/64 dev eth0 nodad
		route replace default via $LAB_FAR4 dev eth0 metric 500
		route replace ::/0 via $LAB_FAR6 dev eth0 metric 500
	EOF
}

# Our process still? A pid file outlives its process, and pids come back.
_lab_pid() {	# WHO → pid
	local pid comm
	pid=$(cat "$LAB_STATE/$1.pid" 2>/dev/null) || return 1
	comm=$(cat "/proc/$pid/comm" 2>/dev/null) || return 1
	[ "$comm" = wireguard-go ] && grep -q '^State:[[:space:]][^ZX]' "/proc/$pid/status" 2>/dev/null && echo "$pid"
}
_lab_gone() { ! _lab_pid "$1" >/dev/null; }
_lab_stopped() { grep -q '^State:[[:space:]]T' "/proc/$1/status"; }

_lab_signal() {	# SIGNAL WHO
	local pid
	pid=$(_lab_pid "$2") || { _lab_fail "$LAB_CLIENT: no running wireguard-go for '$2'"; return 1; }
	kill "-$1" "$pid" || return
	case $1 in
	STOP) _lab_until _lab_stopped "$pid" ;;
	KILL) _lab_until _lab_gone "$2" ;;
	esac
}

# Listening, not only there: `wg` takes away a socket at which nobody listens yet.
_lab_listens() {	# NETNS INTERFACE
	lab_in "$1" grep -q " 00010000 .*/$2\.sock$" /proc/net/unix	# __SO_ACCEPTCON
}

_lab_wireguard_go() {	# WHO NETNS INTERFACE [CGROUP]
	local pid
	if pid=$(_lab_pid "$1"); then
		kill -CONT "$pid"	# a stopped one would never answer the configuration that follows
		return
	fi
	rm -f "/run/wireguard/$3.sock"	# kill -9 leaves it; waiting for it must mean the new one
	# Without the switch wireguard-go refuses to run where the kernel has WireGuard.
	(
		[ -z "${4:-}" ] || echo 0 >"$4/cgroup.procs" || exit
		export WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1
		exec nsenter --net="/run/netns/$2" -- wireguard-go -f "$3"
	) </dev/null >>"$LAB_STATE/$1.log" 2>&1 &
	echo $! >"$LAB_STATE/$1.pid"
	disown $!	# else the shell comments on its death, in the middle of somebody's output
	_lab_until _lab_listens "$2" "$3" || { tail -n 5 "$LAB_STATE/$1.log" >&2; return 1; }
}

# Addresses and routes of the tunnel, which go whenever it goes down or away.
_lab_dress() {
	_lab_ip "$LAB_CLIENT" <<-EOF
		link set dev $LAB_TUNNEL mtu 1420 up
		addr replace $LAB_INSIDE4/24 dev $LAB_TUNNEL
		addr replace $LAB_INSIDE6/64 dev $LAB_TUNNEL nodad
		route replace default dev $LAB_TUNNEL metric 50
		route replace ::/0 dev $LAB_TUNNEL metric 50
	EOF
}

lab_vpn_start() {
	# What no longer has its name (renamed; or still ending, its device deleted) must not go on beside the new one.
	if _lab_no_tunnel >/dev/null 2>&1; then
		if [ "$LAB_WIREGUARD" = kernel ]; then
			[ ! -f "$LAB_STATE/renamed" ] ||
				ip -n "$LAB_CLIENT" link del dev "$(<"$LAB_STATE/renamed")" 2>/dev/null || :
			ip -n "$LAB_CLIENT" link add dev "$LAB_TUNNEL" type wireguard || return
		else
			lab_vpn_kill || return
		fi
	fi
	if [ "$LAB_WIREGUARD" != kernel ]; then
		_lab_wireguard_go vpn "$LAB_CLIENT" "$LAB_TUNNEL" "$LAB_VPN_CGROUP" || return
	fi
	lab_in_client wg set "$LAB_TUNNEL" private-key "$LAB_STATE/client.key" \
		peer "$(<"$LAB_STATE/far.pub")" endpoint "$LAB_FAR4:51820" \
		allowed-ips 0.0.0.0/0,::/0 persistent-keepalive "$LAB_KEEPALIVE" &&
	_lab_dress
}

_lab_peer_start() {
	_lab_wireguard_go peer "$LAB_FAR" "$LAB_FAR_TUNNEL" &&
	lab_in_far wg set "$LAB_FAR_TUNNEL" private-key "$LAB_STATE/far.key" listen-port 51820 \
		peer "$(<"$LAB_STATE/client.pub")" allowed-ips "$LAB_INSIDE4/32,$LAB_INSIDE6/128" &&
	_lab_ip "$LAB_FAR" <<-EOF
		link set dev $LAB_FAR_TUNNEL mtu 1420 up
		addr replace $LAB_PEER4/24 dev $LAB_FAR_TUNNEL
		addr replace $LAB_PEER6/64 dev $LAB_FAR_TUNNEL nodad
	EOF
}

_lab_shook() {
	local stamp
	stamp=$(lab_in_client wg show "$LAB_TUNNEL" latest-handshakes | cut -f 2)
	[ "${stamp:-0}" -gt 0 ]
}

# Returns when the tunnel has carried something: the far end answered a handshake. The datagram
# that provokes it goes to the far end's address inside the tunnel, which no other route reaches.
lab_handshake() {
	lab_in_client bash -c "echo >/dev/udp/$LAB_PEER4/9" && _lab_until _lab_shook
}

lab_up() {
	local tool end
	for tool in ip wg wireguard-go nsenter; do
		[ "$LAB_WIREGUARD$tool" = kernelwireguard-go ] || command -v "$tool" >/dev/null ||
			{ _lab_fail "$tool is missing (apt install iproute2 wireguard-tools wireguard-go util-linux)"; return 1; }
	done
	(umask 077 && mkdir -p "$LAB_STATE") || return
	for end in client far; do
		[ -s "$LAB_STATE/$end.pub" ] ||
			(umask 077 && cd "$LAB_STATE" && wg genkey >$end.key && wg pubkey <$end.key >$end.pub) || return
	done
	if ! { _lab_netns "$LAB_CLIENT" && _lab_netns "$LAB_FAR" && _lab_wire &&
	       _lab_peer_start && lab_vpn_start && lab_handshake; }; then
		_lab_fail "the laboratory '$LAB_CLIENT' did not come up (logs: $LAB_STATE)"
	fi
}

# ── What may befall a VPN. ──────────────────────────────────────────────────────────────────

lab_vpn_pid() { _lab_pid vpn; }

# kill -9 of the VPN's process: tunnel and routes vanish with it, unannounced.
lab_vpn_kill() {
	[ "$LAB_WIREGUARD" != kernel ] || { lab_tunnel_delete; return; }
	_lab_gone vpn || _lab_signal KILL vpn || return
	_lab_until _lab_no_tunnel
}
_lab_no_tunnel() { ! ip -n "$LAB_CLIENT" link show dev "$LAB_TUNNEL"; }

# Up to the eye, dead to packets: no lookup of the interface shows it.
lab_vpn_stop() { _lab_signal STOP vpn; }
lab_vpn_cont() { _lab_signal CONT vpn; }
# Silence from the other end.
lab_peer_stop() { _lab_signal STOP peer; }
lab_peer_cont() { _lab_signal CONT peer; }

lab_tunnel_down() { ip -n "$LAB_CLIENT" link set dev "$LAB_TUNNEL" down; }
lab_tunnel_up() { _lab_dress; }

lab_tunnel_delete() { _lab_no_tunnel >/dev/null 2>&1 || ip -n "$LAB_CLIENT" link del dev "$LAB_TUNNEL"; }

# It goes on carrying under the new name; the other verbs keep speaking of the old one. Older
# kernels rename only what is down (5.10: EBUSY; 6.18 does not mind), and that loses the routes.
lab_tunnel_rename() {	# NEW
	echo "$1" >"$LAB_STATE/renamed"
	ip -n "$LAB_CLIENT" link set dev "$LAB_TUNNEL" name "$1" 2>/dev/null || {
		lab_tunnel_down && ip -n "$LAB_CLIENT" link set dev "$LAB_TUNNEL" name "$1"
	} && LAB_TUNNEL=$1 _lab_dress
}

# The tunnel is well, but nothing leads to it any more: eth0's default route wins.
lab_route_lost() {
	ip -n "$LAB_CLIENT" route del default dev "$LAB_TUNNEL" 2>/dev/null || :
	ip -n "$LAB_CLIENT" -6 route del default dev "$LAB_TUNNEL" 2>/dev/null || :
}
lab_route_back() {
	_lab_ip "$LAB_CLIENT" <<-EOF
		route replace default dev $LAB_TUNNEL metric 50
		route replace ::/0 dev $LAB_TUNNEL metric 50
	EOF
}

# Takes this pair away, and nothing else of the caller's.
lab_down() {
	local who pid netns
	for who in vpn peer; do
		pid=$(_lab_pid $who) || continue
		kill -KILL "$pid" && _lab_until _lab_gone $who
	done
	for netns in "$LAB_CLIENT" "$LAB_FAR"; do
		[ ! -e "/run/netns/$netns" ] || ip netns del "$netns"
	done
	[ "$LAB_EDGE" != here ] || ip link del "labbr$LAB_NUMBER" 2>/dev/null || :
	rm -rf "$LAB_STATE" "/run/wireguard/$LAB_TUNNEL.sock" "/run/wireguard/$LAB_FAR_TUNNEL.sock"
}
