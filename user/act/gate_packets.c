/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gate_packets.h. */
#include "act/gate_packets.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "act/pins.h"
#include "base/privilege.h"

#include "vpnleash.skel.h"

/* A program that loads and attaches without complaint need not be in force: the kernel's list says
 * whether it is. */
static bool has_bpf_lsm(void)
{
	char list[256], *save;

	if (read_small(AT_FDCWD, "/sys/kernel/security/lsm", list, sizeof(list)) < 0)
		return false;
	for (char *lsm = strtok_r(list, ",", &save); lsm; lsm = strtok_r(NULL, ",", &save))
		if (!strcmp(lsm, "bpf"))
			return true;
	return false;
}

static int attach_and_pin(struct bpf_program *p, const struct cgroup_ref *c, const char *path)
{
	struct bpf_link *link = bpf_program__attach_cgroup(p, c->fd);
	int r;

	if (!link)
		return -errno;
	r = bpf_link__pin(link, path) < 0 ? -errno : 0;
	bpf_link__destroy(link); /* a pinned one stays attached */
	return r;
}

int gate_deny_packets(const struct cgroup_ref *c)
{
	struct vpnleash_bpf *skel;
	struct bpf_program *p;
	char path[PINS_PATH_MAX];
	int r;

	pins_link_path(path, "deny_packet", c->id);
	if (!access(path, F_OK)) /* an earlier daemon's */
		return 0;
	if (!has_bpf_lsm())
		return -EOPNOTSUPP;
	skel = vpnleash_bpf__open();
	if (!skel)
		return -ENOMEM;
	bpf_object__for_each_program(p, skel->obj)
		bpf_program__set_autoload(p, p == skel->progs.deny_packet);
	privilege_long_work(true);
	r = vpnleash_bpf__load(skel);
	privilege_long_work(false);
	r = r ? -EOPNOTSUPP : attach_and_pin(skel->progs.deny_packet, c, path);
	vpnleash_bpf__destroy(skel);
	return r;
}
