/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * prove: the sender and capture engine (user/prove/prove.h) for shell tests. It reports and does
 * not judge: exit 0 says that the counts can be trusted, not what they are.
 *
 * A block of output is one line for each kind, then what else was seen:
 *
 *   udp4 sent 812 ok 400 errno EPERM seen 0 last_seen_ms -1 tunnel 400
 *   ping4 skipped: Permission denied (sysctl net.ipv4.ping_group_range of that netns)
 *   other 2 igmp 10.9.0.3→224.0.0.22
 *   tunnel packets 4410 bytes 512300 downs 0
 *
 * `once` prints one such block without last_seen_ms. `load` prints one at each SIGUSR1 and one at
 * its end, each between "snapshot N running at_ms T" (or "final") and "--". A block whose fence
 * failed has a line "error …" instead of counts. All _ms are CLOCK_BOOTTIME, as /proc/uptime.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "prove/prove.h"

#define CLIENTS_LIMIT 8

static const char usage[] =
	"usage: prove kinds\n"
	"       prove once --capture-netns N --capture-if I --underlay I [option…]\n"
	"       prove load --capture-netns N --capture-if I --underlay I [option…]\n"
	"       prove sink --netns N --port P [--seconds S]\n"
	"\n"
	"where to send from    --cgroup DIR --netns N --underlay IF   (IF as the client calls it)\n"
	"where to look         --capture-netns N --capture-if IF      (only what arrives there)\n"
	"inside the tunnel     --tunnel-capture-netns N --tunnel-capture-if IF\n"
	"where to send to      --outside4 A --outside6 A --onlink4 A --onlink6 A\n"
	"what to send          --kinds all|K,… --count N (once: 1)\n"
	"                      --interval MS (once: 0, load: 5)\n"
	"fences                --fence A (default: both on-link addresses) --fence-port P\n"
	"not to list as other  --endpoint-port P; with --client A: what is not from A\n"
	"answering side        --sink N: netns that owns the outside addresses, for flow4, flow6\n"
	"also                  --port P (default: by the run's marker) --seconds MAX (once: 30,\n"
	"                      load: 60) --state FILE (load: has the last block; snapshot 0 says\n"
	"                      that the load runs) --json (one object for each block)\n"
	"\n"
	"N is a name below /run/netns or a path. SIGUSR1: fence and print now; SIGTERM, SIGINT:\n"
	"end.\n"
	"IPv6 addresses of the client need \"nodad\".\n"
	"Exit: 0 counts hold, 2 usage, 4 missing privilege, 5 no trustworthy result.\n";

struct options {
	const char *cgroup, *netns, *capture_netns, *capture_if, *tunnel_netns, *tunnel_if, *sink;
	const char *state;
	struct sending plan;
	struct targets targets;
	struct address clients[CLIENTS_LIMIT];
	size_t n_clients;
	bool json;
};

struct run {
	const struct options *options;
	int client_netns;
	int sink[2];
	struct capture underlay, tunnel; /* tunnel.fd -1: none */
	struct sender sender;
	unsigned int snapshots;
};

/* What one block says, taken at one moment. */
struct block {
	const char *state; /* "running", "final"; NULL: `once` */
	unsigned int number;
	const char *error; /* NULL: the counts hold */
	struct tally tally[KINDS_LIMIT];
};

static int open_place(const char *text, int flags, const char *what, int *ret, struct error *err)
{
	char path[256];

	if (!text || !*text)
		return 0;
	if (strchr(text, '/'))
		snprintf(path, sizeof(path), "%s", text);
	else
		snprintf(path, sizeof(path), "/run/netns/%s", text);
	*ret = open(path, O_RDONLY | O_CLOEXEC | flags);
	return *ret < 0 ? fail(err, ERROR_INPUT, -errno, NULL, "open %s '%s'", what, path) : 0;
}

/* ---- printing ---- */

static int64_t to_ms(uint64_t ns)
{
	return ns ? (int64_t)(ns / NS_PER_MSEC) : -1;
}

static const char *errno_name(int e)
{
	return e ? strerrorname_np(e) : "-";
}

