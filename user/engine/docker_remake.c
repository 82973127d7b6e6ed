/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine shows of a container is what it was asked for, with the image's defaults added to
 * it. As the image is the same they need not be taken out again, but for what an engine shows and
 * refuses to be asked for.
 */
#include "engine/docker_remake.h"

#include <string.h>

/* Of who lives in another's network the engine shows that one's host name, and the ports that the
 * image says, and takes neither. */
static const char *const refused[] = { "Hostname", "Domainname", "ExposedPorts", "MacAddress" };

static void join_network(json_t *host, const char *network)
{
	static const char *const modes[] = { "NetworkMode", "IpcMode", "PidMode" };
	json_t *volumes = json_object_get(host, "VolumesFrom"), *one;
	char mode[ENGINE_NAME_LEN];
	const char *from = mode + 10, *text;
	size_t i, n;

	snprintf(mode, sizeof(mode), "%s", docker_text(host, "NetworkMode"));
	if (strncmp(mode, "container:", 10))
		return;
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(docker_text(host, modes[i]), mode))
			json_object_set_new(host, modes[i], json_sprintf("container:%s", network));
	n = strlen(from);
	json_array_foreach(volumes, i, one) { /* "ID" or "ID:OPTIONS" */
		text = json_string_value(one);
		if (text && !strncmp(text, from, n) && (!text[n] || text[n] == ':'))
			json_array_set_new(volumes, i, json_sprintf("%s%s", network, text + n));
	}
}

/* ------ volumes ------ */

/* Two paths of one place, with '/' at the end or without. */
static bool same_place(const char *a, size_t n, const char *b)
{
	size_t m = strlen(b);

	while (n > 1 && a[n - 1] == '/')
		n--;
	while (m > 1 && b[m - 1] == '/')
		m--;
	return n == m && !memcmp(a, b, n);
}

/* "SOURCE:PLACE[:OPTIONS]", or "PLACE" of a volume without a name, which is taken out: it is to be
 * put in with its name. */
static bool is_bound(json_t *binds, const char *place)
{
	json_t *one;
	size_t i;

	json_array_foreach(binds, i, one) {
		const char *text = json_string_value(one), *colon = text ? strchr(text, ':') : NULL;

		if (!text)
			continue;
		if (colon && same_place(colon + 1, strcspn(colon + 1, ":"), place))
			return true;
		if (!colon && same_place(text, strlen(text), place))
			json_array_remove(binds, i--);
	}
	return false;
}

static bool is_mounted(json_t *mounts, const char *place, const char *volume)
{
	json_t *one;
	size_t i;

	json_array_foreach(mounts, i, one) {
		const char *target = docker_text(one, "Target");

		if (!same_place(target, strlen(target), place))
			continue;
		if (!strcmp(docker_text(one, "Type"), "volume") && !*docker_text(one, "Source"))
			json_object_set_new(one, "Source", json_string(volume));
		return true;
	}
	return false;
}

/* nocopy: what its program has emptied stays empty. */
static void name_volumes(json_t *host, const json_t *mounts)
{
	json_t *binds = json_object_get(host, "Binds"), *one;
	size_t i;

	if (!json_is_array(binds)) {
		binds = json_array();
		json_object_set_new(host, "Binds", binds);
	}
	json_array_foreach(mounts, i, one) {
		const char *volume = docker_text(one, "Name"), *place;

		place = docker_text(one, "Destination");
		if (strcmp(docker_text(one, "Type"), "volume") || !*volume || !*place ||
		    is_mounted(json_object_get(host, "Mounts"), place, volume) ||
		    is_bound(binds, place))
			continue;
		json_array_append_new(
			binds,
			json_sprintf("%s:%s:%snocopy", volume, place,
				     json_is_false(json_object_get(one, "RW")) ? "ro," : ""));
	}
}

json_t *docker_remake(const json_t *inspect, const char *image, const char *network)
{
	json_t *body = json_deep_copy(json_object_get(inspect, "Config")), *labels, *host;

	if (!json_is_object(body) || !json_is_object(json_object_get(inspect, "HostConfig"))) {
		json_decref(body);
		return NULL;
	}
	host = json_deep_copy(json_object_get(inspect, "HostConfig"));
	json_object_set_new(body, "HostConfig", host);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		json_object_del(body, refused[i]);
	/* none would mean the image's: an empty word takes that away, as `docker run` does */
	if (!json_is_array(json_object_get(body, "Entrypoint")))
		json_object_set_new(body, "Entrypoint", json_pack("[s]", ""));
	json_object_set_new(body, "Image", json_string(image));
	labels = json_object_get(body, "Labels");
	if (!json_is_object(labels)) {
		labels = json_object();
		json_object_set_new(body, "Labels", labels);
	}
	json_object_set_new(labels, DOCKER_REPLACES, json_string(docker_text(inspect, "Id")));
	join_network(host, network);
	name_volumes(host, json_object_get(inspect, "Mounts"));
	return body;
}
