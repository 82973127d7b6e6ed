/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A signal on the bus only says which unit to ask about again: what it is now, systemd answers. A
 * unit that systemd does not know does not run. Where nobody answers nothing is known: systemd
 * takes seconds to reload on a busy machine, and leaves the bus to execute itself anew. The bus is
 * lost then, and a unit is what it was until it is asked about over the next connection.
 */
#include "engine/engine_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define SYSTEMD	 "org.freedesktop.systemd1"
#define MANAGER	 SYSTEMD ".Manager"
#define PATH	 "/org/freedesktop/systemd1"
#define UNITS	 512 /* more than a configuration can name */
#define PID_MAX_ (1U << 22)
#define JOBS	 64
#define JOB_LEN	 128
#define RETRY_NS (2 * NS_PER_SEC)
#define CALL_US	 5000000

struct unit {
	char name[ENGINE_NAME_LEN];
	char *object; /* its path on the bus */
	bool dirty;
};

struct job {
	uint32_t request; /* 0: free */
	char path[JOB_LEN];
};

struct units {
	engine_tell tell;
	void *owner;
	sd_bus *bus; /* NULL: not connected */
	bool told_down;
	uint64_t retry_ns;
	size_t n;
	struct unit units[UNITS];
	struct job jobs[JOBS];
};

static void tell_done(struct units *u, uint32_t request, int result, const char *error)
{
	engine_tell_done(u->tell, u->owner, ENGINE_UNIT, request, result, error);
}

static void units_go_down(struct units *u, int error)
{
	struct engine_event *e;

	u->bus = sd_bus_close_unref(u->bus);
	u->retry_ns = now_boot_ns() + RETRY_NS;
	for (size_t i = 0; i < JOBS; i++)
		if (u->jobs[i].request) {
			tell_done(u, u->jobs[i].request, -ENOTCONN, "the system bus is lost");
			u->jobs[i].request = 0;
		}
	if (u->told_down)
		return;
	u->told_down = true;
	e = engine_event(ENGINE_DOWN, ENGINE_UNIT);
	snprintf(e->error, sizeof(e->error), "system bus: %s", strerror(-error));
	u->tell(u->owner, e);
}

struct units *units_open(engine_tell tell, void *owner)
{
	struct units *u = calloc(1, sizeof(*u));

	if (u)
		*u = (struct units) { .tell = tell, .owner = owner };
	return u;
}

/* ------ what a unit is ------ */

/* Each kind of unit has a ControlGroup in an interface of its own. */
static const char *interface_of(const char *name)
{
	static const struct {
		const char *suffix, *interface;
	} kinds[] = { { ".service", SYSTEMD ".Service" }, { ".scope", SYSTEMD ".Scope" },
		      { ".slice", SYSTEMD ".Slice" },	  { ".socket", SYSTEMD ".Socket" },
		      { ".mount", SYSTEMD ".Mount" },	  { ".swap", SYSTEMD ".Swap" } };
	const char *suffix = strrchr(name, '.');

	for (size_t i = 0; suffix && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(suffix, kinds[i].suffix))
			return kinds[i].interface;
	return NULL;
}

/* Of a call: 0, also if systemd says that there is no such thing; else nobody has answered. */
static int answered(int r, const sd_bus_error *e)
{
	bool by_systemd = e->name && !strncmp(e->name, SYSTEMD ".", strlen(SYSTEMD "."));

	if (r >= 0 || by_systemd ||
	    sd_bus_error_has_names(e, SD_BUS_ERROR_UNKNOWN_OBJECT, SD_BUS_ERROR_UNKNOWN_INTERFACE,
				   SD_BUS_ERROR_UNKNOWN_PROPERTY, SD_BUS_ERROR_INVALID_ARGS))
		return 0;
	return r;
}

static int get_text(struct units *u, const struct unit *n, const char *interface,
		    const char *property, char *ret, size_t size)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	char *text = NULL;
	int r = sd_bus_get_property_string(u->bus, SYSTEMD, n->object, interface, property, &e,
					   &text);

	/* a path that is cut names another cgroup */
	snprintf(ret, size, "%s", r >= 0 && strlen(text) < size ? text : "");
	free(text);
	return answered(r, &e);
}

