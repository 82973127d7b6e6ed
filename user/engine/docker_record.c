/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/docker_record.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "watch/process.h"

#define PID_MAX_ (1 << 22) /* PID_MAX_LIMIT */

/* ------ text ------ */

static bool is_surrogate(const char *hex, char from, char to)
{
	char second = hex[1] | 0x20;

	return (*hex | 0x20) == 'd' && second >= from && second <= to;
}

/* jansson refuses a text with NUL or half a surrogate pair in it, and with it all the rest. One
 * label of one container must not hide the others, so these become \u0001, which no text of ours
 * may hold either. Its own limit for depth (2048) is enough of a bound. */
json_t *docker_parse(char *text, size_t n)
{
	for (size_t i = 0; i + 6 <= n; i++) {
		bool pair = i + 12 <= n && text[i + 6] == '\\' && text[i + 7] == 'u';

		if (text[i] != '\\')
			continue;
		if (text[i + 1] != 'u') {
			i++;
			continue;
		}
		if (is_surrogate(text + i + 2, '8', 'b') && pair &&
		    is_surrogate(text + i + 8, 'c', 'f'))
			i += 11;
		else if (!memcmp(text + i + 2, "0000", 4) || is_surrogate(text + i + 2, '8', 'f'))
			memcpy(text + i + 2, "0001", 4);
	}
	return json_loadb(text, n, 0, NULL);
}

/* ------ where its cgroup will be ------ */

/* A path that is cut would name another cgroup: it is joined whole or not at all. */
__attribute__((format(printf, 3, 4))) static int join(char ret[PATH_MAX], size_t *n,
						      const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = vsnprintf(ret + *n, PATH_MAX - *n, format, ap);
	va_end(ap);
	if (r < 0 || (size_t)r >= PATH_MAX - *n)
		return -ENAMETOOLONG;
	*n += (size_t)r;
	return 0;
}

/* "a-b.slice" lies in "a.slice". */
static int join_slice(char ret[PATH_MAX], size_t *n, const char *slice)
{
	size_t stem = strlen(slice);

	if (stem > 6 && !strcmp(slice + stem - 6, ".slice"))
		stem -= 6;
	for (size_t i = 1; i <= stem; i++) {
		if (i < stem && slice[i] != '-')
			continue;
		if (join(ret, n, "/%.*s.slice", (int)i, slice))
			return -ENAMETOOLONG;
	}
	return 0;
}

/* Can there be a cgroup of that path, below the root? */
static int check_parts(const char *path)
{
	for (const char *part = path; *part;) {
		size_t length;

		part += strspn(part, "/");
		length = strcspn(part, "/");
		if (length > NAME_MAX)
			return -ENAMETOOLONG;
		if (length == 2 && !memcmp(part, "..", 2))
			return -EINVAL;
		part += length;
	}
	return 0;
}

int docker_predict_cgroup(const struct docker_info *info, const char *parent, const char *id,
			  char ret[PATH_MAX])
{
	const char *prefix = info->podman ? "libpod" : "docker";
	char path[PATH_MAX];
	size_t n = 0;
	int r;

	if (!*parent)
		parent = info->default_parent;
	if (!*parent)
		parent = info->systemd_driver ? info->podman ? "machine.slice" : "system.slice"
			 : info->podman	      ? "/libpod_parent"
					      : "/docker";
	if (info->systemd_driver && *parent != '/')
		r = join_slice(path, &n, parent);
	else
		r = join(path, &n, "%s%s", *parent == '/' ? "" : "/", parent);
	if (r)
		return r;
	while (n && path[n - 1] == '/')
		path[--n] = '\0';
	if (info->systemd_driver)
		r = join(path, &n, "/%s-%s.scope", prefix, id);
	else
		r = join(path, &n, info->podman ? "/libpod-%s" : "/%s", id);
	r = r ? r : check_parts(path);
	if (r)
		return r;
	memcpy(ret, path, n + 1);
	return 0;
}

/* ------ what a container is ------ */

/* Notes the first value that can not be used; `wrong` is the item's `unusable`. A value that is
 * missing is empty: an engine leaves out what it does not know. */
static void is_wrong(char *wrong, const char *key, const char *why)
{
	if (!*wrong)
		snprintf(wrong, ENGINE_ERROR_LEN, "its %s %s", key, why);
}

