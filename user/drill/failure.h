/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may befall a tunnel, brought about on a live system and put back exactly. A failure that can
 * not be put back is none of ours: prepare() says why in one sentence. Nothing here touches gate,
 * guard, lease or record, so whatever happens half-way the workload is blocked, never open.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define BROKEN_PROCESSES 16

/* The tunnel that it is done to. */
struct broken {
	char interface[IFNAMSIZ];
	const char *route; /* "": none is watched */
	char place[64];	   /* what a command that is typed there begins with; "": nothing */
	int netlink;	   /* of its netns */
	uint64_t netns_ino;
	uint32_t ifindex;
	pid_t daemon; /* 0: not to be seen from here */

	/* by prepare() */
	struct {
		pid_t pid;
		int fd;
	} processes[BROKEN_PROCESSES];
	size_t n_processes;
	void *saved; /* what goes with the link, as netlink messages */
	size_t n_saved;
};

/* By what the gate is shut, and so how soon. */
enum shut_by { SHUT_BY_EVIDENCE, SHUT_BY_PATIENCE, SHUT_BY_LEASE };

struct failure {
	const char *name, *does;
	enum shut_by by;
	int (*prepare)(struct broken *b, struct error *err);
	int (*begin)(struct broken *b);
	int (*end)(struct broken *b); /* may be called again */
	/* what to type if nobody is left to do that; returns buf */
	const char *(*by_hand)(const struct broken *b, char *buf, size_t size);
};

extern const struct failure failures[];
extern const size_t n_failures;

void broken_forget(struct broken *b); /* what prepare() has found */

/* link.c: the device itself, by its index */
int link_save(struct broken *b, struct error *err);
int link_down(struct broken *b);
int link_up(struct broken *b); /* with its addresses and routes */
int link_rename(struct broken *b, const char *name);
