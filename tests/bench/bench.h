/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Benchmarks: figures beside those of peers, taken in the same run, in turns. Nothing here passes
 * or fails. tests/bench/run gives each part namespaces and a cgroup of its own.
 *
 * A part measures in rounds: in each round every peer once, so that what else the machine does
 * falls on all of them. What is told is the median of the rounds' ratios, with quartiles.
 */
#ifndef VPNLEASH_BENCH_H
#define VPNLEASH_BENCH_H

#include <jansson.h>
#include <stdint.h>

#include "act/gate.h"
#include "act/lease.h"

#define ROUNDS_MAX 201

/* ------ results: result.c ------ */

/* n values; sorted when it is asked for a quantile. */
struct series {
	size_t n;
	double *values;
};
double quantile(const struct series *s, double q); /* 0…1; 0 values: 0 */
void series_add(struct series *s, double value);
void series_free(struct series *s);

/* One row of a table and of the JSON file. */
struct peer {
	const char *name;
	struct series series; /* one value a round, the same round at the same place in all */
};

/* Begins, adds to, and writes build/bench/PART.json. */
void result_begin(const char *part);
void result_note(const char *key, json_t *value);
/* Table on stdout: each peer's median, then its ratio to each reference (an index into peers). */
void result_ratios(const char *title, const char *unit, const struct peer *peers, size_t n,
		   const size_t *references, size_t n_references);
/* Table on stdout: a distribution each. */
void result_distributions(const char *title, const char *unit, const struct peer *peers, size_t n);
int result_write(const char *directory);

/* ------ the place: place.c ------ */

/* Programs for both hooks; -1: none. */
struct hooks {
	int egress, ingress;
};

enum program { PROGRAM_EMPTY, PROGRAM_BARE, PROGRAM_LISTED, PROGRAM_GATE, PROGRAM_MAX };

struct place {
	struct cgroup_root root;
	struct cgroup_ref work; /* has the record; the gate is not attached */
	struct gate *gate;
	struct leases *leases;
	struct peers_bpf *peers;
	struct hooks programs[PROGRAM_MAX];
	uint32_t ifindex;
	unsigned int slot;
};

/* The workload /PATH/work, admitted, with a slot for `interface` of this netns, and all programs
 * loaded. Ends the process with a sentence if that can not be done. */
void bench_place_open(struct place *p, const char *cgroup, const char *interface);
void place_grant(struct place *p); /* for 4 s */
void place_join(struct place *p);  /* this process is the workload's from now on */
void bench_place_close(struct place *p);

/* Links of both hooks on the workload's cgroup, until place_detach(). */
void place_attach(struct place *p, enum program program, int links[2]);
void place_attach_to(struct place *p, enum program program, int cgroup_fd, int links[2]);
void place_detach(int links[2]);

#define BENCH_PORT 9999
/* A UDP socket there that drops whatever reaches it, at the socket. */
void bench_sink(int netns, const char *ip);

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
double thread_cpu_ns(void);
size_t rounds(size_t otherwise);	  /* $ROUNDS */
const char *build_path(const char *file); /* below $BUILD; valid until the next call */
#define DAEMON_LOG build_path("bench/daemon.log")

/* ------ the parts ------ */

int bench_packet(const char *cgroup);
int bench_guard(const char *cgroup);
int bench_refused(const char *cgroup);
int bench_scale(const char *cgroup);
void bench_senders(const char *cgroup); /* of bench_scale() */
int bench_udp(const char *cgroup);
int bench_dns(const char *cgroup);
int bench_latency(const char *cgroup);
int bench_daemon(const char *cgroup);

#endif
