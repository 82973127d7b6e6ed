# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the attacks share, after tests/lib.sh: `way` (the attacks that are no kinds of prove) and
# `sniff` (a capture that knows single frames). Every case shows its attack to a capture that must
# see it (the control), before it may see nothing.
WAY=$BUILD/tests/attack/way
SNIFFED=$CASE_DIR/sniffed.log
_sniff_from=0 _sniff_fence=0 _sniff_settled=0

# The attacker, in the workload $app and the client's netns; spawn_way's log is $CASE_DIR/NAME.log.
# shellcheck disable=SC2154 # app: the case's
way() { in_cgroup "$app" nsenter --net="/run/netns/$LAB_CLIENT" "${AS[@]}" "$WAY" "$@"; }
AS=()	# say (setpriv …)
spawn_way() { spawn "$1" in_cgroup_exec "$app" nsenter --net="/run/netns/$LAB_CLIENT" "$WAY" "${@:2}"; }

# A command for `way tcp` or `way serve`, done when it has been answered.
tell() {	# NAME COMMAND…
	echo "${*:2}" >"$CASE_DIR/$1.fifo"
	[ "$2" = exit ] || wait_said "$1" "^${!#}: "
}

# The far end of eth0: every frame that arrives there, one a line.
sniff_start() {
	spawn sniffed "$BUILD/tests/tools/sniff" "$LAB_FAR" eth0 "$LAB_CLIENT" eth0 "$LAB_FAR4"
	SNIFF=$SPAWNED
	wait_said sniffed '^sniffing$'
}

# What was sent before has arrived or never will.
sniff_fence() {
	_sniff_fence=$((_sniff_fence + 1))
	kill -USR1 "$SNIFF" || fail_case "the capture has ended"
	wait_until 10 grep -qx "fence $_sniff_fence" "$SNIFFED"
}
sniff_mark() {	# from here on counts begin anew; the next expectation is fenced first
	sniff_fence
	_sniff_from=$(wc -l <"$SNIFFED") _sniff_settled=0
}

# $COUNT: frames between the mark and the first question after it for which awk's CONDITION holds, in
# words: protocol, source, sport, destination, dport, flags (of TCP: "SA"), bytes, text (first word).
sniffed() {	# CONDITION
	[ "$_sniff_settled" = 1 ] || sniff_fence
	_sniff_settled=1
	COUNT=$(awk -v mark="$_sniff_from" "
		{ protocol = \$2; source = \$3; sport = \$4; destination = \$5; dport = \$6; flags = \$7
		  bytes = \$8; text = \$9 }
		NR > mark && \$1 != \"fence\" && ($1) { n++ }
		END { print n + 0 }" "$SNIFFED")
}
expect_sniffed() {	# NUMBER|some CONDITION WHAT
	sniffed "$2"
	if [ "$1" != some ]; then
		expect_eq "$COUNT" "$1" "$3: frames on eth0"
	elif [ "$COUNT" -gt 0 ]; then
		echo "ok: $3: frames on eth0: $COUNT"
	else
		fail_case "$3: no frame on eth0, expected some"
	fi
}

# All that the gate of the one workload has dropped, for whatever reason.
dropped() { status_value '[.workloads[].dropped // {} | .[]] | add // 0'; }
# So that nothing seen means blocked by us, not just nothing sent.
expect_dropped_since() {	# NUMBER WHAT
	local now
	now=$(dropped)
	[ "$now" -gt "$1" ] || fail_case "$2: the gate counted no drop"
	echo "ok: $2: the gate dropped $((now - $1))"
}
_dropped_since() { [ "$(dropped)" -gt "$1" ]; }

# The daemon, with processes that go on when the tunnel is dead: frozen, they would not even try.
leash_block() {
	leash "$app" --on-failure block
	wait_state "$W" open 10
}
