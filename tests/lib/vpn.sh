# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# VPNs as their containers have them, after tests/lib/edge.sh: their own start-up asks a resolver by
# the underlay, then a server for a key, and only then brings the tunnel up. Nothing of it knows of
# vpnleash. All of it is in $vpn.
#   wireguard    wireguard-go                openvpn-udp, openvpn-tcp    OpenVPN
#   warp         one process with the tun, an unconnected socket to its server, and a second
#                connection to 198.51.100.1:443, by $BESIDE (tcp), as WARP's daemon has
#                (tests/tools/warp.py)

vpn_prepare() {	# KIND…: what the far side needs, once
	local kind k
	vpn=$(cgroup_new vpn)
	lab_vpn_kill
	rm -f "/run/wireguard/$LAB_TUNNEL.sock" # kill -9 leaves it
	spawn internet nsenter --net="/run/netns/$LAB_FAR" python3 tests/tools/internet.py 198.51.100.1
	wait_said internet serving
	for kind in "$@"; do
		case $kind in
		openvpn-*)
			command -v openvpn openssl >/dev/null || skip "no openvpn here (make deps)"
			[ -f "$CASE_DIR/client.key" ] || for k in server client; do
				openssl req -x509 -newkey ec:<(openssl ecparam -name prime256v1) -keyout "$CASE_DIR/$k.key" \
					-out "$CASE_DIR/$k.crt" -nodes -days 9 -subj "/CN=$k" 2>/dev/null
			done
			_vpn_far_openvpn "${kind#openvpn-}"
			;;
		warp) spawn warp-far nsenter --net="/run/netns/$LAB_FAR" python3 tests/tools/warp.py server warpfar 2408 ;;
		esac
	done
	for kind in "$@"; do
		[ "$kind" = wireguard ] || wait_until 10 ip -n "$LAB_FAR" link show dev "$(_vpn_far "$kind")"
	done
	case " $* " in *" warp "*) _lab_ip "$LAB_FAR" <<<"addr add 10.67.0.1/24 dev warpfar"$'\n'"link set warpfar up" ;; esac
}
_vpn_far() { case $1 in openvpn-udp) echo ovfaru ;; openvpn-tcp) echo ovfart ;; warp) echo warpfar ;; esac; }

_vpn_openvpn=(--dev-type tun --data-ciphers AES-256-GCM --disable-dco --ping 2 --topology p2p)
_vpn_fingerprint() { openssl x509 -in "$CASE_DIR/$1.crt" -noout -fingerprint -sha256 | cut -d= -f 2; }
_vpn_far_openvpn() {	# udp|tcp
	local tcp=()
	[ "$1" = udp ] || tcp=(--proto tcp-server --port 443)
	spawn "openvpn-far-$1" nsenter --net="/run/netns/$LAB_FAR" openvpn --cd "$CASE_DIR" "${_vpn_openvpn[@]}" \
		--dev "ovfar${1:0:1}" --tls-server --dh none --ca client.crt --cert server.crt --key server.key \
		--peer-fingerprint "$(_vpn_fingerprint client)" --ifconfig "10.8.${#tcp[@]}.1" "10.8.${#tcp[@]}.2" \
		--ping-restart 20 --local "$LAB_FAR4" "${tcp[@]}"
}

# What is known of the kind: its interface, what answers through it, its server, its process.
# shellcheck disable=SC2034 # the case's
vpn_is() {	# KIND
	KIND=$1
	case $KIND in
	wireguard) TUNNEL=$LAB_TUNNEL INSIDE=198.51.100.1 SERVER=$LAB_FAR4:51820/udp PROCESS=wireguard-go ;;
	openvpn-udp) TUNNEL=ov0 INSIDE=10.8.0.1 SERVER=$LAB_FAR4:1194/udp PROCESS=openvpn ;;
	openvpn-tcp) TUNNEL=ov0 INSIDE=10.8.4.1 SERVER=$LAB_FAR4:443/tcp PROCESS=openvpn ;;
	warp) TUNNEL=CloudflareWARP INSIDE=10.67.0.1 SERVER=$LAB_FAR4:2408/udp PROCESS=warp-svc ;;
	esac
}

# The start-up, and then the VPN, in one process; VPN is its pid.
vpn_up() {	# NAME
	local run=()
	case $KIND in
	wireguard) run=(env WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1 wireguard-go -f "$TUNNEL") ;;
	openvpn-udp) _vpn_client 10.8.0 --remote "$LAB_FAR4" ;;
	openvpn-tcp) _vpn_client 10.8.4 --remote "$LAB_FAR4" 443 --proto tcp-client ;;
	warp) run=(python3 tests/tools/warp.py client "$TUNNEL" "$LAB_FAR4" 2408 198.51.100.1 "${BESIDE:-tcp}") ;;
	esac
	rm -f "/run/wireguard/$TUNNEL.sock"
	spawn "vpn-$1" in_cgroup_exec "$vpn" nsenter --net="/run/netns/$LAB_CLIENT" python3 tests/tools/startup.py \
		198.51.100.1 "${run[@]}"
	# shellcheck disable=SC2034 # the case's
	VPN=$SPAWNED
	wait_until 40 _vpn_dressed
}
_vpn_client() {	# NET ARG…
	run=(openvpn --cd "$CASE_DIR" "${_vpn_openvpn[@]}" --dev ov0 --tls-client --nobind --cert client.crt --key client.key
		--peer-fingerprint "$(_vpn_fingerprint server)" --ifconfig "$1.2" "$1.1" --connect-retry 1 1
		--connect-timeout 4 --ping-restart 10 "${@:2}")
}
# Addresses and routes, as soon as the device is there: the image's script.
_vpn_dressed() {
	ip -n "$LAB_CLIENT" link show dev "$TUNNEL" || return
	case $KIND in
	wireguard)
		_lab_listens "$LAB_CLIENT" "$TUNNEL" && lab_in_client wg set "$LAB_TUNNEL" private-key "$LAB_STATE/client.key" peer "$(<"$LAB_STATE/far.pub")" \
			endpoint "$LAB_FAR4:51820" allowed-ips 0.0.0.0/0,::/0 && _lab_dress
		;;
	warp)
		_lab_ip "$LAB_CLIENT" <<-EOF
			link set dev $TUNNEL up
			addr replace 10.67.0.2/24 dev $TUNNEL
			route replace default dev $TUNNEL metric 50
		EOF
		;;
	*) ip -n "$LAB_CLIENT" route replace default dev "$TUNNEL" metric 50 ;;
	esac
}
vpn_down() {
	local _gone
	kill -9 "$VPN"
	wait_until 10 gone "$VPN"
	_no_tunnel() { ! ip -n "$LAB_CLIENT" link show dev "$TUNNEL"; }
	wait_until 10 _no_tunnel
}
endpoints() { status_value '.tunnels[0].guard.endpoints | join(" ")'; }
