/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the witness behind a guard expects to see, and what it has seen (bpf/witness.bpf.c). Only
 * guard.c uses it: what the guard is about to pass is expected first, and what it no longer passes
 * is expected a while longer, so that no frame is between the two.
 */
#pragma once

#include <stdbool.h>

#include "act/pins.h"

/* The slot is that netns' from now on. 0 or -Exxx. */
int witness_put(const struct pins *p, uint32_t slot, uint64_t netns_cookie);
void witness_forget(const struct pins *p, uint32_t slot);

int witness_expect(const struct pins *p, const struct address_key *key); /* 0 or -Exxx */
void witness_expect_no_more(const struct pins *p, const struct address_key *key);
/* Until then what is not expected is not judged either; UINT64_MAX: audit. */
void witness_excuse(const struct pins *p, uint32_t slot, uint64_t until_ns);

/* Of all CPUs; last is the newest. False: nothing can be read. */
bool witness_read(const struct pins *p, uint32_t slot, struct witnessed *ret);
/* How many of so many strays were not told yet. From now on they are, whoever the daemon is. */
uint64_t witness_tell(const struct pins *p, uint32_t slot, uint64_t strays);

/* What is expected no more is gone. False: not all of it is, yet. */
bool witness_sweep(const struct pins *p);
