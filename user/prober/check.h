/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is asked of a tunnel by something that is started for each question, takes seconds and may
 * do what it likes: the probe `exec`, a program of the operator's, and `identity`, a page that says
 * by which exit one comes to it. A process of its own, forked before the daemon gives up execve(2)
 * and new code, forks a child for each and reads nothing but how that ended: exit codes. The child
 * is ended, with what it has started, when its time is over or its answer is there.
 */
#pragma once

#include <net/if.h>
#include <netinet/in.h>

#include "base/util.h"
#include "base/worker.h"

#define CHECK_EXEC_NS	  (2 * NS_PER_SEC) /* two runs in a row are no silence, see reopen.h */
#define CHECK_IDENTITY_NS (10 * NS_PER_SEC)

enum check_kind {
	CHECK_EXEC = 1,
	CHECK_IDENTITY,
	CHECK_DROP, /* end that target's, and tell nothing */
};

struct check {
	enum check_kind kind;
	uint32_t target, number; /* the daemon's; a target has one at a time */
	char interface[IFNAMSIZ];
	char text[256]; /* CHECK_EXEC: the program's full path; CHECK_IDENTITY: the URL */

	/* CHECK_IDENTITY */
	unsigned int ifindex; /* of the tunnel; what it sends goes by it or not at all */
	bool guarded;	      /* else it is asked only if the routes lead there as well */
	char host[254], expect[128];
	uint16_t port;
	struct in_addr resolver; /* who is asked for the host's address, if that is a name */
};

struct check_news {
	uint32_t target, number;
	int result; /* 0: good; else see check_says() */
};

/* How it ended; the exit code of its child. Of a program: its own. */
enum check_result {
	IDENTITY_RIGHT = 0,
	IDENTITY_WRONG, /* a whole answer, and what is expected is not in it */
	/* no answer: */
	IDENTITY_NO_NAME,
	IDENTITY_BESIDE,
	IDENTITY_LINK,
	IDENTITY_UNREACHED,
	IDENTITY_UNENCRYPTED,
	IDENTITY_GARBAGE,
	IDENTITY_TOO_MUCH,
	IDENTITY_NOTHING,
	IDENTITY_ELSEWHERE,
	IDENTITY_REFUSED,
	IDENTITY_UNABLE,
	CHECK_SIGNAL = 256, /* of both: it was ended by a signal, */
	CHECK_LATE,	    /* or because its time was over */
	CHECK_UNASKED,	    /* the daemon's: there is nobody to ask any more */
};
/* One phrase for people. Returns buf. */
const char *check_says(enum check_kind kind, int result, char *buf, size_t size);

/* Their process, or two: the outer one starts the inner one again. They end with their socket, when
 * the daemon is killed too, and end all that runs. */
int checks_start(struct worker *ret, struct error *err);
/* Never blocks. The netns, in which it happens, stays the caller's; -1 with CHECK_DROP. 0, or
 * -EAGAIN, -EPIPE as send_record() has it: as good as no answer. */
int checks_ask(const struct worker *w, const struct check *c, int netns_fd);
/* -EAGAIN: no more; -EPIPE; -EBADMSG: garbage. */
int checks_read(const struct worker *w, struct check_news *ret);

/* identity.c: in the child, whose parent that is; the result. */
int identity_ask(const struct check *c, int netns_fd, pid_t parent);
