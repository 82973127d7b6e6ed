/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is to be leashed to what: one validated struct. It is read from files (file.c), the command
 * line (args.c) or labels (labels.c) by one table of keys (keys.h), which vpnleash.conf(5)
 * documents.
 */
#pragma once

#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define CONFIG_TUNNELS	  32 /* well below VPNLEASH_SLOTS, so that old slots can rest */
#define CONFIG_WORKLOADS  256
#define CONFIG_SLICES	  16
#define CONFIG_NAME_LEN	  64
#define CONFIG_SOCKETS	  4 /* of engines */
#define CONFIG_SOCKET_LEN 128

enum on_failure { ON_FAILURE_FREEZE, ON_FAILURE_BLOCK };

/* What a name of people stands for. */
enum place_kind { PLACE_PATH, PLACE_HOST, PLACE_CONTAINER, PLACE_UNIT, PLACE_SLICE };
/* The kind of `text` ("container:vpn"), and in *ret_name what follows the prefix ("vpn"). */
enum place_kind place_kind(const char *text, const char **ret_name);

#define STOP_NEVER	     UINT64_MAX
#define CONFIG_STOP_AFTER_NS (30 * NS_PER_SEC) /* the default */

#define RULES_ENDPOINTS 64
#define RULES_HOSTS	32
#define RULES_ALLOW	16
#define RULES_FROM	8
#define RULES_REACH	32

/* IPv4 as ::ffff:a.b.c.d/96+n */
struct prefix {
	uint8_t address[16];
	uint8_t length;
};

struct endpoint_rule {
	struct prefix to;
	uint8_t protocol; /* IPPROTO_* */
	uint16_t port;
};

struct allow_rule {
	uint8_t protocol;
	uint16_t port;	    /* of the program inside */
	bool from_host;	    /* the underlay's gateway, as which the host and docker-proxy come in */
	uint8_t by_default; /* bit n: from[n] is there because `from` was not given */
	size_t n_from;
	struct prefix from[RULES_FROM];
};

struct endpoint_rules {
	size_t n;
	struct endpoint_rule rule[RULES_ENDPOINTS];
};
struct host_rules {
	size_t n;
	struct prefix host[RULES_HOSTS];
};
struct allow_rules {
	size_t n;
	struct allow_rule rule[RULES_ALLOW];
};
struct reach_rules {
	size_t n;
	struct endpoint_rule rule[RULES_REACH];
};

/* Where names are asked: `dns`. */
enum dns_mode { DNS_AUTO, DNS_SERVERS, DNS_NONE };
struct dns_rule {
	enum dns_mode mode;
	uint32_t server[2]; /* IPv4, network order; one given: twice */
};

/* What is asked for a sign of life: `probe`. Any one that answers counts. */
enum probe_kind { PROBE_DNS = 1, PROBE_ICMP, PROBE_TCP, PROBE_HANDSHAKE, PROBE_EXEC };
#define RULES_PROBES 4
struct probe_rule {
	enum probe_kind kind;
	struct in_addr to; /* PROBE_DNS, _ICMP, _TCP; else 0 */
	uint64_t age_ns;   /* PROBE_HANDSHAKE */
	uint32_t port;	   /* PROBE_TCP */
	char name[260];	   /* PROBE_DNS; PROBE_EXEC: the program's full path */
};
struct probe_rules {
	size_t n; /* 0: none, and link and route decide */
	struct probe_rule rule[RULES_PROBES];
	bool none, by_default;
};

/* By which exit one comes to a page: `identity`. */
struct identity_rule {
	char url[256];	  /* "": not given */
	char expect[128]; /* is in the page */
	char host[254];	  /* of the URL, */
	uint32_t port;	  /* and its port */
	struct in_addr resolver;
};

struct tunnel_config {
	char name[CONFIG_NAME_LEN]; /* of its section; on the command line: the interface */
	char interface[IFNAMSIZ];
	char netns[PATH_MAX]; /* "host", a netns file, container:NAME or unit:NAME */
	struct probe_rules probes;
	struct identity_rule identity;
	bool route_given;
	char route[INET6_ADDRSTRLEN]; /* must resolve through the interface; empty: none */
	uint64_t patience_ns;	      /* 0: what its round trip and loss ask for */
	bool guard_off;
	bool health_ignored;   /* of the VPN's container, as its own check says */
	bool endpoint_process; /* what the VPN's cgroup sends passes, also while a lease lives */
	char process[16];      /* name of the VPN's process, as in /proc/PID/comm */
	struct endpoint_rules endpoints; /* none: the VPN's own state says */
	struct host_rules bootstrap;	 /* none: vpn */
	struct allow_rules allow;	 /* for every program of the netns */
	struct reach_rules reach;	 /* likewise */
	struct dns_rule dns;
};

struct workload_config {
	char name[CONFIG_NAME_LEN]; /* of its section; empty on the command line */
	char cgroup[PATH_MAX];	    /* as given: /PATH, container:NAME, unit:NAME, slice:NAME */
	char tunnel_name[CONFIG_NAME_LEN]; /* as given */
	size_t tunnel;			   /* the same, as index in `tunnels` */
	enum on_failure on_failure;
	uint64_t stop_after_ns; /* since it was barred, or STOP_NEVER */
	bool ipv6, audit;
	bool recreate; /* of a container: made anew when the one whose network it shares was */
	bool is_slice; /* `cgroup` is slice:NAME: locked; its children are the workloads */
	struct allow_rules allow;
	struct reach_rules reach;
	char hook[256], hook_inside[256]; /* programs to be run on each change; "": none */
};

