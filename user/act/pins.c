/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/pins.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "act/near.h"
#include "act/object.h"
#include "vpnleash.skel.h"

#define BPFFS	     "/sys/fs/bpf"
#define LINKS	     VPNLEASH_PIN_DIR "/links"
#define REMEDY_OTHER "vpnleash run replaces them, vpnleash detach --all takes them off"

/* One row a map: where its fd is kept, and the map in the object. The header is last: its pin says
 * that all the others are there. */
static const struct row {
	const char *name;
	size_t fd, map;
} rows[] = {
#define ROW(m)                                                                      \
	{                                                                           \
#m, offsetof(struct pins, m), offsetof(struct vpnleash_bpf, maps.m) \
	}
#define BSS(m)                                                                        \
	{                                                                             \
#m, offsetof(struct pins, m), offsetof(struct vpnleash_bpf, maps.bss) \
	}
	ROW(leases),	    ROW(workloads),	ROW(counters),	      ROW(liveness),
	ROW(events),	    ROW(netns_cookies), ROW(guard_slots),     ROW(guards),
	ROW(endpoints),	    ROW(exceptions),	ROW(flows),	      ROW(flow_sources),
	ROW(notes),	    ROW(resolvers),	ROW(asked_resolvers), ROW(witnesses),
	ROW(witnessed),	    ROW(expected),	BSS(near_records),    ROW(near_counters),
	ROW(passed_frames), ROW(header),
#undef ROW
#undef BSS
};

static int *row_fd(struct pins *p, const struct row *row)
{
	return (int *)((char *)p + row->fd);
}

static struct bpf_map *row_map(struct vpnleash_bpf *skel, const struct row *row)
{
	return *(struct bpf_map **)((char *)skel + row->map);
}

static void row_path(char path[PINS_PATH_MAX], const struct row *row)
{
	snprintf(path, PINS_PATH_MAX, VPNLEASH_PIN_DIR "/%s", row->name);
}

void pins_close(struct pins *p)
{
	near_unmap(p->near);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		close_fd(*row_fd(p, &rows[i]));
	*p = PINS_NONE;
}

int pins_check_dir(struct error *err)
{
	struct statfs fs;
	struct stat st;

	if (statfs(BPFFS, &fs) < 0 || fs.f_type != BPF_FS_MAGIC)
		return fail(err, ERROR_PRIVILEGE, 0, "mount it: mount -t bpf bpf " BPFFS,
			    "no BPF file system at " BPFFS);
	if (lstat(VPNLEASH_PIN_DIR, &st) < 0)
		return fail(err, errno == ENOENT ? ERROR_NO_DAEMON : ERROR_PRIVILEGE, -errno,
			    "run as root; nothing is leashed until: vpnleash run",
			    "look at " VPNLEASH_PIN_DIR);
	/* bpffs itself is 1777: anybody may have made this directory first */
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || st.st_mode & 077)
		return fail(err, ERROR_PRIVILEGE, -EPERM,
			    "somebody else made it: rmdir " VPNLEASH_PIN_DIR,
			    "trust " VPNLEASH_PIN_DIR " (uid %u, mode %o; must be root's, 0700)",
			    st.st_uid, st.st_mode & 07777);
	return 0;
}

/* Same name, size and members at the same places? `a` and `b` are types of values. */
static bool same_layout(const struct btf *in_a, __u32 a, const struct btf *in_b, __u32 b)
{
	const struct btf_type *ta = btf__type_by_id(in_a, a), *tb = btf__type_by_id(in_b, b);
	const struct btf_member *ma, *mb;

	if (!ta || !tb || btf_kind(ta) != btf_kind(tb) || btf_vlen(ta) != btf_vlen(tb) ||
	    strcmp(btf__name_by_offset(in_a, ta->name_off),
		   btf__name_by_offset(in_b, tb->name_off)))
		return false;
	if (btf_kind(ta) != BTF_KIND_STRUCT)
		return true;
	if (ta->size != tb->size)
		return false;
	ma = btf_members(ta);
	mb = btf_members(tb);
	for (__u32 i = 0; i < btf_vlen(ta); i++)
		if (btf_member_bit_offset(ta, i) != btf_member_bit_offset(tb, i) ||
		    strcmp(btf__name_by_offset(in_a, ma[i].name_off),
			   btf__name_by_offset(in_b, mb[i].name_off)))
			return false;
	return true;
}

