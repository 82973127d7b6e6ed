/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/probes.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/nl.h"
#include "base/program.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "edge/edge.h"
#include "prober/prober.h"
#include "watch/netlink.h"
#include "watch/wireguard.h"

/* after which a socket whose probes are all without an answer is made anew: its source address may
 * have gone, or the prober had no descriptor left for it */
#define SOCKET_NS  (10 * NS_PER_SEC)
#define RESTART_NS NS_PER_SEC		/* a prober that dies at once is not started more often */
#define ALL_NS	   (60 * NS_PER_SEC)	/* so `status` says of all of them how they are */
#define CONNECT_NS (2 * NS_PER_SEC / 5) /* a connection is not asked for more often, */
#define ASK_NS	   (NS_PER_SEC / 5)	/* nor the others in a silence: five a second, */
#define EXEC_NS	   NS_PER_SEC		/* and a program one, */
#define RUNS_NS	   (CHECK_EXEC_NS + NS_PER_SEC) /* if the last has ended, as it must within this */
_Static_assert(CHECK_EXEC_NS + NS_PER_SEC / 2 < REOPEN_SILENCE_NS, "a slow program opens too");

_Static_assert(TUNNELS_MAX *RULES_PROBES <= PROBER_TARGETS, "each tunnel has its probes");

/* Those that are asked, and not looked up. */
#define for_each_probe(t, i)                              \
	for (size_t i = 0; i < (t)->config.probes.n; i++) \
		if (!is_handshake(t, i))

static bool is_handshake(const struct tunnel *t, size_t i)
{
	return t->config.probes.rule[i].kind == PROBE_HANDSHAKE;
}

static bool is_exec(const struct tunnel *t, size_t i)
{
	return t->config.probes.rule[i].kind == PROBE_EXEC;
}

static uint32_t target_of(const struct tunnel *t, size_t i)
{
	return t->id * RULES_PROBES + (uint32_t)i;
}

/* ------ sockets ------ */

/* Said once, and by `why` as long as it is so. */
static void probe_failed(struct tunnel *t, const char *why)
{
	struct probes *p = &t->probes;

	if (!strcmp(p->error, why))
		return;
	if (*why && may_log(&t->log))
		log_line(LOG_LEVEL_ERR,
			 "tunnel '%s': its probe can not be set up: %s; it is tried again",
			 quote(t->config.interface), why);
	else if (!*why)
		log_line(LOG_LEVEL_NOTICE, "tunnel '%s': its probe is set up after all",
			 quote(t->config.interface));
	snprintf(p->error, sizeof(p->error), "%s", why);
}

/* A socket for it, with the prober; of a connection it is one probe, of that number. */
static int hand_over(struct tunnel *t, size_t i, unsigned int ifindex, uint32_t number,
		     struct error *err)
{
	static const enum wire_way ways[] = {
		[PROBE_DNS] = WIRE_DNS, [PROBE_ICMP] = WIRE_ICMP, [PROBE_TCP] = WIRE_TCP
	};
	const struct probe_rule *rule = &t->config.probes.rule[i];
	const struct prober_target to = { .way = ways[rule->kind],
					  .to = rule->to,
					  .port = (uint16_t)rule->port,
					  .name = rule->name };
	_cleanup_fd int fd = prober_socket(t->netns_fd, ifindex, &to, err);

	return fd < 0 ? fd : prober_set(t->daemon->prober, target_of(t, i), fd, &to, number, err);
}

/* Those that lack a socket get one; whatever is lacking now may be there at the next tick. */
static void make_sockets(struct tunnel *t, unsigned int ifindex)
{
	char first[sizeof(t->probes.error)] = "";
	struct error err;

	if (!t->daemon->prober)
		return;
	for_each_probe(t, i)
	{
		struct probe *p = &t->probes.each[i];

		if (p->socket_ns || is_exec(t, i) || t->config.probes.rule[i].kind == PROBE_TCP)
			continue;
		if (!hand_over(t, i, ifindex, 0, &err))
			p->socket_ns = now_boot_ns();
		else if (!*first)
			snprintf(first, sizeof(first), "%.255s", err.text);
	}
	probe_failed(t, first);
}