static void print_text(FILE *f, const struct run *r, const struct block *b)
{
	char reason[128];

	if (b->state)
		fprintf(f, "snapshot %u %s at_ms %" PRId64 "\n", b->number, b->state,
			to_ms(now_boot_ns()));
	if (b->error)
		fprintf(f, "error %s\n", b->error);
	for (unsigned int i = 0; kind_at(i) && !b->error; i++) {
		const struct tally *t = &b->tally[i];

		if (!(r->options->plan.kinds & 1ULL << i))
			continue;
		if (t->skip_errno) {
			skip_reason(kind_at(i), t, reason, sizeof(reason));
			fprintf(f, "%s skipped: %s\n", kind_at(i)->name, reason);
			continue;
		}
		fprintf(f, "%s sent %" PRIu64 " ok %" PRIu64 " errno %s seen %" PRIu64,
			kind_at(i)->name, t->attempted, t->ok, errno_name(t->last_errno),
			r->underlay.seen[i].frames);
		if (b->state)
			fprintf(f, " last_seen_ms %" PRId64, to_ms(r->underlay.seen[i].last_ns));
		if (r->tunnel.fd >= 0)
			fprintf(f, " tunnel %" PRIu64, r->tunnel.seen[i].frames);
		fputc('\n', f);
	}
	for (size_t i = 0; i < r->underlay.n_strays && !b->error; i++)
		fprintf(f, "other %" PRIu64 " %s\n", r->underlay.strays[i].frames,
			r->underlay.strays[i].text);
	if (r->underlay.more_strays && !b->error)
		fprintf(f, "other %" PRIu64 " more\n", r->underlay.more_strays);
	if (r->tunnel.fd >= 0 && !b->error)
		fprintf(f, "tunnel packets %" PRIu64 " bytes %" PRIu64 " downs %u\n",
			r->tunnel.frames, r->tunnel.bytes, r->tunnel.downs);
	if (b->state)
		fprintf(f, "--\n");
}

/* The error's text alone can hold what others have written. */
static void print_json_string(FILE *f, const char *text)
{
	fputc('"', f);
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == '"' || *text == '\\' ? '?' : *text, f);
	fputc('"', f);
}

static void print_json(FILE *f, const struct run *r, const struct block *b)
{
	const char *comma = "";
	char text[128];

	fprintf(f, "{\"snapshot\":%u,\"state\":\"%s\",\"at_ms\":%" PRId64 ",\"kinds\":[", b->number,
		b->state ? b->state : "once", to_ms(now_boot_ns()));
	for (unsigned int i = 0; kind_at(i) && !b->error; i++) {
		const struct tally *t = &b->tally[i];
		const struct seen *s = &r->underlay.seen[i];

		if (!(r->options->plan.kinds & 1ULL << i))
			continue;
		fprintf(f,
			"%s{\"kind\":\"%s\",\"skipped\":\"%s\",\"sent\":%" PRIu64 ",\"ok\":%" PRIu64
			",\"errno\":\"%s\",\"seen\":%" PRIu64 ",\"first_seen_ms\":%" PRId64
			",\"last_seen_ms\":%" PRId64 ",\"tunnel\":%" PRIu64 "}",
			comma, kind_at(i)->name, skip_reason(kind_at(i), t, text, sizeof(text)),
			t->attempted, t->ok, errno_name(t->last_errno), s->frames,
			to_ms(s->first_ns), to_ms(s->last_ns), r->tunnel.seen[i].frames);
		comma = ",";
	}
	fprintf(f, "],\"other\":[");
	for (size_t i = 0; i < r->underlay.n_strays; i++)
		fprintf(f, "%s{\"frames\":%" PRIu64 ",\"what\":\"%s\"}", i ? "," : "",
			r->underlay.strays[i].frames, r->underlay.strays[i].text);
	fprintf(f,
		"],\"more\":%" PRIu64 ",\"tunnel\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
		",\"downs\":%u}",
		r->underlay.more_strays, r->tunnel.frames, r->tunnel.bytes, r->tunnel.downs);
	if (b->error) {
		fprintf(f, ",\"error\":");
		print_json_string(f, b->error);
	}
	fprintf(f, "}\n");
}