static bool same_btf(const struct bpf_map_info *is, const struct bpf_map *want,
		     struct vpnleash_bpf *skel)
{
	struct btf *theirs;
	bool same;

	if (!is->btf_id) /* a map without types, such as the ring: its sizes were compared */
		return bpf_map__type(want) == BPF_MAP_TYPE_RINGBUF;
	theirs = btf__load_from_kernel_by_id(is->btf_id);
	if (!theirs)
		return false;
	same = same_layout(theirs, is->btf_value_type_id, bpf_object__btf(skel->obj),
			   bpf_map__btf_value_type_id(want));
	btf__free(theirs);
	return same;
}

static int check_map(int fd, const struct row *row, struct vpnleash_bpf *skel, struct error *err)
{
	struct bpf_map *want = row_map(skel, row);
	struct bpf_map_info is = { 0 };
	__u32 length = sizeof(is);

	if (bpf_obj_get_info_by_fd(fd, &is, &length) < 0)
		return fail(err, ERROR_OTHER, -errno, NULL, "read " VPNLEASH_PIN_DIR "/%s",
			    row->name);
	if (is.type != bpf_map__type(want) || is.key_size != bpf_map__key_size(want) ||
	    is.value_size != bpf_map__value_size(want) ||
	    is.max_entries != bpf_map__max_entries(want) ||
	    is.map_flags != bpf_map__map_flags(want) || !same_btf(&is, want, skel))
		return fail(err, ERROR_OTHER, -EPROTO, REMEDY_OTHER,
			    "adopt " VPNLEASH_PIN_DIR "/%s: it is another version's", row->name);
	return 0;
}

static int open_maps(struct pins *p, struct vpnleash_bpf *want, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int *fd = row_fd(p, &rows[i]), r;
		char path[PINS_PATH_MAX];

		row_path(path, &rows[i]);
		if (*fd < 0)
			*fd = bpf_obj_get(path);
		if (*fd < 0)
			return fail(err, ERROR_OTHER, -EPROTO, REMEDY_OTHER, "open %s", path);
		r = check_map(*fd, &rows[i], want, err);
		if (r)
			return r;
	}
	return 0;
}

static int map_near(struct pins *p, struct error *err)
{
	p->near = near_map(p->near_records);
	return p->near ? 0 : fail(err, ERROR_OTHER, -errno, NULL, "map the records");
}

int pins_open(struct pins *ret, struct error *err)
{
	_cleanup_(pins_close) struct pins p = PINS_NONE;
	struct vpnleash_bpf *want;
	struct header h = { 0 };
	__u32 zero = 0;
	int r = pins_check_dir(err);

	if (r)
		return r;
	/* the header first: the others need not be readable if it is of another version */
	p.header = bpf_obj_get(VPNLEASH_PIN_DIR "/header");
	if (p.header < 0)
		return fail(err, ERROR_NO_DAEMON, -errno, "nothing is leashed until: vpnleash run",
			    "open " VPNLEASH_PIN_DIR "/header");
	if (bpf_map_lookup_elem(p.header, &zero, &h) < 0 || h.abi_version != VPNLEASH_ABI_VERSION)
		return fail(err, ERROR_OTHER, -EPROTO, REMEDY_OTHER,
			    "adopt pins of ABI version %u (this is %u)", h.abi_version,
			    VPNLEASH_ABI_VERSION);
	want = object_open();
	if (!want)
		return fail(err, ERROR_OTHER, -errno, NULL, "open the BPF object");
	r = open_maps(&p, want, err);
	object_close(want);
	r = r ? r : map_near(&p, err);
	if (r)
		return r;
	*ret = p;
	p = PINS_NONE;
	return 0;
}

