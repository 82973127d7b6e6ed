/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/audit.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The fields below need a literal format, and the line is the log's own. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "report/report.h"

/* Made with `systemd-id128 new`; one for each kind of record, documented in docs/abi.md. */
#define MESSAGE_STATE	"MESSAGE_ID=6d1f4f2e5c0b4c0f9a56b7c1c7a9e3d1"
#define MESSAGE_BLOCKED "MESSAGE_ID=b3a8e0f4d7f64f5b8a1c2e9d40715c62"

struct audit {
	audit_publish publish;
	void *owner;
	bool journal; /* stderr is the journal: fields instead of lines */
	json_t *history[AUDIT_HISTORY];
	unsigned int next;
};

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM"); /* "DEVICE:INODE", systemd.exec(5) */
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

struct audit *audit_new(audit_publish publish, void *owner)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (a)
		*a = (struct audit) { .publish = publish,
				      .owner = owner,
				      .journal = stderr_is_journal() };
	return a;
}

void audit_free(struct audit *a)
{
	for (size_t i = 0; a && i < AUDIT_HISTORY; i++)
		json_decref(a->history[i]);
	free(a);
}

/* Takes over the record. */
static void audit_keep(struct audit *a, json_t *record)
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	/* wall clock: for people only */
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	json_object_set_new(record, "time", json_string(when));
	json_object_set_new(record, "boot_ns", json_integer((json_int_t)now_boot_ns()));
	json_decref(a->history[a->next % AUDIT_HISTORY]);
	a->history[a->next++ % AUDIT_HISTORY] = record;
	a->publish(a->owner, record);
}

json_t *audit_history(const struct audit *a, const char *workload)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < AUDIT_HISTORY; i++) {
		json_t *record = a->history[(a->next + i) % AUDIT_HISTORY];
		const char *of = json_string_value(json_object_get(record, "workload"));

		if (record && (!workload || (of && !strcmp(of, workload))))
			json_array_append(list, record);
	}
	return list;
}

void audit_state(struct audit *a, const char *kind, const char *name, const char *from,
		 const char *to, const char *evidence, const char *detail, uint64_t latency_ns,
		 bool quiet)
{
	const char *shown = quote(name), *said = detail ? detail : "";
	char line[1000], latency[48] = "";

	if (latency_ns)
		snprintf(latency, sizeof(latency), ", after %.1f ms", (double)latency_ns / 1e6);
	snprintf(line, sizeof(line), "%s '%s': %s -> %s: %s%s%s%s", kind, shown, from, to, evidence,
		 *said ? ": " : "", said, latency);
	if (!quiet && a->journal)
		sd_journal_send("MESSAGE=%s", line, MESSAGE_STATE, "PRIORITY=%d", LOG_LEVEL_NOTICE,
				"VPNLEASH_KIND=%s", kind, "VPNLEASH_NAME=%s", shown,
				"VPNLEASH_FROM=%s", from, "VPNLEASH_TO=%s", to,
				"VPNLEASH_EVIDENCE=%s", evidence, "VPNLEASH_LATENCY_US=%llu",
				(unsigned long long)(latency_ns / 1000), NULL);
	else if (!quiet)
		log_line(LOG_LEVEL_NOTICE, "%s", line);

	audit_keep(a, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "event", "state", kind, shown,
				"from", from, "to", to, "evidence", evidence, "detail", said,
				"latency_us", (json_int_t)(latency_ns / 1000)));
}

static const char *protocol_name(char buf[8], uint8_t protocol)
{
	static const struct {
		uint8_t number;
		const char *name;
	} known[] = { { 1, "icmp" },   { 2, "igmp" },	{ 6, "tcp" },	   { 17, "udp" },
		      { 58, "icmp6" }, { 132, "sctp" }, { 136, "udplite" } };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].number == protocol)
			return known[i].name;
	snprintf(buf, 8, "%u", protocol);
	return buf;
}

static void print_address(char *buf, size_t size, const struct drop_event *e, const uint8_t *bytes,
			  uint16_t port)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (e->family)
		inet_ntop(e->family == 4 ? AF_INET : AF_INET6, bytes, ip, sizeof(ip));
	if (port)
		snprintf(buf, size, e->family == 6 ? "[%s]:%u" : "%s:%u", ip, ntohs(port));
	else
		snprintf(buf, size, "%s", ip);
}

const char *audit_packet(char *buf, size_t size, const struct drop_event *e)
{
	char from[64], to[64], number[8];

	print_address(from, sizeof(from), e, e->source, e->source_port);
	print_address(to, sizeof(to), e, e->destination, e->destination_port);
	snprintf(buf, size, "%s %s -> %s", protocol_name(number, e->protocol), from, to);
	return buf;
}

