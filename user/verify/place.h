/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a workload's packets can go, and a capture wherever one that should not would show: the
 * *ways* out of its netns beside the tunnel (the decoy, and each underlay, seen at its outer end),
 * what lies *beyond* those ends (their bridges, the uplinks of that host), and the tunnel itself.
 */
#pragma once

#include "prove/prove.h"

#define WAYS   5 /* the first is the decoy */
#define BEYOND 8

struct way {
	char name[IFNAMSIZ];
	struct targets targets;
	struct capture
		capture;     /* of the decoy; of a veth's other end, a macvlan's parent, itself */
	bool before_guard;   /* the capture sees what the guard there is still to drop */
	bool fenced;	     /* a fence of this process has come through: the capture sees */
	struct error unseen; /* else why not */
};

struct beyond {
	char name[IFNAMSIZ];
	const char *what; /* "bridge", "uplink" */
	int netns_fd;
	struct targets targets;
	struct capture capture;
	bool fenced;
};

struct place {
	int netns_fd; /* the caller's */
	struct child decoy;
	size_t n_ways, n_beyond;
	struct way ways[WAYS];
	struct beyond beyond[BEYOND];
	struct targets targets; /* marker and addresses, which all have */
	struct capture tunnel;
	char tunnel_name[IFNAMSIZ]; /* "": none to be watched */
};

/* `p` must stay where it is. Without a decoy, or with an underlay that can not be watched, the
 * way's `unseen` says why. tunnel_ifindex in that netns, 0: none. 0 or -Exxx. */
int place_open(struct place *p, int netns_fd, uint32_t tunnel_ifindex, struct error *err);
void place_close(struct place *p);
/* Everything that was sent by that way until now has been counted; way->fenced says whether. Or
 * -Exxx: a capture has lost frames, and nothing it says means anything. */
int place_settle(struct place *p, struct way *w, struct error *err);
