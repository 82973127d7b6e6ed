/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One part of the benchmark, in the place that tests/bench/run has made. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(const char *cgroup);
} parts[] = {
	{ "guard", bench_guard },   { "packet", bench_packet }, { "refused", bench_refused },
	{ "scale", bench_scale },   { "udp", bench_udp },	{ "latency", bench_latency },
	{ "daemon", bench_daemon }, { "dns", bench_dns },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc == 4 && i < ARRAY_SIZE(parts); i++)
		if (!strcmp(argv[1], parts[i].name))
			return parts[i].run(argv[2]) ? ERROR_OTHER : result_write(argv[3]);
	fprintf(stderr,
		"usage: bench packet|guard|refused|scale|udp|dns|latency|daemon CGROUP DIRECTORY\n"
		"(by tests/bench/run, which makes the place)\n");
	return ERROR_INPUT;
}
