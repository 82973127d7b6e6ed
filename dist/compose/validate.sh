#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Is it so on this machine what these compose files promise?
#
#   ./validate.sh [--level N] [-f FILE]...
#
#   1  files      syntax, the compose files as Compose reads them, vpnleash's own file
#   2  machine    what the gate needs, with the service's own privileges; every mount's source
#   3  unhealthy  vpnleash verify; then the tunnel is taken down: neither the program nor the VPN
#                 reaches anything beside it
#   4  dead       the VPN's daemon is killed: frozen at once, exited, and back with the VPN
#
# All four, or those up to N. 3 and 4 need root and the running stack, and interrupt the VPN: where
# nothing is leashed, what they send leaves beside the tunnel (to 192.0.2.77, which is nobody's).
# FILE: your compose files, in place of docker-compose.yml and docker-compose.vpnleash.yml. The
# program is the service with a label vpnleash.interface, or the first that shares another's
# network; the VPN is whose network it shares. Without a service called vpnleash it is this
# machine's.
#
# From the environment, beside all that .env.example has:
#   VPN_PROCESS      the VPN's daemon, as `ps -o comm` has it (warp-svc)
#   VALIDATE_URL     what qBittorrent is to fetch through the tunnel (http://1.1.1.1/)
#   VALIDATE_WITHIN  seconds until exited, and until running again (90)
#
# Exit: 0 all is so, 1 something is not, 2 usage.
# shellcheck disable=SC3043 # local: busybox and dash have it
set -u
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
level=4
files=''
process=${VPN_PROCESS:-warp-svc}
url=${VALIDATE_URL:-http://1.1.1.1/}
within=${VALIDATE_WITHIN:-90}
# RFC 5737's, and an address of no group that anybody joins
from_app=192.0.2.77 from_vpn=192.0.2.78 group=ff02::7670 name=vpnleash-validate.invalid

usage() { sed -n '4,/^# Exit/{s/^# \{0,1\}//;p;}' "$0"; }

while [ $# -gt 0 ]; do
	case $1 in
	--level | -f)
		[ $# -ge 2 ] || { echo "validate.sh: $1 needs a value (see --help)" >&2; exit 2; }
		case $1 in
		-f) files="$files -f $2" ;;
		*) level=$2 ;;
		esac
		shift
		;;
	--level=*) level=${1#*=} ;;
	-h | --help) usage; exit 0 ;;
	*) echo "validate.sh: unknown option '$1' (see --help)" >&2; exit 2 ;;
	esac
	shift
done
case $level in [1-4]) ;; *) echo "validate.sh: --level is 1 to 4" >&2; exit 2 ;; esac
[ -n "$files" ] || files="-f $here/docker-compose.yml -f $here/docker-compose.vpnleash.yml"

# ── The table ───────────────────────────────────────────────────────────────

good=0 missed=0 unknown=0 now=0 captures='' broken=0
row() {	# ok|MISS|- WHAT [MORE]
	case $1 in
	ok) good=$((good + 1)) ;;
	MISS) missed=$((missed + 1)) ;;
	*) unknown=$((unknown + 1)) ;;
	esac
	printf '%-5s  %-4s  %s%s\n' "$now" "$1" "$2" "${3:+: $3}"
}
judge() {	# WHAT COMMAND…: ok if it succeeds; its last line else
	local what="$1" said
	shift
	if said=$("$@" 2>&1); then row ok "$what"; else row MISS "$what" "$(printf '%s\n' "$said" | tail -n 1)"; fi
}
finish() {
	printf '\n%d ok, %d missed, %d not checked\n' $good $missed $unknown
	[ $missed = 0 ]
	exit
}

have() { command -v "$1" >/dev/null; }
# shellcheck disable=SC2086 # a list
compose() {
	if docker compose version >/dev/null 2>&1; then docker compose $files "$@"; else docker-compose $files "$@"; fi
}
leash() {	# vpnleash, as the service runs it, or this machine's
	if has_service vpnleash; then compose run --rm --no-deps -T vpnleash "$@" </dev/null; else vpnleash "$@" </dev/null; fi
}

until_so() {	# SECONDS COMMAND…
	local left="$1"
	shift
	until "$@"; do
		[ "$left" -gt 0 ] || return 1
		left=$((left - 1))
		sleep 1
	done
}

# ── 1: files ────────────────────────────────────────────────────────────────

is_clean() {	# FILE: by shellcheck, where there is one
	shellcheck -x "$1"
}

