/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * systemd on the system bus, as far as it is asked to start and stop units, and what they are:
 * systemd SOCKET DIR. Each call to start or stop is printed, and its job is done once DIR has a
 * file of the call's name, which is taken away then. What every unit is, DIR has in files:
 * ActiveState, ControlGroup, MainPID. While DIR has a file `changed` or `reload` nobody is
 * answered; the first begins with a signal that the unit last asked about has changed, the second
 * with one that systemd reloads, and it ends with another.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define SYSTEMD	     "org.freedesktop.systemd1"
#define MANAGER	     SYSTEMD ".Manager"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define JOB	     MANAGER_PATH "/job/1"
#define LOOK_US	     50000

static char method[64], unit[256]; /* of the job that is not done yet: "" */
static char object[512];	   /* the unit last asked about */
static const char *dir;

static const char *property_of_unit(const char *property)
{
	static char text[4096];
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, property);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return text;
}

static int answer(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *member = sd_bus_message_get_member(m), *name, *property;

	if (!member || !sd_bus_message_is_method_call(m, NULL, NULL))
		return 0;
	if (!strcmp(member, "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.1") < 0 ? -1 : 1;
	if (!strcmp(member, "Get") && sd_bus_message_read(m, "ss", &name, &property) >= 0) {
		const char *value = property_of_unit(property);

		snprintf(object, sizeof(object), "%s", sd_bus_message_get_path(m));
		return (!strcmp(property, "MainPID")
				? sd_bus_reply_method_return(m, "v", "u", atoi(value))
				: sd_bus_reply_method_return(m, "v", "s", value)) < 0
			       ? -1
			       : 1;
	}
	if ((!strcmp(member, "StartUnit") || !strcmp(member, "StopUnit")) &&
	    sd_bus_message_read(m, "s", &name) >= 0) {
		snprintf(method, sizeof(method), "%s", member);
		snprintf(unit, sizeof(unit), "%s", name);
		printf("%s %s\n", method, unit);
		return sd_bus_reply_method_return(m, "o", JOB) < 0 ? -1 : 1;
	}
	return sd_bus_reply_method_return(m, "") < 0 ? -1 : 1;
}

static void tell(sd_bus *bus, const char *path, const char *interface, const char *member,
		 const char *types, ...)
{
	sd_bus_message *m = NULL;
	va_list values;

	va_start(values, types);
	if (sd_bus_message_new_signal(bus, &m, path, interface, member) < 0 ||
	    sd_bus_message_set_sender(m, SYSTEMD) < 0 ||
	    sd_bus_message_appendv(m, types, values) < 0 || sd_bus_send(bus, m, NULL) < 0 ||
	    sd_bus_flush(bus) < 0)
		exit(1);
	va_end(values);
	sd_bus_message_unref(m);
}

static bool has(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return !access(path, F_OK);
}

static void look(sd_bus *bus)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, method);
	if (*method && !unlink(path)) {
		*method = '\0';
		tell(bus, MANAGER_PATH, MANAGER, "JobRemoved", "uoss", 1, JOB, unit, "done");
	}
	if (*object && has("changed")) {
		tell(bus, object, "org.freedesktop.DBus.Properties", "PropertiesChanged",
		     "sa{sv}as", SYSTEMD ".Unit", 0, 0);
		while (has("changed"))
			usleep(LOOK_US);
	}
	if (has("reload")) {
		tell(bus, MANAGER_PATH, MANAGER, "Reloading", "b", 1);
		while (has("reload"))
			usleep(LOOK_US);
		tell(bus, MANAGER_PATH, MANAGER, "Reloading", "b", 0);
	}
}

static void serve(int fd)
{
	sd_id128_t id = SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 1);
	sd_bus *bus = NULL;
	int r;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 || sd_bus_add_filter(bus, NULL, answer, NULL) < 0 ||
	    sd_bus_start(bus) < 0)
		exit(1);
	while ((r = sd_bus_process(bus, NULL)) >= 0) {
		look(bus);
		if (!r)
			sd_bus_wait(bus, LOOK_US);
	}
	sd_bus_close_unref(bus);
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (argc != 3)
		return 2;
	dir = argv[2];
	setlinebuf(stdout);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0)
		return 1;
	for (;;)
		serve(accept(fd, NULL, NULL));
}
