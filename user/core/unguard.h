/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guards that nobody needs any more. Nowhere else, but for `detach`, one goes because a record has
 * gone.
 */
#ifndef VPNLEASH_UNGUARD_H
#define VPNLEASH_UNGUARD_H

struct daemon;

/* Those whose last record has gone, once all tunnels are known; see d->guards_due. */
void unguard(struct daemon *d);
/* And what is left of netns that are gone. */
void unguard_sweep(struct daemon *d);

#endif
