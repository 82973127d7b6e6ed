# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a shell case may use. A case is an executable tests/GROUP/case_NAME: one promise or threat,
# first line after its head `. tests/lib.sh`. It runs in the repository's root, in a mount and
# network namespace of its own (tmpfs on /run and /var/lib/vpnleash, its own bpffs on
# /sys/fs/bpf), below its own cgroup $CASE_CGROUP, with $CASE_DIR for files: tests/run made these
# and takes them away again, whatever the case leaves: processes, cgroups, pins, namespaces.
# So `defer` is for what lies outside them, and for ends that matter to the case itself.
#
# A case fails by the first command that fails (set -e), by fail_case or by an expect_; it
# skips by `skip`. Started by hand, it runs itself through tests/run and shows its log.
set -Eeuo pipefail
export LC_ALL=C

if [ -z "${CASE_DIR:-}" ]; then
	_case=$(readlink -f "$0")
	_group=${_case%/*}
	TESTS_DIR=${_group%/*} V=1 exec "$(readlink -f "${BASH_SOURCE[0]%/*}")/run" "${_group##*/}/${_case##*/}"
fi

VPNLEASH=${VPNLEASH:-$BUILD/vpnleash}
PROVE=${PROVE:-$BUILD/tests/prove}
# shellcheck disable=SC2034 # lab.sh reads it
LAB_TIMEOUT=$((20 * ${BOUND_FACTOR:-1}))
# shellcheck source=user/lab.sh
. user/lab.sh

# ── Ending ──────────────────────────────────────────────────────────────────────────────────

_deferred=()
_spawned=()

defer() { _deferred+=("$(printf '%q ' "$@")"); }	# run at the end, the last one first

_finish() {
	local rc=$? i log
	trap '' TERM INT	# a second signal must not cut the clean-up short
	trap - ERR
	set +e
	# The runner prints the end of our output, so what others wrote goes there.
	if [ "$rc" != 0 ] && [ "$rc" != 77 ]; then
		for log in "$CASE_DIR"/*.log; do
			[ ! -s "$log" ] || { echo "── ${log##*/}"; tail -n 15 "$log"; }
		done
	fi
	for ((i = ${#_deferred[@]} - 1; i >= 0; i--)); do eval "${_deferred[i]}"; done
	for i in "${_spawned[@]}"; do
		kill -CONT "$i"
		kill -KILL "$i"
	done 2>/dev/null
	exit "$rc"
}
trap _finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: exit $?: $BASH_COMMAND" >&2' ERR

# The line of the case itself, however deep the helper that noticed.
_where() {
	local i
	for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
		[ "${BASH_SOURCE[i]}" != "$0" ] || { echo "${0##*/}:${BASH_LINENO[i - 1]}"; return; }
	done
	echo "${0##*/}"
}

fail_case() {
	echo "FAILED $(_where): $*" >&2
	exit 1
}

# Name what is missing and where the case does run: "no tcx: kernel 6.1; runs on 6.6 and later".
skip() {
	echo "# SKIP $*"
	exit 77
}

need() {	# PROGRAM…
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "$program is missing; runs where it is installed (make deps)"
	done
}

note() { echo "── $*"; }

# ── Expecting and waiting ───────────────────────────────────────────────────────────────────

expect_eq() {	# GOT WANTED WHAT
	[ "$1" = "$2" ] || fail_case "$3: got '$1', expected '$2'"
	echo "ok: $3: $1"
}

expect_match() {	# GOT EXTENDED-REGEX WHAT
	[[ $1 =~ $2 ]] || fail_case "$3: got '$1', expected a match of '$2'"
	echo "ok: $3"
}

expect_at_most() {	# GOT LIMIT WHAT
	[ "$1" -le "$2" ] || fail_case "$3: $1, expected at most $2"
	echo "ok: $3: $1 (limit $2)"
}

# Runs the command; its output, both streams, is then in $OUTPUT.
expect_exit() {	# CODE COMMAND…
	local wanted=$1 got=0
	shift
	OUTPUT=$("$@" 2>&1) || got=$?
	[ "$got" = "$wanted" ] || { echo "$OUTPUT"; fail_case "'$*': exit $got, expected $wanted"; }
	echo "ok: exit $got: $*"
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }	# wall clock: for differences within a case

# The seconds are patience, not a promise: a promise is measured with now_ms and expect_at_most.
_until() {	# SECONDS COMMAND…
	local end=$(($(now_ms) + $1 * 1000 * ${BOUND_FACTOR:-1}))
	shift
	until "$@"; do
		[ "$(now_ms)" -le "$end" ] || return 1
		sleep 0.05
	done
}
wait_until() { _until "$@" || fail_case "still not so after $1 s: ${*:2}"; }

# Gone, or a zombie that only waits for its parent.
gone() { ! grep -q '^State:[[:space:]][^ZX]' "/proc/$1/status" 2>/dev/null; }
stopped() { grep -q '^State:[[:space:]]T' "/proc/$1/status" 2>/dev/null; }

# ── Processes, cgroups, namespaces ──────────────────────────────────────────────────────────

# In the background, output in $CASE_DIR/NAME.log, pid in $SPAWNED; killed at the end.
spawn() {	# NAME COMMAND…
	local log=$CASE_DIR/$1.log
	shift
	if [ "$(type -t "$1")" = function ]; then
		"$@" </dev/null >>"$log" 2>&1 &
	else	# a background job ignores SIGINT, which the program under test would inherit
		env --default-signal "$@" </dev/null >>"$log" 2>&1 &
	fi
	SPAWNED=$!
	_spawned+=("$SPAWNED")
}

# Sends, and waits for what the signal is to bring about.
signal_and_wait() {	# SIGNAL PID
	kill "-${1#-}" "$2" || fail_case "process $2 is not there to get ${1#-}"
	case ${1#-} in
	9 | KILL | TERM | INT) wait_until 20 gone "$2" ;;
	STOP) wait_until 5 stopped "$2" ;;
	esac
}

cgroup_new() {	# NAME → path
	mkdir -p "$CASE_CGROUP/$1"
	echo "$CASE_CGROUP/$1"
}

in_cgroup() (	# PATH COMMAND…
	echo 0 >"$1/cgroup.procs"
	shift
	"$@"
)

# `cgroup.freeze` is a wish; this is the kernel's answer.
frozen() { grep -qx 'frozen 1' "$1/cgroup.events"; }

in_client() { lab_in_client "$@"; }
in_far() { lab_in_far "$@"; }

# ── vpnleash ────────────────────────────────────────────────────────────────────────────────

vpnleash() { "$VPNLEASH" "$@" 2> >(tee -a "$CASE_DIR/vpnleash.log" >&2); }

# Exit 3 is the report of the pins, without a daemon.
daemon_answers() {
	local rc=0
	"$VPNLEASH" status --json >/dev/null 2>&1 || rc=$?
	[ "$rc" -le 1 ]
}
_daemon_answers_or_gone() { daemon_answers || gone "$DAEMON"; }

# `vpnleash run ARG…` in the background, pid in $DAEMON, output in $CASE_DIR/daemon.log.
daemon_start() {	# ARG…
	spawn daemon in_cgroup_exec "$(cgroup_new daemon)" "$VPNLEASH" run "$@"
	DAEMON=$SPAWNED
	_until 20 _daemon_answers_or_gone || fail_case "the daemon answers no status after 20 s"
	! gone "$DAEMON" || fail_case "the daemon ended: $(tail -n 1 "$CASE_DIR/daemon.log")"
}

# As in_cgroup, but becomes the command, so that its pid is the job's.
in_cgroup_exec() {	# PATH COMMAND…
	echo 0 >"$1/cgroup.procs"
	shift
	exec env --default-signal "$@"
}

daemon_kill() { signal_and_wait "$1" "$DAEMON"; }	# -9 | -TERM | -STOP | -CONT | -HUP

status_json() { "$VPNLEASH" status --json 2>>"$CASE_DIR/vpnleash.log" || [ $? -le 3 ]; }
# One value out of `vpnleash status --json`: a jq filter; $name is the second argument.
status_value() { status_json | jq -r --arg name "${2:-}" "$1"; }
# shellcheck disable=SC2016 # $name is jq's
workload_state() { status_value '.workloads[] | select(.name == $name).state' "$1"; }
# shellcheck disable=SC2016
tunnel_state() { status_value '.tunnels[] | select(.name == $name).state' "$1"; }

_is() { [ "$("$1" "$2")" = "$3" ]; }
wait_state() {	# WORKLOAD STATE SECONDS
	_until "$3" _is workload_state "$1" "$2" ||
		{ status_json; fail_case "workload '$1' is not '$2' after $3 s but '$(workload_state "$1")'"; }
}
wait_tunnel() {	# TUNNEL STATE SECONDS
	_until "$3" _is tunnel_state "$1" "$2" ||
		{ status_json; fail_case "tunnel '$1' is not '$2' after $3 s but '$(tunnel_state "$1")'"; }
}
