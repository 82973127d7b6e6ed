/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `vpnleash listen` was told last, asked for once a second. Nodes are changed in place, so that
 * focus, selection and a screen reader's place stay; text is set as text, never as markup. */
"use strict";

const ASK_MS = 1000, TICK_MS = 250, OLD_MS = 12000;
const LADDER = ["open", "blocked", "frozen", "stopped"];
const COLOURS = 8;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

let report = null; // the daemon's last
let error = "";    // why there is none now
let asked = 0, newsAt = performance.now(), reportAt = 0;

function node(tag, classes, ...children) {
	const n = document.createElement(tag);
	if (classes)
		n.className = classes;
	n.append(...children);
	return n;
}

function say(n, text) {
	if (n.textContent !== text)
		n.textContent = text;
}

function attribute(n, name, value) {
	if (n.getAttribute(name) !== value)
		n.setAttribute(name, value);
}

/* One child of `parent` for each item, made once for each key and then updated. */
function children(parent, items, keyOf, make, update) {
	const had = parent.nodes || new Map(), has = new Map();
	items.forEach((item, i) => {
		let key = keyOf(item);
		while (has.has(key))
			key += "#";
		const n = had.get(key) || make(item);
		has.set(key, n);
		update(n, item);
		if (parent.children[i] !== n)
			parent.insertBefore(n, parent.children[i] || null);
	});
	for (const [key, n] of had)
		if (has.get(key) !== n)
			n.remove();
	parent.nodes = has;
}

function duration(ms) {
	const s = Math.floor(ms / 1000);
	if (s < 60)
		return s + " s";
	if (s < 3600)
		return Math.floor(s / 60) + " min";
	if (s < 48 * 3600)
		return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
	return Math.floor(s / 86400) + " days";
}

const total = (dropped) => Object.values(dropped || {}).reduce((sum, n) => sum + n, 0);
const byCount = (dropped) => Object.entries(dropped || {}).sort((a, b) => b[1] - a[1])
	.map(([reason, n]) => reason + " " + n.toLocaleString("en")).join(", ") || "none";
const severity = (w) => w.state === "open" ? (w.enforce === "audit" ? "warn" : "good")
	: w.state === "locked" ? "good" : w.state === "waiting" ? "unknown"
	: w.state === "frozen" || w.state === "blocked" || w.state === "gone" ? "bad" : "warn";

/* ------ the verdict ------ */

function names(list) {
	const shown = list.slice(0, 3).map((w) => w.name);
	const rest = list.length - shown.length;
	const last = rest ? rest + (rest === 1 ? " other" : " others") : shown.pop();
	return shown.length ? shown.join(", ") + " and " + last : last;
}

const AFTER_TUNNEL = (w) => w.tunnel ? "until the tunnel " + w.tunnel + " works again" : "until its tunnel works again";

/* Of the first that has somebody. What stands still comes first: that is what one is looking for. */
const VERDICTS = [
	["bad", (w) => w.state === "frozen", (l, many) => names(l) + (many ? " are frozen: their WebUIs" : " is frozen: its WebUI") +
		" will not answer " + (l[0].held ? "until vpnleash release" : AFTER_TUNNEL(l[0])) + "."],
	["bad", (w) => w.state === "gone", (l, many) => names(l) + (many ? " were" : " was") + " removed: what starts there is not locked."],
	["bad", (w) => w.state === "blocked", (l, many) => names(l) + (many ? " have" : " has") + " no network " +
		(l[0].held ? "until vpnleash release" : AFTER_TUNNEL(l[0])) + "."],
	["warn", (w) => w.state === "stopped", (l, many) => names(l) + (many ? " are stopped, and are" : " is stopped, and is") +
		(l[0].held ? " held by an operator." : " started by itself when its tunnel works.")],
	["warn", (w) => w.enforce === "audit", (l) => "Audit: nothing is dropped for " + names(l) + "."],
	["warn", (w) => w.trouble, (l) => "Something is wrong with " + names(l) + "."],
];

