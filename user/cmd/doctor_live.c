/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doctor's questions to the engine, and to the kernel in the tunnels' namespaces. See doctor.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/netns.h"
#include "base/nl.h"
#include "base/root.h"
#include "cmd/doctor.h"
#include "engine/docker.h"
#include "watch/netlink.h"
#include "watch/underlay.h"

/* ------ the engine ------ */

/* What the container sees, or, of one that does not run, what the engine keeps for it. */
static void add_resolv_conf(json_t *container)
{
	pid_t pid = doctor_pid(container);
	char text[8192];
	ssize_t n = pid > 0 ? read_in_root(pid, "/etc/resolv.conf", text, sizeof(text)) : -ENOENT;

	if (n == -ENOENT)
		n = read_in_root(getpid(), docker_text(container, "ResolvConfPath"), text,
				 sizeof(text));
	if (n >= 0)
		json_object_set_new(container, RESOLV_CONF, json_string(text));
	else if (n != -ENOENT)
		json_object_set_new(container, RESOLV_CONF, json_integer(n));
}

static int inspect_all(const char *socket, bool podman, json_t *ret, struct error *line)
{
	json_t *list, *c;
	size_t i;
	int r = docker_get(socket, "/containers/json?all=1", &list, line);

	if (r)
		return r;
	json_array_foreach(list, i, c) {
		char path[256];
		json_t *inspected;

		snprintf(path, sizeof(path), "/containers/%.64s/json", docker_text(c, "Id"));
		if (docker_get(socket, path, &inspected, NULL))
			continue; /* gone meanwhile */
		add_resolv_conf(inspected);
		json_object_set_new(inspected, OF_PODMAN, json_boolean(podman));
		json_array_append_new(ret, inspected);
	}
	json_decref(list);
	return 0;
}

static int look_at_engine(const char *socket, json_t *containers, struct error *line)
{
	size_t before = json_array_size(containers);
	json_t *info, *version;
	char refusals[ENGINE_ERROR_LEN];
	bool v1, podman;
	int r;

	if (*socket == '/' && access(socket, W_OK) < 0)
		return say(line, INFO, "'%s' is not for us: needs root", socket);
	r = docker_get(socket, "/info", &info, line);
	if (r && r != -EACCES)
		return r;
	v1 = !strcmp(docker_text(info, "CgroupVersion"), "1");
	json_decref(info);
	if (v1)
		return fail(line, ERROR_OTHER, 0, "boot with systemd.unified_cgroup_hierarchy=1",
			    "the engine at '%s' uses cgroup v1: its containers have no cgroup to "
			    "leash",
			    socket);
	docker_get(socket, "/version", &version, NULL);
	podman = docker_is_podman(version);
	r = inspect_all(socket, podman, containers, line);
	docker_refusals(socket, refusals, sizeof(refusals));
	if (!r && *refusals)
		r = fail(line, ERROR_OTHER, 0, NULL, "the engine at '%s': %s", socket, refusals);
	if (!r)
		say(line, OK, "%s %s at '%s', cgroup v2, %zu container(s)",
		    podman ? "Podman" : "Docker", quote(docker_text(version, "Version")), socket,
		    json_array_size(containers) - before);
	json_decref(version);
	return r;
}

void doctor_engines(const struct doctor *d, json_t *ret)
{
	const char *engines = d->file ? d->file->engine : "auto", *socket;
	char where[ENGINES][ENGINE_WHERE_LEN];
	size_t n = docker_split(engines, where), found = 0;
	struct error line;
	int r;

	for (size_t i = 0; i < n; i++) {
		socket = docker_socket(where[i]);
		if (!socket && !strcmp(engines, "auto"))
			continue;
		found++;
		r = socket ? look_at_engine(socket, ret, &line)
			   : fail(&line, ERROR_OTHER, -ENOENT,
				  "start the engine, or correct the key `engine`",
				  "find the engine's socket '%s'", quote(where[i]));
		d->tell(d->owner, r, &line);
	}
	if (!found)
		d->tell(d->owner,
			say(&line, INFO,
			    n ? "no socket of Docker or Podman"
			      : "engine = none: no container is looked at"),
			&line);
}

/* ------ names ------ */

/* Does the C library ask that service, by `hosts:` of nsswitch.conf? */
static bool is_asked(const char *service)
{
	_cleanup_file FILE *f = fopen("/etc/nsswitch.conf", "re");
	char line[512], *save, *word;

	while (f && fgets(line, sizeof(line), f)) {
		word = strtok_r(line, " \t\n", &save);
		if (!word || strcmp(word, "hosts:"))
			continue;
		while ((word = strtok_r(NULL, " \t\n", &save)))
			if (!strcmp(word, service))
				return true;
	}
	return false;
}

