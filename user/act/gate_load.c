/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads programs of the BPF object, as they are needed: the gate's once for each depth of cgroups
 * in use, all with the same maps. How this kernel tells a packet's netns is found out by trying.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "act/gate_internal.h"
#include "act/object.h"
#include "base/privilege.h"

#include "vpnleash.skel.h"

static char last_log[4096];

const char *gate_last_log(void)
{
	return last_log;
}

static int keep_log(enum libbpf_print_level level, const char *format, va_list ap)
{
	size_t at = strlen(last_log);

	if (level <= LIBBPF_INFO)
		vsnprintf(last_log + at, sizeof(last_log) - at, format, ap);
	return 0;
}

/* What looks at no cgroup's depth and most need: the names, and the guard of a container's netns.
 */
#define HOOKS	 (1U << GATE_EGRESS | 1U << GATE_INGRESS)
#define OF_DEPTH (HOOKS | 1U << GATE_SOCKET)
#define NAMES	 ((1U << DENY_PACKET) - (1U << DNS_RECVMSG4))
#define GUARD                                                                      \
	(1U << GUARD_PEER_INGRESS | 1U << WITNESS_PEER | 1U << GUARD_PEER_EGRESS | \
	 1U << GUARD_INSIDE)

struct gate *gate_new(const struct cgroup_root *root, uint32_t level)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	libbpf_set_print(keep_log);
	*g = (struct gate) { .root = root,
			     .pins = PINS_NONE,
			     .level = level && level < GATE_LEVELS ? level : GATE_LEVEL };
	return g;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	for (size_t level = 0; level < GATE_LEVELS; level++)
		for (size_t p = 0; p < GATE_PROGRAMS; p++)
			if (g->programs[level][p])
				close_fd(g->programs[level][p]);
	pins_close(&g->pins);
	free(g);
}

size_t gate_hooks(const struct gate *g)
{
	return g->netns_by_socket ? GATE_HOOKS : GATE_HOOKS - 1;
}

static int *place_of(struct gate *g, uint32_t level, size_t p)
{
	return &g->programs[1U << p & OF_DEPTH ? level : 0][p];
}

static void set_constants(const struct gate *g, struct vpnleash_bpf *skel, uint32_t level)
{

	skel->rodata->level = level;
	skel->rodata->netns_by_socket = g->netns_by_socket;
	for (size_t i = 0; i < ARRAY_SIZE(g->note_secret); i++)
		skel->rodata->note_secret[i] = g->note_secret[i];
}

static struct bpf_program *find(struct vpnleash_bpf *skel, size_t p)
{
	return bpf_object__find_program_by_name(skel->obj, gate_program_name(p));
}

/* The maps are those that are there already, if there are any. */
static int prepare_and_load(struct gate *g, struct vpnleash_bpf *skel, uint32_t level,
			    uint32_t wanted, struct error *err)
{
	int r = g->pins.header < 0 ? 0 : pins_reuse(&g->pins, skel, err);

	if (r)
		return r;
	set_constants(g, skel, level);
	for (size_t p = 0; p < GATE_PROGRAMS; p++)
		bpf_program__set_autoload(find(skel, p), wanted & 1U << p);
	r = object_load(skel);
	if (r)
		return fail(err, ERROR_PRIVILEGE, r, GATE_REMEDY_LOAD, "load the gate");
	if (g->pins.header < 0)
		r = pins_of(skel, &g->pins, err);
	for (size_t p = 0; !r && p < GATE_PROGRAMS; p++) {
		int fd = wanted & 1U << p
				 ? fcntl(bpf_program__fd(find(skel, p)), F_DUPFD_CLOEXEC, 3)
				 : 0;

		if (fd < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "hold %s",
				    gate_program_name(p));
		if (fd)
			*place_of(g, level, p) = fd;
	}
	return r;
}

static int load(struct gate *g, uint32_t level, uint32_t wanted, struct error *err)
{
	struct vpnleash_bpf *skel = object_open();
	int r;

	last_log[0] = '\0';
	if (!skel)
		return fail(err, ERROR_OTHER, -errno, NULL, "open the BPF object");
	if (wanted & HOOKS && g->netns_by_socket && !*place_of(g, level, GATE_SOCKET))
		wanted |= 1U << GATE_SOCKET;
	privilege_long_work(true);
	r = prepare_and_load(g, skel, level, wanted, err);
	privilege_long_work(false);
	object_close(skel);
	return r;
}

/* Nothing was adopted that says how this kernel tells a packet's netns. Not by version number: each
 * of the two ways is tried, the faster one first. */
static int load_first(struct gate *g, uint32_t level, uint32_t wanted, struct error *err)
{
	struct error none;
	int r;

	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		return fail(err, ERROR_PRIVILEGE, -errno,
			    "vpnleash needs a kernel with CONFIG_DEBUG_INFO_BTF",
			    "read /sys/kernel/btf/vmlinux");
	/* getrandom() does not fail once the machine has booted; with zeros a note could be forged
	 */
	if (getrandom(g->note_secret, sizeof(g->note_secret), 0) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "get random bytes");
	r = load(g, level, wanted, &none);
	if (r == -EPERM)
		return fail(err, ERROR_PRIVILEGE, r,
			    "run as root, or give CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
			    "load the gate");
	if (r) {
		g->netns_by_socket = true;
		r = load(g, level, wanted, err);
	}
	g->known = !r;
	return r;
}

int gate_want(struct gate *g, uint32_t level, uint32_t wanted, struct error *err)
{
	uint32_t lacking = 0;
	int r;

	for (size_t p = 0; p < GATE_PROGRAMS; p++) {
		int *fd = place_of(g, level, p);
		/* known by now, as the gate's own two come first */
		bool by_socket = p == GATE_SOCKET && wanted & HOOKS && g->netns_by_socket;

		if (*fd || (!(wanted & 1U << p) && !by_socket))
			continue;
		*fd = g->pinned ? gate_adopt(g, fd == &g->programs[0][p] ? 0 : level, p) : 0;
		lacking |= *fd ? 0 : 1U << p;
	}
	if (!lacking)
		return 0;
	r = g->known ? load(g, level, lacking, err) : load_first(g, level, lacking, err);
	if (r || !g->pinned)
		return r;
	gate_pin_programs(g, 0, lacking);
	gate_pin_programs(g, level, lacking);
	return 0;
}

int gate_load(struct gate *g, struct error *err)
{
	return gate_want(g, g->level, HOOKS | NAMES | GUARD, err);
}

int gate_load_level(struct gate *g, uint32_t level, struct error *err)
{
	if (level >= GATE_LEVELS)
		return fail(err, ERROR_INPUT, -ELOOP, "leash a cgroup nearer to the root",
			    "attach the gate %u levels deep", level);
	return gate_want(g, level, HOOKS, err);
}

static size_t find_name(const char *name)
{
	size_t p = 0;

	while (p < GATE_PROGRAMS && strcmp(gate_program_name(p), name))
		p++;
	return p;
}

int gate_load_programs(struct gate *g, const char *const names[], size_t n, struct error *err)
{
	uint32_t wanted = 0;

	for (size_t i = 0; i < n; i++)
		wanted |= 1U << find_name(names[i]);
	return gate_want(g, g->level, wanted, err);
}

int gate_program(const struct gate *g, const char *name)
{
	return g->programs[0][find_name(name)];
}
