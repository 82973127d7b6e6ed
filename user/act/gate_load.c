/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads the BPF object: one instance for each depth of cgroups in use, all with the same maps. How
 * this kernel tells a packet's netns is found out by trying.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "act/gate_internal.h"

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

struct gate *gate_new(const struct cgroup_root *root)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	libbpf_set_print(keep_log);
	*g = (struct gate) { .root = root, .pins = PINS_NONE };
	return g;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < GATE_LEVELS; i++)
		vpnleash_bpf__destroy(g->instances[i]);
	pins_close(&g->pins);
	free(g);
}

/* Answers before questions: a question must not be redirected whose answer is not understood. */
void gate_list_dns(struct vpnleash_bpf *skel, struct bpf_program *ret[GATE_DNS_HOOKS])
{
	struct bpf_program *all[GATE_DNS_HOOKS] = {
		skel->progs.dns_recvmsg4,     skel->progs.dns_recvmsg6,
		skel->progs.dns_getpeername4, skel->progs.dns_getpeername6,
		skel->progs.dns_connect4,     skel->progs.dns_connect6,
		skel->progs.dns_sendmsg4,     skel->progs.dns_sendmsg6
	};

	memcpy(ret, all, sizeof(all));
}

size_t gate_list_hooks(const struct gate *g, struct vpnleash_bpf *skel,
		       struct bpf_program *ret[GATE_HOOKS])
{
	ret[0] = skel->progs.gate_egress;
	ret[1] = skel->progs.gate_ingress;
	ret[2] = skel->progs.gate_socket;
	return g->netns_by_socket ? GATE_HOOKS : GATE_HOOKS - 1;
}

static void autoload(struct bpf_program *const programs[], size_t n, bool wanted)
{
	for (size_t i = 0; i < n; i++)
		bpf_program__set_autoload(programs[i], wanted);
}

static void choose_programs(struct vpnleash_bpf *skel, uint32_t level, bool netns_by_socket)
{
	struct bpf_program *gate[] = { skel->progs.gate_egress, skel->progs.gate_ingress };
	struct bpf_program *guard[] = { skel->progs.guard_peer_ingress,
					skel->progs.guard_peer_egress, skel->progs.guard_inside,
					skel->progs.guard_weak };
	struct bpf_program *shared[] = { skel->progs.guard_parent_ingress,
					 skel->progs.guard_parent_egress,
					 skel->progs.guard_inside_ingress,
					 skel->progs.guard_alone };
	struct bpf_program *dns[GATE_DNS_HOOKS];

	gate_list_dns(skel, dns);
	autoload(gate, ARRAY_SIZE(gate), level != GATE_SHARED);
	autoload(guard, ARRAY_SIZE(guard), level == 1);
	autoload(dns, ARRAY_SIZE(dns), level == 1);
	autoload(shared, ARRAY_SIZE(shared), level == GATE_SHARED);
	bpf_program__set_autoload(skel->progs.gate_socket, netns_by_socket && level != GATE_SHARED);
	bpf_program__set_autoload(skel->progs.deny_packet, false);
}

static int prepare_and_load(struct gate *g, struct vpnleash_bpf *skel, const struct pins *pins,
			    uint32_t level, struct error *err)
{
	int r;

	skel->rodata->level = level;
	skel->rodata->netns_by_socket = g->netns_by_socket;
	for (size_t i = 0; i < ARRAY_SIZE(g->note_secret); i++)
		skel->rodata->note_secret[i] = g->note_secret[i];
	choose_programs(skel, level, g->netns_by_socket);
	r = pins ? pins_reuse(pins, skel, err) : 0;
	if (r)
		return r;
	r = vpnleash_bpf__load(skel);
	if (r)
		return fail(err, ERROR_PRIVILEGE, r, GATE_REMEDY_LOAD, "load the gate");
	/* libbpf has mapped `near_records` too: no child may write a record */
	madvise(skel->bss, sizeof(*skel->bss), MADV_DONTFORK);
	return 0;
}

static int load_instance(struct gate *g, const struct pins *pins, uint32_t level, struct error *err)
{
	struct vpnleash_bpf *skel = vpnleash_bpf__open();
	int r;

	last_log[0] = '\0';
	if (!skel)
		return fail(err, ERROR_OTHER, -errno, NULL, "open the BPF object");
	r = prepare_and_load(g, skel, pins, level, err);
	if (r)
		vpnleash_bpf__destroy(skel);
	else
		g->instances[level] = skel;
	return r;
}

int gate_load(struct gate *g, const struct pins *pins, struct error *err)
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
	/* Not by version number: each of the two ways is tried, the faster one first. */
	r = load_instance(g, pins, 1, &none);
	if (r == -EPERM)
		return fail(err, ERROR_PRIVILEGE, r,
			    "run as root, or give CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
			    "load the gate");
	if (!r)
		return 0;
	g->netns_by_socket = true;
	return load_instance(g, pins, 1, err);
}

int gate_load_level(struct gate *g, uint32_t level, struct error *err)
{
	if (level >= GATE_LEVELS)
		return fail(err, ERROR_INPUT, -ELOOP, "leash a cgroup nearer to the root",
			    "attach the gate %u levels deep", level);
	return g->instances[level] ? 0 : load_instance(g, &g->pins, level, err);
}
