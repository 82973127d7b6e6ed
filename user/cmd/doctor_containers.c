/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a container brings along that weakens its leash: ways to speak through somebody else
 * (sockets of the host mounted into it), privileges over its own network, names asked on the host's
 * side. See doctor.h.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "cmd/doctor.h"
#include "config/config.h"
#include "engine/docker_record.h"

enum role { NOBODY, LEASHED, NEIGHBOUR, VPN };

static const json_t *host_config(const json_t *c)
{
	return json_object_get(c, "HostConfig");
}

static const char *name_of(const json_t *c)
{
	const char *name = docker_text(c, "Name");

	return name + (*name == '/');
}

__attribute__((format(printf, 4, 5))) static void finding(const struct doctor *d, const json_t *c,
							  const char *remedy, const char *format,
							  ...)
{
	char what[400];
	struct error line;
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	fail(&line, ERROR_OTHER, 0, remedy, "container '%s' %s", quote(name_of(c)), what);
	d->tell(d->owner, -EINVAL, &line);
}

/* ------ who is looked at ------ */

static bool is_called(const json_t *c, const char *name)
{
	return *name && (!strcmp(name_of(c), name) || !strcmp(docker_text(c, "Id"), name));
}

static bool is_place(const json_t *c, const char *place)
{
	const char *name;

	return place_kind(place, &name) == PLACE_CONTAINER && is_called(c, name);
}

/* "slice:NAME", and a container with that cgroup_parent: its leash is the slice's. */
static bool is_in_slice(const json_t *c, const char *place)
{
	const char *parent = docker_text(host_config(c), "CgroupParent"), *name;

	if (place_kind(place, &name) != PLACE_SLICE)
		return false;
	return !strcmp(parent + (*parent == '/'), name + (*name == '/'));
}

static const struct workload_config *in_file(const json_t *c, const struct config *file)
{
	for (size_t i = 0; file && i < file->n_workloads; i++)
		if (is_place(c, file->workloads[i].cgroup) ||
		    is_in_slice(c, file->workloads[i].cgroup))
			return &file->workloads[i];
	return NULL;
}

bool doctor_is_leashed(const json_t *c, const struct config *file)
{
	return docker_has_labels(c) || in_file(c, file);
}

pid_t doctor_pid(const json_t *c)
{
	return (pid_t)json_integer_value(json_object_get(json_object_get(c, "State"), "Pid"));
}

const json_t *doctor_find(const json_t *containers, const char *name)
{
	const json_t *c;
	size_t i;

	json_array_foreach(containers, i, c)
		if (is_called(c, name))
			return c;
	return NULL;
}

const json_t *doctor_owner(const json_t *containers, const json_t *container)
{
	const char *mode = docker_text(host_config(container), "NetworkMode");

	if (!strcmp(mode, "host") || !strncmp(mode, "ns:", 3))
		return NULL;
	if (strncmp(mode, "container:", 10))
		return container;
	return doctor_find(containers, mode + 10);
}

/* Is its network one in which somebody is leashed, or the file has a tunnel? */
static bool is_guarded(const struct doctor *d, const json_t *place)
{
	const json_t *c;
	size_t i;

	for (i = 0; d->file && i < d->file->n_tunnels; i++)
		if (is_place(place, d->file->tunnels[i].netns))
			return true;
	json_array_foreach(d->containers, i, c)
		if (doctor_is_leashed(c, d->file) && doctor_owner(d->containers, c) == place)
			return true;
	return false;
}

static enum role role_of(const struct doctor *d, const json_t *c)
{
	const json_t *place = doctor_owner(d->containers, c);

	if (doctor_is_leashed(c, d->file))
		return LEASHED;
	if (!place || !is_guarded(d, place))
		return NOBODY;
	return place == c ? VPN : NEIGHBOUR;
}

/* ------ privileges ------ */

static void check_privileges(const struct doctor *d, const json_t *c)
{
	/* each of them undoes something of what holds it */
	static const char *const strong[] = { "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE",
					      "BPF",	   "PERFMON",	"SYS_MODULE" };
	char found[128] = "";

	if (json_is_true(json_object_get(host_config(c), "Privileged"))) {
		finding(d, c, "remove privileged: true",
			"is privileged: it may take its leash off, or leave its network");
		return;
	}
	for (size_t i = 0, n = 0; i < ARRAY_SIZE(strong); i++)
		if (docker_has_capability(host_config(c), strong[i], false))
			n += (size_t)snprintf(found + n, sizeof(found) - n, " CAP_%s", strong[i]);
	if (*found)
		finding(d, c, "remove them from cap_add",
			"may change or leave the network that it is leashed in:%s", found);
	if (docker_has_capability(host_config(c), "NET_RAW",
				  !json_is_true(json_object_get(c, OF_PODMAN))))
		finding(d, c, "cap_drop: [ALL], and cap_add what it needs, or cap_drop: [NET_RAW]",
			"has CAP_NET_RAW%s: packet sockets pass the gate, and the guard alone "
			"stops them",
			docker_lists(json_object_get(host_config(c), "CapAdd"), "NET_RAW")
				? ""
				: ", which is given by default");
}

