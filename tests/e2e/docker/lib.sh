# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the cases with a real Docker engine share, after tests/lib.sh: the engine (engine.sh), the
# stack of compose.yml, torrents, and the capture at the host's end of the VPN container's wire.

stack=tests/e2e/docker
smoke=$CASE_DIR/smoke
mount=$(cgroup_mount)
export SMOKE_CGROUP=${CASE_CGROUP#"$mount"}/docker
endpoint=10.99.0.2
named=0
size=$((40 * 1024 * 1024))
# 13 s for the whole file: enough to fail in the middle of it.
rate=$((3 * 1024 * 1024))

# Packages come over the machine's own network, which a case does not have but
# its runner does.
outside()	# CMD…
{
	local pid=$$ net

	net=$(readlink /proc/self/ns/net)
	while [ "$(readlink "/proc/$pid/ns/net")" = "$net" ]; do
		pid=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
	done
	nsenter -t "$pid" -m -n "$@"
}

engine()
{
	"$stack/engine.sh" in "$smoke" "$@"
}

# ── The stack ───────────────────────────────────────────────────────────────

# Several connections for each address: all clients of a VPN come from one.
write_config()	# SERVICE
{
	mkdir -p "$smoke/$1/config/qBittorrent/config" "$smoke/$1/data"
	cat >"$smoke/$1/config/qBittorrent/config/qBittorrent.conf" <<-'EOF'
		[BitTorrent]
		Session\AddTorrentStopped=false
		Session\BTProtocol=Both
		Session\DHTEnabled=true
		Session\DefaultSavePath=/data
		Session\LSDEnabled=true
		Session\MultiConnectionsPerIp=true
		Session\PeXEnabled=true
		Session\Port=6881

		[LegalNotice]
		Accepted=true

		[Preferences]
		WebUI\CSRFProtection=false
		WebUI\HostHeaderValidation=false
		WebUI\LocalHostAuth=false
		WebUI\Port=8080
	EOF
}

write_keys()
{
	local p s

	mkdir -p "$smoke/wg"
	p=$(engine wg genkey)
	s=$(engine wg genkey)
	cat >"$smoke/wg/wg0.conf" <<-EOF
		[Interface]
		PrivateKey = $p
		ListenPort = 51820
		[Peer]
		PublicKey = $(engine wg pubkey <<<"$s")
		AllowedIPs = 10.66.0.2/32
	EOF
	cat >"$smoke/wg/CloudflareWARP.conf" <<-EOF
		[Interface]
		PrivateKey = $s
		[Peer]
		PublicKey = $(engine wg pubkey <<<"$p")
		Endpoint = $endpoint:51820
		AllowedIPs = 0.0.0.0/0
		PersistentKeepalive = 5
	EOF
}

# compose.yml leaves the names to Compose, dist/compose gives them.
named_by=compose
name_of()	# SERVICE
{
	[ "$named_by" = dist ] && echo "$1" || echo "smoke-$1-1"
}

cgroup_of()	# SERVICE: its container's cgroup, as the host sees it
{
	find "$mount$SMOKE_CGROUP/$1" -mindepth 1 -maxdepth 1 -type d
}

# Asked in the container that is never frozen; both share a namespace.
api()	# SERVICE CALL [CURL-ARG…]
{
	local service=$1 call=$2

	shift 2
	engine docker exec -i "$(name_of "$service")" \
		curl -sS -m 5 "$@" "http://127.0.0.1:8080/api/v2/$call"
}

api_up()	# SERVICE
{
	api "$1" app/version >/dev/null 2>&1
}

permille()	# HASH
{
	local info

	info=$(api vpn "torrents/info?hashes=$1" 2>/dev/null) || return
	awk -v RS=, -F: '$1 == "\"progress\"" { printf "%d\n", $2 * 1000 }' \
		<<<"$info"
}

# Has the transfer got further than that? Meanwhile names new peers, as a tracker
# would: a client tries the same address again only after a minute.
beyond()	# HASH PERMILLE
{
	local now

	if [ $((SECONDS - named)) -ge 3 ]; then
		name_peer "$1" || :
	fi
	now=$(permille "$1")
	[ "${now:-0}" -gt "$2" ]
}

# One more name of the seed, beyond the VPN (compose.yml).
name_peer()	# HASH
{
	api vpn torrents/addPeers -f -d "hashes=$1" \
		-d "peers=203.0.113.$((SECONDS % 250 + 1)):6881" >/dev/null 2>&1 &&
		named=$SECONDS
}

protocol()	# 0 both | 1 TCP | 2 μTP
{
	api vpn app/setPreferences -f --data-urlencode \
		"json={\"bittorrent_protocol\":$1}"
}

goes_on()	# HASH PERMILLE
{
	(wait_until 150 beyond "$1" "$2") && return
	api vpn "torrents/info?hashes=$1" || :
	api vpn "sync/torrentPeers?hash=$1" || :
	api seed "sync/torrentPeers?hash=$1" || :
	engine docker exec "$(name_of vpn)" sh -c '/usr/sbin/ip addr; /usr/sbin/ip route
		wg show CloudflareWARP; netstat -tun; ping -c 1 -w 3 203.0.113.1' || :
	fail_case "the transfer does not get beyond $2 ‰"
}

add()	# SERVICE TORRENT CURL-ARG…
{
	local service=$1 torrent=$2

	shift 2
	api "$service" torrents/add -f -F 'torrents=@-;filename=t.torrent' \
		-F savepath=/data "$@" <"$torrent" >/dev/null
}

# A new torrent, known to the seed and begun by the client; its hash is in $hash.
begin()	# NAME
{
	head -c "$size" /dev/urandom >"$smoke/seed/data/$1"
	hash=$("$stack/torrent" "$smoke/seed/data/$1" "$smoke/$1.torrent")
	add seed "$smoke/$1.torrent" -F skip_checking=true
	add vpn "$smoke/$1.torrent" -F "dlLimit=$rate"
	wait_until 10 name_peer "$hash"
}

finish()	# NAME HASH
{
	api vpn torrents/setDownloadLimit -d "hashes=$2" -d limit=0
	goes_on "$2" 999
	# The last piece may still be in the client's buffers.
	wait_until 10 cmp -s "$smoke/seed/data/$1" "$smoke/qbt/data/$1"
	expect_eq "$(sha256sum <"$smoke/qbt/data/$1")" \
		"$(sha256sum <"$smoke/seed/data/$1")" "sha256 of the file '$1'"
}

pid_of()	# SERVICE COMM
{
	local pid

	while read -r pid; do
		if [ "$(cat "/proc/$pid/comm")" = "$2" ]; then
			echo "$pid"
			return
		fi
	done <"$(cgroup_of "$1")/cgroup.procs"
	fail_case "no $2 in the container of '$1'"
}

kill_vpn()
{
	signal_and_wait KILL "$(pid_of vpn wireguard-go)"
}

# ── The capture, at the host's end of the VPN container's only wire ─────────

# Everything that leaves is counted, except the way to the VPN's endpoint and
# ARP. What the kernel makes by itself (resets and ICMP errors for packets
# without a socket, IGMP) passes no cgroup's gate and is counted apart; the
# guard answers for it.
all="not arp and not (udp and dst host $endpoint and dst port 51820)"
kernel='(icmp or icmp6 or igmp or (tcp[tcpflags] & tcp-rst != 0))'

capture()	# NAME
{
	local veth

	veth=$(ip -o link show master smoke-wan | awk -F'[ @]+' -v i="$(
		engine docker exec "$(name_of vpn)" cat /sys/class/net/eth0/iflink)" \
		'$1 == i ":" { print $2 }')
	[ -n "$veth" ]
	# Immediate mode: by default libpcap holds packets back for a second.
	spawn "tcpdump-$1" "$stack/engine.sh" in "$smoke" tcpdump -Z root -i "$veth" -Q in -n -U -s 192 -B 65536 \
		--immediate-mode -w "/smoke/$1.pcap"
	tcpdump_pid=$SPAWNED
	wait_until 10 grep -qs 'listening on' "$CASE_DIR/tcpdump-$1.log"
}

# The same on the bridge, which outlives the VPN's container: everything but what the provider sends.
capture_bridge()	# NAME
{
	spawn "tcpdump-$1" "$stack/engine.sh" in "$smoke" tcpdump -Z root -i smoke-wan -Q in -n -U -s 192 -B 65536 \
		--immediate-mode -w "/smoke/$1.pcap" "not ether src $(
			engine docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}}{{println}}{{end}}' \
				"$(name_of provider)" | awk -v ip="$endpoint" '$1 == ip { print $2 }')"
	tcpdump_pid=$SPAWNED
	wait_until 10 grep -qs 'listening on' "$CASE_DIR/tcpdump-$1.log"
}