function verdictOf() {
	if (!asked)
		return ["unknown", "Asking the daemon\u2026", "", ""];
	if (!report)
		return ["bad", "The daemon does not answer.", "Nothing is renewed: what is leashed is shut within seconds, and stays so.", error];
	if (error)
		return ["bad", "The daemon does not answer any more.", "Nothing is renewed: what is leashed is shut, and stays so. Below is what it said last.", error];
	const all = report.workloads;
	for (const [kind, is, sentence] of VERDICTS) {
		const list = all.filter(is);
		if (list.length)
			return [kind, sentence(list, list.length > 1), list[0].trouble || list[0].why || "",
				list[0].remedy && list[0].remedy !== "nothing to do" ? list[0].remedy : ""];
	}
	const lacks = report.tunnels.find((t) => t.guard && t.guard.state === "incomplete");
	if (lacks)
		return ["warn", "The guard of " + lacks.name + " is not complete.", lacks.guard.why || "", ""];
	const off = report.tunnels.find((t) => t.guard && t.guard.state === "off");
	if (off)
		return ["warn", "The guard of " + off.name + " is off.", "Packet sockets, forwarding and sockets opened elsewhere get past the gate.", ""];
	const leashed = all.filter((w) => w.state !== "locked"), open = leashed.filter((w) => w.state === "open");
	if (!leashed.length)
		return ["unknown", "Nothing is leashed.", "", ""];
	if (open.length === leashed.length)
		return ["good", "All is well: " + (open.length === 1 ? open[0].name + " is open." : "all " + open.length + " workloads are open."), "", ""];
	const waiting = leashed.filter((w) => w.state !== "open");
	return ["unknown", names(waiting) + (waiting.length > 1 ? " do" : " does") + " not run.",
		open.length ? names(open) + (open.length > 1 ? " are" : " is") + " open." : "", ""];
}

function showVerdict() {
	const [kind, headline, detail, remedy] = verdictOf();
	const old = performance.now() - newsAt > OLD_MS;
	$("verdict").className = old ? "bad" : kind;
	say($("headline"), old ? "No news from vpnleash listen." : headline);
	say($("detail"), old ? "Below is what it said last. It may have ended: systemctl status vpnleash-listen." : detail);
	say($("remedy"), old || !remedy ? "" : "What to do: " + remedy + ".");
	for (const list of ["workload-list", "tunnel-list"])
		$(list).classList.toggle("old", Boolean(old || error));
	const colour = { good: "2e9e6b", warn: "e08a1e", bad: "c4463d", unknown: "8a939d" }[old ? "bad" : kind];
	attribute($("icon"), "href", "data:image/svg+xml,<svg xmlns='" + SVG + "' viewBox='0 0 9 9'><circle cx='4.5' cy='4.5' r='4' fill='%23" + colour + "'/></svg>");
	say(document.querySelector("title"), (old ? "no news" : headline.replace(/[.:].*/, "")) + " \u2013 vpnleash");
}

/* ------ workloads ------ */

function term(list, name) {
	const dd = node("dd");
	list.append(node("dt", "", name), dd);
	return dd;
}

function makeWorkload() {
	const li = node("li"), p = li.parts = {
		name: node("h3"), chip: node("span", "chip"), since: node("span", "quiet"), ladder: node("ol", "ladder"),
		lease: node("p", "lease"), track: node("span", "track"), fill: node("div", "fill"), left: node("span"),
		why: node("p", "why"), list: node("dl"),
	};
	attribute(p.ladder, "aria-label", "from open to stopped");
	for (const state of LADDER)
		p.ladder.append(node("li", "", state));
	attribute(p.track, "aria-hidden", "true");
	p.track.append(p.fill);
	p.lease.append(node("span", "quiet", "Lease"), p.track, p.left);
	p.remedy = term(p.list, "to do");
	p.tunnel = term(p.list, "tunnel");
	p.dropped = term(p.list, "dropped");
	li.append(node("div", "head", p.name, p.chip, p.since), p.ladder, p.lease, p.why, p.list);
	return li;
}

