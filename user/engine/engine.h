/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What runs containers and units: an engine (Docker's API, or Podman's compatible one) and systemd
 * (on the system bus). A forked child without capabilities talks to both, one for each engine, so
 * that the daemon neither waits for them nor parses what they say: it gets flat records, and asks
 * by messages that never block. Nothing that decides about a packet depends on any of it: with the
 * engine gone the daemon keeps what it knows, and its own watchers go on.
 *
 * The child reconnects by itself, for ever. libcurl and the bus are loaded in it alone, and only
 * once there is somebody to talk to.
 */
#pragma once

#include <limits.h>
#include <string.h>

#include "base/util.h"

#define ENGINE_ID_LEN	 256 /* a container's 64 hexadecimal digits, or a unit's name */
#define ENGINE_NAME_LEN	 256
#define ENGINE_LABELS	 64
#define ENGINE_KEY_LEN	 64
#define ENGINE_VALUE_LEN 1024
#define ENGINE_ERROR_LEN 256
#define ENGINE_HEX_LEN	 65 /* a container's id as text: always 64 digits */
#define ENGINE_WHERE_LEN 128
#define ENGINES		 4 /* at once */

struct engine;

enum engine_kind { ENGINE_CONTAINER = 1, ENGINE_UNIT };
enum engine_health { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/* A label that begins with "vpnleash.". Text is as the engine has it: escape it where it leaves. */
struct engine_label {
	char key[ENGINE_KEY_LEN]; /* without "vpnleash." */
	char value[ENGINE_VALUE_LEN];
	bool from_image; /* the image has the same: not the operator's word */
	bool too_long;	 /* key or value did not fit, or holds a control character; cut */
};

/* One container or unit, as it is now. A value that does not fit, or has the wrong type, makes the
 * whole record unusable: a path or name that is cut would be another's. Then only kind, id, name
 * and `labelled` are set, and the container is to be shut where its cgroup is found. */
struct engine_item {
	enum engine_kind kind;
	char id[ENGINE_ID_LEN];
	char name[ENGINE_NAME_LEN]; /* a container's without the leading '/'; not known: its id */
	char unusable[ENGINE_ERROR_LEN]; /* why it can not be used; "": it can */
	bool labelled;			 /* if it is unusable: it has labels of ours, or may have */
	bool running; /* also while paused; false: created, exited, dead, inactive */
	bool paused;
	bool left; /* by Compose: made to be started when another is healthy, and never started */
	pid_t pid; /* its first process in our pid namespace; 0: none, or not visible to us */
	int exit_code;
	enum engine_health health;
	char health_said[ENGINE_ERROR_LEN]; /* of the last check: "exit N: OUTPUT", cut; "" */
	char network_mode[ENGINE_NAME_LEN]; /* "host", "bridge", "container:ID", …; unit: "" */
	/* Where its cgroup is or will be, below the cgroup v2 root; "": not known before it runs.
	 * The directory need not be there. A unit's is its ControlGroup. */
	char cgroup[PATH_MAX];
	bool auto_remove; /* --rm: it is gone when it has ended */
	/* Made by us in place of that one, see engine_change(): its id; "" of all others. */
	char replaces[ENGINE_HEX_LEN];
	/* what made it, for a command to type; "" if not by Compose, or too long. The files are
	 * one text, with commas. */
	char compose_project[ENGINE_NAME_LEN], compose_service[ENGINE_NAME_LEN];
	char compose_dir[ENGINE_VALUE_LEN], compose_files[ENGINE_VALUE_LEN];
	bool net_admin; /* may make interfaces in its network, as a VPN has to */
	/* of systemd, by Podman's label: "" without one. in_unit: by the kernel's word too, that
	 * unit runs it now. Who stops it alone loses it, or has it started at once */
	char unit[ENGINE_NAME_LEN];
	bool in_unit;
	size_t n_labels, labels_left_out;
	bool image_unknown; /* the engine does not show the image: from_image is not known */
	struct engine_label labels[ENGINE_LABELS];
};

/* Of a container that shares another's netns: that one, as the engine calls it (its id, mostly).
 * NULL: it does not. */
static inline const char *engine_shares(const struct engine_item *i)
{
	return strncmp(i->network_mode, "container:", 10) ? NULL : i->network_mode + 10;
}

enum engine_event_kind {
	ENGINE_UP = 1,	/* connected; an ITEM for everything there follows, then LISTED */
	ENGINE_LISTED,	/* what was not told since UP is not there any more. `error`: what its
			 * socket refuses, "" if nothing that is needed */
	ENGINE_DOWN,	/* the connection is lost; `error` says why, "" if there never was a socket.
			 * `result` -EPIPE: so is what was to be watched */
	ENGINE_ITEM,	/* new or changed; after UP told for each */
	ENGINE_UNKNOWN, /* the engine does not say what it is: `item`, unusable; if it was known, it
			 * is what it was. It is asked for again, and an ITEM follows when it is
			 * answered. `id` "": an entry of its list has none */
	ENGINE_GONE,	/* `id` was removed */
	ENGINE_KILL,	/* a signal is about to be sent to `id` on somebody's request */
	ENGINE_DIED,	/* the container `id` has ended; an ITEM follows */
	ENGINE_DONE,	/* how request `request` went */
};

struct engine_event {
	enum engine_event_kind kind;
	enum engine_kind of; /* of DOWN, UP, LISTED: which of the two */
	char id[ENGINE_ID_LEN];
	int signal;	  /* KILL */
	uint32_t request; /* DONE */
	int result; /* DONE: 0; -ENOENT no such thing; -ENOTCONN nobody to ask; -EACCES refused,
		     * also by a read-only proxy; -EREMOTEIO or -EIO
		     * with `error` for the rest */
	char error[ENGINE_ERROR_LEN];
	struct engine_item item; /* ITEM, UNKNOWN */
};

/* where: "docker" or "podman" (its usual socket), "unix:///PATH", "tcp://ADDRESS:PORT", or "none":
 * no engine, only units. Returns when the child has dropped everything. */
int engine_start(struct engine **ret, const char *where, struct error *err);
void engine_stop(struct engine *e); /* NULL is fine */
int engine_fd(const struct engine *e);

/* The next event. -EAGAIN: no more; -EPIPE: the child is gone, start another; -EBADMSG: garbage. */
int engine_read(struct engine *e, struct engine_event *ret);

/* None of these blocks. 0, or -EAGAIN (the child does not keep up), -EPIPE. `request` comes back
 * with ENGINE_DONE. Both are idempotent: stopping what has ended and starting what runs is done. */
int engine_ask_item(struct engine *e, bool start, enum engine_kind kind, const char *id,
		    uint32_t request);

enum engine_verb {
	ENGINE_RENAME = 1, /* `id` is called `name` */
	ENGINE_REMAKE,	   /* another like `id`, called `name`, in the network of `network` where
			    * `id` is in a network of a container; not started. Says `replaces` */
	ENGINE_REMOVE,	   /* with `id` no volume goes */
};
struct engine_change {
	enum engine_verb verb;
	char id[ENGINE_HEX_LEN], network[ENGINE_HEX_LEN];
	char name[ENGINE_NAME_LEN];
};
/* As engine_ask_item(), and not idempotent. */
int engine_ask_change(struct engine *e, const struct engine_change *c, uint32_t request);

/* Units are told from now on; `name` with its suffix. An ITEM comes at once, also if there is no
 * such unit (not running, cgroup ""). */
int engine_watch_unit(struct engine *e, const char *name);