# Ends the last one: what it lost by itself may have been a leak.
capture_end()	# NAME
{
	local lost

	signal_and_wait TERM "$tcpdump_pid"
	lost=$(awk '/packets dropped by kernel/ { print $1 }' "$CASE_DIR/tcpdump-$1.log")
	expect_eq "${lost:-?}" 0 "packets that the capture itself lost"
}

packets()	# NAME FILTER [SINCE]: as text
{
	local said

	# the last one may be half written yet
	{
		said=$(engine tcpdump -Z root -r "/smoke/$1.pcap" -n -tt "$2" 2>&1 >&3) ||
			[[ $said = *'truncated dump file'* ]]
	} 3>&1 | awk -v since="${3:-0}" '$1 >= since'
}

count()	# NAME FILTER [SINCE]
{
	packets "$@" | wc -l
}

seen()	# NAME FILTER [SINCE]
{
	[ "$(count "$@")" -gt 0 ]
}

report()	# NAME SINCE
{
	local class

	for class in 'tcp[tcpflags] & tcp-syn != 0' \
		'tcp and tcp[tcpflags] & (tcp-syn|tcp-rst) = 0' \
		'udp port 6771' 'udp port 53' \
		'udp and not port 6771 and not port 53'; do
		echo "$1: $(count "$1" "$all and ($class)") ($(
			count "$1" "$all and ($class)" "$2") after the kill): $class"
	done
	echo "$1: $(count "$1" "$all and $kernel") ($(
		count "$1" "$all and $kernel" "$2") after the kill): made by the kernel, not the gate's"
}