static bool fits(const char *s, size_t size)
{
	size_t n = strlen(s);

	for (const char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return false;
	return n < size;
}

static const json_t *read_object(const json_t *of, const char *key, char *wrong)
{
	const json_t *j = json_object_get(of, key);

	if (j && !json_is_null(j) && !json_is_object(j))
		is_wrong(wrong, key, "is not an object");
	return j;
}

/* At most `size` bytes, with the NUL. */
static const char *read_text(const json_t *of, const char *key, size_t size, char *wrong)
{
	const json_t *j = json_object_get(of, key);
	const char *s = json_string_value(j);

	if (!j || json_is_null(j))
		return "";
	if (!s || !fits(s, size)) {
		is_wrong(wrong, key, s ? "is too long, or not text" : "is not text");
		return "";
	}
	return s;
}

static int read_number(const json_t *of, const char *key, json_int_t least, json_int_t most,
		       char *wrong)
{
	const json_t *j = json_object_get(of, key);
	json_int_t value = json_integer_value(j);

	if (!j || json_is_null(j))
		return 0;
	if (!json_is_integer(j) || value < least || value > most) {
		is_wrong(wrong, key, "is not a valid number");
		return 0;
	}
	return (int)value;
}

static bool read_flag(const json_t *of, const char *key, char *wrong)
{
	const json_t *j = json_object_get(of, key);

	if (j && !json_is_null(j) && !json_is_boolean(j))
		is_wrong(wrong, key, "is neither true nor false");
	return json_is_true(j);
}

const char *docker_text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

bool docker_is_podman(const json_t *version)
{
	const json_t *part;
	size_t i;

	json_array_foreach(json_object_get(version, "Components"), i, part)
		if (!strncmp(docker_text(part, "Name"), "Podman", 6))
			return true;
	return false;
}

/* The pid is the engine's; it is ours as well if its cgroup is called after the container. */
static void find_cgroup(struct engine_item *i, struct docker_info *info, const char *parent)
{
	char path[PATH_MAX], *at, *slash;
	int r = docker_predict_cgroup(info, parent, i->id, i->cgroup);

	if (r)
		is_wrong(i->unusable, "CgroupParent",
			 r == -ENAMETOOLONG ? "is too long for a cgroup"
					    : "leads out of the cgroup tree");
	if (r || !i->pid)
		return;
	if (process_cgroup(i->pid, path) || !(at = strstr(path, i->id))) {
		i->pid = 0;
		return;
	}
	slash = strchr(at, '/'); /* Podman's own level below it, or the container's */
	if (slash)
		*slash = '\0';
	memcpy(i->cgroup, path, strlen(path) + 1);
	/* else it is the engine's default, which the engine tells nowhere; or, with
	 * --cgroups=split, the cgroup of a unit */
	if (*parent || *i->unit)
		return;
	for (slash = at; slash > path && *slash != '/'; slash--)
		;
	*slash = '\0';
	memcpy(info->default_parent, path, strlen(path) + 1);
}

/* The first of a path, by systemd's word: in the tree of a user's manager that is "user@1000". */
static bool is_in_unit(const char *path, const char *unit)
{
	for (const char *part = path; (part = strchr(part, '/'));) {
		size_t length = strcspn(++part, "/");

		if (length <= 8 || strncmp(part + length - 8, ".service", 8))
			continue;
		if (*part == '_') { /* a name that cgroups keep for themselves */
			part++;
			length--;
		}
		return strlen(unit) == length && !strncmp(part, unit, length);
	}
	return false;
}

/* Podman notes the unit in which it was called, in a label as anybody may write one. But its
 * conmon, the container's parent, lives in that unit. */
static bool runs_in_unit(const struct engine_item *i)
{
	pid_t conmon = *i->unit && i->pid ? process_parent(i->pid) : 0;
	char path[PATH_MAX];

	return conmon > 1 && !process_cgroup(conmon, path) && is_in_unit(path, i->unit) &&
	       process_parent(i->pid) == conmon;
}

bool docker_lists(const json_t *list, const char *capability)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *s = json_string_value(entry);

		if (s && !strcasecmp(s + (strncasecmp(s, "CAP_", 4) ? 0 : 4), capability))
			return true;
	}
	return false;
}

