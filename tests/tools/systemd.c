/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * systemd on the system bus, as far as it is asked to start and stop units: systemd SOCKET DIR.
 * Each such call is printed, and its job is done once DIR has a file of the call's name, which is
 * taken away then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define SYSTEMD "org.freedesktop.systemd1"
#define JOB	"/org/freedesktop/systemd1/job/1"
#define LOOK_US 50000

static char method[64], unit[256]; /* of the job that is not done yet: "" */

static int answer(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *member = sd_bus_message_get_member(m), *name, *property;

	if (!member || !sd_bus_message_is_method_call(m, NULL, NULL))
		return 0;
	if (!strcmp(member, "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.1") < 0 ? -1 : 1;
	if (!strcmp(member, "Get") && sd_bus_message_read(m, "ss", &name, &property) >= 0)
		return (!strcmp(property, "MainPID")
				? sd_bus_reply_method_return(m, "v", "u", 0)
				: sd_bus_reply_method_return(m, "v", "s", "")) < 0
			       ? -1
			       : 1;
	if ((!strcmp(member, "StartUnit") || !strcmp(member, "StopUnit")) &&
	    sd_bus_message_read(m, "s", &name) >= 0) {
		snprintf(method, sizeof(method), "%s", member);
		snprintf(unit, sizeof(unit), "%s", name);
		printf("%s %s\n", method, unit);
		return sd_bus_reply_method_return(m, "o", JOB) < 0 ? -1 : 1;
	}
	return sd_bus_reply_method_return(m, "") < 0 ? -1 : 1;
}

static void look(sd_bus *bus, const char *dir)
{
	sd_bus_message *m = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, method);
	if (!*method || unlink(path) < 0)
		return;
	*method = '\0';
	if (sd_bus_message_new_signal(bus, &m, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
				      "JobRemoved") < 0 ||
	    sd_bus_message_set_sender(m, SYSTEMD) < 0 ||
	    sd_bus_message_append(m, "uoss", 1, JOB, unit, "done") < 0 ||
	    sd_bus_send(bus, m, NULL) < 0)
		exit(1);
	sd_bus_message_unref(m);
}

static void serve(int fd, const char *dir)
{
	sd_id128_t id = SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 1);
	sd_bus *bus = NULL;
	int r;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 || sd_bus_add_filter(bus, NULL, answer, NULL) < 0 ||
	    sd_bus_start(bus) < 0)
		exit(1);
	while ((r = sd_bus_process(bus, NULL)) >= 0) {
		look(bus, dir);
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
	setlinebuf(stdout);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0)
		return 1;
	for (;;)
		serve(accept(fd, NULL, NULL), argv[2]);
}
