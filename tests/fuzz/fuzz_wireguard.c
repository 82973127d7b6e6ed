/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a user-space WireGuard answers on its UAPI socket. */
#include "watch/wireguard.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size);
	struct wireguard w;

	memset(&w, 0, sizeof(w));
	if (!wireguard_parse(text, &w)) {
		MUST(w.n <= WIREGUARD_PEERS);
		for (size_t i = 0; i < w.n; i++)
			MUST(w.endpoints[i].protocol == 17); /* and an address and a port */
	}
	free(text);
	return 0;
}