function updateWorkload(li, w) {
	const p = li.parts, at = LADDER.indexOf(w.state);
	li.workload = w;
	say(p.name, w.name);
	say(p.chip, w.held ? w.state + ", held" : w.state);
	p.chip.className = "chip " + severity(w);
	say(p.since, "for " + duration(w.since_ms));
	[...p.ladder.children].forEach((step, i) => {
		step.className = i === at ? severity(w) : "";
		if (i === at)
			attribute(step, "aria-current", "step");
		else
			step.removeAttribute("aria-current");
	});
	p.ladder.hidden = at < 0;
	p.lease.hidden = !w.tunnel;
	say(p.why, w.trouble || (w.state === "open" && w.enforce === "audit" ? "Audit: nothing is dropped, what would be is counted." : w.why || ""));
	say(p.remedy, w.remedy && w.remedy !== "nothing to do" ? w.remedy : "nothing");
	say(p.tunnel, w.tunnel || "\u2013");
	say(p.dropped, byCount(w.dropped));
}

/* Between two answers the lease runs on, as it does in the kernel. */
function tick() {
	for (const li of $("workload-list").children) {
		const w = li.workload, p = li.parts;
		const t = report.tunnels.find((tunnel) => tunnel.name === w.tunnel);
		const left = Math.max(0, w.lease_left_ms - (performance.now() - reportAt));
		p.fill.style.width = Math.min(100, 100 * left / Math.max(3000, t ? t.patience_ms : 0)) + "%";
		say(p.left, left ? (left / 1000).toFixed(1) + " s" : "none");
	}
	showVerdict();
}

/* ------ tunnels ------ */

const tunnelTerms = {
	"last evidence": (t) => t.why || "\u2013",
	"interface": (t) => t.interface + " in " + t.netns,
	"guard": (t) => t.guard ? t.guard.state + (t.guard.interfaces.length ? " on " + t.guard.interfaces.join(", ") : "") +
		(total(t.guard.dropped) ? "; dropped " + byCount(t.guard.dropped) : "") : "\u2013",
	"patience": (t) => (t.patience_ms / 1000).toFixed(1) + " s",
	"round trip": (t) => t.round_trip_ms ? t.round_trip_ms.toFixed(1) + " ms, " + t.loss_percent + "% of the probes lost" : "not known",
	"probes": (t) => t.probes.map((p) => p.probe + ": " + p.says).join("; ") || "none",
	"exit": (t) => t.identity ? t.identity.says : "not asked for",
	"carried": (t) => t.passed_out.toLocaleString("en") + " packets out, " + t.passed_in.toLocaleString("en") + " in",
};

function makeTunnel() {
	const li = node("li"), p = li.parts = { name: node("h3"), chip: node("span", "chip"), list: node("dl"), terms: {} };
	for (const name in tunnelTerms)
		p.terms[name] = term(p.list, name);
	li.append(node("div", "head", p.name, p.chip), p.list);
	return li;
}

function updateTunnel(li, t) {
	say(li.parts.name, t.name);
	say(li.parts.chip, t.state);
	li.parts.chip.className = "chip " + (t.state === "up" ? "good" : "bad");
	for (const name in tunnelTerms)
		say(li.parts.terms[name], tunnelTerms[name](t));
}

/* ------ drops ------ */

const colourOf = (reason, order) => "c" + order.indexOf(reason) % COLOURS;