level_1() {
	local script shell=sh config

	! have bash || shell=bash
	for script in "$here"/*.sh; do
		judge "$shell -n ${script##*/}" "$shell" -n "$script"
		judge "${script##*/} may be run" test -x "$script"
		if have shellcheck; then
			judge "shellcheck ${script##*/}" is_clean "$script"
		else
			row - "shellcheck ${script##*/}" "not installed"
		fi
	done
	judge "the compose files:$(printf '%s' "$files" | sed 's/ *-f */ /g; s|[^ ]*/||g')" compose config --quiet
	if [ -n "$(mounted_at /etc/vpnleash)" ]; then
		config=$(mounted_at /etc/vpnleash)/vpnleash.conf
	else
		config=/etc/vpnleash/vpnleash.conf
	fi
	if [ ! -e "$config" ]; then
		row ok "no $config" "containers by their labels alone"
	else
		judge "$config" reads_well
	fi
}
reads_well() {	# exit code 2 is the file's; other findings are level 2's
	local said rc=0
	said=$(leash doctor -c /etc/vpnleash/vpnleash.conf 2>&1) || rc=$?
	[ "$rc" = 2 ] || return 0
	printf '%s\n' "$said" | sed -n 's|^finding *\(.*/etc/vpnleash/\)|\1|p'
	return 1
}

# "SERVICE KEY VALUE" for each key of a service, labels too.
service_keys() {
	compose config 2>/dev/null | awk '
		/^[^ ]/ { services = $1 == "services:" }
		services && /^  [^ ]/ { service = $1; sub(/:$/, "", service); print service, "-" }
		services && /^    / { gsub(/["'\'']/, ""); key = $1; sub(/:$/, "", key); print service, key, $2 }'
}
has_service() { service_keys | grep -qx "$1 -"; }
the_program() {	# the service that is leashed, or that shares another's network
	service_keys | awk '
		$2 ~ /^vpnleash\.(interface|tunnel)$/ && !leashed { leashed = $1 }
		$2 == "network_mode" && $3 ~ /^service:/ && !shares { shares = $1 }
		END { print leashed ? leashed : shares }'
}
the_vpn() { service_keys | awk -v program="$1" '$1 == program && $2 == "network_mode" { sub(/^service:/, "", $3); print $3; exit }'; }

# Of Compose's own rendering: "SOURCE TARGET" for each directory or file of the host.
mounts() {
	compose config 2>/dev/null | awk '
		$1 == "-" { bind = $2 == "type:" && $3 == "bind" }
		bind && $1 == "source:" { source = $2 }
		bind && $1 == "target:" && !seen[source]++ { print source, $2 }'
}
mounted_at() { mounts | awk -v at="$1" '$2 == at { print $1 }'; }
label() { compose config 2>/dev/null | awk -v key="vpnleash.$1:" '$1 == key { print $2; exit }' | tr -d "\"'"; }

# ── 2: machine ──────────────────────────────────────────────────────────────

level_2() {
	local source target result text config doctor

	[ "$(id -u)" = 0 ] || { row MISS "root" "sudo $0"; return; }
	config=''
	[ ! -e "$(mounted_at /etc/vpnleash)/vpnleash.conf" ] || config='-c /etc/vpnleash/vpnleash.conf'
	# shellcheck disable=SC2086 # two words or none
	if ! doctor=$(leash doctor $config 2>&1) && ! printf '%s\n' "$doctor" | grep -q '^finding '; then
		row MISS "vpnleash doctor" "$(printf '%s\n' "$doctor" | tail -n 1)"
	else
		while read -r result text; do
			case $result in
			ok | info) row ok "$text" ;;
			finding) row MISS "$text" ;;
			esac
		done <<-EOF
			$doctor
		EOF
	fi
	while read -r source target; do
		[ -n "$source" ] || continue
		case $target in
		*.sock) judge "$source is a socket" test -S "$source" ;;
		*) judge "$source is there" test -e "$source" ;;
		esac
	done <<-EOF
		$(mounts)
	EOF
}

# ── The running stack ───────────────────────────────────────────────────────

of() { docker inspect -f "$2" "$1" 2>/dev/null; }	# CONTAINER TEMPLATE
is() { [ "$(of "$1" '{{.State.Status}}')" = "$2" ]; }
health_is() { [ "$(of "$vpn" '{{if .State.Health}}{{.State.Health.Status}}{{end}}')" = "$1" ]; }
is_well() { health_is healthy || health_is ''; }	# or nobody checks it
pid_of() { of "$1" '{{.State.Pid}}'; }
together() {	# both run, in one network namespace
	is "$vpn" running && is "$app" running &&
		[ "$(readlink "/proc/$(pid_of "$vpn")/ns/net")" = "$(readlink "/proc/$(pid_of "$app")/ns/net")" ]
}

