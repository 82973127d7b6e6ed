/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share. A target is LLVMFuzzerTestOneInput() in fuzz_NAME.c: one input that
 * a stranger may write, parsed by the program's own code, under ASan and UBSan, and what must hold
 * of the result whatever the input was. tests/fuzz/corpus/NAME has one readable file per idea, also
 * for each bug that was found; NAME.dict the words of its language. tests/fuzz/run runs them.
 */
#ifndef VPNLEASH_FUZZ_H
#define VPNLEASH_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant that does not depend on NDEBUG, and says what it is. */
#define MUST(x) \
	((x) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x), abort()))

/* The input as text, of exactly its size, so that ASan sees a byte too far. Free it. */
static inline char *text_of_input(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* Errors are one line that ends. */
static inline void check_error(const struct error *err)
{
	MUST(memchr(err->text, '\0', sizeof(err->text)));
	for (const char *c = err->text; *c; c++)
		MUST((unsigned char)*c >= ' ' && *c != 127);
}

#define MUST_END(array) MUST(memchr(array, '\0', sizeof(array)))

#endif
