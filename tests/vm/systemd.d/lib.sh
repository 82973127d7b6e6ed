# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# For the cases that tests/vm/systemd runs in its virtual machine, as root, on a machine of their
# own: they print TAP, go on after a failed check, and end with exit code 1 if one failed. Numbers
# are kept on the disk, so that they run on over a reset or reboot (`exit 75` or `exit 76`).
set -uo pipefail
export LC_ALL=C.UTF-8

kept=/var/lib/vm-test
mkdir -p $kept
read -r number failed 2>/dev/null <$kept/count || number=0 failed=0

# shellcheck disable=SC2317 # called by a trap
finish() {
	local code=$?
	echo "$number $failed" >$kept/count
	case $code in
	75 | 76) sync $kept/count ;;
	*)
		echo "1..$number"
		[ "$failed" = 0 ] || exit 1
		;;
	esac
}
trap finish EXIT

note() { echo "# [$(cut -d' ' -f1 /proc/uptime)] $*"; }

tell() {	# CODE NAME
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		failed=$((failed + 1))
		echo "not ok $number - $2"
	fi
}

# The output of a command is shown if it is not as wanted.
succeeds() {	# NAME COMMAND…
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		tell 0 "$name"
	else
		tell 1 "$name"
		echo "# ${output//$'\n'/$'\n# '}"
	fi
}
fails() {	# NAME COMMAND…
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		tell 1 "$name"
		echo "# ${output//$'\n'/$'\n# '}"
	else
		tell 0 "$name"
	fi
}
is() {	# GOT WANTED NAME
	[ "$1" = "$2" ]
	tell $? "$3"
	[ "$1" = "$2" ] || echo "# got '$1', expected '$2'"
}

# Patience, not a promise: beside other work an emulated machine takes several times as long.
until_true() {	# SECONDS COMMAND…
	local end=$((SECONDS + 4 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

# At the end of a case: what is known of what failed, and what COMMAND says.
explain() {	# COMMAND…
	[ "$failed" != 0 ] || return 0
	{ "$@"; vpnleash status; journalctl -b -u vpnleash -o short-precise --no-hostname; } 2>/dev/null | sed 's/^/# /'
}

install_vpnleash() {
	make -s -o all install >/dev/null && systemctl daemon-reload
}

# An image of busybox alone, for what needs no more.
import_busybox() {	# ENGINE
	local dir applet
	dir=$(mktemp -d)
	mkdir "$dir/bin"
	cp /bin/busybox "$dir/bin/"
	for applet in sh ping sleep cat; do ln -s busybox "$dir/bin/$applet"; done
	tar -C "$dir" -c . | "$1" import - busybox >/dev/null 2>&1
	rm -rf "$dir"
}
