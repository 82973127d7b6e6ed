/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Figures → table and JSON. See bench.h. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static json_t *result;
static const char *result_part;

void series_add(struct series *s, double value)
{
	double *v = realloc(s->values, (s->n + 1) * sizeof(*v));

	if (!v)
		die("no memory");
	s->values = v;
	s->values[s->n++] = value;
}

void series_free(struct series *s)
{
	free(s->values);
	*s = (struct series) { 0 };
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double quantile(const struct series *s, double q)
{
	_cleanup_free double *sorted = malloc((s->n + 1) * sizeof(*sorted));
	double at = q * (double)(s->n ? s->n - 1 : 0);
	size_t i = (size_t)at;

	if (!sorted)
		die("no memory");
	if (!s->n)
		return 0;
	memcpy(sorted, s->values, s->n * sizeof(*sorted));
	qsort(sorted, s->n, sizeof(*sorted), ascending);
	if (i + 1 >= s->n)
		return sorted[s->n - 1];
	return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

static json_t *distribution(const struct series *s)
{
	return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "n", (json_int_t)s->n, "min",
			 quantile(s, 0), "p25", quantile(s, .25), "median", quantile(s, .5), "p75",
			 quantile(s, .75), "p99", quantile(s, .99), "max", quantile(s, 1));
}

void result_begin(const char *part)
{
	struct utsname u;
	char date[32];
	time_t now = time(NULL);
	double load[1] = { 0 };

	uname(&u);
	getloadavg(load, 1);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	result_part = part;
	result = json_pack("{s:s,s:s,s:{s:s,s:s,s:i,s:f},s:[]}", "part", part, "date", date,
			   "machine", "kernel", u.release, "architecture", u.machine, "cpus",
			   (int)sysconf(_SC_NPROCESSORS_ONLN), "load", load[0], "tables");
	printf("%s: %s %s, %ld CPUs, load %.1f\n", part, u.sysname, u.release,
	       sysconf(_SC_NPROCESSORS_ONLN), load[0]);
}

void result_note(const char *key, json_t *value)
{
	json_object_set_new(result, key, value);
}

static json_t *add_table(const char *title, const char *unit)
{
	json_t *table = json_pack("{s:s,s:s,s:[]}", "title", title, "unit", unit, "rows");

	json_array_append_new(json_object_get(result, "tables"), table);
	return json_object_get(table, "rows");
}

static double print_ratio(const struct peer *peer, const struct peer *to, json_t *ratios)
{
	struct series s = { 0 };
	size_t n = peer->series.n < to->series.n ? peer->series.n : to->series.n;
	double median;
	char cell[64];

	for (size_t i = 0; i < n; i++)
		series_add(&s, peer->series.values[i] / to->series.values[i]);
	median = quantile(&s, .5);
	snprintf(cell, sizeof(cell), "%.3f (%.3f to %.3f)", median, quantile(&s, .25),
		 quantile(&s, .75));
	printf(" %24s", cell);
	json_object_set_new(ratios, to->name, distribution(&s));
	series_free(&s);
	return median;
}

void result_ratios(const char *title, const char *unit, const struct peer *peers, size_t n,
		   const size_t *references, size_t n_references)
{
	json_t *rows = add_table(title, unit);

	printf("\n%s; %zu rounds\n%-24s %12s", title, n ? peers[0].series.n : 0,
	       "ratios to:", unit);
	for (size_t i = 0; i < n_references; i++)
		printf(" %24s", peers[references[i]].name);
	printf("\n");
	for (size_t i = 0; i < n; i++) {
		json_t *ratios = json_object();

		if (!peers[i].series.n)
			continue;
		printf("%-24s %12.1f", peers[i].name, quantile(&peers[i].series, .5));
		for (size_t j = 0; j < n_references; j++)
			if (peers[references[j]].series.n)
				print_ratio(&peers[i], &peers[references[j]], ratios);
		printf("\n");
		json_array_append_new(rows, json_pack("{s:s,s:o,s:o}", "name", peers[i].name,
						      "value", distribution(&peers[i].series),
						      "ratio_to", ratios));
	}
}

void result_distributions(const char *title, const char *unit, const struct peer *peers, size_t n)
{
	json_t *rows = add_table(title, unit);

	printf("\n%s; %s\n%-40s %6s %10s %10s %10s %10s\n", title, unit, "", "n", "min", "median",
	       "p99", "max");
	for (size_t i = 0; i < n; i++) {
		const struct series *s = &peers[i].series;

		if (!s->n)
			continue;
		printf("%-40s %6zu %10.3f %10.3f %10.3f %10.3f\n", peers[i].name, s->n,
		       quantile(s, 0), quantile(s, .5), quantile(s, .99), quantile(s, 1));
		json_array_append_new(rows, json_pack("{s:s,s:o}", "name", peers[i].name, "value",
						      distribution(s)));
	}
}

int result_write(const char *directory)
{
	char path[256];
	int r;

	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		die("make '%s': %s", directory, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s.json", directory, result_part);
	r = json_dump_file(result, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	if (r)
		die("write '%s': %s", path, strerror(errno));
	printf("\n%s\n", path);
	json_decref(result);
	return 0;
}
