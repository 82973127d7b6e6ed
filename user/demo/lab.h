/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The laboratory of user/lab.sh (embedded in the binary), with a program that sends in it and two
 * captures: beyond eth0, where a leak would show, and at the tunnel's far end.
 */
#pragma once

#include "prove/prove.h"

#define LAB_TUNNEL  "CloudflareWARP"
#define LAB_NETNS   "/run/netns/client"
#define LAB_OUTSIDE "198.51.100.1"

/* Packets of the program in one phase. */
struct count {
	uint64_t beyond; /* seen at the far side of eth0: beside the tunnel */
	uint64_t tunnel; /* seen to come out of the tunnel */
	uint64_t tried;
};

struct lab {
	int client, far; /* netns */
	struct targets targets;
	struct capture beyond, tunnel;
	struct count counted; /* what earlier phases have taken */
	struct sender sender;
};

/* The programs that lab.sh calls, and /dev/net/tun; ERROR_PRIVILEGE and a remedy for the first that
 * is missing. */
int lab_check(struct error *err);
/* Build it, on a stage (stage.h), and start capturing. `l` must stay where it is. */
int lab_open(struct lab *l, struct error *err);
/* Functions of lab.sh, as a line of bash. What they complain about goes to stderr. */
int lab_do(const char *verbs, struct error *err);

/* The program: several kinds of packet every 5 ms, until sender_free(&l->sender). */
int lab_load(struct lab *l, int cgroup_fd, unsigned int max_seconds, struct error *err);
/* kill -9, by the VPN's own pid: tunnel and routes vanish with it, unannounced. */
int lab_kill_vpn(uint64_t *ret_when_ns, struct error *err);

/* Look on for so long. */
int lab_watch(struct lab *l, unsigned int ms, struct error *err);
/* The same, then what was seen since the last count: all of it, nothing is still under way. */
int lab_count(struct lab *l, unsigned int ms, struct count *ret, struct error *err);
/* Boot time of the newest packet of the program that came out of the tunnel. */
uint64_t lab_last_in_tunnel_ns(const struct lab *l);