bool docker_has_capability(const json_t *host_config, const char *capability, bool by_default)
{
	const json_t *add = json_object_get(host_config, "CapAdd"),
		     *drop = json_object_get(host_config, "CapDrop");

	if (docker_lists(add, capability))
		return true;
	if (docker_lists(drop, capability))
		return false;
	return docker_lists(add, "ALL") || (by_default && !docker_lists(drop, "ALL"));
}

bool docker_is_id(const char *s)
{
	return strlen(s) == ENGINE_HEX_LEN - 1 &&
	       strspn(s, "0123456789abcdef") == ENGINE_HEX_LEN - 1;
}

/* Also what we write into our own: that one asks for nothing. */
static bool is_ours(const char *key)
{
	return !strncmp(key, "vpnleash.", 9) && strcmp(key, DOCKER_REPLACES);
}

static void add_label(struct engine_item *i, const char *key, const json_t *value,
		      const json_t *of_image)
{
	const char *text = json_string_value(value), *same;
	struct engine_label *l = &i->labels[i->n_labels];

	if (!text) {
		is_wrong(i->unusable, "Labels", "hold one of ours that is not text");
		return;
	}
	i->n_labels++;
	same = docker_text(of_image, key);
	l->from_image = *same && !strcmp(same, text);
	l->too_long = !fits(key + 9, sizeof(l->key)) || !fits(text, sizeof(l->value));
	snprintf(l->key, sizeof(l->key), "%s", key + 9);
	snprintf(l->value, sizeof(l->value), "%s", text);
}

/* The labels of the image; *ret_unknown: the image is not known, or its record can not be used. */
static const json_t *read_image(const json_t *image, bool *ret_unknown)
{
	char wrong[ENGINE_ERROR_LEN] = "";
	const json_t *labels = read_object(read_object(image, "Config", wrong), "Labels", wrong);

	*ret_unknown = *wrong || !json_is_object(image);
	return *ret_unknown ? NULL : labels;
}

/* All of it or nothing. */
static void read_compose(struct engine_item *i, const json_t *labels)
{
	const char *project = docker_text(labels, "com.docker.compose.project");
	const char *service = docker_text(labels, "com.docker.compose.service");
	const char *dir = docker_text(labels, "com.docker.compose.project.working_dir");
	const char *files = docker_text(labels, "com.docker.compose.project.config_files");

	if (!fits(project, sizeof(i->compose_project)) ||
	    !fits(service, sizeof(i->compose_service)) || !fits(dir, sizeof(i->compose_dir)) ||
	    !fits(files, sizeof(i->compose_files)))
		return;
	snprintf(i->compose_project, sizeof(i->compose_project), "%s", project);
	snprintf(i->compose_service, sizeof(i->compose_service), "%s", service);
	snprintf(i->compose_dir, sizeof(i->compose_dir), "%s", dir);
	snprintf(i->compose_files, sizeof(i->compose_files), "%s", files);
}

/* The last check's word: one line, cut, and nothing that makes a record unusable. */
static void read_health_log(struct engine_item *i, const json_t *health)
{
	const json_t *log = json_object_get(health, "Log");
	const json_t *last = json_array_get(log, json_array_size(log) - 1);
	const char *said = docker_text(last, "Output");
	size_t n, room = sizeof(i->health_said);

	if (!last)
		return;
	n = (size_t)snprintf(i->health_said, room,
			     "exit %lld: ", json_integer_value(json_object_get(last, "ExitCode")));
	for (; *said && n < room - 1; said++) {
		bool space = (unsigned char)*said <= ' ';

		if (!space || i->health_said[n - 1] != ' ')
			i->health_said[n++] = space ? ' ' : *said;
	}
	while (i->health_said[n - 1] == ' ' || i->health_said[n - 1] == ':')
		n--;
	i->health_said[n] = '\0';
}

static void read_others_labels(struct engine_item *i, const json_t *labels)
{
	const char *replaces = docker_text(labels, DOCKER_REPLACES);
	const char *unit = docker_text(labels, "PODMAN_SYSTEMD_UNIT");

	read_compose(i, labels);
	if (docker_is_id(replaces))
		memcpy(i->replaces, replaces, sizeof(i->replaces));
	snprintf(i->unit, sizeof(i->unit), "%s", fits(unit, sizeof(i->unit)) ? unit : "");
}

