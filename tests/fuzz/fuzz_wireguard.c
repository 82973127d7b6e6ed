/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a user-space WireGuard answers on its UAPI socket, and attributes of the kernel's. */
#include "watch/wireguard.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "fuzz.h"

static void take_attributes(const uint8_t *data, size_t size)
{
	_Alignas(struct nlmsghdr) static char buf[4096];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct wireguard w = { 0 };

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct genlmsghdr));
	if (size > sizeof(buf) - nlh->nlmsg_len)
		return;
	memcpy(mnl_nlmsg_get_payload_tail(nlh), data, size);
	nlh->nlmsg_len += (uint32_t)size;
	wireguard_told(nlh, &w);
	MUST(w.n <= WIREGUARD_PEERS && w.handshake_ns >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of_input(data, size);
	struct wireguard w;

	take_attributes(data, size);
	memset(&w, 0, sizeof(w));
	if (!wireguard_parse(text, &w)) {
		MUST(w.n <= WIREGUARD_PEERS);
		for (size_t i = 0; i < w.n; i++)
			MUST(w.endpoints[i].protocol == 17); /* and an address and a port */
	}
	free(text);
	return 0;
}
