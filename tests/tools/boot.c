/* SPDX-License-Identifier: GPL-2.0-or-later */
/* boot: now, as vpnleash's records have it: ns of CLOCK_BOOTTIME. */
#include <stdio.h>
#include <time.h>

int main(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
	return 0;
}