static int get_main_pid(struct units *u, const struct unit *n, const char *interface, pid_t *ret)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	uint32_t pid = 0;
	int r = sd_bus_get_property_trivial(u->bus, SYSTEMD, n->object, interface, "MainPID", &e,
					    'u', &pid);

	*ret = pid <= PID_MAX_ ? (pid_t)pid : 0;
	return answered(r, &e);
}

static struct engine_event *unit_item(const char *name)
{
	struct engine_event *e = engine_event(ENGINE_ITEM, ENGINE_UNIT);

	e->item.kind = ENGINE_UNIT;
	snprintf(e->item.id, sizeof(e->item.id), "%s", name);
	snprintf(e->item.name, sizeof(e->item.name), "%s", name);
	return e;
}

static void tell_unit(struct units *u, struct unit *n)
{
	struct engine_event *e = unit_item(n->name);
	struct engine_item *i = &e->item;
	const char *interface = interface_of(n->name);
	char state[64] = "";
	int r = 0;

	n->dirty = false;
	if (interface)
		r = get_text(u, n, SYSTEMD ".Unit", "ActiveState", state, sizeof(state));
	if (!r && *state)
		r = get_text(u, n, interface, "ControlGroup", i->cgroup, sizeof(i->cgroup));
	if (!r && interface && !strcmp(interface, SYSTEMD ".Service"))
		r = get_main_pid(u, n, interface, &i->pid);
	if (r) {
		units_go_down(u, r);
		return;
	}
	/* "activating" and "deactivating" units have processes as well */
	i->running = *i->cgroup && strcmp(state, "inactive") && strcmp(state, "failed");
	u->tell(u->owner, e);
}

static void tell_unusable(struct units *u, const char *name)
{
	struct engine_event *e = unit_item(name);

	e->item.labelled = true;
	snprintf(e->item.unusable, sizeof(e->item.unusable), "%s",
		 u->n == UNITS ? "there are more units than are watched" : "it can not be watched");
	u->tell(u->owner, e);
}

/* ------ what the bus says ------ */

static int on_changed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct units *u = arg;
	const char *path = sd_bus_message_get_path(m);

	for (size_t i = 0; path && i < u->n; i++)
		u->units[i].dirty |= !strcmp(path, u->units[i].object);
	return 0;
}

static int on_units_changed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct units *u = arg;
	const char *name = "";

	sd_bus_message_read(m, "s", &name);
	for (size_t i = 0; i < u->n; i++)
		u->units[i].dirty |= !strcmp(name, u->units[i].name);
	return 0;
}

/* When it begins nobody answers until it ends. */
static int on_reloading(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct units *u = arg;
	int begins = 0;

	sd_bus_message_read(m, "b", &begins);
	for (size_t i = 0; i < u->n; i++)
		u->units[i].dirty |= !begins;
	return 0;
}

static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *path, *unit, *result;
	struct units *u = arg;
	uint32_t id;

	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	for (size_t i = 0; i < u->n; i++)
		u->units[i].dirty |= !strcmp(unit, u->units[i].name);
	for (size_t i = 0; i < JOBS; i++) {
		struct job *j = &u->jobs[i];
		bool good = !strcmp(result, "done") || !strcmp(result, "skipped");
		char error[80];

		if (!j->request || strcmp(j->path, path))
			continue;
		snprintf(error, sizeof(error), "systemd's job ended with '%.40s'", result);
		tell_done(u, j->request, good ? 0 : -EIO, good ? "" : error);
		j->request = 0;
	}
	return 0;
}

static int listen_to(struct units *u)
{
	static const struct {
		const char *interface, *member;
		sd_bus_message_handler_t f;
	} signals[] = { { "org.freedesktop.DBus.Properties", "PropertiesChanged", on_changed },
			{ MANAGER, "UnitNew", on_units_changed },
			{ MANAGER, "UnitRemoved", on_units_changed },
			{ MANAGER, "Reloading", on_reloading },
			{ MANAGER, "JobRemoved", on_job_removed } };
	int r = sd_bus_open_system(&u->bus);

	if (r < 0)
		return r;
	r = sd_bus_set_method_call_timeout(u->bus, CALL_US);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		r = sd_bus_match_signal(u->bus, NULL, SYSTEMD, NULL, signals[i].interface,
					signals[i].member, signals[i].f, u);
		if (r < 0)
			return r;
	}
	r = sd_bus_call_method(u->bus, SYSTEMD, PATH, MANAGER, "Subscribe", NULL, NULL, NULL);
	return r < 0 ? r : 0;
}