static void forget_sockets(struct tunnel *t)
{
	for_each_probe(t, i) t->probes.each[i].socket_ns = 0;
}

void probes_bind(struct tunnel *t, unsigned int ifindex)
{
	forget_sockets(t);
	make_sockets(t, ifindex);
}

void probes_unbind(struct tunnel *t)
{
	for_each_probe(t, i)
	{
		struct check drop = { .kind = CHECK_DROP, .target = target_of(t, i) };

		if (is_exec(t, i))
			checks_ask(&t->daemon->checks, &drop, -1);
		else if (t->daemon->prober)
			prober_drop(t->daemon->prober, target_of(t, i));
		t->probes.each[i].runs_ns = 0;
	}
	forget_sockets(t);
	if (t->probes.genl)
		close_fd(t->probes.genl);
	t->probes.genl = 0;
	/* nobody looks meanwhile: the next one is as old as it says, like a first */
	t->probes.handshake_wall_ns = 0;
	t->probes.handshake_ns = 0;
}

int probes_check(const struct probe_rules *rules, struct error *err)
{
	int fd;

	for (size_t i = 0; i < rules->n; i++) {
		if (rules->rule[i].kind != PROBE_EXEC)
			continue;
		fd = program_open("probe exec", rules->rule[i].name, err);
		if (fd < 0)
			return fd;
		close_fd(fd);
	}
	return 0;
}

/* ------ the prober ------ */

static void restart_prober(struct daemon *d);

/* How long the answer to that question took, by which it may be kept; 0: it is none. */
static uint64_t took_of(struct tunnel *t, size_t i, uint32_t number, uint64_t t_ns)
{
	struct probes *p = &t->probes;
	const struct probe *kept = &p->each[p->kept];
	uint64_t took = measure_answered(&p->measure, &p->each[i].asked, number, t_ns);

	/* A connection is given up before that, and has no stamp of the kernel's: a prober that was
	 * stopped takes an old one for new. */
	if (!took || (t->config.probes.rule[i].kind == PROBE_TCP && took > NS_PER_SEC))
		return 0;
	if (is_handshake(t, p->kept) || kept->beside || probe_is_silent(t, p->kept, now_boot_ns()))
		p->kept = i;
	return took;
}

/* seen_ns: of what time it tells. */
static void take_answer(struct tunnel *t, struct probe *p, uint64_t took, uint64_t seen_ns)
{
	p->took_ns = took;
	p->answered_ns = seen_ns;
	p->waits_ns = 0;
	p->unanswered = 0;
	p->error = 0;
	t->daemon->answered(t, seen_ns);
}

static void on_news(struct daemon *d, const struct prober_news *news)
{
	size_t i = news->target % RULES_PROBES;
	uint64_t took;

	for_each_tunnel(d, t) {
		if (t->id != news->target / RULES_PROBES || i >= t->config.probes.n)
			continue;
		if (!news->t_ns) {
			t->probes.each[i].error = news->error;
			return;
		}
		took = took_of(t, i, news->number, news->t_ns);
		if (took)
			take_answer(t, &t->probes.each[i], took, news->t_ns);
		return;
	}
}

/* What it found may be as old as its start. */
void probes_exec_ended(struct tunnel *t, size_t i, const struct check_news *news)
{
	struct probe *p = &t->probes.each[i];
	uint64_t now = now_boot_ns(), took;

	if (!p->runs_ns || news->number != p->asked.next - 1)
		return;
	p->runs_ns = 0;
	p->error = news->result;
	took = news->result ? 0 : took_of(t, i, news->number, now);
	if (took)
		take_answer(t, p, took, now - took);
}

static int on_prober(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct daemon *d = arg;
	struct prober_news news;
	int r = 0;

	for (int i = 0; i < WATCH_BOUND && d->prober && !(r = prober_read(d->prober, &news)); i++)
		on_news(d, &news);
	if (r == -EPIPE || r == -EBADMSG)
		restart_prober(d);
	return 0;
}