# Both are there and the VPN works; $program, $vpn_is, $vpn, $app, $interface, $bridge, $mac are set.
stack() {
	local network

	[ "$(id -u)" = 0 ] || { row MISS "root" "sudo $0"; return 1; }
	program=$(the_program) vpn_is=$(the_vpn "$(the_program)")
	vpn=$(compose ps -aq "$vpn_is") app=$(compose ps -aq "$program")
	interface=$(label interface)
	if [ -z "$vpn" ] || [ -z "$app" ]; then
		row MISS "the stack is there" "docker compose up -d"
		return 1
	fi
	if ! until_so "$within" is_well || ! until_so "$within" together; then
		row MISS "$vpn_is is healthy and $program runs in its network" "docker compose ps -a"
		return 1
	fi
	read -r network mac <<-EOF
		$(of "$vpn" '{{range .NetworkSettings.Networks}}{{.NetworkID}} {{.MacAddress}}{{println}}{{end}}')
	EOF
	bridge=$(docker network inspect -f '{{index .Options "com.docker.network.bridge.name"}}' "$network")
	[ -n "$bridge" ] || bridge=br-$(printf %.12s "$network")
}

# ── 3: unhealthy ────────────────────────────────────────────────────────────

# Once a second, by whatever the container has: to ADDRESS by ICMP, UDP and TCP, to a group by IPv6,
# and a name, asked of ADDRESS and of the container's own resolver.
sender() {	# CONTAINER ADDRESS
	docker exec -d "$1" sh -c "
		for i in /sys/class/net/*; do
			i=\${i##*/}
			case \$i in lo | $interface) ;; *) u=\$i ;; esac
		done
		n=0
		while [ \$n -lt 60 ]; do
			n=\$((n + 1))
			{
				ping -c 1 -W 1 $2 &
				ping -6 -c 1 -W 1 $group%\$u &
				echo x | nc -w 1 -u $2 9 &
				echo x | nc -w 1 -u $group%\$u 9 &
				nc -w 1 $2 80 &
				curl -s -m 1 -o /dev/null http://$2/ &
				wget -q -T 1 -O /dev/null http://$2/ &
				timeout 2 nslookup $name $2 &
				timeout 2 nslookup $name &
				! command -v bash || bash -c 'echo x >/dev/udp/$2/9; echo x >/dev/udp/$group%'\$u/9
			} </dev/null >/dev/null 2>&1
			sleep 1
		done"
}

capture() {	# FILE TCPDUMP-ARGUMENT…; its pid in $captures
	local to="$1" unprivileged=''
	shift
	grep -q '^tcpdump:' /etc/passwd || unprivileged='-Z root'
	# shellcheck disable=SC2086 # two words or none
	"$@" $unprivileged --immediate-mode -n -l >"$tmp/$to" 2>"$tmp/$to.log" &
	captures="$captures $!"
	until_so 10 grep -q 'listening on' "$tmp/$to.log"
}

lines() { grep -cE "$2" "$tmp/$1"; }	# CAPTURE REGEX
seen() { [ "$(lines "$1" "$2")" -gt 0 ]; }

# What is seen on the bridge has passed all that could have dropped it.
beyond() {	# WHO WHAT REGEX
	local n
	n=$(lines bridge "$3")
	if [ "$n" = 0 ]; then row ok "$1: no $2 beyond the bridge"; else row MISS "$1: $2 beyond the bridge" "$n packets"; fi
}

# Without tcpdump: does anybody answer?
answers() { timeout 8 docker exec "$1" sh -c "wget -q -T 3 -O /dev/null $url || curl -s -m 3 -o /dev/null $url" >/dev/null 2>&1; }

put_back() {
	# shellcheck disable=SC2086 # a list
	[ -z "$captures" ] || kill $captures 2>/dev/null
	captures=''
	[ "$broken" = 1 ] || return 0
	docker restart "$vpn" >/dev/null
	until_so "$within" is_well
	until_so "$within" together || docker restart "$app" >/dev/null
	broken=0
}