static void units_connect(struct units *u)
{
	int r = listen_to(u);

	if (r) {
		units_go_down(u, r);
		return;
	}
	u->told_down = false;
	u->tell(u->owner, engine_event(ENGINE_UP, ENGINE_UNIT));
	for (size_t i = 0; u->bus && i < u->n; i++)
		tell_unit(u, &u->units[i]);
	if (u->bus)
		u->tell(u->owner, engine_event(ENGINE_LISTED, ENGINE_UNIT));
}

int units_prepare(struct units *u, struct pollfd *ret)
{
	uint64_t now = now_boot_ns(), until = UINT64_MAX;

	*ret = (struct pollfd) { .fd = -1 };
	if (!u->bus)
		return now >= u->retry_ns ? 0 : (int)((u->retry_ns - now) / NS_PER_MSEC) + 1;
	*ret = (struct pollfd) { .fd = sd_bus_get_fd(u->bus),
				 .events = (short)sd_bus_get_events(u->bus) };
	for (size_t i = 0; i < u->n; i++)
		if (u->units[i].dirty)
			return 0;
	/* what came in with the answer to a call is processed without waiting */
	return sd_bus_get_timeout(u->bus, &until) >= 0 && !until ? 0 : 1000;
}

void units_turn(struct units *u)
{
	int r = 1;

	if (!u->bus && now_boot_ns() >= u->retry_ns)
		units_connect(u);
	while (u->bus && (r = sd_bus_process(u->bus, NULL)) > 0)
		;
	if (u->bus && r < 0)
		units_go_down(u, r);
	for (size_t i = 0; u->bus && i < u->n; i++)
		if (u->units[i].dirty)
			tell_unit(u, &u->units[i]);
}

void units_watch(struct units *u, const char *name)
{
	struct unit *n = &u->units[u->n];

	for (size_t i = 0; i < u->n; i++)
		if (!strcmp(u->units[i].name, name))
			return;
	if (u->n == UNITS || strlen(name) >= sizeof(n->name) ||
	    sd_bus_path_encode(PATH "/unit", name, &n->object) < 0) {
		tell_unusable(u, name);
		return;
	}
	snprintf(n->name, sizeof(n->name), "%s", name);
	u->n++;
	if (!u->bus)
		units_turn(u);
	else
		tell_unit(u, n);
}

/* Its job, in *ret, is what ends later; JobRemoved says how. */
static int call_systemd(struct units *u, const char *method, const char *name, char ret[JOB_LEN],
			sd_bus_error *e)
{
	sd_bus_message *answer = NULL;
	const char *path;
	int r = sd_bus_call_method(u->bus, SYSTEMD, PATH, MANAGER, method, e, &answer, "ss", name,
				   "replace");

	if (r < 0)
		return r;
	r = sd_bus_message_read(answer, "o", &path);
	if (r >= 0)
		r = snprintf(ret, JOB_LEN, "%s", path) < JOB_LEN ? 0 : -ENAMETOOLONG;
	sd_bus_message_unref(answer);
	return r;
}

void units_ask(struct units *u, bool start, const char *name, uint32_t request)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	struct job *j = NULL;
	int r = -ENOTCONN;

	for (size_t i = 0; i < JOBS && !j; i++)
		j = u->jobs[i].request ? NULL : &u->jobs[i];
	if (u->bus && j)
		r = call_systemd(u, start ? "StartUnit" : "StopUnit", name, j->path, &e);
	if (!r) {
		j->request = request;
		return;
	}
	tell_done(u, request, sd_bus_error_has_name(&e, SYSTEMD ".NoSuchUnit") ? -ENOENT : r,
		  e.message ? e.message : strerror(-r));
	if (u->bus && j && answered(r, &e))
		units_go_down(u, r);
}
