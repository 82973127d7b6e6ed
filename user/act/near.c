/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "act/near.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE sizeof(struct near)

struct near *near_map(int fd)
{
	void *near = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (near == MAP_FAILED)
		return NULL;
	madvise(near, SIZE, MADV_DONTFORK); /* no child may write a record */
	return near;
}

void near_unmap(struct near *near)
{
	if (near)
		munmap(near, SIZE);
}

/* All places with that id, should two writers have taken one each: none may keep an old word. */
static void clear(struct near *near, uint64_t cgroup_id, bool forget)
{
	struct near_line *l = &near->lines[near_line(cgroup_id)];

	for (int i = 0; i < VPNLEASH_NEAR_WAYS; i++) {
		if (__atomic_load_n(&l->cgroup_id[i], __ATOMIC_RELAXED) != cgroup_id)
			continue;
		__atomic_store_n(&l->word[i], 0, __ATOMIC_SEQ_CST);
		if (forget)
			__atomic_store_n(&l->cgroup_id[i], 0, __ATOMIC_SEQ_CST);
	}
}

void near_take_out(struct near *near, uint64_t cgroup_id)
{
	clear(near, cgroup_id, false);
}

void near_forget(struct near *near, uint64_t cgroup_id)
{
	clear(near, cgroup_id, true);
}

void near_put(struct near *near, uint64_t cgroup_id, const struct workload_record *w)
{
	struct near_line *l = &near->lines[near_line(cgroup_id)];
	int place = -1;
	uint64_t word;

	for (int i = VPNLEASH_NEAR_WAYS - 1; i >= 0; i--) {
		uint64_t id = __atomic_load_n(&l->cgroup_id[i], __ATOMIC_RELAXED);

		if (id == cgroup_id || (!id && (place < 0 || l->cgroup_id[place] != cgroup_id)))
			place = i;
	}
	if (place < 0)
		return;
	memcpy(&word, w, sizeof(word));
	__atomic_store_n(&l->cgroup_id[place], cgroup_id, __ATOMIC_SEQ_CST);
	__atomic_store_n(&l->word[place], word, __ATOMIC_RELEASE);
}

void near_guards_changed(struct near *near)
{
	__atomic_add_fetch(&near->guard_generation, 1, __ATOMIC_SEQ_CST);
}
