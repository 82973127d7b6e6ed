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
	# the sanitizers' words, of a daemon that may live on
	if log=$(grep -lE ': runtime error: |Sanitizer: ' "$CASE_DIR"/*.log 2>/dev/null); then
		echo "FAILED: complaints about memory in ${log//$'\n'/ }" >&2
		[ "$rc" != 0 ] || rc=1
	fi
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

# What a process that was spawned has said, at least NUMBER times (1).
_said() { [ "$(grep -c -- "$2" "$CASE_DIR/$1.log" 2>/dev/null)" -ge "${3:-1}" ] 2>/dev/null; }
wait_said() { wait_until 10 _said "$@"; }	# NAME REGEX [NUMBER]

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

cgroup_mount() { awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts; }

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

# What `vpnleash exec` made lies beside the case's cgroup, so no runner takes it away: defer this.
reap_exec() {	# CGROUP
	local pids
	pids=$(cat "$1/cgroup.procs") || return 0
	# shellcheck disable=SC2086 # a list
	[ -z "$pids" ] || kill -KILL $pids
	_until 5 rmdir "$1"
	rmdir "${1%/*}"
} 2>/dev/null

in_client() { lab_in_client "$@"; }
in_far() { lab_in_far "$@"; }

# ── vpnleash ────────────────────────────────────────────────────────────────────────────────

vpnleash() { "$VPNLEASH" "$@" 2> >(tee -a "$CASE_DIR/vpnleash.log" >&2); }

# Without a daemon status reports the pins, and a machine without any is no failure.
daemon_answers() { { "$VPNLEASH" status --json 2>/dev/null || :; } | grep -q '^{"daemon":[0-9]'; }
_daemon_answers_or_gone() { daemon_answers || gone "$DAEMON"; }

# `vpnleash run ARG…` in the background, pid in $DAEMON, output in $CASE_DIR/daemon.log.
daemon_start() {	# ARG…
	spawn daemon in_cgroup_exec "$(cgroup_new daemon)" "$VPNLEASH" run "$@"
	DAEMON=$SPAWNED
	_until 20 _daemon_answers_or_gone || fail_case "the daemon answers no status after 20 s"
	! gone "$DAEMON" || fail_case "the daemon ended: $(tail -n 1 "$CASE_DIR/daemon.log")"
}

# What `make install` installs, laid over where this build looks for it.
installed() {
	grep -qw overlay /proc/filesystems || skip "no overlay file system (modprobe overlay)"
	local prefix
	prefix=$(sed -n 's|^#define HOOKS_DIR "\(.*\)/lib/vpnleash/hooks"|\1|p' "$BUILD/paths.h")
	make -s install B="$BUILD" PREFIX="$prefix" DESTDIR="$CASE_DIR/root" >/dev/null
	mount -t overlay -o "ro,lowerdir=$CASE_DIR/root$prefix:$prefix" overlay "$prefix"
	# shellcheck disable=SC2034 # cases read it
	INSTALLED=$prefix
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

# ── Proving: the sender in the workload, the capture where it would leak (build/tests/prove) ─
#
# A block is what prove reports at one moment. The last one is $BLOCK; what is asked of it is the
# difference to $MARK, so that one long load can be judged phase by phase.

BLOCK='' MARK='' LOAD='' LOAD_STATE=''

# The laboratory in prove's words: from the client, seen at the far end of eth0 and in the tunnel.
_prove_place() {
	PLACE=(--netns "$LAB_CLIENT" --underlay eth0 --capture-netns "$LAB_FAR" --capture-if eth0
		--tunnel-capture-netns "$LAB_FAR" --tunnel-capture-if "$LAB_FAR_TUNNEL"
		--outside4 198.51.100.1 --outside6 2001:db8::1 --onlink4 "$LAB_FAR4" --onlink6 "$LAB_FAR6"
		--endpoint-port 51820 --sink "$LAB_FAR")
	# the guard lets nothing through but to the endpoint, and no IPv6 at all
	[ "$LAB_EDGE" != here ] || PLACE+=(--fence "$LAB_FAR4" --fence-port 51820)
}

# So many of each kind (3), then the fence. Each later option overrides ours.
prove_once() {	# CGROUP KINDS [prove's options…]
	_prove_place
	MARK=''
	BLOCK=$("$PROVE" once "${PLACE[@]}" --cgroup "$1" --kinds "$2" --count 3 \
		--seconds $((30 * ${BOUND_FACTOR:-1})) "${@:3}") ||
		fail_case "prove could not judge"
	echo "$BLOCK"
}

# Sends until load_stop, SECONDS at most (60; --seconds). Counts begin at zero. An emulated machine
# sends less often, or it would do nothing else.
load_start() {	# CGROUP KINDS [prove's options…]
	_prove_place
	LOAD_STATE=$CASE_DIR/load.state
	rm -f "$LOAD_STATE"
	spawn load "$PROVE" load "${PLACE[@]}" --cgroup "$1" --kinds "$2" --state "$LOAD_STATE" \
		--seconds $((60 * ${BOUND_FACTOR:-1})) \
		--interval $((5 * ${BOUND_FACTOR:-1} * ${BOUND_FACTOR:-1})) "${@:3}"
	LOAD=$SPAWNED MARK=''
	_load_block 0
}

_load_at() { [ "$(sed -n '1s/^snapshot \([0-9]*\) .*/\1/p' "$LOAD_STATE" 2>/dev/null)" -ge "$1" ] 2>/dev/null || gone "$LOAD"; }
_load_block() {	# NUMBER
	_until 20 _load_at "$1" || fail_case "prove gave no snapshot $1 in 20 s"
	BLOCK=$(cat "$LOAD_STATE" 2>/dev/null) || fail_case "the load ended: $(tail -n 1 "$CASE_DIR/load.log")"
	! grep -q '^error ' <<<"$BLOCK" || fail_case "prove could not judge: $(grep '^error ' <<<"$BLOCK")"
	[[ $BLOCK =~ ^snapshot\ ([0-9]+)\  && ${BASH_REMATCH[1]} -ge $1 ]] || fail_case "the load ended before snapshot $1"
	echo "$BLOCK"
}
_load_number() { sed -n '1s/^snapshot \([0-9]*\) .*/\1/p' <<<"$BLOCK"; }

# Everything sent until now has arrived or never will: the block is fenced.
load_snapshot() {
	kill -USR1 "$LOAD" || fail_case "the load has ended: $(tail -n 1 "$CASE_DIR/load.log")"
	_load_block $(($(_load_number) + 1))
}
load_mark() { load_snapshot && MARK=$BLOCK; }	# from here on counts begin anew
load_stop() {
	kill -TERM "$LOAD" || fail_case "the load has ended: $(tail -n 1 "$CASE_DIR/load.log")"
	_load_block $(($(_load_number) + 1))
	wait_until 10 gone "$LOAD"
}

kinds_tried() { awk '$2 == "sent" { print $1 }' <<<"$BLOCK"; }

# One number of one kind since the mark: sent, ok, seen (on eth0), tunnel (seen inside it).
count() {	# FIELD KIND
	local block before=0 after
	for block in "$MARK" "$BLOCK"; do
		before=${after:-0}
		after=$(awk -v kind="$2" -v field="$1" '
			$1 == kind && $2 == "sent" { for (i = 2; i < NF; i += 2) if ($i == field) print $(i + 1) }' <<<"$block")
	done
	[[ $after =~ ^[0-9]+$ ]] || fail_case "the last block has no '$1' of kind '$2'"
	echo $((after - before))
}
seen() { count seen "$1"; }
# What else came out of eth0, by anybody: "FRAMES what from→to" a line (neighbour discovery, MLD…).
others() { sed -n 's/^other //p' <<<"$BLOCK"; }
# The errno name of the last refused packet, "-" if none; not a difference.
send_errno() { awk -v kind="$1" '$1 == kind && $2 == "sent" { print $7 }' <<<"$BLOCK"; }

expect_seen() { expect_eq "$(seen "$1")" "$2" "packets of $1 on eth0"; }	# KIND NUMBER
expect_errno() { expect_eq "$(send_errno "$1")" "$2" "errno of $1"; }	# KIND NAME

# Every asked-for kind was really sent; those that this kernel lacks must be named in MAY_SKIP.
_expect_tried() {
	local skipped
	while read -r skipped; do
		[[ " ${MAY_SKIP:-} " == *" ${skipped%% *} "* ]] || fail_case "not tried: $skipped"
		note "not tried: $skipped"
	done < <(awk '$2 == "skipped:"' <<<"$BLOCK")
	[ -n "$(kinds_tried)" ] || fail_case "no kind was tried"
	local kind
	for kind in $(kinds_tried); do
		[ "$(count sent "$kind")" -gt 0 ] || fail_case "nothing of $kind was sent, so that no count means anything"
	done
}

_expect_each() {	# all|none FIELD PLACE
	local kind number found
	_expect_tried
	for kind in $(kinds_tried); do
		number=$(count "$2" "$kind")
		found=all
		[ "$number" -gt 0 ] || found=none
		[ "$found" = "$1" ] || fail_case "$kind: $number of $(count sent "$kind") packets seen $3, expected $1"
	done
	echo "ok: $1 of $(kinds_tried | tr '\n' ' ')seen $3"
}
expect_all_seen() { _expect_each all seen "on eth0"; }	# the control: of each kind, at least one
expect_none_seen() { _expect_each none seen "on eth0"; }	# the promise: not one packet of any kind
expect_all_tunneled() { _expect_each all tunnel "in the tunnel"; }

# ── The main story, told by the leak cases with other ends ──────────────────────────────────

# What a torrent client and its neighbours could send. An established connection (flow4) is added
# where the tunnel's address survives the event: without it the kernel itself sends nothing more.
LOAD_KINDS=udp4,udp6,tcp4,tcp6,icmp4,ping4,raw4,raw6,device4,device6,onlink4,onlink6,multicast4,multicast6,broadcast4
# These leave by eth0 whatever the routes say, so the tunnel never carries them.
# shellcheck disable=SC2034 # cases read it
UNDERLAY_KINDS=device4,device6,onlink4,onlink6,multicast4,multicast6,broadcast4

# As status names it: the path below the cgroup root, its last 63 characters at most.
workload_name() {	# CGROUP
	local path=${1#"$(cgroup_mount)"}
	((${#path} < 64)) || path=${path: -63}
	echo "$path"
}

# The daemon for one workload in the laboratory; APP is its cgroup, W its name. The gate alone,
# unless the edge is here: what the gate lets through is not to be hidden by the guard.
leash() {	# CGROUP [OPTION…]
	# shellcheck disable=SC2034 # cases read it
	APP=$1 W=$(workload_name "$1")
	local guard=off
	[ "$LAB_EDGE" != here ] || guard=on
	daemon_start --cgroup "$1" --interface "$LAB_TUNNEL" --netns "/run/netns/$LAB_CLIENT" \
		--probe icmp:198.51.100.1 --guard $guard "${@:2}"
}

# EVENT befalls the tunnel under a running load: without vpnleash every kind shows beyond eth0,
# with it none does, from before the event until RECOVER has brought the tunnel back, and after.
expect_no_leak_when() {	# EVENT RECOVER [more kinds]
	lab_up
	local app kinds=$LOAD_KINDS${3:+,$3}
	app=$(cgroup_new app)

	note "control: no vpnleash, $1"
	load_start "$app" "$kinds"
	wait_until 10 _load_tunneled
	"$1"
	load_mark >/dev/null
	wait_until 10 _load_seen_all
	load_stop >/dev/null
	expect_all_seen
	"$2"
	lab_handshake

	note "leashed: $1"
	leash "$app"
	wait_state "$W" open 10
	load_start "$app" "$kinds"
	wait_until 10 _load_tunneled
	"$1"
	wait_state "$W" frozen 10
	expect_eq "$(cat "$app/cgroup.freeze")" 1 "cgroup.freeze"
	load_snapshot >/dev/null
	expect_none_seen
	"$2"
	wait_state "$W" open 15
	expect_eq "$(cat "$app/cgroup.freeze")" 0 "cgroup.freeze"
	load_mark >/dev/null
	wait_until 10 _load_tunneled
	MARK='' # from the very beginning
	load_stop >/dev/null
	expect_none_seen
	note "beside the gate (the guard's to close): $(others | tr '\n' ';')"
}

# Every kind has been seen on eth0 since the mark.
_load_seen_all() {
	local kind
	load_snapshot >/dev/null
	for kind in $(kinds_tried); do
		[ "$(seen "$kind")" -gt 0 ] || return 1
	done
}
_load_tunneled() {
	load_snapshot >/dev/null
	[ "$(count tunnel udp4)" -gt 0 ] && [ "$(count tunnel tcp4)" -gt 0 ]
}

# ── Promise 2: the daemon goes ──────────────────────────────────────────────────────────────

# Nothing in the tunnel, nothing beside it: since the mark.
expect_shut() {
	load_snapshot >/dev/null
	_expect_each none tunnel "in the tunnel"
	expect_none_seen
}

boot_ns() { awk '{ printf "%.0f\n", $1 * 1e9 }' /proc/uptime; }
_boot_is_past() { [ "$(boot_ns)" -gt "$1" ]; }

# The daemon gets SIGNAL under load: the gate is shut within one lease term and stays shut,
# whatever the tunnel does then; a new daemon, or the one that was stopped, opens it again.
expect_deadman() {	# SIGNAL
	local signal=$1 app other left out rc=0
	lab_up
	app=$(cgroup_new app)
	other=$(cgroup_new other)

	note "control: the same load, not leashed, when the tunnel dies"
	load_start "$other" "$LOAD_KINDS"
	lab_vpn_kill
	load_mark >/dev/null
	wait_until 10 _load_seen_all
	expect_all_seen
	load_stop >/dev/null
	lab_vpn_start
	lab_handshake

	note "the daemon gets $signal"
	leash "$app"
	wait_state "$W" open 10
	load_start "$app" "$LOAD_KINDS"
	wait_until 10 _load_tunneled
	daemon_kill "$signal"
	load_snapshot >/dev/null
	expect_none_seen
	# the lease was renewed a second ago at the most; 100 ms for the load to notice
	left=$(bpftool -j map dump pinned /sys/fs/bpf/vpnleash/leases | jq '[.[].formatted.value.expires_ns] | max')
	expect_at_most "$(((left - $(boot_ns)) / 1000000))" 3000 "ms of lease left"
	wait_until 5 _boot_is_past $((left + 100000000))
	load_mark >/dev/null
	sleep 0.5 # of trying
	expect_shut
	note "the tunnel dies, and comes back"
	lab_vpn_kill
	expect_shut
	lab_vpn_start
	lab_handshake
	expect_shut
	out=$("$VPNLEASH" status) || rc=$?
	if [ "$signal" = -STOP ]; then
		daemon_kill -CONT # it opens again without help
	else
		expect_eq "$rc" 3 "exit of status without a daemon"
		expect_match "$out" "vpnleash run" "status says what to type"
		leash "$app"
	fi
	wait_state "$W" open 10
	load_mark >/dev/null
	wait_until 10 _load_tunneled
	MARK=''
	load_stop >/dev/null
	expect_none_seen
	daemon_kill -TERM
}