static void stop_prober(struct daemon *d)
{
	d->prober_source = sd_event_source_disable_unref(d->prober_source);
	prober_stop(d->prober);
	d->prober = NULL;
	for_each_tunnel(d, t)
		forget_sockets(t);
}

int prober_begin(struct daemon *d, struct error *err)
{
	int r;

	d->prober_ns = now_boot_ns();
	r = prober_start(&d->prober, err);
	if (r)
		return r;
	r = sd_event_add_io(d->loop, &d->prober_source, prober_fd(d->prober), EPOLLIN, on_prober,
			    d);
	if (r < 0) {
		stop_prober(d);
		return fail(err, ERROR_OTHER, r, NULL, "listen to the prober");
	}
	sd_event_source_set_priority(d->prober_source, PRIORITY_LIFE);
	return 0;
}

/* A dead prober is silence. Not more than once a second: the ticks of the tunnels ask again. */
static void restart_prober(struct daemon *d)
{
	struct link_identity link;
	struct error err;
	int r;

	stop_prober(d);
	if (now_boot_ns() - d->prober_ns < RESTART_NS)
		return;
	r = prober_begin(d, &err);
	for_each_tunnel(d, t) {
		if (r && t->config.probes.n)
			probe_failed(t, err.text);
		else if (t->link_ready && t->link && !watch_netlink_identity(t->link, &link))
			make_sockets(t, link.ifindex); /* a new prober needs new ones */
	}
}

/* ------ asking ------ */

void probes_look(struct tunnel *t, uint64_t now)
{
	struct link_identity link;

	if (!t->config.probes.n)
		return;
	if (!t->daemon->prober)
		restart_prober(t->daemon);
	if (!t->link_ready || watch_netlink_identity(t->link, &link))
		return;
	for_each_probe(t, i)
	{
		struct probe *p = &t->probes.each[i];

		if (t->asked_ns && now - t->asked_ns >= SOCKET_NS &&
		    now - p->socket_ns >= SOCKET_NS)
			p->socket_ns = 0;
	}
	make_sockets(t, link.ifindex);
}

bool probes_guarded(const struct tunnel *t)
{
	struct edge_state e = t->edge ? edge_state(t->edge) : (struct edge_state) { 0 };

	return e.complete && !e.host;
}

/*
 * A probe's own packets go by the tunnel or not at all. But to an answer that comes when its socket
 * is closed the kernel itself answers (a reset; "port unreachable"), and that goes by the routes:
 * they must lead by the tunnel as well, or a guard must hold it back. A program may send by
 * whatever way it likes, and answer for a dead tunnel by the wrong one: there a guard must be.
 */
static bool stays(const struct tunnel *t, const struct probe_rule *rule)
{
	return rule->kind == PROBE_ICMP || probes_guarded(t) ||
	       (rule->kind != PROBE_EXEC && watch_netlink_leads(t->link, rule->to));
}

static int run(struct tunnel *t, size_t i, uint32_t number)
{
	struct check c = { .kind = CHECK_EXEC, .target = target_of(t, i), .number = number };

	snprintf(c.interface, sizeof(c.interface), "%s", t->config.interface);
	snprintf(c.text, sizeof(c.text), "%.255s", t->config.probes.rule[i].name);
	return checks_ask(&t->daemon->checks, &c, t->netns_fd);
}

/* A question is under way, or the last one was just now. */
static bool is_early(const struct tunnel *t, size_t i, uint64_t now)
{
	const struct probe *p = &t->probes.each[i];
	uint64_t gap = is_exec(t, i) ? EXEC_NS : CONNECT_NS;

	if (!is_exec(t, i) && t->config.probes.rule[i].kind != PROBE_TCP)
		return false;
	return (p->asked_ns && now - p->asked_ns < gap) ||
	       (p->runs_ns && now - p->runs_ns < RUNS_NS);
}