int pins_of(struct vpnleash_bpf *skel, struct pins *ret, struct error *err)
{
	_cleanup_(pins_close) struct pins p = PINS_NONE;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int *fd = row_fd(&p, &rows[i]);

		*fd = fcntl(bpf_map__fd(row_map(skel, &rows[i])), F_DUPFD_CLOEXEC, 3);
		if (*fd < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "hold the map '%s'",
				    rows[i].name);
	}
	r = map_near(&p, err);
	if (r)
		return r;
	pins_close(ret);
	*ret = p;
	p = PINS_NONE;
	return 0;
}

static bool is_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].name, name))
			return true;
	return false;
}

/* Maps that another version had and this one has not. */
static void remove_unknown(void)
{
	_cleanup_dir DIR *d = opendir(VPNLEASH_PIN_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_type == DT_REG && !is_row(e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
}

/* Links that another version named otherwise. Under today's name their program is replaced in
 * place: the guard never comes off. */
static void rename_links(void)
{
	static const struct {
		const char *was, *is;
	} names[] = {
		{ "guard_outside@", "guard_peer_ingress@" }, /* until ABI 4 */
		{ "guard_inbound@", "guard_peer_egress@" },  /* until ABI 4 */
	};
	_cleanup_dir DIR *d = opendir(LINKS);
	struct dirent *e;

	while (d && (e = readdir(d)))
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			size_t n = strlen(names[i].was);
			char name[NAME_MAX + 32];

			if (strncmp(e->d_name, names[i].was, n))
				continue;
			snprintf(name, sizeof(name), "%s%s", names[i].is, e->d_name + n);
			renameat(dirfd(d), e->d_name, dirfd(d), name);
		}
}

int pins_create(struct pins *p, struct error *err)
{
	char path[PINS_PATH_MAX];

	if ((mkdir(VPNLEASH_PIN_DIR, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(LINKS, 0700) < 0 && errno != EEXIST))
		return fail(err, ERROR_PRIVILEGE, -errno, "run as root", "make " LINKS);
	pins_touch(p);
	/* before the header is pinned: a crash in between is another version's pins again */
	rename_links();
	remove_unknown();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		row_path(path, &rows[i]);
		/* another version's, or of a run that died before its header */
		unlink(path);
		if (bpf_obj_pin(*row_fd(p, &rows[i]), path) < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "pin %s", path);
	}
	return 0;
}

int pins_reuse(const struct pins *p, struct vpnleash_bpf *skel, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = *row_fd((struct pins *)p, &rows[i]);
		int r = bpf_map__reuse_fd(row_map(skel, &rows[i]), fd);

		if (r)
			return fail(err, ERROR_OTHER, r, NULL, "use the pinned map '%s'",
				    rows[i].name);
	}
	return 0;
}

bool pins_have(const struct pins *p, uint32_t map_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bpf_map_info info = { 0 };
		__u32 length = sizeof(info);

		if (!bpf_obj_get_info_by_fd(*row_fd((struct pins *)p, &rows[i]), &info, &length) &&
		    info.id == map_id)
			return true;
	}
	return false;
}

int pins_touch(const struct pins *p)
{
	struct header h = { 0 };
	__u32 zero = 0;

	bpf_map_lookup_elem(p->header, &zero, &h);
	h.abi_version = VPNLEASH_ABI_VERSION;
	h.writer_pid = (__u32)getpid();
	h.generation++;
	h.written_ns = now_boot_ns();
	return bpf_map_update_elem(p->header, &zero, &h, BPF_ANY) < 0 ? -errno : 0;
}

void pins_link_path(char path[PINS_PATH_MAX], const char *hook, uint64_t cgroup_id)
{
	snprintf(path, PINS_PATH_MAX, LINKS "/%s-%llu", hook, (unsigned long long)cgroup_id);
}

