/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files. Our own reader of `key = value`: measured, inih keeps inline comments in
 * values, joins indented lines to the key before, cuts at 200 bytes and knows no line numbers.
 */
#ifndef VPNLEASH_FILE_H
#define VPNLEASH_FILE_H

#include "config/config.h"

#define CONFIG_FILE "/etc/vpnleash/vpnleash.conf"

/*
 * The file (`-c FILE`, CONFIG_FILE by default) and conf.d/NAME.conf beside it in the order of their
 * names. Files and the directories above them must be root's and writable by root alone. An error
 * names file and line. 0 or -Exxx with ERROR_INPUT; then *ret is untouched.
 */
int config_read(const char *file, struct config *ret, struct error *err);
/* The text of one file, for the tests: `name` stands in errors. Call once for each file, then
 * config_finish(). Cuts `text` up. */
int config_parse_text(struct config *c, const char *name, char *text, struct error *err);

#endif