static int ask_one(struct tunnel *t, size_t i, uint64_t now)
{
	struct probe *p = &t->probes.each[i];
	const struct probe_rule *rule = &t->config.probes.rule[i];
	struct link_identity link;
	struct error err;
	uint32_t number;
	int r;

	if (is_early(t, i, now))
		return 0;
	p->beside = !stays(t, rule);
	if (p->beside)
		return 0;
	p->asked_ns = now;
	if (!p->waits_ns)
		p->waits_ns = now;
	p->unanswered++;
	number = measure_ask(&p->asked, now);
	if (rule->kind == PROBE_EXEC) {
		r = run(t, i, number);
		p->runs_ns = r ? 0 : now;
		if (r)
			p->error = CHECK_UNASKED;
		return 0; /* that process can not be started anew */
	}
	if (rule->kind != PROBE_TCP)
		return prober_ask(t->daemon->prober, target_of(t, i), number);
	r = watch_netlink_identity(t->link, &link);
	r = r ? r : hand_over(t, i, link.ifindex, number, &err);
	if (r)
		p->error = -r;
	return r;
}

bool probes_ask(struct tunnel *t, bool late, uint64_t now)
{
	struct probes *p = &t->probes;
	bool all = late || now - p->all_ns >= ALL_NS, any = false;

	all |= is_handshake(t, p->kept);
	if (all)
		p->all_ns = now;
	for_each_probe(t, i)
	{
		any = true;
		if ((!all && i != p->kept) || (!is_exec(t, i) && !t->daemon->prober))
			continue;
		if (ask_one(t, i, now) == -EPIPE)
			restart_prober(t->daemon);
	}
	return any;
}

/* ------ WireGuard's handshake ------ */

/* By the boot clock. The kernel says it by the wall clock, which may be set: so the clock is asked
 * only for the first one, and each that is new is as old as the look at it. */
static void note_handshake(struct probes *p, int64_t wall_ns, uint64_t now)
{
	struct timespec t;
	int64_t age;

	if (wall_ns == p->handshake_wall_ns)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	age = t.tv_sec * (int64_t)NS_PER_SEC + t.tv_nsec - wall_ns;
	if (p->handshake_wall_ns && wall_ns > p->handshake_wall_ns)
		p->handshake_ns = now;
	else /* the first; or a peer has gone, or the device */
		p->handshake_ns = age >= 0 && (uint64_t)age < now ? now - (uint64_t)age : 0;
	p->handshake_wall_ns = wall_ns;
}

static int read_handshake(struct tunnel *t, uint64_t now)
{
	struct probes *p = &t->probes;
	struct link_identity link;
	struct wireguard w;
	int r = watch_netlink_identity(t->link, &link);

	if (r)
		return r;
	if (!wireguard_is_kernel(link.kind))
		return -EOPNOTSUPP;
	if (!p->genl) {
		r = nl_open(t->netns_fd, NETLINK_GENERIC);
		if (r < 0)
			return r;
		p->genl = r;
	}
	r = wireguard_kernel(p->genl, link.kind, link.ifindex, &w);
	if (!r)
		note_handshake(p, w.handshake_ns, now);
	return r;
}

bool probes_handshake(struct tunnel *t, uint64_t now)
{
	bool young = false;

	for (size_t i = 0; i < t->config.probes.n; i++) {
		const struct probe_rule *rule = &t->config.probes.rule[i];
		struct probe *p = &t->probes.each[i];
		bool answers;

		if (!is_handshake(t, i))
			continue;
		p->error = -read_handshake(t, now);
		p->answered_ns = t->probes.handshake_ns;
		answers = !p->error && p->answered_ns && now - p->answered_ns <= rule->age_ns;
		p->unanswered = answers ? 0 : p->unanswered + 1;
		if (answers)
			p->waits_ns = 0;
		else if (!p->waits_ns)
			p->waits_ns = now;
		young |= answers;
	}
	return young;
}

/* ------ patience ------ */