/* What `docker create` made has no such label: a person starts it. */
static bool left_by_compose(const char *status, int exit_code, const json_t *labels)
{
	const char *after = docker_text(labels, "com.docker.compose.depends_on");

	return !strcmp(status, "created") && !exit_code && strstr(after, ":service_healthy");
}

static bool has_ours(const json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)labels, key, value) /* it changes nothing */
		if (is_ours(key))
			return true;
	return false;
}

bool docker_has_labels(const json_t *inspect)
{
	return has_ours(json_object_get(json_object_get(inspect, "Config"), "Labels"));
}

void docker_read_labels(struct engine_item *i, const json_t *inspect, const json_t *image)
{
	json_t *labels = json_object_get(json_object_get(inspect, "Config"), "Labels"), *value;
	const json_t *of_image = read_image(image, &i->image_unknown);
	const char *key;

	json_object_foreach(labels, key, value) {
		if (!is_ours(key))
			continue;
		if (i->n_labels == ENGINE_LABELS)
			i->labels_left_out++;
		else
			add_label(i, key, value, of_image);
	}
}

void docker_read_record(struct engine_item *i, struct docker_info *info, const char *id,
			const json_t *inspect)
{
	char *wrong = i->unusable;
	const json_t *state = read_object(inspect, "State", wrong);
	const json_t *host = read_object(inspect, "HostConfig", wrong);
	const json_t *labels, *of_health;
	const char *name = read_text(inspect, "Name", ENGINE_NAME_LEN, wrong), *health;

	i->kind = ENGINE_CONTAINER;
	memcpy(i->id, id, ENGINE_HEX_LEN);
	if (strcmp(read_text(inspect, "Id", ENGINE_HEX_LEN, wrong), id))
		is_wrong(wrong, "Id", "is that of another container");
	snprintf(i->name, sizeof(i->name), "%s", *name == '/' ? name + 1 : name);
	i->paused = read_flag(state, "Paused", wrong);
	i->running = read_flag(state, "Running", wrong) || i->paused;
	i->pid = read_number(state, "Pid", 0, PID_MAX_, wrong);
	i->exit_code = read_number(state, "ExitCode", INT_MIN, INT_MAX, wrong);
	of_health = read_object(state, "Health", wrong);
	health = read_text(of_health, "Status", ENGINE_NAME_LEN, wrong);
	read_health_log(i, of_health);
	i->health = !strcmp(health, "starting")	   ? HEALTH_STARTING
		    : !strcmp(health, "healthy")   ? HEALTH_HEALTHY
		    : !strcmp(health, "unhealthy") ? HEALTH_UNHEALTHY
						   : HEALTH_NONE;
	snprintf(i->network_mode, sizeof(i->network_mode), "%s",
		 read_text(host, "NetworkMode", ENGINE_NAME_LEN, wrong));
	i->auto_remove = read_flag(host, "AutoRemove", wrong);
	i->net_admin = json_is_true(json_object_get(host, "Privileged")) ||
		       docker_has_capability(host, "NET_ADMIN", false);
	labels = read_object(read_object(inspect, "Config", wrong), "Labels", wrong);
	read_others_labels(i, labels);
	find_cgroup(i, info, read_text(host, "CgroupParent", PATH_MAX, wrong));
	if (!i->running) /* Podman: made, and not begun: that early its cgroup is known */
		i->pid = 0;
	i->in_unit = runs_in_unit(i);
	i->left = left_by_compose(docker_text(state, "Status"), i->exit_code, labels);
}

/* Has it labels of ours? If that can not be told: yes. */
static bool may_be_labelled(const json_t *listed)
{
	const json_t *labels = json_object_get(listed, "Labels");

	return has_ours(labels) || (!json_is_object(labels) && !json_is_null(labels));
}

void docker_read_listed(struct engine_item *i, const char *id, const json_t *listed,
			const char *why)
{
	const char *name = json_string_value(json_array_get(json_object_get(listed, "Names"), 0));

	i->kind = ENGINE_CONTAINER;
	memcpy(i->id, id, ENGINE_HEX_LEN);
	name = name && *name == '/' ? name + 1 : name;
	snprintf(i->name, sizeof(i->name), "%s",
		 name && *name && fits(name, sizeof(i->name)) ? name : id);
	snprintf(i->unusable, sizeof(i->unusable), "%s", why);
	i->labelled = may_be_labelled(listed);
}
