/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random texts and mutations of a good one: refused in one line, or sound; and no line counts for
 * nothing. */
#include "test_config.h"

static void assert_sound(void)
{
	assert_in_range(config.lease_ns, NS_PER_SEC, 4 * NS_PER_SEC);
	assert_in_range(config.n_tunnels, 0, CONFIG_TUNNELS);
	assert_in_range(config.n_workloads, 0, CONFIG_WORKLOADS);
	for (size_t i = 0; i < config.n_tunnels; i++) {
		const struct tunnel_config *t = &config.tunnels[i];

		assert_true(*t->name && *t->interface && !strpbrk(t->interface, "/: \t\r\v\f"));
		assert_true(*t->netns == '/' || !strcmp(t->netns, "host") ||
			    !strncmp(t->netns, "container:", 10) || !strncmp(t->netns, "unit:", 5));
		assert_in_range(t->probes.n, t->probes.none ? 0 : 1, RULES_PROBES);
		if (t->patience_ns)
			assert_in_range(t->patience_ns, NS_PER_SEC, 60 * NS_PER_SEC);
	}
	for (size_t i = 0; i < config.n_workloads; i++) {
		const struct workload_config *w = &config.workloads[i];

		assert_true(*w->name &&
			    (*w->cgroup == '/' || !strncmp(w->cgroup, "container:", 10) ||
			     !strncmp(w->cgroup, "unit:", 5)));
		assert_true(w->tunnel < config.n_tunnels);
		assert_string_equal(w->tunnel_name, config.tunnels[w->tunnel].name);
	}
}

/* Refused in one line that begins with file and line, or sound. */
static bool read_hostile(const char *text)
{
	unsigned int line;
	int at = 0;

	if (!read_text(text)) {
		assert_sound();
		return true;
	}
	assert_int_equal(err.kind, ERROR_INPUT);
	if (!strpbrk(err.text, "\n\r\033") &&
	    (!strncmp(err.text, "a.conf: no workload", 19) ||
	     (sscanf(err.text, "a.conf:%u: %n", &line, &at) == 1 && at && err.text[at])))
		return false;
	fail_msg("'%s' of:\n%s", err.text, text);
	return false;
}

static void random_texts(void **state)
{
	static const char *const pieces[] = {
		"[tunnel t]\n",
		"[workload w]\n",
		"[daemon]\n",
		"interface",
		"=",
		" = ",
		"wg0",
		"\n",
		"\r\n",
		"netns",
		"host",
		"probe",
		"none",
		"icmp:1.1.1.1",
		"probe=dns:a.b@1.1.1.1\n",
		"probe=tcp:1.1.1.1:443\n",
		"probe=handshake:180s\n",
		"lease",
		"3s",
		"cgroup",
		"/a",
		"tunnel",
		"t",
		"#",
		" ;",
		"[",
		"]",
		"guard=off\n",
		"patience=9s\n",
		"allow",
	};
	static char text[4096];

	srandom(2);
	for (int round = 0; round < 10000; round++) {
		size_t n = 0, length = (size_t)random() % 400;

		while (n < length) {
			if (random() % 4)
				n += (size_t)sprintf(text + n, "%s",
						     pieces[(size_t)random() % ARRAY_SIZE(pieces)]);
			else
				text[n++] = (char)(1 + random() % 255);
		}
		text[n] = '\0';
		read_hostile(text);
	}
}

static const char good[] =
	"[daemon]\nlease = 1500ms\n\n"
	"[tunnel warp]\ninterface = CloudflareWARP # x\nnetns = /run/netns/vpn\n"
	"probe = icmp:10.0.0.1\nroute = 2001:db8::1\npatience = 10s\n"
	"[workload qb]\ncgroup = /torrent/qb ; y\ntunnel = warp\non-failure = block\n";

static void mutate(char *text, size_t size)
{
	size_t n = strlen(text), at = (size_t)random() % n, length = 1 + (size_t)random() % 12;

	length = length < n - at ? length : n - at;
	switch (random() % 5) {
	case 0: /* another byte */
		text[at] = (char)(1 + random() % 255);
		break;
	case 1: /* a bit */
		text[at] = (char)(text[at] ^ 1 << random() % 8);
		if (!text[at])
			text[at] = 'x';
		break;
	case 2: /* some missing */
		memmove(text + at, text + at + length, n - at - length + 1);
		break;
	case 3: /* some twice */
		if (n + length < size)
			memmove(text + at + length, text + at, n - at + 1);
		break;
	default: /* two change places */
		length = (size_t)random() % n;
		n = (size_t)(unsigned char)text[at];
		text[at] = text[length];
		text[length] = (char)n;
	}
}

/* No line was passed over: each one that is taken out is missed, or gave the default. */
static void assert_each_line_counts(const char *text)
{
	struct config before = config;
	char *without = strdup(text);
	size_t lines = 0, which;
	char *begin = without, *end;
	bool same;

	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	which = lines ? (size_t)random() % lines : 0;
	while (which-- && (end = strchr(begin, '\n')))
		begin = end + 1;
	end = begin + strcspn(begin, "\n");
	begin += strspn(begin, " \t");
	if (begin >= end || strchr("#;\r", *begin)) { /* a comment */
		free(without);
		return;
	}
	memmove(begin, end, strlen(end) + 1);
	owned = false; /* `before` has it */
	if (!read_text(without)) {
		same = before.lease_ns == config.lease_ns &&
		       before.has_daemon == config.has_daemon &&
		       before.n_tunnels == config.n_tunnels &&
		       before.n_workloads == config.n_workloads &&
		       !memcmp(before.tunnels, config.tunnels,
			       sizeof(*config.tunnels) * config.n_tunnels) &&
		       !memcmp(before.workloads, config.workloads,
			       sizeof(*config.workloads) * config.n_workloads);
		if (same)
			fail_msg("a line counts for nothing:\n%s\n--- with it:\n%s", without, text);
	}
	config_free(&before);
	free(without);
}

static void mutations(void **state)
{
	size_t accepted = 0;

	assert_reads(good);
	srandom(3);
	for (int round = 0; round < 10000; round++) {
		char text[2 * sizeof(good)];

		memcpy(text, good, sizeof(good));
		for (long i = random() % 3; i >= 0; i--)
			mutate(text, sizeof(text));
		if (read_hostile(text)) {
			accepted++;
			assert_each_line_counts(text);
		}
	}
	assert_in_range(accepted, 500, 9000); /* in comments, names, numbers */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_texts),
		cmocka_unit_test(mutations),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
