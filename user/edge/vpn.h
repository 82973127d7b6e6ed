/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who the VPN is. Its cgroup is the kernel's word:
 *   netns = container:NAME, unit:NAME   that of the container or unit
 *   netns = /proc/PID/ns/net            that of this process
 *   process = NAME alone                that of whoever bears the name in the netns; where they are
 *                                       of several cgroups it is nobody, and that is said
 *   neither                             that of the process that answers for WireGuard's device
 * Never one that is leashed, is above or below such a one, or is the root. Within it `process`
 * names those whose end is evidence.
 */
#ifndef VPNLEASH_VPN_H
#define VPNLEASH_VPN_H

#include <systemd/sd-event.h>

#include "watch/process.h"

#define VPN_PROCESSES 16 /* of one name that are watched */

struct daemon;
struct tunnel;

struct vpn_process {
	pid_t pid;
	int pidfd;
	sd_event_source *end;
};

struct vpn {
	char cgroup[PATH_MAX]; /* below the root; "": not known */
	char why[400];	       /* why not, and what to do; "": there is no more to say */
	pid_t owner;	       /* whose netns it is, as `netns` says; 0: it does not */
	/* by its name it was found there: another cgroup is another's, as long as this one is there
	 */
	char was[PATH_MAX];
	uint64_t was_id;
	size_t n;
	struct vpn_process processes[VPN_PROCESSES];
	bool dead; /* the last of them has ended, and no other has come */
};

/* At each look, and when the netns is entered. */
void vpn_look(struct tunnel *t);
void vpn_forget(struct tunnel *t);

/* Whose answers for WireGuard's device are believed. */
bool vpn_may_be(const struct tunnel *t, const char *cgroup);
/* One of that cgroup has answered. */
void vpn_answered(struct tunnel *t, const char *cgroup);

/* Is it a workload's or a locked slice's, or above or below one? */
bool edge_is_leashed(const struct daemon *d, const char *path);

#endif