uint64_t probes_late_ns(const struct tunnel *t)
{
	uint64_t late = measure_late_ns(&t->probes.measure), third = probes_patience_ns(t) / 3;

	return late < third ? late : third;
}

uint64_t probes_patience_ns(const struct tunnel *t)
{
	const struct probes *p = &t->probes;

	if (t->config.patience_ns)
		return t->config.patience_ns;
	return measure_patience_ns(&p->measure, is_exec(t, p->kept) ? EXEC_NS
						: t->config.probes.rule[p->kept].kind == PROBE_TCP
							? CONNECT_NS
							: ASK_NS);
}

/* ------ in words ------ */

bool probe_is_silent(const struct tunnel *t, size_t i, uint64_t now)
{
	const struct probe *p = &t->probes.each[i];

	return !p->beside && p->unanswered > 1 &&
	       now - p->waits_ns >= 2 * measure_late_ns(&t->probes.measure);
}

const char *probe_says(const struct tunnel *t, size_t i, char *buf, size_t size)
{
	const struct probe *p = &t->probes.each[i];
	static const char *const rcodes[] = {
		[1] = "FORMERR", [2] = "SERVFAIL", [4] = "NOTIMP", [5] = "REFUSED"
	};
	unsigned int rcode = p->error > WIRE_RCODE ? (unsigned int)p->error - WIRE_RCODE : 0;
	char why[112] = "", result[96];

	if (p->error && is_exec(t, i))
		snprintf(why, sizeof(why), ": %s",
			 check_says(CHECK_EXEC, p->error, result, sizeof(result)));
	else if (rcode)
		snprintf(why, sizeof(why), ": the resolver says %s",
			 rcode < ARRAY_SIZE(rcodes) && rcodes[rcode] ? rcodes[rcode] : "no");
	else if (p->error)
		snprintf(why, sizeof(why), ": %s", strerror(p->error));
	if (p->beside)
		snprintf(buf, size, "not asked: %s",
			 is_exec(t, i)
				 ? "no guard holds the program in the tunnel"
				 : "its route leads beside the tunnel, and no guard is there");
	else if (probe_is_silent(t, i, now_boot_ns()))
		snprintf(buf, size, "no answer to %u%s", p->unanswered, why);
	else if (p->took_ns)
		snprintf(buf, size, "answers in %.1f ms", (double)p->took_ns / NS_PER_MSEC);
	else
		snprintf(buf, size, "%s%s", p->answered_ns ? "answers" : "no answer yet", why);
	return buf;
}

static size_t append(char *buf, size_t size, size_t n, const char *separator, const char *text)
{
	int r = n < size ? snprintf(buf + n, size - n, "%s%s", n ? separator : "", text) : 0;

	return n + (size_t)(r > 0 ? r : 0);
}

const char *probes_list(const struct tunnel *t, char *buf, size_t size)
{
	char text[PROBE_TEXT], says[160], one[PROBE_TEXT + 200];
	size_t n = 0;

	*buf = '\0';
	for (size_t i = 0; i < t->config.probes.n; i++) {
		snprintf(one, sizeof(one), "%s: %s", probe_text(&t->config.probes.rule[i], text),
			 probe_says(t, i, says, sizeof(says)));
		n = append(buf, size, n, "; ", one);
	}
	return buf;
}

const char *probes_say(const struct tunnel *t, char *buf, size_t size)
{
	const struct probe_rules *rules = &t->config.probes;
	uint64_t now = now_boot_ns();
	bool any = false, resolver = false;

	*buf = '\0';
	for (size_t i = 0; i < rules->n; i++) {
		bool silent = probe_is_silent(t, i, now);

		any |= silent;
		resolver |= silent && rules->rule[i].kind == PROBE_DNS;
	}
	if (!any || t->state != TUNNEL_UP)
		return buf;
	probes_list(t, buf, size);
	append(buf, size, strlen(buf), "",
	       resolver ? " (the tunnel carries, and that resolver does not answer through it: "
			  "see the VPN's DNS, and the key dns)"
			: " (filtered or refused on the way; nothing to do)");
	return buf;
}