/* A workload that sees this machine's own /run, as no container does, nor most in a slice. */
static const struct workload_config *of_this_machine(const struct config *file)
{
	const char *name;

	for (size_t i = 0; file && i < file->n_workloads; i++) {
		enum place_kind kind = place_kind(file->workloads[i].cgroup, &name);

		if (kind == PLACE_PATH || kind == PLACE_UNIT)
			return &file->workloads[i];
	}
	return NULL;
}

int doctor_names(const struct config *file, struct error *line)
{
	const struct workload_config *w = of_this_machine(file);
	const char *who = NULL, *remedy = NULL;

	if (!access("/run/nscd/socket", F_OK) || !access("/var/run/nscd/socket", F_OK)) {
		who = "nscd";
		remedy = "stop nscd, or set enable-cache hosts no in /etc/nscd.conf";
	} else if (is_asked("resolve") &&
		   !access("/run/systemd/resolve/io.systemd.Resolve", F_OK)) {
		who = "systemd-resolved by its socket";
		remedy = "take `resolve` out of the line hosts: of /etc/nsswitch.conf";
	}
	if (!who)
		return say(line, OK, "programs of this machine ask for names by resolv.conf");
	if (w)
		return fail(line, ERROR_OTHER, 0, remedy,
			    "workload '%s' asks for names not by resolv.conf but %s, which is "
			    "outside of its leash",
			    quote(w->name), who);
	return say(line, INFO,
		   "programs of this machine, other than containers, ask for names not by "
		   "resolv.conf but %s, outside of any leash (%s)",
		   who, remedy);
}

/* ------ routes ------ */

/* One tunnel, in its namespace. */
struct look {
	const struct doctor *doctor;
	const struct tunnel_config *tunnel;
	int netlink, ioctls;
};

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	return route_parse(nlh, arg) ? MNL_CB_ERROR : MNL_CB_OK;
}

/* Would the kernel send there by another interface than the tunnel? Its name then. */
static bool is_beside(const struct look *l, struct in_addr address, char ret[IFNAMSIZ])
{
	_Alignas(struct nlmsghdr) char buf[128] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	struct ifreq q = { 0 };
	uint32_t oif = 0;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	rt->rtm_family = AF_INET;
	rt->rtm_dst_len = 32;
	mnl_attr_put_u32(nlh, RTA_DST, address.s_addr);
	if (nl_ask(l->netlink, nlh, on_route, &oif) || !oif)
		return false; /* there is no way at all */
	q.ifr_ifindex = (int)oif;
	if (ioctl(l->ioctls, SIOCGIFNAME, &q) < 0)
		return false;
	memcpy(ret, q.ifr_name, IFNAMSIZ);
	return strcmp(ret, l->tunnel->interface) != 0;
}

static void check_resolver(const struct look *l, struct in_addr resolver)
{
	char address[INET_ADDRSTRLEN], by[IFNAMSIZ];
	struct error line;

	if (!is_beside(l, resolver, by))
		return;
	fail(&line, ERROR_OTHER, 0,
	     "dns = another, or route it into the tunnel; WARP: split tunnels",
	     "tunnel '%s': its resolver %s is reached by '%s', beside the tunnel: names get no "
	     "answer",
	     quote(l->tunnel->name), inet_ntop(AF_INET, &resolver, address, sizeof(address)),
	     quote(by));
	l->doctor->tell(l->doctor->owner, -EINVAL, &line);
}

static void check_resolvers(const struct look *l)
{
	const struct dns_rule *dns = &l->tunnel->dns;

	if (dns->mode == DNS_AUTO) {
		check_resolver(l, (struct in_addr) { inet_addr("1.1.1.1") });
		check_resolver(l, (struct in_addr) { inet_addr("9.9.9.9") });
	} else if (dns->mode == DNS_SERVERS) {
		check_resolver(l, (struct in_addr) { dns->server[0] });
		if (dns->server[1] != dns->server[0])
			check_resolver(l, (struct in_addr) { dns->server[1] });
	}
}

/* Each by an address in it that no network of an engine's is likely to have. */
static void check_ranges(const struct look *l)
{
	static const struct {
		const char *range, *address;
	} ranges[] = { { "10.0.0.0/8", "10.255.255.253" },
		       { "172.16.0.0/12", "172.31.255.253" },
		       { "192.168.0.0/16", "192.168.255.253" },
		       { "100.64.0.0/10", "100.127.255.253" } };
	char list[256] = "", by[IFNAMSIZ];
	struct error line;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (is_beside(l, (struct in_addr) { inet_addr(ranges[i].address) }, by))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s by '%s'",
					      n ? ", " : "", ranges[i].range, quote(by));
	r = n ? say(&line, INFO,
		    "tunnel '%s': beside it lead %s: workloads can not get there (route them into "
		    "the tunnel if the VPN has them; WARP excludes private ranges by default: split "
		    "tunnels)",
		    quote(l->tunnel->name), list)
	      : say(&line, OK, "tunnel '%s': private ranges lead into it as well",
		    quote(l->tunnel->name));
	l->doctor->tell(l->doctor->owner, r, &line);
}