/* Where a section stands, for errors. Not in the structs above: a reload compares those. */
struct config_origin {
	char file[200];
	unsigned int line, tunnel_line; /* tunnel_line: of a workload's key `tunnel` */
};

struct config {
	uint64_t lease_ns;
	char engine[CONFIG_SOCKETS * CONFIG_SOCKET_LEN]; /* see docker_split() */
	size_t n_slices;
	char slices[CONFIG_SLICES][256]; /* to be locked; names as after "slice:" */
	bool has_daemon;		 /* a [daemon] section was read */
	size_t n_tunnels, n_workloads;
	struct tunnel_config *tunnels;	   /* CONFIG_TUNNELS of them, allocated */
	struct workload_config *workloads; /* CONFIG_WORKLOADS of them */
	struct config_origin *tunnel_origins, *workload_origins;
};

int config_init(struct config *c, struct error *err);
void config_free(struct config *c);

/* ------ the ways in ------ */

#define CONFIG_FILE "/etc/vpnleash/vpnleash.conf"

/*
 * The file (`-c FILE`, CONFIG_FILE by default) and conf.d/NAME.conf beside it in the order of their
 * names. Files and the directories above them must be root's and writable by root alone. An error
 * names file and line. 0 or -Exxx with ERROR_INPUT; then *ret is untouched.
 */
int config_read(const char *file, struct config *ret, struct error *err);
/* The text of one file: `name` stands in errors. Call once for each file, then config_finish().
 * Cuts `text` up. */
int config_parse_text(struct config *c, const char *name, char *text, struct error *err);

/* --KEY VALUE pairs from argv[1] on. need_tunnel: `run` needs all, `lock` only cgroups, also as
 * --slice NAME for --cgroup slice:NAME. */
int config_parse_args(int argc, char **argv, bool need_tunnel, struct config *ret,
		      struct error *err);

struct config_label {
	const char *key, *value; /* `;` between repeated values */
};
/*
 * One workload `name` in the cgroup `cgroup` by the keys of its labels, on the tunnel of the label
 * `tunnel` (then *ret has no tunnel, and workloads[0].tunnel_name names it) or on one in `netns` by
 * the keys of a tunnel. *ret_tunnel_keys: keys of a tunnel beside `interface` were given.
 */
int config_from_labels(const char *name, const char *cgroup, const char *netns,
		       const struct config_label *labels, size_t n, struct config *ret,
		       bool *ret_tunnel_keys, struct error *err);

/* ------ for those who read ------ */

/* NULL: there are too many. */
struct tunnel_config *config_add_tunnel(struct config *c, const char *name);
struct workload_config *config_add_workload(struct config *c, const char *name);

/* Set the defaults that follow from other keys of a tunnel. NULL, or the key that is missing, and
 * in *ret_remedy what to write. */
const char *config_complete_tunnel(struct tunnel_config *t, const char **ret_remedy);
/* NULL, or why tunnel and workload can not go together, and in *ret_remedy what to do. */
const char *config_clash(const struct tunnel_config *t, const struct workload_config *w,
			 const char **ret_remedy);

/* Check the whole of what was read from files; `name` stands in the error if it is empty. */
int config_finish(struct config *c, const char *name, struct error *err);

/* A line of a file, for errors. */
struct config_line {
	const char *file;
	unsigned int number;
};
/* An error there: "FILE:LINE: ..." with ERROR_INPUT; returns -EINVAL. */
int config_fail_at(struct config_line at, struct error *err, const char *remedy, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));

/* ------ probes.c ------ */

/* "dns:NAME@IP", "icmp:IP", "tcp:IP:PORT", "handshake:TIME", "exec:/PATH"; "none" alone */
int probe_add(struct probe_rules *r, const char *text, struct error *err);
/* Where nothing was given: what every VPN with a way to the internet has some answer to. */
void probe_defaults(struct probe_rules *r, uint32_t resolver);
#define PROBE_TEXT 300
/* "http://HOST[:PORT]/PATH expect TEXT", or https */
int identity_set(struct identity_rule *r, const char *text, struct error *err);
/* As it is written. Returns buf. */
const char *probe_text(const struct probe_rule *p, char buf[PROBE_TEXT]);

/* ------ rules.c: values of the guard's keys, text → struct ------ */

/* "auto", "none", "IP[,IP]" */
int dns_set(struct dns_rule *r, const char *text, struct error *err);

bool prefix_contains(const struct prefix *p, const uint8_t address[16]);
/* Is one in the other? */
bool prefixes_overlap(const struct prefix *a, const struct prefix *b);
bool is_in_network(const uint8_t address[16], const char *network); /* "10.0.0.0/8" */
/* Of a private or link-local network, who comes in by default; or of SHARED_NETWORK. */
bool is_private(const uint8_t address[16]);
bool is_shared(const uint8_t address[16]);
#define SHARED_NETWORK "100.64.0.0/10" /* of carriers, and of Tailscale */

/* Each adds what the text says. Errors say what is wrong and what to write; no file, no line. */
/* "IP[/len]:port/proto", "[IP6[/len]]:port/proto", "preset:cloudflare-warp" */
int endpoint_add(struct endpoint_rules *r, const char *text, struct error *err);
/* "IP[/len],…", "preset:cloudflare-warp" */
int hosts_add(struct host_rules *r, const char *text, struct error *err);
/* "tcp/PORT [from CIDR,…|host]"; several for one port add up */
int allow_add(struct allow_rules *r, const char *text, struct error *err);
/* The same as one label has them, `;` between them. Returns buf. */
const char *allow_text(const struct allow_rules *r, char *buf, size_t size);
/* "tcp/IP[/len]:PORT" */
int reach_add(struct reach_rules *r, const char *text, struct error *err);
