/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of user/config share: one struct that each fills, and how a text is read into it.
 */
#ifndef VPNLEASH_TEST_CONFIG_H
#define VPNLEASH_TEST_CONFIG_H

#include "config/config.h"
#include "config/keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config config;
static bool owned; /* config is to be freed */
static struct error err;

static inline void prepare(void)
{
	if (owned)
		config_free(&config);
	owned = false;
	err = (struct error) { 0 };
	memset(&config, 0x5a, sizeof(config));
}

/* In an allocation of its own, so that the sanitizer sees a byte too far. */
static inline int read_text(const char *text)
{
	char *copy = strdup(text);
	int r;

	prepare();
	assert_int_equal(config_init(&config, &err), 0);
	r = config_parse_text(&config, "a.conf", copy, &err);
	if (!r)
		r = config_finish(&config, "a.conf", &err);
	owned = !r;
	if (r)
		config_free(&config);
	free(copy);
	return r;
}

static inline void assert_wrong(const char *text, unsigned int line, const char *says)
{
	char begin[32];
	int r = read_text(text);

	if (!r)
		fail_msg("accepted: %s", text);
	assert_int_equal(r, -EINVAL);
	assert_int_equal(err.kind, ERROR_INPUT);
	snprintf(begin, sizeof(begin), "a.conf:%u: ", line);
	if (strncmp(err.text, begin, strlen(begin)) || !strstr(err.text, says))
		fail_msg("'%s…%s' expected in: %s", begin, says, err.text);
	assert_null(strpbrk(err.text, "\n\r\033"));
}

static inline void assert_reads(const char *text)
{
	if (read_text(text))
		fail_msg("%s\nof:\n%s", err.text, text);
}

#define TUNNEL	 "[tunnel t]\ninterface=wg0\nprobe=none\n" /* lines 1 to 3 */
#define WORKLOAD "[workload w]\ncgroup=/a\ntunnel=t\n"	   /* three more */
#define BOTH	 TUNNEL WORKLOAD

#endif