/* A reader of the file sees the whole old block or the whole new one. */
static int publish(const char *path, const char *text, size_t length, struct error *err)
{
	char temporary[4096];

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	_cleanup_fd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length || rename(temporary, path) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "write state file '%s'", path);
	return 0;
}

static int print_block(const struct run *r, const struct block *b, struct error *err)
{
	_cleanup_free char *text = NULL;
	size_t length = 0;
	FILE *f = open_memstream(&text, &length);

	if (!f)
		return fail(err, ERROR_OTHER, -errno, NULL, "print");
	(r->options->json ? print_json : print_text)(f, r, b);
	fclose(f);
	if (fwrite(text, 1, length, stdout) != length || fflush(stdout) != 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "print");
	return r->options->state ? publish(r->options->state, text, length, err) : 0;
}

/* ---- a run ---- */

static int drain(struct run *r, struct error *err)
{
	int e = capture_drain(&r->underlay, err);

	return e == 0 && r->tunnel.fd >= 0 ? capture_drain(&r->tunnel, err) : e;
}

/* The fence does not go through the tunnel, whose packets a program encrypts at its own pace: until
 * none has come for 50 ms, a second at most. Only what must be seen in there depends on it. */
static int settle_tunnel(struct run *r, struct error *err)
{
	uint64_t before = UINT64_MAX, end_ns = now_boot_ns() + NS_PER_SEC;
	struct pollfd p = { .fd = r->tunnel.fd, .events = POLLIN };
	int e = 0;

	while (!e && p.fd >= 0 && r->tunnel.frames != before && now_boot_ns() < end_ns) {
		before = r->tunnel.frames;
		if (poll(&p, 1, 50) > 0)
			e = capture_drain(&r->tunnel, err);
	}
	return e;
}

/* Tallies before the fence: what they say was sent has then been seen, if it was to be. */
static int report(struct run *r, const char *state, struct error *err)
{
	struct block b = { .state = state, .number = r->snapshots++ };
	int e, printed;

	memcpy(b.tally, r->sender.tally, sizeof(b.tally));
	e = capture_fence(&r->underlay, r->client_netns, err);
	if (e == 0)
		e = drain(r, err);
	if (e == 0 && !r->sender.child.pid) /* under a running load it never comes to rest */
		e = settle_tunnel(r, err);
	b.error = e < 0 ? err->text : NULL;
	printed = print_block(r, &b, err);
	return e < 0 ? e : printed;
}

/* Count until the sender ends (0), a signal arrives (its number) or the time is over (-ETIME). */
static int pump(struct run *r, int signals, uint64_t end_ns, struct error *err)
{
	struct signalfd_siginfo info;

	for (uint64_t now = now_boot_ns(); now < end_ns; now = now_boot_ns()) {
		struct pollfd p[] = { { .fd = r->underlay.fd, .events = POLLIN },
				      { .fd = r->tunnel.fd, .events = POLLIN },
				      { .fd = r->sender.child.pidfd, .events = POLLIN },
				      { .fd = signals, .events = POLLIN } };
		int e;

		poll(p, ARRAY_SIZE(p), (int)((end_ns - now) / NS_PER_MSEC) + 1);
		e = drain(r, err);
		if (e < 0)
			return e;
		if (p[3].revents && read(signals, &info, sizeof(info)) == sizeof(info))
			return (int)info.ssi_signo;
		if (p[2].revents)
			return sender_wait(&r->sender, 0, err);
	}
	return -ETIME;
}

static void run_close(struct run *r)
{
	sender_free(&r->sender);
	capture_close(&r->underlay);
	capture_close(&r->tunnel);
	close_fd(r->sink[0]);
	close_fd(r->sink[1]);
	close_fd(r->client_netns);
}

