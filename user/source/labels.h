/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers that ask for a leash by their labels. */
#pragma once

struct daemon;
struct inventory_containers;

extern const struct inventory_containers labels_news; /* to be told to the daemon */
void labels_detached(struct daemon *d);		      /* tunnels whose last workload was detached */
/* After a reload: what the file names now is the file's. */
void labels_again(struct daemon *d);