# ── Start and end ───────────────────────────────────────────────────────────

# Fetches what it needs the first time; skips aloud where it can not run.
stack_start()
{
	local rc=0

	if [ ! -c /dev/net/tun ]; then
		skip "no /dev/net/tun for wireguard-go"
	fi
	if ! grep -qw overlay /proc/filesystems; then
		skip "no overlay file system for the images (modprobe overlay)"
	fi
	outside env BUILD="$BUILD" "$PWD/$stack/fetch" || rc=$?
	[ "$rc" != 3 ] || skip "Docker's packages could not be fetched: runs where apt has a Debian mirror"
	expect_eq "$rc" 0 "exit code of fetch"

	mkdir -p "$smoke"
	defer rm -rf "$smoke"/{seed,qbt}/data
	defer "$stack/engine.sh" stop "$smoke"
	"$stack/engine.sh" start "$smoke"
	write_config seed
	write_config qbt
	write_keys
}

# ── A LAN, for the WebUI that is published by the engine ────────────────────

lan_up()
{
	ip netns add lan
	ip link add lan0 type veth peer name lan1 netns lan
	ip addr add 192.168.50.1/24 dev lan0
	ip link set lan0 up
	ip -n lan addr add 192.168.50.2/24 dev lan1
	ip -n lan addr add 203.0.113.99/32 dev lan1
	ip -n lan link set lan1 up
	ip -n lan route add default via 192.168.50.1
	ip route add 203.0.113.99/32 dev lan0
}

webui()	# FROM-COMMAND… -- SOURCE ADDRESS
{
	local from=()

	while [ "$1" != -- ]; do from+=("$1"); shift; done
	"${from[@]}" python3 tests/tools/webui.py ask "$2" "$3" 8080 3 2>/dev/null || echo none
}

# It answers a client on the LAN, the host and a neighbour on the bridge, and nobody else.
webuis()	# PHASE
{
	expect_match "$(webui nsenter --net=/run/netns/lan -- 192.168.50.2 192.168.50.1)" '^HTTP/' "$1: WebUI for a LAN client"
	expect_match "$(webui -- '' 192.168.50.1)" '^HTTP/' "$1: WebUI for the host"
	# not the provider: the VPN's server is nobody's LAN client
	expect_match "$(engine docker run --rm --network "${named_by/compose/smoke}_wan" --cgroup-parent "$SMOKE_CGROUP/neighbour" \
		vpnleash-smoke curl -sS -m 3 http://10.99.0.3:8080/api/v2/app/version || :)" \
		'^(v|Forbidden)' "$1: WebUI for a neighbour on the bridge"
	expect_eq "$(webui nsenter --net=/run/netns/lan -- 203.0.113.99 192.168.50.1)" none "$1: WebUI for a public source"
}