/* Captures first, then whatever sends. */
static int run_open(struct run *r, struct options *o, struct error *err)
{
	_cleanup_fd int far = -1;
	_cleanup_fd int tunnel = -1;
	_cleanup_fd int sink = -1;
	_cleanup_fd int cgroup = -1;
	int e;

	if ((e = open_place(o->netns, 0, "netns", &r->client_netns, err)) < 0 ||
	    (e = open_place(o->capture_netns, 0, "netns", &far, err)) < 0 ||
	    (e = open_place(o->tunnel_netns, 0, "netns", &tunnel, err)) < 0 ||
	    (e = open_place(o->sink, 0, "netns", &sink, err)) < 0 ||
	    (e = open_place(o->cgroup, O_DIRECTORY, "cgroup", &cgroup, err)) < 0 ||
	    (e = capture_open(&r->underlay, far, o->capture_if, &o->targets, err)) < 0)
		return e;
	r->underlay.clients = o->clients;
	r->underlay.n_clients = o->n_clients;
	if (o->tunnel_if && (e = capture_open(&r->tunnel, tunnel, o->tunnel_if, &o->targets, err)))
		return e;
	r->tunnel.outgoing = true; /* either end of the tunnel will do */
	if (o->sink && (e = sink_open(sink, &o->targets, r->sink, err)) < 0)
		return e;
	o->plan.cgroup_fd = cgroup;
	o->plan.netns_fd = r->client_netns;
	return sender_start(&r->sender, &o->plan, &o->targets, err);
}

#define RUN_EMPTY(o)                                                                              \
	{                                                                                         \
		.options = (o), .client_netns = -1, .sink = { -1, -1 }, .underlay = { .fd = -1 }, \
		.tunnel = {                                                                       \
			.fd = -1                                                                  \
		}                                                                                 \
	}

static int do_once(struct options *o, int signals, struct error *err)
{
	_cleanup_(run_close) struct run r = RUN_EMPTY(o);
	int e = run_open(&r, o, err);

	if (e < 0)
		return e;
	/* The sender keeps to its own bound, unless it cannot: frozen, starved. */
	e = pump(&r, signals, now_boot_ns() + (o->plan.max_seconds + 2) * NS_PER_SEC, err);
	if (e == -ETIME)
		return fail(err, ERROR_OTHER, -ETIME, "is its cgroup frozen?",
			    "the sender has not finished in %u s", o->plan.max_seconds);
	if (e > 0)
		return fail(err, ERROR_OTHER, -EINTR, NULL, "stopped by signal %d", e);
	return e < 0 ? e : report(&r, NULL, err);
}

/* The load goes on, but the first failure decides how it ends: it explains the others. */
static void note_failure(int e, const struct error *err, int *failed, struct error *first)
{
	if (e >= 0 || *failed < 0)
		return;
	*failed = e;
	*first = *err;
}

static int do_load(struct options *o, int signals, struct error *err)
{
	uint64_t end = now_boot_ns() + o->plan.max_seconds * NS_PER_SEC;
	_cleanup_(run_close) struct run r = RUN_EMPTY(o);
	struct error first = { 0 };
	int e = run_open(&r, o, err), failed;

	if (e < 0)
		return e;
	failed = report(&r, "running", &first);
	while ((e = pump(&r, signals, end, err)) == SIGUSR1)
		note_failure(report(&r, "running", err), err, &failed, &first);
	note_failure(e == -ETIME ? 0 : e, err, &failed, &first);
	sender_stop(&r.sender);
	note_failure(report(&r, "final", err), err, &failed, &first);
	*err = first;
	return failed;
}

static int do_sink(struct options *o, int signals, struct error *err)
{
	_cleanup_fd int netns = -1;
	int listeners[2];
	struct pollfd p = { .fd = signals, .events = POLLIN };
	int e = open_place(o->netns, 0, "netns", &netns, err);

	if (e < 0 || (e = sink_open(netns, &o->targets, listeners, err)) < 0)
		return e;
	poll(&p, 1, (int)o->plan.max_seconds * 1000);
	close_fd(listeners[0]);
	close_fd(listeners[1]);
	return 0;
}

static int do_kinds(struct options *o, int signals, struct error *err)
{
	for (unsigned int i = 0; kind_at(i); i++)
		printf("%-11s %s%s\n", kind_at(i)->name, kind_at(i)->what,
		       kind_at(i)->inexact ? "; frames are not packets" : "");
	return 0;
}

/* ---- the command line ---- */