function showDrops(drops) {
	const reasons = Object.entries(drops.reasons), order = reasons.map(([name]) => name);
	const steps = reasons.length ? reasons[0][1].counts.length : 0, sums = new Array(steps).fill(0);
	for (const [, r] of reasons)
		r.counts.forEach((n, i) => { sums[i] += n; });
	const most = Math.max(1, ...sums), width = 720 / Math.max(1, steps);
	$("chart").hidden = !reasons.length;
	$("no-drops").hidden = reasons.length > 0;
	say($("most"), "at most " + most.toLocaleString("en") + " in " + drops.step_ms / 1000 + " s");
	const floor = new Array(steps).fill(120);
	children($("bars"), reasons, ([name]) => name, () => document.createElementNS(SVG, "path"), (path, [name, r]) => {
		let d = "";
		r.counts.forEach((n, i) => {
			const height = 116 * n / most;
			floor[i] -= height;
			if (n)
				d += `M${(i * width).toFixed(2)} ${floor[i].toFixed(2)}h${(width * .8).toFixed(2)}v${height.toFixed(2)}h${(-width * .8).toFixed(2)}z`;
		});
		attribute(path, "d", d);
		attribute(path, "class", colourOf(name, order));
	});
	children($("reasons"), reasons, ([name]) => name, () => {
		const row = node("tr");
		row.swatch = node("span");
		row.parts = [node("span"), node("td"), node("td")];
		const head = node("th", "", row.swatch, row.parts[0]);
		head.scope = "row";
		row.append(head, row.parts[1], row.parts[2]);
		return row;
	}, (row, [name, r]) => {
		row.swatch.className = "swatch " + colourOf(name, order);
		say(row.parts[0], name);
		say(row.parts[1], r.counts.reduce((a, b) => a + b, 0).toLocaleString("en"));
		say(row.parts[2], r.means);
	});
}

/* ------ events ------ */

function sentence(e) {
	if (e.event === "state")
		return (e.workload ? e.workload : "tunnel " + e.tunnel) + ": " + e.from + " \u2192 " + e.to + ": " + e.evidence + (e.detail ? ": " + e.detail : "");
	if (e.event === "foreign")
		return "a socket that was opened elsewhere, by " + (e.container || e.cgroup) + ": " + e.packet + (e.ended ? ": ended" : "");
	const who = e.workload && e.workload !== "-" ? e.workload : e.container || e.process || e.cgroup || "somebody";
	return who + ": " + (e.event === "reach" ? "reached " : e.audit ? "would be dropped " : "dropped ") + e.direction + ": " +
		e.packet.replace("->", "\u2192") + (e.reason ? " (" + e.reason + ")" : "") + (e.remedy ? ". " + e.remedy : "");
}

function showEvents(events) {
	$("no-events").hidden = events.length > 0;
	children($("event-list"), events, (e) => String(e.boot_ns), (e) => {
		const time = node("time", "", new Date(e.time).toLocaleTimeString("en-GB"));
		time.dateTime = e.time;
		return node("li", "", time, node("span", "", sentence(e)));
	}, () => {});
}

/* ------ asking ------ */

function show(news) {
	if (news.asked !== asked) {
		asked = news.asked;
		newsAt = performance.now();
		error = news.error || "";
		if (news.status) {
			report = news.status;
			reportAt = newsAt;
		}
	}
	say($("version"), news.version);
	if (report) {
		const worst = ["bad", "warn", "unknown", "good"];
		const workloads = [...report.workloads].sort((a, b) => worst.indexOf(severity(a)) - worst.indexOf(severity(b)) || (a.name < b.name ? -1 : 1));
		children($("workload-list"), workloads, (w) => w.name + " " + w.cgroup_id, makeWorkload, updateWorkload);
		children($("tunnel-list"), report.tunnels, (t) => t.name, makeTunnel, updateTunnel);
		$("no-workloads").hidden = workloads.length > 0;
		$("no-tunnels").hidden = report.tunnels.length > 0;
	}
	showDrops(news.drops);
	if (!news.error)
		showEvents(news.events);
	tick();
}

async function ask() {
	let news = null;
	setTimeout(ask, ASK_MS);
	try {
		const answer = await fetch("/api/page", { signal: AbortSignal.timeout(ASK_MS) });
		news = answer.ok ? await answer.json() : null;
	} catch (e) {
		// it has ended, or hangs: after OLD_MS the page says so
	}
	if (news)
		show(news);
}

setInterval(tick, TICK_MS);
ask();