static void check_namespaces(const struct doctor *d, const json_t *c)
{
	const char *mode = docker_text(host_config(c), "NetworkMode");
	const struct workload_config *w = in_file(c, d->file);

	if (!strcmp(docker_text(host_config(c), "PidMode"), "host"))
		finding(d, c, "remove pid: host",
			"sees all processes of the host: they may speak for it");
	if (!strcmp(mode, "host"))
		finding(d, c, "network_mode: service:VPN, and the VPN in a container",
			"is in the host's network, where the guard can only be weak");
	else if (doctor_owner(d->containers, c) == c &&
		 !(w && is_place(c, d->file->tunnels[w->tunnel].netns)))
		finding(d, c, "network_mode: service:VPN, in compose's words",
			w ? "has a network of its own, in which its VPN is not"
			  : "has a network of its own, in which only the kernel's WireGuard works as "
			    "its VPN");
}

/* ------ who may speak for it ------ */

/* /var/run is /run. */
static const char *plain(const char *path)
{
	return strncmp(path, "/var/run/", 9) && strcmp(path, "/var/run") ? path : path + 4;
}

static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	while (n && directory[n - 1] == '/')
		n--;
	return !strncmp(path, directory, n) && (!path[n] || path[n] == '/');
}

/* "/run/user/1000/docker.sock", that of an engine without root */
static bool ends_in(const char *path, const char *other)
{
	const char *a = strrchr(path, '/'), *b = strrchr(other, '/');

	return strstr(other, ".sock") && !strcmp(a, b);
}

static void check_mount(const struct doctor *d, const json_t *c, const char *source)
{
	static const struct {
		const char *path, *means;
	} speakers[] = {
		{ "/run/docker.sock", "the engine, which does anything it is asked to" },
		{ "/run/podman/podman.sock", "the engine, which does anything it is asked to" },
		{ "/run/podman", "the engine, which does anything it is asked to" },
		{ "/run/containerd", "the engine, which does anything it is asked to" },
		{ "/run/crio", "the engine, which does anything it is asked to" },
		{ "/run/nscd", "nscd, which the C library asks for names before resolv.conf" },
		{ "/run/systemd/resolve", "systemd-resolved, which asks for names on the host" },
		{ "/run/dbus", "the system bus: systemd-resolved, and who starts programs" },
		{ "/run/avahi-daemon", "avahi, which asks the LAN for names" },
	};
	const char *shown = quote(source);

	for (size_t i = 0; i < ARRAY_SIZE(speakers); i++) {
		const char *path = speakers[i].path, *s = plain(source);

		/* resolv.conf is a text among sockets */
		if ((is_below(s, path) || ends_in(s, path)) &&
		    strcmp(strrchr(s, '/'), "/resolv.conf") &&
		    strcmp(strrchr(s, '/'), "/stub-resolv.conf")) {
			finding(d, c, "remove the mount", "has '%s' of the host: %s", shown,
				speakers[i].means);
			return;
		}
	}
	if (is_below("/run/docker.sock", plain(source)))
		finding(d, c, "mount only what it needs",
			"has '%s' of the host, with the sockets of all who may speak for it",
			shown);
}

static void check_mounts(const struct doctor *d, const json_t *c)
{
	const json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(c, "Mounts"), i, mount) {
		const char *source = docker_text(mount, "Source");

		if (*source == '/' && !strcmp(docker_text(mount, "Type"), "bind"))
			check_mount(d, c, source);
	}
}

/* ------ names ------ */

struct resolv {
	unsigned int v4, v6;
	bool docker;		/* 127.0.0.11 */
	bool by_hosts_loopback; /* dockerd's comment: whom it asks then */
};

static struct resolv read_resolv(const char *text)
{
	struct resolv r = { 0 };

	for (const char *line = text; line; line = strchr(line, '\n')) {
		char address[64];

		line += *line == '\n';
		if (sscanf(line, " nameserver %63s", address) == 1) {
			if (strchr(address, ':'))
				r.v6++;
			else
				r.v4++;
			r.docker = r.docker || !strcmp(address, "127.0.0.11");
		} else if (!strncmp(line, "# ExtServers:", 13)) {
			const char *host = strstr(line, "host(127."), *end = strchr(line, '\n');

			r.by_hosts_loopback = host && (!end || host < end);
		}
	}
	return r;
}