enum option_id {
	OPT_CGROUP = 256,
	OPT_NETNS,
	OPT_CAPTURE_NETNS,
	OPT_CAPTURE_IF,
	OPT_TUNNEL_NETNS,
	OPT_TUNNEL_IF,
	OPT_KINDS,
	OPT_COUNT,
	OPT_INTERVAL,
	OPT_OUTSIDE4,
	OPT_OUTSIDE6,
	OPT_ONLINK4,
	OPT_ONLINK6,
	OPT_UNDERLAY,
	OPT_FENCE,
	OPT_FENCE_PORT,
	OPT_ENDPOINT_PORT,
	OPT_CLIENT,
	OPT_SINK,
	OPT_PORT,
	OPT_SECONDS,
	OPT_STATE,
	OPT_JSON,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "cgroup", required_argument, NULL, OPT_CGROUP },
	{ "netns", required_argument, NULL, OPT_NETNS },
	{ "capture-netns", required_argument, NULL, OPT_CAPTURE_NETNS },
	{ "capture-if", required_argument, NULL, OPT_CAPTURE_IF },
	{ "tunnel-capture-netns", required_argument, NULL, OPT_TUNNEL_NETNS },
	{ "tunnel-capture-if", required_argument, NULL, OPT_TUNNEL_IF },
	{ "kinds", required_argument, NULL, OPT_KINDS },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "outside4", required_argument, NULL, OPT_OUTSIDE4 },
	{ "outside6", required_argument, NULL, OPT_OUTSIDE6 },
	{ "onlink4", required_argument, NULL, OPT_ONLINK4 },
	{ "onlink6", required_argument, NULL, OPT_ONLINK6 },
	{ "underlay", required_argument, NULL, OPT_UNDERLAY },
	{ "fence", required_argument, NULL, OPT_FENCE },
	{ "fence-port", required_argument, NULL, OPT_FENCE_PORT },
	{ "endpoint-port", required_argument, NULL, OPT_ENDPOINT_PORT },
	{ "client", required_argument, NULL, OPT_CLIENT },
	{ "sink", required_argument, NULL, OPT_SINK },
	{ "port", required_argument, NULL, OPT_PORT },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int number_parse(const char *text, unsigned int most, unsigned int *ret)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value > most)
		return -EINVAL;
	*ret = (unsigned int)value;
	return 0;
}

