/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/cause.h"

#include <string.h>

#include "core/container.h"
#include "core/own_vpn.h"
#include "core/pod.h"
#include "core/policy.h"
#include "core/registry.h"
#include "core/tunnel.h"
#include "core/workload.h"
#include "edge/edge.h"
#include "edge/vpn.h"

/* ------ the table ------ */

static const struct {
	const char *name, *said, *remedy;
} causes[CAUSES] = {
#define X(NAME, said, remedy) [CAUSE_##NAME] = { #NAME, said, remedy },
	CAUSES_OF_TROUBLE(X) CAUSES_OF_WORKLOAD(X) CAUSES_OF_TUNNEL(X)
#undef X
};

const char *cause_name(enum cause c)
{
	return causes[c].name;
}

const char *cause_said(enum cause c)
{
	return causes[c].said;
}

const char *cause_remedy(enum cause c)
{
	return causes[c].remedy;
}

/* ------ which one it is ------ */

static enum cause of_place(enum place_found place)
{
	switch (place) {
	case PLACE_NO_ENGINE:
		return CAUSE_NO_ENGINE;
	case PLACE_NO_OWNER:
		return CAUSE_VPN_MISSING;
	case PLACE_OWNER_STOPPED:
		return CAUSE_VPN_STOPPED;
	case PLACE_OWNER_HIDDEN:
		return CAUSE_VPN_HIDDEN;
	case PLACE_NO_FILE:
		return CAUSE_NETNS_MISSING;
	default:
		return CAUSE_NETNS_NEW;
	}
}

/* CAUSES: the interface is as it must be. */
static enum cause of_link(enum input link)
{
	switch (link) {
	case IN_LINK_GONE:
		return CAUSE_LINK_MISSING;
	case IN_LINK_WRONG:
		return CAUSE_LINK_WRONG;
	case IN_LINK_DOWN:
		return CAUSE_LINK_DOWN;
	case IN_ROUTE_LOST:
		return CAUSE_ROUTE_ELSEWHERE;
	case IN_BLIND:
		return CAUSE_BLIND;
	default:
		return CAUSES;
	}
}

enum cause cause_find_tunnel(const struct cause_facts *f)
{
	enum cause of = of_link(f->link);

	if (f->tunnel == TUNNEL_UP)
		return CAUSE_OPENING;
	if (f->place != PLACE_ENTERED)
		return of_place(f->place);
	if (f->vpn_dead)
		return CAUSE_VPN_ENDED;
	if (f->rehearsed)
		return CAUSE_REHEARSED;
	if (f->link_unneeded)
		return CAUSE_LINK_UNNEEDED;
	if (f->unguarded)
		return f->advised ? CAUSE_UNGUARDABLE : CAUSE_UNGUARDED;
	if (f->vpn_unknown && of != CAUSE_LINK_WRONG) /* the VPN can not make its tunnel */
		return CAUSE_VPN_UNKNOWN;
	if (of != CAUSES) /* its container is unhealthy for that */
		return of;
	if (f->unhealthy)
		return CAUSE_UNHEALTHY;
	if (f->probe_unsent)
		return CAUSE_PROBE_UNSENT;
	if (f->probe_unanswered)
		return CAUSE_PROBE_UNANSWERED;
	if (f->exit_wrong)
		return CAUSE_EXIT_WRONG;
	return f->exit_unknown ? CAUSE_EXIT_UNKNOWN : CAUSE_PROVING;
}