void audit_foreign(struct audit *a, const char *tunnel, const char *packet, const char *cgroup,
		   const char *container, bool ended, bool quiet)
{
	char by[600]; /* a path: longer than quote() has */

	audit_keep(a, json_pack("{s:s,s:o,s:s,s:o,s:o*,s:b}", "event", "foreign", "guard",
				report_text(tunnel), "packet", packet, "cgroup",
				report_text(cgroup), "container",
				container ? report_text(container) : NULL, "ended", ended));
	if (!quiet)
		log_line(LOG_LEVEL_WARNING,
			 "tunnel '%s': a socket in its network namespace was opened elsewhere, by "
			 "%s '%s': %s%s",
			 quote(tunnel), container ? "container" : "cgroup",
			 escape(by, sizeof(by), container ? container : cgroup), packet,
			 ended ? ": ended" : ": only the guard holds it");
}

void audit_stray(struct audit *a, const char *tunnel, uint64_t frames,
		 const struct drop_event *last)
{
	char packet[160];

	audit_packet(packet, sizeof(packet), last);
	audit_keep(a, json_pack("{s:s,s:o,s:I,s:s,s:i,s:i}", "event", "stray", "guard",
				report_text(tunnel), "frames", (json_int_t)frames, "packet", packet,
				"ifindex", (int)last->ifindex, "length", (int)last->length));
	log_line(LOG_LEVEL_ERR,
		 "tunnel '%s': LEAK: the witness saw %llu frames past the guard that should not be "
		 "there, last %s (the lease is revoked; keep this log, and report it)",
		 quote(tunnel), (unsigned long long)frames, packet);
}

void audit_drop(struct audit *a, const char *workload, const struct drop_source *from,
		const struct drop_event *e)
{
	json_t *record = json_object();
	char packet[160];

	json_object_set_new(record, "event", json_string(e->reason ? "drop" : "reach"));
	json_object_set_new(record, "workload", report_text(workload));
	/* a guard of that tunnel's netns dropped it, and not the workload's gate */
	if (from->tunnel)
		json_object_set_new(record, "guard", report_text(from->tunnel));
	if (*from->cgroup)
		json_object_set_new(record, "cgroup", report_text(from->cgroup));
	if (from->container)
		json_object_set_new(record, "container", report_text(from->container));
	if (*from->process)
		json_object_set_new(record, "process", report_text(from->process));
	if (from->remedy)
		json_object_set_new(record, "remedy", json_string(from->remedy));
	if (e->audit)
		json_object_set_new(record, "audit", json_true());
	if (e->reason)
		json_object_set_new(record, "reason", json_string(report_reason(e->reason)));
	json_object_set_new(record, "direction", json_string(e->ingress ? "in" : "out"));
	json_object_set_new(record, "packet", json_string(audit_packet(packet, sizeof(packet), e)));
	json_object_set_new(record, "ifindex", json_integer(e->ifindex));
	json_object_set_new(record, "length", json_integer(e->length));
	json_object_set_new(record, "cgroup_id", json_integer((json_int_t)e->cgroup_id));
	audit_keep(a, record);
}

void audit_summary(struct audit *a, const char *workload,
		   const uint64_t dropped[VPNLEASH_REASON_MAX], const struct drop_event *last)
{
	char line[800], reasons[300] = "", packet[160] = "";
	const char *shown = quote(workload);
	uint64_t total = 0;
	size_t n = 0;

	for (int r = 1; r < VPNLEASH_REASON_MAX; r++) {
		total += dropped[r];
		if (dropped[r] && n < sizeof(reasons))
			n += (size_t)snprintf(reasons + n, sizeof(reasons) - n, "%s%s %llu",
					      n ? ", " : "", report_reason((uint32_t)r),
					      (unsigned long long)dropped[r]);
	}
	if (last)
		audit_packet(packet, sizeof(packet), last);
	snprintf(line, sizeof(line), "workload '%s': blocked %llu packets (%s)%s%s", shown,
		 (unsigned long long)total, reasons, last ? ", last " : "", packet);
	if (a->journal)
		sd_journal_send("MESSAGE=%s", line, MESSAGE_BLOCKED, "PRIORITY=%d",
				LOG_LEVEL_WARNING, "VPNLEASH_NAME=%s", shown,
				"VPNLEASH_PACKETS=%llu", (unsigned long long)total,
				"VPNLEASH_REASONS=%s", reasons, "VPNLEASH_LAST=%s", packet, NULL);
	else
		log_line(LOG_LEVEL_WARNING, "%s", line);
}