static int port_parse(const char *text, unsigned int most, uint16_t *ret)
{
	unsigned int port = 0;

	if (number_parse(text, most, &port) < 0 || !port)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int fence_parse(struct targets *t, const char *text)
{
	struct address a;

	if (address_parse(text, 0, &a) < 0)
		return -EINVAL;
	t->fence[a.family == AF_INET6] = a;
	return 0;
}

static int client_parse(struct options *o, const char *text)
{
	return o->n_clients == CLIENTS_LIMIT ||
			       address_parse(text, 0, &o->clients[o->n_clients++]) < 0
		       ? -EINVAL
		       : 0;
}

static int underlay_parse(struct targets *t, const char *text)
{
	if (!*text || strlen(text) >= sizeof(t->underlay))
		return -EINVAL;
	memcpy(t->underlay, text, strlen(text) + 1);
	return 0;
}

static int option_take(struct options *o, int id, const char *arg, struct error *err)
{
	struct targets *t = &o->targets;

	switch (id) {
	case OPT_CGROUP:
		o->cgroup = arg;
		return 0;
	case OPT_NETNS:
		o->netns = arg;
		return 0;
	case OPT_CAPTURE_NETNS:
		o->capture_netns = arg;
		return 0;
	case OPT_CAPTURE_IF:
		o->capture_if = arg;
		return 0;
	case OPT_TUNNEL_NETNS:
		o->tunnel_netns = arg;
		return 0;
	case OPT_TUNNEL_IF:
		o->tunnel_if = arg;
		return 0;
	case OPT_SINK:
		o->sink = arg;
		return 0;
	case OPT_STATE:
		o->state = arg;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_KINDS:
		return kinds_parse(arg, &o->plan.kinds, err);
	case OPT_COUNT:
		return number_parse(arg, 1000000, &o->plan.count);
	case OPT_INTERVAL:
		return number_parse(arg, 60000, &o->plan.interval_ms);
	case OPT_SECONDS:
		return number_parse(arg, 86400, &o->plan.max_seconds);
	case OPT_OUTSIDE4:
		return address_parse(arg, AF_INET, &t->outside[0]);
	case OPT_OUTSIDE6:
		return address_parse(arg, AF_INET6, &t->outside[1]);
	case OPT_ONLINK4:
		return address_parse(arg, AF_INET, &t->onlink[0]);
	case OPT_ONLINK6:
		return address_parse(arg, AF_INET6, &t->onlink[1]);
	case OPT_FENCE:
		return fence_parse(t, arg);
	case OPT_CLIENT:
		return client_parse(o, arg);
	case OPT_UNDERLAY:
		return underlay_parse(t, arg);
	case OPT_FENCE_PORT:
		return port_parse(arg, 65535, &t->fence_port);
	case OPT_ENDPOINT_PORT:
		return port_parse(arg, 65535, &t->endpoint_port);
	case OPT_PORT:
		return port_parse(arg, 65535 - KINDS_LIMIT, &t->port);
	default:
		return -EINVAL;
	}
}

struct command {
	const char *name;
	int (*run)(struct options *o, int signals, struct error *err);
	bool sends;
	struct sending defaults;
};

static const struct command commands[] = {
	{ "kinds", do_kinds, false, { .count = 0 } },
	{ "once", do_once, true, { -1, -1, 0, .count = 1, .interval_ms = 0, .max_seconds = 30 } },
	{ "load", do_load, true, { -1, -1, 0, .count = 0, .interval_ms = 5, .max_seconds = 60 } },
	{ "sink", do_sink, false, { .max_seconds = 60 } },
};

static int options_parse(struct options *o, const struct command *c, int argc, char **argv,
			 struct error *err)
{
	struct targets *t = &o->targets;
	int id, index = 0, r;

	while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (id == OPT_HELP) {
			fputs(usage, stdout);
			exit(EXIT_GOOD);
		}
		err->text[0] = '\0';
		r = option_take(o, id, optarg, err);
		if (r < 0)
			return err->text[0] || id == '?'
				       ? r
				       : fail(err, ERROR_INPUT, r, "see: prove --help", "--%s '%s'",
					      long_options[index].name, optarg);
	}
	if (optind < argc)
		return fail(err, ERROR_INPUT, 0, "see: prove --help", "unexpected '%s'",
			    argv[optind]);
	if (c->sends && (!o->capture_if || !*t->underlay))
		return fail(err, ERROR_INPUT, 0, "see: prove --help",
			    "%s needs --capture-if and --underlay", c->name);
	if (!t->fence[0].family && !t->fence[1].family)
		memcpy(t->fence, t->onlink, sizeof(t->fence));
	if (c->sends && !t->fence[0].family && !t->fence[1].family)
		return fail(err, ERROR_INPUT, 0, "give --onlink4, --onlink6 or --fence",
			    "no address to send a fence to");
	return 0;
}

static int command_run(const struct command *c, int argc, char **argv, struct error *err)
{
	struct options o = { .plan = c->defaults };
	_cleanup_fd int signals = -1;
	sigset_t mask;
	int r;

	/* Before anything else: a SIGUSR1 that comes early must not end us. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signals = signalfd(-1, &mask, SFD_CLOEXEC);
	if (signals < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "receive signals");
	r = targets_init(&o.targets, err);
	if (r == 0)
		r = kinds_parse("all", &o.plan.kinds, err);
	if (r == 0)
		r = options_parse(&o, c, argc, argv, err);
	return r < 0 ? r : c->run(&o, signals, err);
}

int main(int argc, char **argv)
{
	struct error err = { .kind = ERROR_INPUT };
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "--help")) {
		fputs(usage, stdout);
		return EXIT_GOOD;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (command_run(&commands[i], argc - 1, argv + 1, &err) >= 0)
			return EXIT_GOOD;
		if (err.text[0])
			fprintf(stderr, "prove: %s\n", err.text);
		return err.kind;
	}
	fprintf(stderr, "prove: no such command '%s' (see: prove --help)\n", name);
	return ERROR_INPUT;
}