enum cause cause_find(const struct cause_facts *f)
{
	if (f->made_anew)
		return CAUSE_VPN_MADE_ANEW;
	if (f->unusable)
		return CAUSE_RECORD_UNUSABLE;
	if (f->again)
		return CAUSE_TRIED_AGAIN;
	if (f->mislabelled)
		return CAUSE_LABELS_WRONG;
	if (f->held)
		return CAUSE_HELD;
	if (f->may_leave)
		return CAUSE_MAY_BE_LEFT;
	if (f->state == WORKLOAD_OPEN)
		return CAUSE_OPEN;
	if (f->vpn_inside)
		return CAUSE_VPN_INSIDE;
	if (f->misplaced)
		return CAUSE_MISPLACED;
	if (f->astray)
		return CAUSE_ASTRAY;
	if (f->troubled && (f->tunnel == TUNNEL_UP || f->state == WORKLOAD_WAITING))
		return CAUSE_REFUSED;
	if (f->state == WORKLOAD_WAITING && !f->to_start)
		return CAUSE_NOT_RUNNING;
	if (f->tunnel == TUNNEL_UP && (f->state == WORKLOAD_STOPPED || f->to_start))
		return CAUSE_STARTING;
	return cause_find_tunnel(f);
}

/* ------ the facts ------ */

static enum place_found find_place(const struct tunnel *t)
{
	const struct inventory_watch *w = &t->owner.watch;
	const struct engine_item *owner = tunnel_owner_item(t);

	if (t->link)
		return PLACE_ENTERED;
	if (!w->inventory)
		return PLACE_NO_FILE;
	if (owner)
		return !owner->running ? PLACE_OWNER_STOPPED
		       : owner->pid    ? PLACE_NEW
				       : PLACE_OWNER_HIDDEN;
	return inventory_reachable(w->inventory, w->kind, w->name) ? PLACE_NO_OWNER
								   : PLACE_NO_ENGINE;
}

/* What stands in brackets at the end, where remedies stand; its length in *ret_n. NULL: nothing. */
static const char *advice_in(const char *text, size_t *ret_n)
{
	size_t end = strlen(text), at = end;
	int depth = 0;

	while (at && text[end - 1] == ')') {
		at--;
		depth += (text[at] == ')') - (text[at] == '(');
		if (depth)
			continue;
		*ret_n = end - at - 2;
		return text + at + 1;
	}
	return NULL;
}

/* Why nobody is taken for the VPN, and what to do; "": somebody is, or its server is known. */
static const char *why_unknown(const struct tunnel *t)
{
	char endpoint[1][ENDPOINT_LEN];
	size_t n;

	if (t->edge && edge_state(t->edge).closed)
		return "";
	if (!t->edge || *vpn_why(t->vpn))
		return vpn_why(t->vpn);
	return !edge_state(t->edge).host && !edge_endpoints(t->edge, endpoint, 1) &&
			       advice_in(edge_why(t->edge), &n)
		       ? edge_why(t->edge)
		       : "";
}

static void tunnel_facts(const struct tunnel *t, struct cause_facts *f)
{
	uint64_t now = now_boot_ns();
	size_t n;

	f->tunnel = t->state;
	f->place = find_place(t);
	f->link = t->link_why;
	f->unhealthy = *t->owner.unhealthy;
	f->vpn_dead = vpn_is_dead(t->vpn);
	f->rehearsed = t->rehearsed_ns;
	f->link_unneeded = f->link == IN_LINK_GONE && vpn_does_without(t->vpn);
	f->vpn_unknown = *why_unknown(t);
	f->unguarded = t->why == IN_UNGUARDED;
	f->advised = advice_in(t->why_detail, &n);
	f->probe_unsent = *t->probes.error;
	f->probe_unanswered = t->asked_ns && now - t->asked_ns >= probes_late_ns(t);
	f->exit_wrong = t->identity.exit == EXIT_WRONG;
	f->exit_unknown = t->identity.error && !identity_is_right(t);
}

