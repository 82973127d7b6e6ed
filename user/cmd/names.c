/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/names.h"

#include <errno.h>
#include <string.h>

#include "base/cgroup.h"
#include "config/config.h"
#include "report/control_client.h"
#include "report/report.h"

/* ------ the report ------ */

struct walk {
	const struct pins *pins;
	json_t *workloads, *removed;
	size_t n_removed;
};

static int add_from_record(uint64_t cgroup_id, const struct workload_record *w, void *arg)
{
	struct walk *walk = arg;

	if (w->flags & WORKLOAD_GONE) {
		if (walk->n_removed++ < REPORT_REMOVED)
			json_array_append_new(walk->removed, report_removed_json(cgroup_id, w));
		return 0;
	}
	json_array_append_new(walk->workloads, report_record_json(walk->pins, cgroup_id, w));
	return 0;
}

static int report_pins(json_t **ret, struct error *err)
{
	_cleanup_(pins_close) struct pins pins = PINS_NONE;
	struct walk walk = { .pins = &pins };
	int r = pins_open(&pins, err);

	if (r && r != -ENOENT)
		return r;
	walk.workloads = json_array();
	walk.removed = json_array();
	if (!r)
		pins_each_workload(&pins, add_from_record, &walk);
	*ret = report_json(0, json_array(), walk.workloads, walk.n_removed, walk.removed);
	return 0;
}

int names_report(json_t **ret, bool *ret_daemon, struct error *err)
{
	int r = control_ask(json_pack("{s:s}", "verb", "status"), ret, err);

	*ret_daemon = r != -ESRCH;
	return r == -ESRCH ? report_pins(ret, err) : r;
}

/* ------ spellings ------ */

/* What somebody has typed. */
struct wanted {
	const char *text;
	char path[PATH_MAX]; /* of the cgroup that it stands for, below the root; "": of none */
	uint64_t id;	     /* of that cgroup, 0: it is not there */
};

/* The report has escaped text. */
static bool is_shown(const json_t *j, const char *key, const char *text)
{
	char shown[2 * PATH_MAX];

	return *text && !strcmp(report_get(j, key), escape(shown, sizeof(shown), text));
}

/* As it is shown: that one can always be typed. */
static bool is_named(const json_t *j, const struct wanted *w)
{
	return !strcmp(report_get(j, "name"), w->text) || is_shown(j, "name", w->text);
}

/* In full, as `run --cgroup` takes it. */
static bool is_place(const json_t *j, const struct wanted *w)
{
	const char *name;
	enum place_kind kind = place_kind(w->text, &name);
	char end[NAME_LEN];

	if (w->id && (uint64_t)json_integer_value(json_object_get(j, "cgroup_id")) == w->id)
		return true;
	names_to_be(w->text, end); /* of one that no daemon speaks for */
	return is_shown(j, "place", *w->path ? w->path : w->text) ||
	       (kind == PLACE_CONTAINER && is_shown(j, "container_id", name)) ||
	       (kind != PLACE_PATH && !*report_get(j, "place") && is_shown(j, "name", end));
}

/* Without the prefix: a container's or unit's name or id, a path without its '/'. */
static bool is_short_for(const json_t *j, const struct wanted *w)
{
	const char *name, *place = report_get(j, "place");
	char shown[2 * PATH_MAX];

	place_kind(place, &name);
	if (*name == '/')
		name++;
	return (*name && !strcmp(name, escape(shown, sizeof(shown), w->text))) ||
	       is_shown(j, "container_id", w->text);
}

void names_to_be(const char *text, char ret[NAME_LEN])
{
	const char *name;
	enum place_kind kind = place_kind(text, &name);
	char path[PATH_MAX], canonical[VPNLEASH_NAME_LEN];
	struct cgroup_root root = { .fd = -1 };
	size_t length;

	snprintf(path, sizeof(path), "%s", kind == PLACE_PATH ? text : name);
	if (kind == PLACE_SLICE && !slice_to_path(&root, name, path, NULL)) {
		slice_name(path, canonical);
		snprintf(path, sizeof(path), "%s", canonical);
	} else if (*text == '/' && !resolve_cgroup_root(&root, NULL)) {
		if (cgroup_path(&root, text, path, NULL))
			snprintf(path, sizeof(path), "%s", text);
		close_fd(root.fd);
	}
	length = strlen(path); /* as workload_new() calls it */
	snprintf(ret, NAME_LEN, "%.63s", length < 64 ? path : path + length - 63);
}

