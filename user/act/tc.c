/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libbpf 1.1 knows neither tcx by name nor a clsact filter's classid. */
#include "act/tc.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/pins.h"
#include "base/netns.h"
#include "base/nl.h"
#include "vmlinux/uapi.h"

#define PRIORITY 1 /* and the next for who is behind */
#define HANDLE	 1
#define PROGRAMS 64 /* more than the kernel lets sit on one device (BPF_MPROG_MAX) */

static enum bpf_attach_type tcx_type(const struct tc_place *p)
{
	return p->egress ? VPNLEASH_TCX_EGRESS : VPNLEASH_TCX_INGRESS;
}

/* Found out by asking the kernel, once. */
static bool has_tcx(void)
{
	static int known; /* 1: yes, -1: no */
	__u32 ids[PROGRAMS];
	LIBBPF_OPTS(bpf_prog_query_opts, q, .prog_ids = ids, .prog_cnt = PROGRAMS);

	if (!known) /* loopback: in every netns */
		known = !bpf_prog_query_opts(1, VPNLEASH_TCX_INGRESS, &q) ? 1 : -1;
	return known > 0;
}

/* ------ tcx: all in the device's netns ------ */

static void pin_path(char path[PINS_PATH_MAX], const struct tc_place *p)
{
	/* '@', ':': unlike a cgroup's link, whose id follows a '-' */
	snprintf(path, PINS_PATH_MAX, VPNLEASH_PIN_DIR "/links/%s@%u:%u", p->program, p->netns_ino,
		 p->ifindex);
}

/* The pinned link, if it still sits on that device: -ENOENT if not. */
static int open_pin(const char *path, const struct tc_place *p)
{
	struct tcx_link_info info = { 0 };
	__u32 length = sizeof(struct bpf_link_info);
	_cleanup_fd int fd = bpf_obj_get(path);

	if (fd < 0)
		return -errno;
	if (length < offsetof(struct tcx_link_info, rest) || length > sizeof(info) ||
	    bpf_obj_get_info_by_fd(fd, &info, &length) < 0 || info.ifindex != p->ifindex ||
	    info.attach_type != tcx_type(p)) {
		/* the device is gone: what is left of its link has index 0 */
		unlink(path);
		return -ENOENT;
	}
	return TAKE_FD(fd);
}

static int check_tcx(const struct tc_place *p)
{
	__u32 ids[PROGRAMS] = { 0 };
	LIBBPF_OPTS(bpf_prog_query_opts, q, .prog_ids = ids, .prog_cnt = PROGRAMS);

	if (bpf_prog_query_opts((int)p->ifindex, tcx_type(p), &q) < 0)
		return errno == ENODEV ? -ENODEV : -ENOLINK;
	if (!p->behind_id)
		return q.prog_cnt && ids[0] == p->program_id ? 0 : -ENOLINK;
	for (__u32 i = 1; i < q.prog_cnt; i++)
		if (ids[i - 1] == p->behind_id && ids[i] == p->program_id)
			return 0;
	return -ENOLINK;
}

static int attach_tcx(const struct tc_place *p)
{
	/* target_btf_id lies where the kernel has the relative's id */
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = p->behind_id ? BPF_F_AFTER | BPF_F_ID : BPF_F_BEFORE,
		    .target_btf_id = p->behind_id);
	_cleanup_fd int fd = -1;
	char path[PINS_PATH_MAX];

	pin_path(path, p);
	fd = open_pin(path, p);
	if (fd >= 0) {
		int r = bpf_link_update(fd, p->program_fd, NULL) < 0 ? -errno : 0;

		if (!r && !check_tcx(p))
			return 0;
		if (r != -ENOLINK && !p->may_gap)
			return r ? r : -EBUSY;
		unlink(path);
		close(fd);
	}
	fd = bpf_link_create(p->program_fd, (int)p->ifindex, tcx_type(p), &opts);
	return fd < 0 || bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

/* ------ clsact ------ */

static uint32_t filter_info(const struct tc_place *p)
{
	return TC_H_MAKE((PRIORITY + (p->behind_id ? 1U : 0)) << 16, htons(ETH_P_ALL));
}

static struct tcmsg *tc_begin(struct nl_question *ret, uint16_t type, uint16_t flags,
			      const struct tc_place *p)
{
	struct tcmsg *tc = nl_begin(ret, type, flags, sizeof(*tc));

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)p->ifindex;
	tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, p->egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	return tc;
}

static int tc_talk(struct nl_question *q, mnl_cb_t each, void *arg)
{
	_cleanup_fd int fd = nl_open(-1, NETLINK_ROUTE);

	return fd < 0 ? fd : nl_ask(fd, &q->head, each, arg);
}

