/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `rejoin = recreate`. A container that shares another's network is bound to that one by its id: if
 * the VPN's container is made anew, no start brings who shared the old one's network into the new
 * one's. So the engine is asked for another like it, with the same name, in the network of whoever
 * has the name of the VPN's container now. That a name is anybody's to take does not matter: who
 * may name a container is root already, and who has no tunnel there stays shut.
 */
#pragma once

#include <stdbool.h>

struct workload;

void rejoin_look(struct workload *w); /* what is next, once a second at least */
/* What it has asked for is answered; false: it was not asked by it. */
bool rejoin_done(struct workload *w, int result, const char *error);
/* The engine does not start it. Whether it is one that was made anew: it is given up for the one of
 * before. */
bool rejoin_start_failed(struct workload *w, int result, const char *error);
void rejoin_worked(struct workload *w); /* its container runs */