static void resolve(struct wanted *w)
{
	struct cgroup_root root;
	struct cgroup_ref c;

	if (*w->text != '/' || resolve_cgroup_root(&root, NULL))
		return;
	if (!cgroup_path(&root, w->text, w->path, NULL) &&
	    !resolve_cgroup(&root, w->path, &c, NULL)) {
		w->id = c.id;
		close_fd(c.fd);
	}
	close_fd(root.fd);
}

/* ------ who is meant ------ */

/* NULL also for one of several: nobody is to be detached by mistake. */
static const json_t *find_in(const json_t *list, const struct wanted *w,
			     bool (*is)(const json_t *j, const struct wanted *w))
{
	const json_t *j, *found = NULL;
	size_t i, n = 0;

	json_array_foreach(list, i, j) {
		if (!is(j, w))
			continue;
		found = j;
		n++;
	}
	return n == 1 ? found : NULL;
}

static const json_t *find_named(const json_t *list, const struct wanted *w)
{
	const json_t *j;
	size_t i;

	json_array_foreach(list, i, j)
		if (is_named(j, w))
			return j;
	return NULL;
}

static bool is_slice(const json_t *j)
{
	return !strncmp(report_get(j, "name"), "slice:", 6);
}

/* "there are: A, B, … (7 more)" */
static const char *those_there_are(const json_t *workloads, char *buf, size_t size)
{
	size_t n = json_array_size(workloads), at, i;
	const json_t *j;

	if (!n)
		return "nothing is leashed";
	at = (size_t)snprintf(buf, size, n == 1 ? "there is: " : "there are: ");
	json_array_foreach(workloads, i, j) {
		const char *name = report_get(j, "name");

		if (at + strlen(name) + sizeof(", and 1234 more") > size)
			break;
		at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? ", " : "", name);
	}
	if (i < n)
		snprintf(buf + at, size - at, " and %zu more", n - i);
	return buf;
}

static const json_t *find_only(const json_t *workloads)
{
	const json_t *j, *only = NULL;
	size_t i, n = 0;

	json_array_foreach(workloads, i, j) {
		if (is_slice(j))
			continue;
		only = j;
		n++;
	}
	return n == 1 ? only : NULL;
}

int names_find(const json_t *report, const char *text, char ret[NAME_LEN], struct error *err)
{
	const json_t *workloads = json_object_get(report, "workloads"), *found;
	const json_t *removed = json_object_get(report, "removed");
	struct wanted w = { .text = text };
	char there[300];

	found = text ? find_named(workloads, &w) : find_only(workloads);
	found = found || !text ? found : find_named(removed, &w);
	if (text && !found) {
		resolve(&w);
		found = find_in(workloads, &w, is_place);
		found = found ? found : find_in(workloads, &w, is_short_for);
		/* what follows goes by its name: that must be nobody else's */
		w.text = found ? report_get(found, "name") : text;
		found = found ? find_in(workloads, &w, is_named) : NULL;
	}
	if (found) {
		snprintf(ret, NAME_LEN, "%s", report_get(found, "name"));
		return 0;
	}
	if (text && json_integer_value(json_object_get(report, "removed_cgroups")) >
			    (json_int_t)json_array_size(removed)) {
		snprintf(ret, NAME_LEN, "%s", text); /* it may be one that is not listed */
		return 0;
	}
	fail(err, ERROR_INPUT, 0, those_there_are(workloads, there, sizeof(there)),
	     text ? "there is no workload '%s'" : "which workload?%s", text ? quote(text) : "");
	return -ENOENT;
}

char *names_plain(char *name)
{
	char *to = name;

	for (const char *from = name; *from; to++) {
		unsigned int byte;

		if (strlen(from) >= 4 && sscanf(from, "\\x%2x", &byte) == 1) {
			*to = (char)byte;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
	return name;
}

int names_ask(const char *text, char ret[NAME_LEN], bool *ret_daemon, struct error *err)
{
	json_auto_t *report = NULL;
	int r = names_report(&report, ret_daemon, err);

	return r ? r : names_find(report, text, ret, err);
}
