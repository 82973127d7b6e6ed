#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A Docker engine that leaves no trace: dockerd in a mount namespace of its own,
# on the root that `fetch` unpacked, its data on a tmpfs.
#
#	engine.sh start DIR	DIR is seen as /smoke inside; loads the image
#	engine.sh in DIR CMD…	runs CMD beside dockerd (docker, docker-compose, wg, …)
#	engine.sh down DIR	dockerd alone ends, as by a service manager; its data stay
#	engine.sh up DIR	and comes back
#	engine.sh stop DIR	everything in it is killed and gone
#
# It uses the network and pid namespaces of its caller, so that the bridge, the
# host's side of each veth, the containers' processes and vpnleash lie in one as
# they do in real life; DIR/docker.sock is its socket. Containers lie in the
# cgroup $SMOKE_CGROUP (default /vpnleash-docker), each in the child that
# compose.yml names, dockerd itself in the child "engine".
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SMOKE_CGROUP=${SMOKE_CGROUP:-/vpnleash-docker}
root=$(cd "$here/../../.." && mkdir -p "${BUILD:-build}" && cd "${BUILD:-build}" && pwd)/docker/root
path=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/docker/cli-plugins

die()
{
	echo "engine.sh: $*" >&2
	exit 1
}

# Runs in the new namespaces, as their first process.
# shellcheck disable=SC2317
inside()
{
	local dir=$1

	echo $BASHPID >"$cgroup/cgroup.procs"
	echo $BASHPID >"$dir/engine.pid"

	mount --bind "$root" "$root"
	cd "$root"
	# the host's resolvers, as dockerd is to know them; DIR/resolv.conf, if there is one
	[ ! -e "$dir/resolv.conf" ] || { : >>etc/resolv.conf; mount --bind "$dir/resolv.conf" etc/resolv.conf; }
	mount -o remount,bind,ro "$root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	# A pure v2 view also where the machine mounts v1 as well.
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount --bind /sys/fs/bpf sys/fs/bpf
	mount --rbind /dev dev
	for d in run tmp etc/docker var/lib/docker; do
		mount -t tmpfs tmpfs "$d"
	done
	mount --bind "$dir" smoke
	mount --bind "$here" script
	mount --bind "$here/../../../dist/compose" dist
	mount -o remount,bind,ro script
	mount -o remount,bind,ro dist
	pivot_root . .
	umount -l .

	ip link set lo up
	# As a service manager would: it starts dockerd whenever "wanted" is there. Orphans of
	# containers are its children.
	export SMOKE_CGROUP
	# shellcheck disable=SC2016
	exec env -i PATH="$path" HOME=/tmp TMPDIR=/tmp SMOKE_CGROUP="$SMOKE_CGROUP" tini -s -- \
		sh -c 'while :; do
			if [ -e /smoke/wanted ]; then dockerd $(cat /smoke/options 2>/dev/null) \
				--host unix:///run/docker.sock --host unix:///smoke/docker.sock \
				--pidfile /run/dockerd.pid --data-root /var/lib/docker \
				--exec-root /run/docker --storage-driver overlay2 --bip 172.31.250.1/24 \
				--exec-opt native.cgroupdriver=cgroupfs \
				--cgroup-parent "$SMOKE_CGROUP/other" || :; fi
			sleep 0.2; done'
}

enter()
{
	local dir=$1

	shift
	# in a shell of its own it becomes the command, which so gets the caller's signals
	$exec nsenter -t "$(cat "$dir/engine.pid")" -m \
		env -i PATH="$path" HOME=/tmp DOCKER_HOST=unix:///run/docker.sock \
		SMOKE_CGROUP="$SMOKE_CGROUP" "$@"
}

start()
{
	local dir=$1 outer cgroup
	local -i i

	[ "$(ip -o link | grep -cv ': lo:')" = 0 ] ||
		die "not in a network namespace of its own: docker0 and its rules would end up in the machine's (run under 'unshare -n')"
	[ -e "$root/.fetched" ] || die "no '$root' (run tests/e2e/docker/fetch)"
	mkdir -p "$dir"
	rm -f "$dir/engine.pid"
	touch "$dir/wanted"
	cgroup=$(base)/engine
	mkdir -p "$cgroup"

	export root here path SMOKE_CGROUP cgroup
	export -f inside
	unshare -m --propagation private \
		bash -euc "inside '$dir'" \
		</dev/null >"$dir/engine.log" 2>&1 &
	outer=$!
	for ((i = 0; i < 600; i++)); do
		kill -0 "$outer" 2>/dev/null || break
		if [ -s "$dir/engine.pid" ] && answers "$dir"; then
			enter "$dir" docker import \
				-c 'ENV PATH=/usr/sbin:/usr/bin LANG=C.UTF-8' - vpnleash-smoke \
				<"$root/../image.tar" >/dev/null
			return 0
		fi
		sleep 0.1
	done
	tail -n 5 "$dir/engine.log" >&2
	stop "$dir"
	die 'dockerd did not start'
}

base()
{
	echo "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$SMOKE_CGROUP"
}

# The socket is there before the engine answers: ask the engine.
answers()
{
	enter "$1" docker version >/dev/null 2>&1
}

down()
{
	local dir=$1 pid
	local -i i

	rm -f "$dir/wanted"
	pid=$(enter "$dir" cat /run/dockerd.pid 2>/dev/null) || return 0
	kill -TERM "$pid"
	for ((i = 0; i < 600; i++)); do
		[ -d "/proc/$pid" ] || return 0
		sleep 0.1
	done
	die 'dockerd does not end'
}

up()
{
	local dir=$1
	local -i i

	touch "$dir/wanted"
	for ((i = 0; i < 300; i++)); do
		! answers "$dir" || return 0
		sleep 0.1
	done
	die 'dockerd does not come back'
}

stop()
{
	local dir=$1 base pids
	local -i i

	base=$(base)
	rm -f "$dir/wanted" "$dir/engine.pid"
	# Until nothing is left that could fork, and the cgroups are gone.
	for ((i = 0; i < 200; i++)); do
		[ -d "$base" ] || return 0
		find "$base" -name cgroup.freeze -exec sh -c 'for f; do echo 0 >"$f"; done' - {} + 2>/dev/null || :
		pids=$(find "$base" -name cgroup.procs -exec cat {} + 2>/dev/null) || :
		# shellcheck disable=SC2086 # a list
		[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || :
		find "$base" -depth -type d -exec rmdir {} + 2>/dev/null || :
		sleep 0.05
	done
	echo "engine.sh: '$base' is still there" >&2
	return 1
}

[ $# -ge 2 ] || die 'usage: engine.sh start|in|down|up|stop DIR [CMD…]'
verb=$1 exec=
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
case $verb in
start) start "$dir" ;;
in)
	exec="exec"
	enter "$dir" "$@"
	;;
down) down "$dir" ;;
up) up "$dir" ;;
stop) stop "$dir" ;;
*) die "unknown verb '$verb'" ;;
esac
