/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "drill/failure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/nl.h"
#include "watch/process.h"

#define OTHER_NAME "vpnleash-drill"

void broken_forget(struct broken *b)
{
	for (size_t i = 0; i < b->n_processes; i++)
		close_fd(b->processes[i].fd);
	b->n_processes = 0;
	free(b->saved);
	b->saved = NULL;
	b->n_saved = 0;
}

/* ------ the device ------ */

static int rename_away(struct broken *b)
{
	return link_rename(b, OTHER_NAME);
}

static int rename_back(struct broken *b)
{
	int r = link_rename(b, b->interface);

	return r == -EBUSY ? 0 : r; /* before Linux 6.2: it is up, so it was never renamed */
}

static const char *link_by_hand(const struct broken *b, char *buf, size_t size)
{
	snprintf(buf, size, "%sip link set %s up, and its routes; or restart the VPN", b->place,
		 quote(b->interface));
	return buf;
}

static const char *name_by_hand(const struct broken *b, char *buf, size_t size)
{
	snprintf(buf, size, "%sip link set " OTHER_NAME " name %s", b->place, quote(b->interface));
	return buf;
}

/* ------ the route ------ */

/* A rule before all others: one object, which is taken away as it came. */
static int blackhole(const struct broken *b, uint16_t type, uint16_t flags)
{
	int family = strchr(b->route, ':') ? AF_INET6 : AF_INET;
	size_t length = family == AF_INET6 ? 16 : 4;
	struct in6_addr to;
	struct nl_question q;
	struct fib_rule_hdr *rule = nl_begin(&q, type, NLM_F_ACK | flags, sizeof(*rule));

	if (inet_pton(family, b->route, &to) != 1)
		return -EINVAL;
	rule->family = (uint8_t)family;
	rule->dst_len = (uint8_t)(8 * length);
	rule->action = FR_ACT_BLACKHOLE;
	mnl_attr_put_u32(&q.head, FRA_PRIORITY, 0);
	mnl_attr_put(&q.head, FRA_DST, length, &to);
	return nl_ask(b->netlink, &q.head, NULL, NULL);
}

static int has_route(struct broken *b, struct error *err)
{
	if (!*b->route)
		return fail(err, ERROR_ABSENT, 0, NULL, "no route is watched (route = none)");
	return 0;
}

static int route_away(struct broken *b)
{
	return blackhole(b, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

static int route_back(struct broken *b)
{
	int r = blackhole(b, RTM_DELRULE, 0);

	return r == -ENOENT ? 0 : r;
}

static const char *route_by_hand(const struct broken *b, char *buf, size_t size)
{
	snprintf(buf, size, "%sip %srule del pref 0 to %s blackhole", b->place,
		 strchr(b->route, ':') ? "-6 " : "", b->route);
	return buf;
}

/* ------ processes ------ */

static int signal_all(struct broken *b, int number)
{
	int r = 0;

	for (size_t i = 0; i < b->n_processes; i++)
		if (pidfd_send_signal(b->processes[i].fd, number, NULL, 0) < 0 && errno != ESRCH)
			r = -errno;
	return r;
}

static int stop_all(struct broken *b)
{
	return signal_all(b, SIGSTOP);
}

static int continue_all(struct broken *b)
{
	return signal_all(b, SIGCONT);
}

static int add_process(struct broken *b, pid_t pid)
{
	int fd = b->n_processes < BROKEN_PROCESSES ? pidfd_open(pid, 0) : -1;

	if (fd < 0)
		return -ESRCH;
	b->processes[b->n_processes].pid = pid;
	b->processes[b->n_processes++].fd = fd;
	return 0;
}

static const char *processes_by_hand(const struct broken *b, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "kill -CONT");

	for (size_t i = 0; i < b->n_processes && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, " %d", b->processes[i].pid);
	return buf;
}

static int find_daemon(struct broken *b, struct error *err)
{
	if (!b->daemon || add_process(b, b->daemon))
		return fail(err, ERROR_ABSENT, 0, NULL,
			    "the daemon's process is not to be seen from this pid namespace");
	return 0;
}

struct holder {
	const struct broken *b;
	bool holds;
};

static void on_descriptor(const struct descriptor *d, void *arg)
{
	struct holder *h = arg;

	h->holds |= !strcmp(d->tun, h->b->interface);
}

/* The pidfd first: it is of who is looked at then, or of nobody. */
static int on_process(const struct netns_process *p, void *arg)
{
	struct broken *b = arg;
	struct holder h = { .b = b };
	struct broken held = *b;

	if (add_process(&held, p->pid))
		return 0;
	descriptors_each(p->pid, on_descriptor, &h);
	if (h.holds)
		*b = held;
	else
		close_fd(held.processes[held.n_processes - 1].fd);
	return 0;
}

/* By the kernel's word: who has the device open. */
static int find_vpn(struct broken *b, struct error *err)
{
	netns_processes(b->netns_ino, on_process, b);
	if (!b->n_processes)
		return fail(err, ERROR_ABSENT, 0, NULL,
			    "no process has '%s' open, it is the kernel's own: there is none to "
			    "stop",
			    quote(b->interface));
	return 0;
}

/* ------ the table: what hurts least first ------ */

const struct failure failures[] = {
	{ "link-down", "the tunnel's interface is set down", SHUT_BY_EVIDENCE, link_save, link_down,
	  link_up, link_by_hand },
	{ "renamed", "the tunnel's interface gets another name", SHUT_BY_EVIDENCE, NULL,
	  rename_away, rename_back, name_by_hand },
	{ "route", "what leads into the tunnel leads nowhere", SHUT_BY_EVIDENCE, has_route,
	  route_away, route_back, route_by_hand },
	{ "vpn-stopped", "the VPN's process is stopped: all looks well, and nothing answers",
	  SHUT_BY_PATIENCE, find_vpn, stop_all, continue_all, processes_by_hand },
	{ "daemon-stopped", "vpnleash's own daemon is stopped: nobody is left to act",
	  SHUT_BY_LEASE, find_daemon, stop_all, continue_all, processes_by_hand },
};
const size_t n_failures = ARRAY_SIZE(failures);
