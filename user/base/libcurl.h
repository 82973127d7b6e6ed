/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl, loaded where it is used: it brings 47 libraries. For processes that may wait.
 */
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "base/util.h"

/* clang-format off */
#define LIBCURL_FUNCTIONS(X)                                                                       \
	X(global_init) X(easy_init) X(easy_setopt) X(easy_perform) X(easy_getinfo) X(easy_cleanup) \
	X(easy_strerror) X(slist_append) X(multi_init) X(multi_add_handle)                         \
	X(multi_remove_handle) X(multi_perform) X(multi_poll) X(multi_info_read)
/* clang-format on */

extern struct libcurl {
#define X(f) __typeof__(&curl_##f) f;
	LIBCURL_FUNCTIONS(X)
#undef X
} libcurl;

/* With these CURL_GLOBAL_ flags; once it is loaded nothing happens. 0 or -Exxx. */
int libcurl_load(long flags, struct error *err);
