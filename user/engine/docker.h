/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Docker Engine's API, or Podman's, on its Unix socket, or by TCP at a proxy before it. In a
 * process that may wait: the engine's child (see engine.h) or a command. libcurl is loaded when
 * there is a socket.
 */
#pragma once

#include <poll.h>

#include "engine/docker_record.h"

struct docker;

typedef void (*engine_tell)(void *owner, const struct engine_event *e);

/* An event, empty, to be told before the next one is made: it is large. */
struct engine_event *engine_event(enum engine_event_kind kind, enum engine_kind of);
/* ENGINE_DONE, told. */
void engine_tell_done(engine_tell tell, void *owner, enum engine_kind of, uint32_t request,
		      int result, const char *error);

#define DOCKER_ASIDE 1024

/* Strangers write what this process reads, and it may crash on it. So it says whose record it is
 * reading, for whoever starts the next process, and is told which records not to read. */
struct docker_care {
	char *at_work; /* the id of the container whose record is read, ENGINE_HEX_LEN; "": none */
	size_t n_aside;
	char aside[DOCKER_ASIDE][ENGINE_HEX_LEN];
};

/* where: see engine_start(), not "none". NULL: no memory. */
struct docker *docker_open(const char *where, const struct docker_care *care, engine_tell tell,
			   void *owner);
/* Waits until something is to be done, or one of `extra` is ready (its revents are set), at most
 * timeout_ms (-1: no limit), and does it. */
void docker_turn(struct docker *d, struct pollfd *extra, unsigned int n, int timeout_ms);
/* Answered by ENGINE_DONE. */
void docker_ask(struct docker *d, bool start, const char *id, uint32_t request);

void docker_change(struct docker *d, const struct engine_change *c, uint32_t request);

/* The engines that the key `engine` names, each a `where`. Their number. */
size_t docker_split(const char *engines, char ret[ENGINES][ENGINE_WHERE_LEN]);
/* The path of its socket, or tcp://ADDRESS:PORT as it stands; NULL: there is none. */
const char *docker_socket(const char *where);
/* What a proxy there does not let through and what follows, with the remedy; "": nothing. After
 * docker_get(). */
void docker_refusals(const char *socket, char *ret, size_t size);
/* GET `path` of the API: what it says as JSON. -ENOENT: 404, -EACCES: 403 or 405,
 * -EREMOTEIO: another error of its, or more than is read; -EBADMSG: no JSON; -ETIMEDOUT;
 * -ENOMEM: `path` is too long, or no memory; else -EIO. */
int docker_get(const char *socket, const char *path, json_t **ret, struct error *err);