/* By which its netns leads out. */
static void check_underlays(const struct look *l)
{
	struct links links;
	struct error line;
	char weakness[600];

	if (l->netlink < 0 || links_read(l->netlink, &links, &line))
		return;
	for (size_t i = 0; i < links.n; i++) {
		link_weakness(weakness, sizeof(weakness), &links.links[i]);
		if (!*weakness)
			continue;
		fail(&line, ERROR_OTHER, 0, NULL, "tunnel '%s': its guard can only be weak: %s",
		     quote(l->tunnel->name), weakness);
		l->doctor->tell(l->doctor->owner, -EINVAL, &line);
	}
	links_free(&links);
}

/* What keeps it from being looked into; NULL: nothing. */
static const char *open_look(struct look *l, const char *where)
{
	_cleanup_fd int netns = -1;
	struct ifreq q = { 0 };

	if (netns_open(where, &netns, NULL))
		return "its network is not there";
	l->netlink = nl_open(netns, NETLINK_ROUTE);
	l->ioctls = netns_socket(netns, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->netlink < 0 || l->ioctls < 0)
		return "its network is not looked into: needs root";
	snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", l->tunnel->interface);
	if (ioctl(l->ioctls, SIOCGIFFLAGS, &q) < 0 || !(q.ifr_flags & IFF_UP))
		return "it is not up";
	return NULL;
}

static void look_into(const struct doctor *d, const char *where, const struct tunnel_config *t)
{
	struct look l = { .doctor = d, .tunnel = t, .netlink = -1, .ioctls = -1 };
	const char *why = open_look(&l, where);
	struct error line;

	if (t->endpoint_process) {
		fail(&line, ERROR_OTHER, 0, "take it out if the VPN's servers do not move",
		     "tunnel '%s': endpoint = process: what the VPN's cgroup sends leaves beside "
		     "the tunnel, wherever it goes",
		     quote(t->name));
		d->tell(d->owner, -EINVAL, &line);
	}
	if (why) {
		d->tell(d->owner, say(&line, INFO, "tunnel '%s': %s", quote(t->name), why), &line);
	} else {
		check_resolvers(&l);
		check_ranges(&l);
	}
	check_underlays(&l);
	close_fd(l.netlink);
	close_fd(l.ioctls);
}

static void look_into_container(const struct doctor *d, const json_t *c,
				const struct tunnel_config *t)
{
	char where[64];

	snprintf(where, sizeof(where), "/proc/%d/ns/net", doctor_pid(c)); /* 0: not running */
	look_into(d, where, t);
}

static const char *label_of(const json_t *container, const char *key)
{
	return docker_text(json_object_get(json_object_get(container, "Config"), "Labels"), key);
}

/* A tunnel that labels make: the first who names it speaks for all. */
static void look_by_labels(const struct doctor *d, const json_t *c)
{
	const json_t *place = doctor_owner(d->containers, c), *other;
	const char *interface = label_of(c, "vpnleash.interface"),
		   *dns = label_of(c, "vpnleash.dns");
	struct tunnel_config t = { 0 };
	size_t i;

	if (!place || !*interface || strlen(interface) >= IFNAMSIZ)
		return;
	json_array_foreach(d->containers, i, other) {
		if (other == c)
			break;
		if (doctor_owner(d->containers, other) == place &&
		    !strcmp(label_of(other, "vpnleash.interface"), interface))
			return;
	}
	t.endpoint_process = !strcmp(label_of(c, "vpnleash.endpoint"), "process");
	snprintf(t.name, sizeof(t.name), "%s", interface);
	snprintf(t.interface, sizeof(t.interface), "%s", interface);
	if (*dns && dns_set(&t.dns, dns, NULL))
		return; /* said of the container */
	look_into_container(d, place, &t);
}

void doctor_routes(const struct doctor *d)
{
	const json_t *c;
	const char *name;
	size_t i;

	for (i = 0; d->file && i < d->file->n_tunnels; i++) {
		const struct tunnel_config *t = &d->file->tunnels[i];
		enum place_kind kind = place_kind(t->netns, &name);

		if (kind == PLACE_CONTAINER && (c = doctor_find(d->containers, name)))
			look_into_container(d, c, t);
		else if (kind == PLACE_PATH || kind == PLACE_HOST)
			look_into(d, t->netns, t);
	}
	json_array_foreach(d->containers, i, c)
		look_by_labels(d, c);
}