level_3() {
	stack || return
	judge "vpnleash verify $program" leash verify --yes "$(of "$app" '{{.Name}}' | sed 's|^/||')"
	until_so "$within" together
	if have tcpdump && have nsenter; then
		capture bridge tcpdump -i "$bridge" -Q in ether src "$mac"
		capture tunnel nsenter -t "$(pid_of "$vpn")" -n tcpdump -i "$interface"
		sender "$app" "$from_app"
		sender "$vpn" "$from_vpn"
		judge "control: $program's packets leave by the tunnel" until_so 15 seen tunnel "> $from_app"
		judge "control: $vpn_is's packets leave by the tunnel" until_so 15 seen tunnel "> $from_vpn"
		judge "control: the VPN's own packets are seen on the bridge" until_so 15 seen bridge '>'
	else
		row - "packets on the bridge" "tcpdump and nsenter are not installed: judged by answers"
		judge "control: $url answers $program" answers "$app"
	fi
	broken=1
	judge "the tunnel is taken down" docker exec "$vpn" ip link set dev "$interface" down
	if health_is ''; then
		row - "$vpn_is is unhealthy" "it has no healthcheck"
	else
		judge "$vpn_is is unhealthy" until_so 60 health_is unhealthy
	fi
	sleep 3
	if [ -n "$captures" ]; then
		beyond "$program" IPv4 "> ${from_app}[.:]"
		beyond "$program or $vpn_is" IPv6 "> $group"
		case $(label bootstrap) in
		vpn | '')
			row - "$vpn_is by itself" "bootstrap is vpn: what it sends may pass"
			beyond "$program" "DNS" "$from_app.*$name|$from_app.53:"
			;;
		*)
			beyond "$program or $vpn_is" "DNS" "$name|\.53:"
			beyond "$vpn_is" IPv4 "> ${from_vpn}[.:]"
			;;
		esac
	else
		if answers "$app"; then row MISS "$program: somebody answers beside the tunnel" "$url"; else row ok "$program: nobody answers"; fi
	fi
	put_back
}

# ── 4: dead ─────────────────────────────────────────────────────────────────

centiseconds() { sed 's/\.//; s/ .*//' /proc/uptime; }
frozen() { grep -qx 'frozen 1' "$cgroup/cgroup.events"; }
transfers() {
	local before
	before=$(carried) && [ -n "$before" ] || return 1
	docker exec "$app" sh -c "wget -q -T 5 -O - $url || curl -s -m 5 $url" >"$tmp/got" 2>/dev/null
	[ -s "$tmp/got" ] && [ "$(carried)" -gt "$before" ]
}
carried() { docker exec "$vpn" cat "/sys/class/net/$interface/statistics/rx_bytes"; }

level_4() {
	local pids start

	stack || return
	cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$(sed -n 's/^0:://p' "/proc/$(pid_of "$app")/cgroup")
	judge "control: $url answers $program through the tunnel" until_so 30 transfers
	pids=$(docker top "$vpn" -eo pid,comm | awk -v comm="$process" '$2 == comm { print $1 }')
	if [ -z "$pids" ]; then
		row MISS "process $process in $vpn_is" "name the VPN's daemon: VPN_PROCESS=..."
		return
	fi
	broken=1
	start=$(centiseconds)
	# shellcheck disable=SC2086 # a list
	kill -9 $pids
	until frozen 2>/dev/null || [ $(($(centiseconds) - start)) -ge 500 ]; do :; done
	if frozen 2>/dev/null; then
		row ok "$program is frozen" "$(($(centiseconds) - start))0 ms after the kill, as seen from here"
	else
		row MISS "$program is frozen" "not in 5 s"
	fi
	if is "$vpn" running; then row ok "$vpn_is's container lives on"; else row - "$vpn_is's container lives on" "it ended with its daemon"; fi
	if until_so "$within" is "$app" exited; then
		row ok "$program has exited" "$((($(centiseconds) - start) / 100)) s after the kill, code $(of "$app" '{{.State.ExitCode}}')"
	else
		row MISS "$program has exited" "$(of "$app" '{{.State.Status}}' || echo gone) after $within s"
	fi
	start=$(centiseconds)
	judge "$vpn_is is restarted" docker restart "$vpn"
	if until_so "$within" together; then
		row ok "$program runs again, in $vpn_is's network" "$((($(centiseconds) - start) / 100)) s after the restart began"
	else
		row MISS "$program runs again, in $vpn_is's network" "not in $within s"
	fi
	if until_so "$within" transfers; then row ok "it transfers"; else row MISS "it transfers" "$url does not answer it"; fi
	! together || broken=0
	put_back
}

# ── All ─────────────────────────────────────────────────────────────────────

tmp=$(mktemp -d) || exit 1
trap 'put_back; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP

printf 'LEVEL  IS    WHAT\n'
while [ $now -lt "$level" ]; do
	now=$((now + 1))
	level_$now
done
finish