int pins_each_link(const char *hook, int (*f)(uint64_t cgroup_id, void *arg), void *arg,
		   struct error *err)
{
	_cleanup_dir DIR *d = opendir(LINKS);
	size_t length = strlen(hook);
	struct dirent *e;

	if (!d && errno != ENOENT)
		return fail(err, ERROR_PRIVILEGE, -errno, "run as root", "open " LINKS);
	while (d && (e = readdir(d))) {
		unsigned long long id;
		char end;
		int r = 0;

		if (!strncmp(e->d_name, hook, length) &&
		    sscanf(e->d_name + length, "-%llu%c", &id, &end) == 1)
			r = f(id, arg);
		if (r)
			return r;
	}
	return 0;
}

/* A member of the value: offset and size in bytes, or false. */
struct place {
	__u32 offset, size;
};

static bool find_member(const struct btf *btf, __u32 type, const char *name, struct place *ret)
{
	const struct btf_type *t = btf__type_by_id(btf, type);

	for (__u32 i = 0; t && btf_kind(t) == BTF_KIND_STRUCT && i < btf_vlen(t); i++) {
		const struct btf_member *m = &btf_members(t)[i];

		if (strcmp(btf__name_by_offset(btf, m->name_off), name))
			continue;
		ret->offset = btf_member_bit_offset(t, i) / 8;
		ret->size = (__u32)btf__resolve_size(btf, m->type);
		return true;
	}
	return false;
}

/* Inside the value, whatever the BTF says. */
static uint64_t read_number(const unsigned char *value, size_t size, const struct place *p)
{
	uint64_t number = 0;

	if (p->size <= sizeof(number) && p->offset <= size && p->size <= size - p->offset)
		memcpy(&number, value + p->offset,
		       p->size); /* little end first, as BPF's is here */
	return number;
}

int pins_each_record_of_other(int (*f)(uint64_t cgroup_id, const struct pins_record *r, void *arg),
			      void *arg)
{
	_cleanup_fd int fd = bpf_obj_get(VPNLEASH_PIN_DIR "/workloads");
	struct place flags, level = { 0 }, name = { 0 };
	struct bpf_map_info is = { 0 };
	__u32 length = sizeof(is);
	__u64 id, *previous = NULL;
	unsigned char value[4096];
	struct btf *btf;
	int r = 0;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &is, &length) < 0 || is.key_size != sizeof(id) ||
	    is.value_size > sizeof(value) || !is.btf_id)
		return 0;
	btf = btf__load_from_kernel_by_id(is.btf_id);
	if (btf && find_member(btf, is.btf_value_type_id, "flags", &flags)) {
		find_member(btf, is.btf_value_type_id, "level", &level);
		find_member(btf, is.btf_value_type_id, "name", &name);
		for (; !r && !bpf_map_get_next_key(fd, previous, &id); previous = &id) {
			struct pins_record record = { 0 };

			if (bpf_map_lookup_elem(fd, &id, value))
				continue;
			record.flags = read_number(value, is.value_size, &flags);
			record.level = read_number(value, is.value_size, &level);
			if (name.offset < is.value_size)
				snprintf(record.name, sizeof(record.name), "%.*s",
					 (int)(is.value_size - name.offset) < (int)name.size
						 ? (int)(is.value_size - name.offset)
						 : (int)name.size,
					 (const char *)value + name.offset);
			r = f(id, &record, arg);
		}
	}
	btf__free(btf);
	return r;
}

/* The pinned link, and whose it is: *ret_cgroup 0 once the kernel has released that cgroup. */
static int open_link(const char *hook, uint64_t cgroup_id, uint64_t *ret_cgroup)
{
	struct bpf_link_info info = { 0 };
	__u32 length = sizeof(info);
	char path[PINS_PATH_MAX];
	_cleanup_fd int fd = -1;

	pins_link_path(path, hook, cgroup_id);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &length) < 0)
		return -errno;
	if (info.type != BPF_LINK_TYPE_CGROUP)
		return -EPROTO;
	*ret_cgroup = info.cgroup.cgroup_id;
	return TAKE_FD(fd);
}