# ── vpnleash in a container, and dist/compose ───────────────────────────────

# The image of dist/compose's Dockerfile, from what is built here.
vpnleash_image()
{
	local image=$smoke/image f

	mkdir -p "$image"/{usr/sbin,usr/bin,proc,sys,dev,run,tmp,etc,var/lib/vpnleash,run/vpnleash}
	cp "$VPNLEASH" "$image/usr/sbin/vpnleash"
	{
		ldd "$VPNLEASH"
		f=$(ldconfig -p | awk '$1 ~ /^libcurl(-gnutls)?\.so\.4$/ { at = $NF } END { print at }')
		echo "$f"
		ldd "$f"
	} | grep -oE '/[^ )]+' | sort -u | while read -r f; do
		mkdir -p "$image$(dirname "$f")"
		cp -L "$f" "$image$f"
	done
	cp "$(command -v busybox)" "$image/usr/bin/busybox"
	ln -s busybox "$image/usr/bin/sh"
	tar -C "$image" -c . | engine docker import -c 'ENV PATH=/usr/sbin:/usr/bin' \
		-c 'ENTRYPOINT ["/usr/sbin/vpnleash"]' -c 'CMD ["run"]' - vpnleash >/dev/null
	rm -rf "$image"
}

# dist/compose as a user would call it, in this laboratory (lab.yml). leashed=1: with the override.
leashed=0
overlay=()	# further files
dist()	# CMD…
{
	local files=(-f /dist/docker-compose.yml)

	[ "$leashed" = 0 ] || files+=(-f /dist/docker-compose.vpnleash.yml -f /script/stop-after.yml)
	dist_env docker-compose -p dist "${files[@]}" -f /script/lab.yml "${overlay[@]}" --progress quiet "$@"
}

# What its .env would say here.
stop_after=30s
interface=CloudflareWARP
dist_env()	# CMD…
{
	engine env VPN_IMAGE=vpnleash-smoke QBITTORRENT_IMAGE=vpnleash-smoke \
		VPN_INTERFACE="$interface" LIKE="${like:-}" \
		VPN_CONNECTED='wg show CloudflareWARP latest-handshakes | grep -qv "[[:space:]]0$$"' \
		VPN_DATA=/smoke/wg VPN_DATA_PATH=/wg VPN_BOOTSTRAP="$endpoint" STOP_AFTER="$stop_after" \
		QBITTORRENT_CONFIG=/smoke/qbt/config DOWNLOADS=/smoke/qbt/data \
		VPNLEASH_RUN=/smoke/run VPNLEASH_STATE=/smoke/lib VPNLEASH_CONFIG=/smoke/etc \
		VPNLEASH_SLICE="$SMOKE_CGROUP/leashed" DOCKER_SOCKET=/smoke/docker.sock "$@"
}

# In qBittorrent's place a program that does nothing but send, as the first thing and all the time, by
# the route and by each interface (tests/attack/beacon).
# shellcheck disable=SC2034 # cases read it
beacon=198.51.100.7
beacon_in_place()
{
	mkdir -p "$smoke/bin"
	cp "$BUILD/tests/attack/beacon" "$smoke/bin/"
	overlay=(-f /script/beacon.yml)
}

# The daemon in its container, seen by the vpnleash of this case.
leash_up()
{
	leashed=1
	mkdir -p /run/vpnleash "$smoke"/{run,lib,etc}
	mount --bind "$smoke/run" /run/vpnleash
	dist_up
}

dist_up()
{
	dist up -d && return
	engine docker ps -a
	engine docker logs vpnleash
	engine docker inspect -f '{{json .State.Health}}' vpnleash vpn
	fail_case "compose up"
}

vpn_is_healthy()
{
	[ "$(engine docker inspect -f '{{.State.Health.Status}}' vpn)" = healthy ]
}

dist_state()	# CONTAINER
{
	engine docker inspect -f '{{.State.Status}}' "$1" 2>/dev/null || echo none
}

_dist_is() { [ "$(dist_state "$1")" = "$2" ]; }
wait_dist()	# CONTAINER STATE SECONDS
{
	_until "$3" _dist_is "$1" "$2" ||
		{ status_json; engine docker ps -a; fail_case "'$1' is not '$2' after $3 s but '$(dist_state "$1")'"; }
}