static int attach_clsact(const struct tc_place *p)
{
	struct nl_question q;
	struct tcmsg *tc = tc_begin(&q, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, p);
	struct nlattr *options;
	int r;

	tc->tcm_parent = TC_H_CLSACT;
	tc->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(&q.head, TCA_KIND, "clsact");
	r = tc_talk(&q, NULL, NULL);
	if (r && r != -EEXIST)
		return r;
	tc = tc_begin(&q, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_ACK, p);
	tc->tcm_handle = HANDLE;
	tc->tcm_info = filter_info(p);
	mnl_attr_put_strz(&q.head, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(&q.head, TCA_OPTIONS);
	mnl_attr_put_u32(&q.head, TCA_BPF_FD, (uint32_t)p->program_fd);
	mnl_attr_put_strz(&q.head, TCA_BPF_NAME, p->program);
	mnl_attr_put_u32(&q.head, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_put_u32(&q.head, TCA_BPF_CLASSID, p->slot);
	mnl_attr_nest_end(&q.head, options);
	return tc_talk(&q, NULL, NULL);
}

/* The first filter that a packet meets, or, of who is behind, the first of its priority. */
struct first {
	uint32_t priority;
	bool seen;
	uint32_t handle, info, program_id, classid, flags;
	bool bpf;
};

static int note_option(const struct nlattr *attr, void *arg)
{
	struct first *f = arg;
	int type = mnl_attr_get_type(attr);

	if (mnl_attr_get_payload_len(attr) < sizeof(uint32_t))
		return MNL_CB_OK;
	if (type == TCA_BPF_ID)
		f->program_id = mnl_attr_get_u32(attr);
	else if (type == TCA_BPF_CLASSID)
		f->classid = mnl_attr_get_u32(attr);
	else if (type == TCA_BPF_FLAGS)
		f->flags = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int note_filter(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	struct first *f = arg;

	/* a classifier is announced with handle 0, then each of its filters, newest first */
	if (f->seen || !tc->tcm_handle ||
	    (f->priority && TC_H_MAJ(tc->tcm_info) != TC_H_MAJ(f->priority)))
		return MNL_CB_OK;
	f->seen = true;
	f->handle = tc->tcm_handle;
	f->info = tc->tcm_info;
	mnl_attr_for_each(attr, nlh, sizeof(*tc)) {
		if (mnl_attr_get_type(attr) == TCA_KIND)
			f->bpf = !mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) &&
				 !strcmp(mnl_attr_get_str(attr), "bpf");
		if (mnl_attr_get_type(attr) == TCA_OPTIONS)
			mnl_attr_parse_nested(attr, note_option, f);
	}
	return MNL_CB_OK;
}

static int check_clsact(const struct tc_place *p)
{
	struct nl_question q;
	struct first f = { .priority = p->behind_id ? filter_info(p) : 0 };
	int r;

	tc_begin(&q, RTM_GETTFILTER, NLM_F_DUMP, p);
	r = tc_talk(&q, note_filter, &f);
	if (r == -ENODEV)
		return r;
	return !r && f.seen && f.bpf && f.handle == HANDLE && f.program_id == p->program_id &&
			       f.classid == p->slot && f.flags & TCA_BPF_FLAG_ACT_DIRECT
		       ? 0
		       : -ENOLINK;
}

static int detach_clsact(const struct tc_place *p)
{
	struct nl_question q;
	struct tcmsg *tc = tc_begin(&q, RTM_DELTFILTER, NLM_F_ACK, p);
	int r;

	tc->tcm_handle = HANDLE;
	tc->tcm_info = filter_info(p);
	mnl_attr_put_strz(&q.head, TCA_KIND, "bpf");
	r = tc_talk(&q, NULL, NULL);
	/* no device, no qdisc, no filter; the qdisc stays: somebody else may use it */
	return r == -ENODEV || r == -EINVAL || r == -ENOENT ? 0 : r;
}

/* ------ in the device's netns ------ */

static int attach_there(void *place)
{
	return has_tcx() ? attach_tcx(place) : attach_clsact(place);
}

static int check_there(void *place)
{
	return has_tcx() ? check_tcx(place) : check_clsact(place);
}

static int detach_there(void *place)
{
	return detach_clsact(place);
}

static int tc_call(const struct tc_place *p, int (*f)(void *place))
{
	return p->netns_fd == -1 ? f((void *)p) : netns_call(p->netns_fd, f, (void *)p);
}

int tc_attach(const struct tc_place *p, struct error *err)
{
	int r = tc_call(p, attach_there);

	return r ? fail(err, ERROR_OTHER, r,
			r == -EBUSY ? "see: bpftool net; another program runs before it" : NULL,
			"attach %s to interface %u", p->program, p->ifindex)
		 : 0;
}

int tc_check(const struct tc_place *p)
{
	return tc_call(p, check_there);
}

int tc_detach(const struct tc_place *p)
{
	char path[PINS_PATH_MAX];
	struct stat own;

	pin_path(path, p);
	if (has_tcx())
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	/* its netns is gone, and its filters with it: -1 would mean ours */
	if (p->netns_fd == -1 && (stat("/proc/self/ns/net", &own) || own.st_ino != p->netns_ino))
		return 0;
	return tc_call(p, detach_there);
}