static struct cause_facts facts_of(const struct workload *w)
{
	char unused[CONTAINER_COMMAND_LEN];
	struct cause_facts f = { .state = w->state,
				 .made_anew = container_to_type(w, unused, sizeof(unused)),
				 .unusable = w->container.unusable,
				 .mislabelled = w->tunnel == w->daemon->nowhere,
				 .again = w->again,
				 .may_leave = workload_may_leave(w),
				 .astray =
					 w->tunnel->state == TUNNEL_UP && container_is_elsewhere(w),
				 .misplaced =
					 w->tunnel->state == TUNNEL_UP && container_is_misplaced(w),
				 .vpn_inside = own_vpn_remedy(w),
				 .held = w->held,
				 .troubled = *w->trouble,
				 .to_start = container_is_left(w) };

	tunnel_facts(w->tunnel, &f);
	f.vpn_unknown &= w->own_vpn != OWN_VPN_KERNEL;
	return f;
}

/* ------ in words ------ */

/* The VPN as people know it, whatever they wrote. */
static void print_vpn(FILE *out, const struct tunnel *t)
{
	const struct inventory_watch *w = &t->owner.watch;
	const struct engine_item *i = tunnel_owner_item(t);

	if (w->inventory)
		fprintf(out, "%s '%s'", w->kind == ENGINE_UNIT ? "unit" : "container",
			quote(i ? i->name : w->name));
	else if (!strcmp(t->config.netns, "host"))
		fputs("the host's network", out);
	else
		fputs(quote(t->config.netns), out);
}

static void print_advice(FILE *out, const struct tunnel *t)
{
	const char *of = t->why == IN_UNGUARDED ? t->why_detail : why_unknown(t), *at;
	size_t n;

	at = advice_in(of, &n);
	if (at)
		fprintf(out, "%.*s", (int)n, at);
}

static void print_health(FILE *out, const struct tunnel *t)
{
	const struct engine_item *named = tunnel_owner_item(t), *i;
	size_t others;

	i = named ? pod_vpn(t->daemon, named, t->owner.pid, &others) : NULL;
	fputs(i && *i->health_said ? quote(i->health_said) : "not known", out);
}

static void print_probe(FILE *out, const struct tunnel *t)
{
	char probes[1000];

	fputs(probes_list(t, probes, sizeof(probes)), out);
}

static void print_identity(FILE *out, const struct tunnel *t)
{
	char text[700], says[160];

	fprintf(out, "%s: %s", identity_text(t, text, sizeof(text)),
		identity_says(t, says, sizeof(says)));
}

static void print_gap(FILE *out, const struct tunnel *t)
{
	uint64_t now = now_boot_ns();
	unsigned int n = reopen_recent(&t->reopen, now);

	fprintf(out, "%.1f s", (double)reopen_gap_ns(&t->reopen, now) / 1e9);
	if (n)
		fprintf(out, ", as it was opened %u time%s within a minute", n, n == 1 ? "" : "s");
}

/* It is up, and its lease is running out. */
static void print_silence(FILE *out, const struct tunnel *t)
{
	uint64_t now = now_boot_ns();

	if (t->state == TUNNEL_UP && t->asked_ns && now - t->asked_ns >= probes_late_ns(t))
		fprintf(out,
			"; no sign of life for %.1f s: its probes are asked five times a second, "
			"and it is shut after %.1f s",
			(double)(now - t->seen_ns) / 1e9, (double)probes_patience_ns(t) / 1e9);
}

static void print_weak(FILE *out, const struct tunnel *t)
{
	const char *weakness = t->edge ? edge_state(t->edge).weakness : "";

	fprintf(out, *weakness ? "; its guard is weak: %s" : "%s", weakness);
}

static void print_opens(FILE *out, const struct workload *w)
{
	bool starts = w && (w->state == WORKLOAD_STOPPED || container_is_left(w));

	fputs(starts ? "it is started by itself" : "it opens by itself", out);
}

