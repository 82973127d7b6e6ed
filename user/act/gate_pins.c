/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loaded programs are pinned, so that the kernel need not verify them again for the next daemon of
 * this build. A pin's name says of which object it is; what was fixed when it was loaded, and whose
 * maps it has, the kernel says. Whatever is not as it would be loaded now is loaded now.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "act/gate_internal.h"

#include "object_id.h"
#include "vpnleash.skel.h"

#define LINKS  VPNLEASH_PIN_DIR "/links"
#define PREFIX "program@"

static void program_path(char path[PINS_PATH_MAX], uint32_t level, enum gate_program p)
{
	snprintf(path, PINS_PATH_MAX, LINKS "/" PREFIX "%s-%u-" OBJECT_ID, gate_program_name(p),
		 level);
}

/* The kernel lets nobody write a map that is frozen, as libbpf leaves the constants. */
static int read_constants(int fd, struct vpnleash_bpf__rodata *ret)
{
	struct vpnleash_bpf__rodata c;
	struct bpf_map_info info = { 0 };
	__u32 length = sizeof(info), zero = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &length) < 0 || info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size != sizeof(c) || !(info.map_flags & BPF_F_RDONLY_PROG) ||
	    bpf_map_lookup_elem(fd, &zero, &c) < 0 ||
	    bpf_map_update_elem(fd, &zero, &c, BPF_ANY) != -EPERM)
		return -EPROTO;
	*ret = c;
	return 0;
}

/* Has it our maps, and but one other, its constants? */
static int constants_of(const struct gate *g, int program, enum gate_program p,
			struct vpnleash_bpf__rodata *ret)
{
	__u32 ids[64], length = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .map_ids = (uintptr_t)ids, .nr_map_ids = ARRAY_SIZE(ids) };
	_cleanup_fd int constants = -1;

	if (bpf_obj_get_info_by_fd(program, &info, &length) < 0 ||
	    info.nr_map_ids > ARRAY_SIZE(ids) ||
	    strncmp(info.name, gate_program_name(p), sizeof(info.name) - 1))
		return -EPROTO;
	for (__u32 i = 0; i < info.nr_map_ids; i++) {
		if (pins_have(&g->pins, ids[i]))
			continue;
		if (constants >= 0)
			return -EPROTO;
		constants = bpf_map_get_fd_by_id(ids[i]);
		if (constants < 0)
			return -EPROTO;
	}
	return constants < 0 ? -EPROTO : read_constants(constants, ret);
}

int gate_adopt(struct gate *g, uint32_t level, enum gate_program p)
{
	struct vpnleash_bpf__rodata c;
	char path[PINS_PATH_MAX];
	_cleanup_fd int fd = -1;

	program_path(path, level, p);
	fd = bpf_obj_get(path);
	if (fd < 0 || constants_of(g, fd, p, &c) || (level && c.level != level))
		return 0;
	if (!g->known) {
		g->netns_by_socket = c.netns_by_socket;
		memcpy(g->note_secret, c.note_secret, sizeof(g->note_secret));
		g->known = true;
	}
	/* one secret: who notes and who takes must agree */
	if (c.netns_by_socket != g->netns_by_socket ||
	    memcmp(c.note_secret, g->note_secret, sizeof(g->note_secret)))
		return 0;
	return TAKE_FD(fd);
}

/* Of another object: an update's. Whoever has them in use holds them. */
static void remove_others(void)
{
	_cleanup_dir DIR *d = opendir(LINKS);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, PREFIX, strlen(PREFIX)) && !strstr(e->d_name, OBJECT_ID))
			unlinkat(dirfd(d), e->d_name, 0);
}

void gate_pin_programs(const struct gate *g, uint32_t level, uint32_t which)
{
	char path[PINS_PATH_MAX];

	for (enum gate_program p = 0; p < GATE_PROGRAMS; p++) {
		if (!(which & 1U << p) || !g->programs[level][p])
			continue;
		program_path(path, level, p);
		unlink(path); /* one that was not adopted */
		bpf_obj_pin(g->programs[level][p], path);
	}
	remove_others();
}
