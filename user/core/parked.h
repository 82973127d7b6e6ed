/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Units whose container an earlier daemon stopped: nothing is left of that container, not even what
 * it was leashed to. So its unit is started as soon as its engine would tell of the new one, and
 * stopped again if its tunnel is still down. Only if that one is born in a locked slice.
 */
#pragma once

struct daemon;

void parked_begin(struct daemon *d); /* before inventory_start() */
void parked_free(struct daemon *d);
