/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's record of a container → what makes another like it. Pure. */
#pragma once

#include "engine/docker_record.h"

/*
 * The body of POST /containers/create, to be released; NULL: the record can not be used, or no
 * memory. image: how the image is called. Wherever the container lives in what is another
 * container's (NetworkMode, IpcMode, PidMode, VolumesFrom), and that is the one whose network it
 * shares, it lives in what is `network`'s. Its anonymous volumes are named, so that they go along.
 */
json_t *docker_remake(const json_t *inspect, const char *image, const char *network);
