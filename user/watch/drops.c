/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch/drops.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

struct drops {
	struct ring_buffer *ring;
	drops_tell tell;
	void *owner;
};

static int on_record(void *arg, void *data, size_t size)
{
	struct drops *d = arg;

	if (size == sizeof(struct drop_event)) /* a pin is input */
		d->tell(d->owner, data);
	return 0;
}

int drops_start(struct drops **ret, int ring_fd, drops_tell tell, void *owner, struct error *err)
{
	_cleanup_free struct drops *d = calloc(1, sizeof(*d));

	if (!d)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read the drop events");
	*d = (struct drops) { .tell = tell, .owner = owner };
	d->ring = ring_buffer__new(ring_fd, on_record, d, NULL);
	if (!d->ring)
		return fail(err, ERROR_OTHER, -errno, NULL, "read the drop events");
	*ret = TAKE_PTR(d);
	return 0;
}

int drops_fd(const struct drops *d)
{
	return ring_buffer__epoll_fd(d->ring);
}

void drops_ready(struct drops *d)
{
	/* bounded by the ring, which the gate fills at most ten times a second for each workload */
	ring_buffer__consume(d->ring);
}

void drops_stop(struct drops *d)
{
	if (d)
		ring_buffer__free(d->ring);
	free(d);
}
