/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/libcurl.h"

#include <dlfcn.h>

struct libcurl libcurl;

int libcurl_load(long flags, struct error *err)
{
	static const char *const names[] = { "libcurl.so.4", "libcurl-gnutls.so.4" };
	static bool loaded;
	void *so = NULL;

	if (loaded)
		return 0;
	for (size_t i = 0; !so && i < ARRAY_SIZE(names); i++)
		so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return fail(err, ERROR_OTHER, 0, "install libcurl4", "load libcurl: %s", dlerror());
#define X(f)                                                                        \
	libcurl.f = (__typeof__(&curl_##f))dlsym(so, "curl_" #f);                   \
	if (!libcurl.f)                                                             \
		return fail(err, ERROR_OTHER, 0, "install libcurl4, 7.66 or newer", \
			    "libcurl lacks curl_" #f);
	LIBCURL_FUNCTIONS(X)
#undef X
	libcurl.global_init(flags);
	loaded = true;
	return 0;
}
