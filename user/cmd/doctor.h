/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What doctor's parts tell each other. */
#pragma once

#include <jansson.h>
#include <stdarg.h>

#include "base/cgroup.h"
#include "config/config.h"

/* What a check found; a finding is what fail() returns, with its remedy. */
enum { OK = 0, INFO = 1 };

/* Sentence and result of a check that found nothing. */
__attribute__((format(printf, 3, 4))) static inline int say(struct error *line, int result,
							    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(line->text, sizeof(line->text), format, ap);
	va_end(ap);
	return result;
}

/* One line of the report; may be called several times for one check. */
typedef void (*doctor_tell)(void *owner, int result, const struct error *line);

/* the text of a container's /etc/resolv.conf, put to the rest; -Exxx: it could not be read */
#define RESOLV_CONF "ResolvConf"

#define OF_PODMAN "OfPodman" /* put to the rest too: it gives no CAP_NET_RAW by default */

struct doctor {
	const struct cgroup_root *root;
	const json_t *containers;  /* all, as the engine inspected them */
	const struct config *file; /* NULL: none */
	doctor_tell tell;
	void *owner;
};

/* Leashed containers, those that share their network, and the VPN's. Looks at nothing but its
 * argument. The number of leashed containers. */
size_t doctor_containers(const struct doctor *d);
/* By its labels, or by the file (NULL: none). */
bool doctor_is_leashed(const json_t *c, const struct config *file);
/* The container in whose network this one is: itself, another, or NULL (the host's, or unknown). */
const json_t *doctor_owner(const json_t *containers, const json_t *container);
pid_t doctor_pid(const json_t *c); /* 0: it does not run */
/* By name or id; NULL: none. */
const json_t *doctor_find(const json_t *containers, const char *name);

/* The machine at hand: each engine, and all its containers as inspected, added to `ret`. */
void doctor_engines(const struct doctor *d, json_t *ret);
/* Who answers programs of this machine before they look at resolv.conf. */
int doctor_names(const struct config *file, struct error *line);
/* Workloads in cgroups that somebody else than root may take a process out of. */
void doctor_cgroups(const struct doctor *d);
/* Private ranges and resolvers that the routes lead beside a tunnel. */
void doctor_routes(const struct doctor *d);
