/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only way to take the gate off: with a daemon (which asks here) and without one. */
#pragma once

#include "act/pins.h"
#include "base/cgroup.h"

/*
 * Thaw what we froze, take the gate off, forget the record: of the workload of that name (also of
 * its removed cgroups that have sockets left), of the slice ("slice:NAME") with all that is leashed
 * in it, or, with NULL, of all. Returns how many; 0 is no error. With the last one the pins go as
 * well, unless they are kept for a daemon, which may go on. A workload in a slice does not go
 * alone: without its record it would be shut for good, and the slice's gate is the others' as well.
 */
int detach_recorded(const struct pins *pins, const struct cgroup_root *root, const char *name,
		    bool keep_pins, struct error *err);

/* Remove the pins, if no record and no gate is left that needs them; under control_lock_pins(). */
int detach_last(const struct pins *pins, struct error *err);

/* Does the record hold the guard of that netns? Also of a removed cgroup, and of one that is shut
 * and no tunnel's. */
bool detach_holds(const struct pins *pins, const struct workload_record *w, uint64_t netns_cookie);

/* The guards that no record holds, of netns for which keep (NULL: none) is false. */
int detach_guards(const struct pins *pins, bool (*keep)(uint64_t netns_cookie, void *arg),
		  void *arg, struct error *err);
