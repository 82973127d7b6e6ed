/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * closings: what became of the lease of each netns, looked at every 10 ms in the pinned map itself.
 * Until SIGTERM; on it, and on SIGUSR1, whose counts then begin anew, a line for each:
 * "netns INODE seconds N closed N shut_ms N renewed N left_ms N". shut_ms is the longest time
 * without a lease after the first one; left_ms what the lease had left at the least, while it
 * lived.
 */
#include <linux/bpf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vpnleash/abi.h"

#define PAUSE_NS 10000000
#define PLACES	 64

struct place {
	uint32_t netns_ino; /* 0: free */
	bool open;
	uint64_t begun_ns, shut_ns, expires_ns;
	uint64_t closed, longest_ns, renewed, left_ns;
};

static struct place places[PLACES];
static volatile sig_atomic_t asked;

static void on_signal(int signal)
{
	asked = signal;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct place *place_of(uint32_t ino)
{
	struct place *p = places;

	while (p < places + PLACES - 1 && p->netns_ino && p->netns_ino != ino)
		p++;
	return p;
}

/* A netns may have the slots of several devices; one at most is alive. */
static struct lease living(const struct lease *leases, uint32_t ino, uint64_t now)
{
	struct lease l = { 0 };

	for (int i = 0; i < VPNLEASH_SLOTS; i++)
		if (leases[i].netns_ino == ino &&
		    __atomic_load_n(&leases[i].expires_ns, __ATOMIC_ACQUIRE) > now)
			memcpy(&l, &leases[i], sizeof(l));
	return l;
}

static void look(struct place *p, const struct lease *leases)
{
	uint64_t now = now_ns();
	struct lease l = living(leases, p->netns_ino, now);
	bool closed = p->open && !l.expires_ns;

	if (closed) {
		p->closed++;
		p->shut_ns = now;
	}
	if (l.expires_ns && p->shut_ns) {
		p->longest_ns = now - p->shut_ns > p->longest_ns ? now - p->shut_ns : p->longest_ns;
		p->shut_ns = 0;
	}
	p->open = l.expires_ns;
	p->renewed += !closed && p->open && l.expires_ns != p->expires_ns;
	p->expires_ns = l.expires_ns;
	if (p->open && l.expires_ns - now < p->left_ns)
		p->left_ns = l.expires_ns - now;
}

static void tell(bool anew)
{
	uint64_t now = now_ns();

	for (struct place *p = places; p->netns_ino; p++) {
		uint64_t shut = p->shut_ns && now - p->shut_ns > p->longest_ns ? now - p->shut_ns
									       : p->longest_ns;

		printf("netns %u seconds %llu closed %llu shut_ms %llu renewed %llu left_ms %llu\n",
		       p->netns_ino, (unsigned long long)(now - p->begun_ns) / 1000000000,
		       (unsigned long long)p->closed, (unsigned long long)shut / 1000000,
		       (unsigned long long)p->renewed, (unsigned long long)p->left_ns / 1000000);
		if (anew)
			p->closed = p->longest_ns = p->renewed = 0, p->left_ns = UINT64_MAX,
			p->begun_ns = now;
	}
	puts("told");
	fflush(stdout);
}

int main(void)
{
	union bpf_attr attr = { .pathname = (uint64_t)(uintptr_t)VPNLEASH_PIN_DIR "/leases" };
	int fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	const struct lease *leases =
		mmap(NULL, sizeof(*leases) * VPNLEASH_SLOTS, PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || leases == MAP_FAILED) {
		perror("closings: " VPNLEASH_PIN_DIR "/leases");
		return 1;
	}
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	puts("begun");
	fflush(stdout);
	while (asked != SIGTERM) {
		if (asked)
			tell(true);
		asked = 0;
		for (int i = 0; i < VPNLEASH_SLOTS; i++) {
			struct place *p = place_of(leases[i].netns_ino);

			if (leases[i].expires_ns && !p->netns_ino && p < places + PLACES - 1)
				*p = (struct place) { .netns_ino = leases[i].netns_ino,
						      .begun_ns = now_ns(),
						      .left_ns = UINT64_MAX };
		}
		for (struct place *p = places; p->netns_ino; p++)
			look(p, leases);
		nanosleep(&(struct timespec) { .tv_nsec = PAUSE_NS }, NULL);
	}
	tell(false);
	return 0;
}