static void check_names(const struct doctor *d, const json_t *c, enum role role)
{
	const json_t *found = json_object_get(c, RESOLV_CONF);
	const char *text = json_string_value(found);
	struct resolv r;

	if (json_is_integer(found)) {
		int r = (int)json_integer_value(found);

		finding(d, c, "see what stands there; links that lead out are not followed",
			"has an /etc/resolv.conf that is not read: %s",
			r == -EINVAL ? "no regular file" : strerror(-r));
	}
	if (!text)
		return;
	r = read_resolv(text);
	if (role == LEASHED && r.v6 && !r.v4)
		finding(d, c, "dns: [1.1.1.1] for the container whose network it is",
			"has IPv6 resolvers only: programs that do not connect their socket (musl, "
			"dig) get no answer");
	if (role == NEIGHBOUR && r.docker && r.by_hosts_loopback)
		finding(d, c, "leash it as well, or dns: [1.1.1.1] for the VPN's container",
			"is not leashed, and its names are asked by dockerd on the host's "
			"loopback, where no guard is");
}

/* ------ published ports ------ */

static bool allows(const struct allow_rules *rules, uint8_t protocol, unsigned int port)
{
	for (size_t i = 0; i < rules->n; i++)
		if (rules->rule[i].protocol == protocol && rules->rule[i].port == port)
			return true;
	return false;
}

/* The labels' own keys, as the daemon reads them. 0 with *ret to be freed, or -Exxx. */
static int read_labels(const json_t *c, struct config *ret, struct error *err)
{
	struct config_label labels[64];
	const char *key;
	json_t *value;
	size_t n = 0;
	bool keys;

	json_object_foreach(json_object_get(json_object_get(c, "Config"), "Labels"), key, value) {
		if (strncmp(key, "vpnleash.", 9) || !json_string_value(value) ||
		    n == ARRAY_SIZE(labels))
			continue;
		labels[n++] = (struct config_label) { key + 9, json_string_value(value) };
	}
	return config_from_labels("container", "container:itself", "container:vpn", labels, n, ret,
				  &keys, err);
}

static void check_labels(const struct doctor *d, const json_t *c)
{
	struct config config;
	struct error err = { 0 };

	if (in_file(c, d->file) || !docker_has_labels(c))
		return;
	if (read_labels(c, &config, &err))
		finding(d, c, NULL, "stays locked: %s", err.text);
	else
		config_free(&config);
}

static bool is_allowed_by(const struct doctor *d, const json_t *c, uint8_t protocol,
			  unsigned int port)
{
	const struct workload_config *w = in_file(c, d->file);
	struct config config;
	struct error err;
	bool yes;

	if (w)
		return allows(&w->allow, protocol, port) ||
		       allows(&d->file->tunnels[w->tunnel].allow, protocol, port);
	if (!docker_has_labels(c) || read_labels(c, &config, &err))
		return false;
	yes = allows(&config.workloads[0].allow, protocol, port) ||
	      (config.n_tunnels && allows(&config.tunnels[0].allow, protocol, port));
	config_free(&config);
	return yes;
}

/* Does anybody in that network let it be answered? */
static bool is_allowed(const struct doctor *d, const json_t *place, uint8_t protocol,
		       unsigned int port)
{
	const json_t *c;
	size_t i;

	for (i = 0; d->file && i < d->file->n_tunnels; i++)
		if (is_place(place, d->file->tunnels[i].netns) &&
		    allows(&d->file->tunnels[i].allow, protocol, port))
			return true;
	json_array_foreach(d->containers, i, c)
		if (doctor_owner(d->containers, c) == place && is_allowed_by(d, c, protocol, port))
			return true;
	return false;
}

static void check_ports(const struct doctor *d, const json_t *place)
{
	const char *key;
	json_t *bound;

	json_object_foreach(json_object_get(host_config(place), "PortBindings"), key, bound) {
		char protocol[8], remedy[64];
		unsigned int port;

		if (sscanf(key, "%5u/%7[a-z]", &port, protocol) != 2)
			continue;
		if (is_allowed(d, place, strcmp(protocol, "tcp") ? IPPROTO_UDP : IPPROTO_TCP, port))
			continue;
		snprintf(remedy, sizeof(remedy), "label vpnleash.allow: %s/%u%s", protocol, port,
			 strcmp(protocol, "tcp") ? " from CIDR" : "");
		finding(d, place, remedy, "publishes %s/%u, and no `allow` lets it be answered",
			protocol, port);
	}
}

/* ------ */

size_t doctor_containers(const struct doctor *d)
{
	size_t leashed = 0, i;
	const json_t *c;

	json_array_foreach(d->containers, i, c) {
		enum role role = role_of(d, c);

		if (role == LEASHED) {
			leashed++;
			check_labels(d, c);
			check_namespaces(d, c);
			check_privileges(d, c);
			check_mounts(d, c);
		}
		if (role != NOBODY)
			check_names(d, c, role);
		if (role != NOBODY && doctor_owner(d->containers, c) == c)
			check_ports(d, c);
	}
	return leashed;
}