/* w NULL: only the tunnel is spoken of. */
static void print_word(FILE *out, const char *word, size_t n, const struct tunnel *t,
		       const struct workload *w)
{
	char command[CONTAINER_COMMAND_LEN];
	const char *typed;
#define IS(name) (n == sizeof(name) - 1 && !memcmp(word, name, n))
	if (IS("name") && w)
		fputs(quote(w->name), out);
	else if (IS("vpn"))
		print_vpn(out, t);
	else if (IS("interface"))
		fputs(quote(t->config.interface), out);
	else if (IS("process"))
		fputs(quote(t->config.process), out);
	else if (IS("probe"))
		print_probe(out, t);
	else if (IS("health"))
		print_health(out, t);
	else if (IS("identity"))
		print_identity(out, t);
	else if (IS("probe-error"))
		fputs(t->probes.error, out);
	else if (IS("gap"))
		print_gap(out, t);
	else if (IS("weak"))
		print_weak(out, t);
	else if (IS("unknown"))
		fputs(why_unknown(t), out);
	else if (IS("advice"))
		print_advice(out, t);
	else if (IS("command") && w && (typed = container_to_type(w, command, sizeof(command))))
		fputs(typed, out);
	else if (IS("apart") && w && own_vpn_remedy(w))
		fputs(own_vpn_remedy(w), out);
	else if (IS("network"))
		fputs(container_network(t), out);
	else if (IS("opens"))
		print_opens(out, w);
#undef IS
}

static void print_words(FILE *out, const char *text, const struct tunnel *t,
			const struct workload *w)
{
	while (*text) {
		size_t plain = strcspn(text, "{"), word;

		fwrite(text, 1, plain, out);
		text += plain;
		if (!*text)
			return;
		word = strcspn(++text, "}");
		print_word(out, text, word, t, w);
		text += word + 1;
	}
}

static void print_tunnel(FILE *out, const struct tunnel *t, enum cause c)
{
	fputs(t->why ? input_text(t->why) : "no such network namespace yet", out);
	if (*t->why_detail)
		fprintf(out, ": %s", t->why_detail);
	if (c < CAUSE_FIRST_OF_TUNNEL || !*causes[c].said)
		return;
	fputs("; ", out);
	print_words(out, causes[c].said, t, NULL);
}

/* Ends what was printed to buf: cut, if it does not fit. */
static const char *finish(FILE *out, char *buf, size_t size)
{
	if (!out)
		return "";
	fclose(out);
	buf[size - 1] = '\0';
	return make_harmless(buf);
}

const char *cause_tunnel_text(const struct tunnel *t, char *buf, size_t size)
{
	FILE *out = fmemopen(buf, size, "w");
	struct cause_facts f = { 0 };

	tunnel_facts(t, &f);
	if (out)
		print_tunnel(out, t, cause_find_tunnel(&f));
	return finish(out, buf, size);
}

const char *cause_text(const struct workload *w, char *buf, size_t size)
{
	struct cause_facts f = facts_of(w);
	enum cause c = cause_find(&f);
	FILE *out = fmemopen(buf, size, "w");
	char trouble[2 * DELEGATION_LEN], probes[1200];
	const char *said = workload_trouble(w, trouble, sizeof(trouble));

	if (!out)
		return "";
	if (c < CAUSE_FIRST_OF_WORKLOAD) {
		fputs(said, out);
		return finish(out, buf, size);
	}
	fprintf(out, "tunnel '%s' is %s: ", quote(w->tunnel->config.name),
		tunnel_state_name(w->tunnel->state));
	print_tunnel(out, w->tunnel, c);
	print_silence(out, w->tunnel);
	if (c == CAUSE_HELD)
		fprintf(out, "; %s", causes[c].said);
	if (*said)
		fprintf(out, "; %s", said);
	if (*probes_say(w->tunnel, probes, sizeof(probes)))
		fprintf(out, "; %s", probes);
	return finish(out, buf, size);
}

const char *cause_to_do(const struct workload *w, char *buf, size_t size)
{
	struct cause_facts f = facts_of(w);
	FILE *out = fmemopen(buf, size, "w");

	if (out)
		print_words(out, causes[cause_find(&f)].remedy, w->tunnel, w);
	return finish(out, buf, size);
}