int pins_open_link(const char *hook, uint64_t cgroup_id)
{
	uint64_t of;
	_cleanup_fd int fd = open_link(hook, cgroup_id, &of);

	return fd >= 0 && of != cgroup_id ? -EPROTO : TAKE_FD(fd);
}

int pins_in_force(uint64_t cgroup_id)
{
	/* a slice's child has the second alone, see gate_attach() */
	static const char *const hooks[] = { "gate_egress", PINS_WITNESS };

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		uint64_t of = 0;
		_cleanup_fd int fd = open_link(hooks[i], cgroup_id, &of);

		if (fd < 0 && fd != -ENOENT)
			return fd;
		if (of)
			return 1;
	}
	return 0;
}

/* All that is pinned for a cgroup. Not by a walk over the directory, which may hold thousands. */
static const char *const cgroup_hooks[] = {
	"gate_egress",	"gate_ingress", "gate_socket",	    "deny_packet",
	"dns_connect4", "dns_connect6", "dns_sendmsg4",	    "dns_sendmsg6",
	"dns_recvmsg4", "dns_recvmsg6", "dns_getpeername4", "dns_getpeername6"
};

int pins_remove_links(uint64_t cgroup_id, struct error *err)
{
	char path[PINS_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cgroup_hooks); i++) {
		pins_link_path(path, cgroup_hooks[i], cgroup_id);
		if (unlink(path) < 0 && errno != ENOENT)
			return fail(err, ERROR_OTHER, -errno, NULL, "remove %s", path);
	}
	return 0;
}

int pins_remove_every_link(struct error *err)
{
	_cleanup_dir DIR *d = opendir(LINKS);
	struct dirent *e;

	if (!d && errno != ENOENT)
		return fail(err, ERROR_PRIVILEGE, -errno, "run as root", "open " LINKS);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && unlinkat(dirfd(d), e->d_name, 0) < 0)
			return fail(err, ERROR_OTHER, -errno, NULL, "remove " LINKS "/%s",
				    e->d_name);
	return 0;
}

int pins_remove_all(struct error *err)
{
	_cleanup_dir DIR *d = NULL;
	struct dirent *e;
	int r = pins_remove_every_link(err);

	if (r)
		return r;
	if (rmdir(LINKS) < 0 && errno != ENOENT)
		return fail(err, ERROR_OTHER, -errno, NULL, "remove " LINKS);
	d = opendir(VPNLEASH_PIN_DIR);
	if (!d)
		return errno == ENOENT ? 0
				       : fail(err, ERROR_PRIVILEGE, -errno, "run as root",
					      "open " VPNLEASH_PIN_DIR);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	return rmdir(VPNLEASH_PIN_DIR) < 0
		       ? fail(err, ERROR_OTHER, -errno, NULL, "remove " VPNLEASH_PIN_DIR)
		       : 0;
}

int pins_each_workload(const struct pins *p,
		       int (*f)(uint64_t cgroup_id, const struct workload_record *w, void *arg),
		       void *arg)
{
	__u64 ids[VPNLEASH_WORKLOADS], *previous = NULL;
	size_t n = 0;

	/* keys first: a walk over a hash that changes may start again or skip */
	while (n < ARRAY_SIZE(ids) && !bpf_map_get_next_key(p->workloads, previous, &ids[n]))
		previous = &ids[n++];
	for (size_t i = 0; i < n; i++) {
		struct workload_record w;
		int r = bpf_map_lookup_elem(p->workloads, &ids[i], &w);

		w.name[sizeof(w.name) - 1] = '\0'; /* a pin is input */
		if (!r)
			r = f(ids[i], &w, arg);
		else if (errno == ENOENT)
			r = 0; /* it went meanwhile */
		if (r)
			return r;
	}
	return 0;
}
