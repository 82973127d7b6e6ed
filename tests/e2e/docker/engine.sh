#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A Docker engine that leaves no trace: dockerd in a mount and a pid namespace
# of its own, on the root that `fetch` unpacked, its data on a tmpfs. When its
# first process dies everything in it dies, containers included.
#
#	engine.sh start DIR	DIR is seen as /smoke inside; loads the image
#	engine.sh in DIR CMD…	runs CMD beside dockerd (docker, docker-compose, wg, …)
#	engine.sh stop DIR
#
# It uses the network namespace of its caller, so that the bridge, the host's
# side of each veth and vpnleash lie in one namespace as they do in real life.
# Containers lie in the cgroup $SMOKE_CGROUP (default /vpnleash-docker), each
# in the child that compose.yml names.
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
	local dir=$1 pid

	# /proc is still the caller's: the pid that others can use.
	read -r pid _ </proc/self/stat
	echo "$pid" >"$dir/engine.pid"

	mount --bind "$root" "$root"
	cd "$root"
	mount -o remount,bind,ro "$root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	# A pure v2 view also where the machine mounts v1 as well.
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount --rbind /dev dev
	for d in run tmp etc/docker var/lib/docker; do
		mount -t tmpfs tmpfs "$d"
	done
	mount --bind "$dir" smoke
	mount --bind "$here" script
	mount -o remount,bind,ro script
	pivot_root . .
	umount -l .

	ip link set lo up
	# One --cgroup-parent for what names none; no controller is asked for.
	exec env -i PATH="$path" HOME=/tmp TMPDIR=/tmp tini -g -- dockerd \
		--host unix:///run/docker.sock --pidfile /run/dockerd.pid \
		--data-root /var/lib/docker --exec-root /run/docker \
		--storage-driver overlay2 --bip 172.31.250.1/24 \
		--exec-opt native.cgroupdriver=cgroupfs \
		--cgroup-parent "$SMOKE_CGROUP/other"
}

enter()
{
	local dir=$1

	shift
	nsenter -t "$(cat "$dir/engine.pid")" -m -p \
		env -i PATH="$path" HOME=/tmp DOCKER_HOST=unix:///run/docker.sock \
		SMOKE_CGROUP="$SMOKE_CGROUP" "$@"
}

start()
{
	local dir=$1 outer
	local -i i

	[ "$(ip -o link | grep -cv ': lo:')" = 0 ] ||
		die "not in a network namespace of its own: docker0 and its rules would end up in the machine's (run under 'unshare -n')"
	[ -e "$root/.fetched" ] || die "no '$root' (run tests/e2e/docker/fetch)"
	mkdir -p "$dir"
	rm -f "$dir/engine.pid"

	# --kill-child: a caller that is killed takes the engine with it.
	export root here path SMOKE_CGROUP
	export -f inside
	unshare -m -p --fork --kill-child --propagation private \
		bash -euc "inside '$dir'" \
		</dev/null >"$dir/engine.log" 2>&1 &
	outer=$!
	for ((i = 0; i < 600; i++)); do
		kill -0 "$outer" 2>/dev/null || break
		# The socket is there before the engine answers: ask the engine.
		if [ -s "$dir/engine.pid" ] &&
			enter "$dir" docker version >/dev/null 2>&1; then
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

stop()
{
	local dir=$1 base pid
	local -i i

	base=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$SMOKE_CGROUP
	if [ -s "$dir/engine.pid" ]; then
		pid=$(cat "$dir/engine.pid")
		# The whole pid namespace goes with its first process; the name is
		# checked, because a stale file may hold a number that is another's.
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != tini ] || kill -KILL "$pid"
		rm -f "$dir/engine.pid"
	fi
	# A cgroup can be removed once its last process is reaped.
	for ((i = 0; i < 100; i++)); do
		[ -d "$base" ] || return 0
		find "$base" -depth -type d -exec rmdir {} + 2>/dev/null || :
		sleep 0.05
	done
	echo "engine.sh: '$base' is still there" >&2
	return 1
}

[ $# -ge 2 ] || die 'usage: engine.sh start|in|stop DIR [CMD…]'
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
case $verb in
start) start "$dir" ;;
in) enter "$dir" "$@" ;;
stop) stop "$dir" ;;
*) die "unknown verb '$verb'" ;;
esac
