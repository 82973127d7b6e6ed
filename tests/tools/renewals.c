/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * renewals: how far ahead the newest lease ended, looked at every millisecond in the pinned map
 * itself. Until SIGTERM; then one line: "samples N min_ahead_ms N max_ahead_ms N".
 * A lease that is revoked or runs out meanwhile counts as 0 ahead. Starts when one is granted.
 */
#include <linux/bpf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vpnleash/abi.h"

#define PAUSE_NS 1000000
#define BLUR_NS	 5000000ULL /* a look that took longer says nothing */

static volatile sig_atomic_t ended;

static void on_term(int signal)
{
	ended = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t newest(const struct lease *leases)
{
	uint64_t expires = 0;

	for (int i = 0; i < VPNLEASH_SLOTS; i++) {
		uint64_t e = __atomic_load_n(&leases[i].expires_ns, __ATOMIC_ACQUIRE);

		expires = e > expires ? e : expires;
	}
	return expires;
}

int main(void)
{
	union bpf_attr attr = { .pathname = (uint64_t)(uintptr_t)VPNLEASH_PIN_DIR "/leases" };
	int fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	const struct lease *leases =
		mmap(NULL, sizeof(*leases) * VPNLEASH_SLOTS, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t samples = 0, min = UINT64_MAX, max = 0;

	if (fd < 0 || leases == MAP_FAILED) {
		perror("renewals: " VPNLEASH_PIN_DIR "/leases");
		return 1;
	}
	signal(SIGTERM, on_term);
	while (!ended && newest(leases) <= now_ns())
		nanosleep(&(struct timespec) { .tv_nsec = PAUSE_NS }, NULL);
	puts("begun");
	fflush(stdout);
	while (!ended) {
		uint64_t before = now_ns(), expires = newest(leases), after = now_ns();
		uint64_t ahead = expires > after ? expires - after : 0;

		nanosleep(&(struct timespec) { .tv_nsec = PAUSE_NS }, NULL);
		if (after - before > BLUR_NS)
			continue;
		samples++;
		min = ahead < min ? ahead : min;
		max = ahead > max ? ahead : max;
	}
	printf("samples %llu min_ahead_ms %llu max_ahead_ms %llu\n", (unsigned long long)samples,
	       (unsigned long long)min / 1000000, (unsigned long long)max / 1000000);
	return samples ? 0 : 1;
}
